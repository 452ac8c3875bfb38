/* pause image: the sandbox image every node needs, made from the program inside this binary: no registry is asked. */
#ifndef SKIFF_CMD_PAUSE_IMAGE_H
#define SKIFF_CMD_PAUSE_IMAGE_H

#include "base/err.h"

#define PAUSE_IMAGE "registry.k8s.io/pause:3.10"

/* Write a docker-archive (as `docker save` makes) with the image to `file`. */
int pause_image_write(const char *file, struct err *err);

#endif
