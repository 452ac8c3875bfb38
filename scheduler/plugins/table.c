#include "scheduler/plugins/plugin.h"

const struct plugin *const plugins[N_PLUGINS] = {
    [PLUGIN_NODE_UNSCHEDULABLE] = &plugin_node_unschedulable,
    [PLUGIN_NODE_NAME] = &plugin_node_name,
    [PLUGIN_TAINT_TOLERATION] = &plugin_taint_toleration,
    [PLUGIN_NODE_AFFINITY] = &plugin_node_affinity,
    [PLUGIN_NODE_PORTS] = &plugin_node_ports,
    [PLUGIN_RESOURCES_FIT] = &plugin_resources_fit,
    [PLUGIN_VOLUME_BINDING] = &plugin_volume_binding,
    [PLUGIN_TOPOLOGY_SPREAD] = &plugin_topology_spread,
    [PLUGIN_INTER_POD_AFFINITY] = &plugin_inter_pod_affinity,
    [PLUGIN_BALANCED_ALLOCATION] = &plugin_balanced_allocation,
    [PLUGIN_IMAGE_LOCALITY] = &plugin_image_locality,
};

void normalize_scores(int64_t *scores, size_t n, bool reverse)
{
    int64_t most = 0;
    for (size_t i = 0; i < n; i++)
        most = scores[i] > most ? scores[i] : most;
    for (size_t i = 0; i < n; i++) {
        int64_t score = most ? SCORE_MAX * scores[i] / most : 0;
        scores[i] = reverse ? SCORE_MAX - score : score;
    }
}
