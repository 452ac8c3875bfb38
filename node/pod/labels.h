/* labels: the keys under which pods' sandboxes and containers are marked in the runtime: stock kubelet's own, so that
 * crictl shows them and state survives a restart of the agent. */
#ifndef SKIFF_NODE_POD_LABELS_H
#define SKIFF_NODE_POD_LABELS_H

#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"

#define ANNOTATION_HASH "io.kubernetes.container.hash"
#define ANNOTATION_RESTART_COUNT "io.kubernetes.container.restartCount"
#define ANNOTATION_TERMINATION_PATH "io.kubernetes.container.terminationMessagePath"
#define ANNOTATION_TERMINATION_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define ANNOTATION_GRACE "io.kubernetes.pod.terminationGracePeriod"
#define ANNOTATION_CONFIG_SOURCE "kubernetes.io/config.source"
#define ANNOTATION_CONFIG_SEEN "kubernetes.io/config.seen"

#endif
