/* controllers: every controller there is, each in a folder of its own (controllers/runtime/controller.h says what one
 * is). controllers_all() answers them in the order they start.
 */
#ifndef SKIFF_CONTROLLERS_CONTROLLERS_H
#define SKIFF_CONTROLLERS_CONTROLLERS_H

#include "controllers/runtime/controller.h"

extern const struct controller cronjob_controller, daemonset_controller, deployment_controller, endpoints_controller,
    endpointslice_controller, garbagecollector_controller, job_controller, namespace_controller, nodeipam_controller,
    nodelifecycle_controller, podgc_controller, replicaset_controller, rootca_controller, serviceaccount_controller,
    statefulset_controller, tainteviction_controller;

#endif
