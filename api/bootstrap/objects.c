/* The other objects of a fresh cluster, each as the JSON that stands beside its name. */
#include "api/bootstrap/tables.h"

#define CORE ""
#define SCHEDULING "scheduling.k8s.io"
#define FLOW "flowcontrol.apiserver.k8s.io"
#define REGISTRATION "apiregistration.k8s.io"

const struct bootstrap_object bootstrap_objects[] = {
    /* group, resource, namespace, name, the rest */
    {CORE, "namespaces", NULL, "default",
     "{\"metadata\":{\"labels\":{\"kubernetes.io/metadata.name\":\"default\"}},"
     "\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}"},
    {CORE, "namespaces", NULL, "kube-node-lease",
     "{\"metadata\":{\"labels\":{\"kubernetes.io/metadata.name\":\"kube-node-lease\"}},"
     "\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}"},
    {CORE, "namespaces", NULL, "kube-public",
     "{\"metadata\":{\"labels\":{\"kubernetes.io/metadata.name\":\"kube-public\"}},"
     "\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}"},
    {CORE, "namespaces", NULL, "kube-system",
     "{\"metadata\":{\"labels\":{\"kubernetes.io/metadata.name\":\"kube-system\"}},"
     "\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}"},
    {SCHEDULING, "priorityclasses", NULL, "system-cluster-critical",
     "{\"metadata\":{\"generation\":1},\"value\":2000000000,"
     "\"description\":\"Used for system critical pods that must run in the cluster,"
     " but can be moved to another node if necessary.\",\"preemptionPolicy\":\"PreemptLowerPriority\"}"},
    {SCHEDULING, "priorityclasses", NULL, "system-node-critical",
     "{\"metadata\":{\"generation\":1},\"value\":2000001000,"
     "\"description\":\"Used for system critical pods that must not be moved from their current node.\","
     "\"preemptionPolicy\":\"PreemptLowerPriority\"}"},
    {FLOW, "flowschemas", NULL, "exempt",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"exempt\"},\"matchingPrecedence\":1,"
     "\"rules\":[{\"subjects\":[{\"kind\":\"Group\",\"group\":{\"name\":\"system:masters\"}}],"
     "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,"
     "\"namespaces\":[\"*\"]}],\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"exempt\\\" and it "
     "exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "probes",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"exempt\"},\"matchingPrecedence\":2,"
     "\"rules\":[{\"subjects\":[{\"kind\":\"Group\",\"group\":{\"name\":\"system:unauthenticated\"}},"
     "{\"kind\":\"Group\",\"group\":{\"name\":\"system:authenticated\"}}],"
     "\"nonResourceRules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/readyz\",\"/livez\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"exempt\\\" and it "
     "exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "system-leader-election",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"leader-election\"},\"matchingPrecedence\":100,"
     "\"distinguisherMethod\":{\"type\":\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"User\","
     "\"user\":{\"name\":\"system:kube-controller-manager\"}},{\"kind\":\"User\","
     "\"user\":{\"name\":\"system:kube-scheduler\"}},{\"kind\":\"ServiceAccount\","
     "\"serviceAccount\":{\"namespace\":\"kube-system\",\"name\":\"*\"}}],\"resourceRules\":[{\"verbs\":[\"get\","
     "\"create\",\"update\"],\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],"
     "\"namespaces\":[\"*\"]}]}]},\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"leader-election\\\" and "
     "it exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "system-node-high",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"node-high\"},\"matchingPrecedence\":400,"
     "\"distinguisherMethod\":{\"type\":\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:nodes\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],"
     "\"resources\":[\"nodes\",\"nodes/status\"],\"clusterScope\":true,\"namespaces\":[\"*\"]},{\"verbs\":[\"*\"],"
     "\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],\"namespaces\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"node-high\\\" and it "
     "exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "system-nodes",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"system\"},\"matchingPrecedence\":500,"
     "\"distinguisherMethod\":{\"type\":\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:nodes\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],"
     "\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"system\\\" and it "
     "exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "kube-controller-manager",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"workload-high\"},\"matchingPrecedence\":800,"
     "\"distinguisherMethod\":{\"type\":\"ByNamespace\"},\"rules\":[{\"subjects\":[{\"kind\":\"User\","
     "\"user\":{\"name\":\"system:kube-controller-manager\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],"
     "\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"workload-high\\\" and "
     "it exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "kube-scheduler",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"workload-high\"},\"matchingPrecedence\":800,"
     "\"distinguisherMethod\":{\"type\":\"ByNamespace\"},\"rules\":[{\"subjects\":[{\"kind\":\"User\","
     "\"user\":{\"name\":\"system:kube-scheduler\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],"
     "\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"workload-high\\\" and "
     "it exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "kube-system-service-accounts",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"workload-high\"},\"matchingPrecedence\":900,"
     "\"distinguisherMethod\":{\"type\":\"ByNamespace\"},\"rules\":[{\"subjects\":[{\"kind\":\"ServiceAccount\","
     "\"serviceAccount\":{\"namespace\":\"kube-system\",\"name\":\"*\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],"
     "\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"workload-high\\\" and "
     "it exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "service-accounts",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"workload-low\"},\"matchingPrecedence\":9000,"
     "\"distinguisherMethod\":{\"type\":\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:serviceaccounts\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],"
     "\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"workload-low\\\" and it "
     "exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "global-default",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"global-default\"},\"matchingPrecedence\":9900,"
     "\"distinguisherMethod\":{\"type\":\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:unauthenticated\"}},{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:authenticated\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],"
     "\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"global-default\\\" and "
     "it exists\"}]}}"},
    {FLOW, "flowschemas", NULL, "catch-all",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"catch-all\"},\"matchingPrecedence\":10000,"
     "\"distinguisherMethod\":{\"type\":\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:unauthenticated\"}},{\"kind\":\"Group\","
     "\"group\":{\"name\":\"system:authenticated\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],"
     "\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]}]},"
     "\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"False\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Found\","
     "\"message\":\"This FlowSchema references the PriorityLevelConfiguration object named \\\"catch-all\\\" and it "
     "exists\"}]}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "catch-all",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":5,"
     "\"limitResponse\":{\"type\":\"Reject\"},\"lendablePercent\":0}},\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "exempt",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Exempt\",\"exempt\":{\"nominalConcurrencyShares\":0,\"lendablePercent\":0}},"
     "\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "global-default",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":20,"
     "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":128,\"handSize\":6,\"queueLengthLimit\":50}},"
     "\"lendablePercent\":50}},\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "leader-election",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":10,"
     "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":16,\"handSize\":4,\"queueLengthLimit\":50}},"
     "\"lendablePercent\":0}},\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "node-high",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":40,"
     "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":64,\"handSize\":6,\"queueLengthLimit\":50}},"
     "\"lendablePercent\":25}},\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "system",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":30,"
     "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":64,\"handSize\":6,\"queueLengthLimit\":50}},"
     "\"lendablePercent\":33}},\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "workload-high",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":40,"
     "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":128,\"handSize\":6,\"queueLengthLimit\":50}},"
     "\"lendablePercent\":50}},\"status\":{}}"},
    {FLOW, "prioritylevelconfigurations", NULL, "workload-low",
     "{\"metadata\":{\"generation\":1,\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},"
     "\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":100,"
     "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":128,\"handSize\":6,\"queueLengthLimit\":50}},"
     "\"lendablePercent\":90}},\"status\":{}}"},
    {REGISTRATION, "apiservices", NULL, "v1.",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"version\":\"v1\",\"groupPriorityMinimum\":18000,\"versionPriority\":1},"
     "\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Local\",\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.admissionregistration.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"admissionregistration.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16700,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.apiextensions.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"apiextensions.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16700,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.apps",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"apps\",\"version\":\"v1\",\"groupPriorityMinimum\":17800,\"versionPriority\":15},"
     "\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Local\",\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.authentication.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"authentication.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":17700,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.authorization.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"authorization.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":17600,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.autoscaling",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"autoscaling\",\"version\":\"v1\",\"groupPriorityMinimum\":17500,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.batch",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"batch\",\"version\":\"v1\",\"groupPriorityMinimum\":17400,\"versionPriority\":15},"
     "\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Local\",\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.certificates.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"certificates.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":17300,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.coordination.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"coordination.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16500,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.discovery.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"discovery.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16200,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.events.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"events.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":17750,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.flowcontrol.apiserver.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"flowcontrol.apiserver.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16100,"
     "\"versionPriority\":21},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.networking.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"networking.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":17200,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.node.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"node.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16300,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.policy",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"policy\",\"version\":\"v1\",\"groupPriorityMinimum\":17100,\"versionPriority\":15},"
     "\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\",\"lastTransitionTime\":\"NOW\","
     "\"reason\":\"Local\",\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.rbac.authorization.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"rbac.authorization.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":17000,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.resource.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"resource.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16200,"
     "\"versionPriority\":21},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.scheduling.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"scheduling.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16600,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v1.storage.k8s.io",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"storage.k8s.io\",\"version\":\"v1\",\"groupPriorityMinimum\":16800,"
     "\"versionPriority\":15},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {REGISTRATION, "apiservices", NULL, "v2.autoscaling",
     "{\"metadata\":{\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":\"onstart\"}},"
     "\"spec\":{\"group\":\"autoscaling\",\"version\":\"v2\",\"groupPriorityMinimum\":17500,"
     "\"versionPriority\":30},\"status\":{\"conditions\":[{\"type\":\"Available\",\"status\":\"True\","
     "\"lastTransitionTime\":\"NOW\",\"reason\":\"Local\","
     "\"message\":\"Local APIServices are always available\"}]}}"},
    {0},
};
