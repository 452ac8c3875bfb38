#include "scheduler/cycle.h"

const struct plugin plugin_topology_spread = {.name = "PodTopologySpread"};
