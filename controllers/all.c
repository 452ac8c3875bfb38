#include "controllers/controllers.h"

#include <stddef.h>

const struct controller *const *controllers_all(void)
{
    static const struct controller *const all[] = {&deployment_controller, &replicaset_controller, &endpointslice_controller, NULL};
    return all;
}
