#include "scheduler/cycle.h"

const struct plugin plugin_inter_pod_affinity = {.name = "InterPodAffinity"};
