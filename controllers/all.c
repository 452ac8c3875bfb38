#include "controllers/controllers.h"

#include <stddef.h>

const struct controller *const *controllers_all(void)
{
    static const struct controller *const all[] = {
        &namespace_controller,
        &serviceaccount_controller,
        &rootca_controller,
        &nodeipam_controller,
        &nodelifecycle_controller,
        &tainteviction_controller,
        &daemonset_controller,
        &job_controller,
        &statefulset_controller,
        &cronjob_controller,
        &deployment_controller,
        &replicaset_controller,
        &endpointslice_controller,
        &endpoints_controller,
        &podgc_controller,
        &garbagecollector_controller,
        NULL,
    };
    return all;
}
