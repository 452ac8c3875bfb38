/* container: inside of validate: the parts of a container's rules. */
#ifndef SKIFF_OPENAPI_VALIDATE_CONTAINER_H
#define SKIFF_OPENAPI_VALIDATE_CONTAINER_H

#include "openapi/validate/rules.h"

void check_env(struct check *c, at_path at, const struct value *container);
void check_probes(struct check *c, at_path at, const struct value *container, int64_t grace_s);
void check_container_resources(struct check *c, at_path at, const struct value *resources);

#endif
