#include "api/registry/registry.h"

static void set_label(struct arena *a, struct value *labels, const char *key, struct str value)
{
    value_setz(a, labels, key, value_string(a, value));
}

/* A Job finds its pods by its own uid unless its author takes that over. */
static void generate_selector(struct registry_call *c, struct value *v)
{
    struct arena *a = c->arena;
    if (value_path_bool(v, "spec.manualSelector", false))
        return;
    struct str uid = value_path_str(v, "metadata.uid"), name = value_path_str(v, "metadata.name");
    struct value *labels = value_ensure_map(a, v, "spec.template.metadata.labels");
    set_label(a, labels, "controller-uid", uid);
    set_label(a, labels, "batch.kubernetes.io/controller-uid", uid);
    set_label(a, labels, "job-name", name);
    set_label(a, labels, "batch.kubernetes.io/job-name", name);
    set_label(a, value_ensure_map(a, v, "spec.selector.matchLabels"), "batch.kubernetes.io/controller-uid", uid);
}

const struct registry_rules registry_jobs = {
    .group = "batch", .resource = "jobs", .flags = REGISTRY_GENERATION, .prepare_create = generate_selector};
