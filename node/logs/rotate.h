/* rotate: keeps containers' log files small: past 10 MiB a file is renamed with the time, the runtime opens a new one,
 * and at most five files of a container stay. */
#ifndef SKIFF_NODE_LOGS_ROTATE_H
#define SKIFF_NODE_LOGS_ROTATE_H

#include "node/state.h"

struct log_rotation *log_rotation_create(struct agent *a);
void log_rotation_destroy(struct log_rotation *r);

#endif
