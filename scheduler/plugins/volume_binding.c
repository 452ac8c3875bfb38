/* volume binding: a pod waits until its claims exist and are bound, and then goes only where their volumes can be used.
 * Claims whose class binds at first use (WaitForFirstConsumer) would have to be given a volume here; that is still
 * missing: until somebody else binds them no node will do. */
#include "scheduler/cycle.h"

struct volumes {
    const struct core_v1_node_selector **selectors; /* of the volumes that may be used on some nodes only */
    size_t len;
    bool unbound; /* a claim waits for its first consumer */
};

static enum plugin_answer refuse(struct cycle *c, struct str why)
{
    c->refusal = why;
    c->refusal_final = true;
    return PLUGIN_REFUSE;
}

static bool waits_for_consumer(const struct cycle *c, const struct core_v1_persistent_volume_claim *claim)
{
    const struct object *o =
        snapshot_lookup(c->snapshot, LOOKUP_STORAGE_CLASS, STR(""), claim->spec->storage_class_name);
    const struct storage_v1_storage_class *class = o ? view_object(c->arena, o) : NULL;
    return class && str_eqz(class->volume_binding_mode, "WaitForFirstConsumer");
}

static bool is_bound(const struct core_v1_persistent_volume_claim *claim)
{
    return claim->spec->volume_name.len &&
           view_map_get(claim->metadata->annotations, STR("pv.kubernetes.io/bind-completed")).p;
}

static void add_volume(struct cycle *c, struct volumes *v, struct str name)
{
    const struct object *o = snapshot_lookup(c->snapshot, LOOKUP_VOLUME, STR(""), name);
    const struct core_v1_persistent_volume *volume = o ? view_object(c->arena, o) : NULL;
    if (volume && volume->spec->node_affinity && volume->spec->node_affinity->required)
        v->selectors[v->len++] = volume->spec->node_affinity->required;
}

static enum plugin_answer pre_filter(struct cycle *c)
{
    const struct pod_constraints *own = c->pod->constraints;
    if (!own || !own->n_claims)
        return PLUGIN_SKIP;
    struct volumes *v = ARENA_NEW(c->arena, struct volumes);
    v->selectors = ARENA_ARRAY(c->arena, const struct core_v1_node_selector *, own->n_claims);
    bool immediate = false;
    for (size_t i = 0; i < own->n_claims; i++) {
        struct str name = own->claims[i].name;
        const struct object *o = snapshot_lookup(c->snapshot, LOOKUP_CLAIM, c->pod->object->namespace_, name);
        if (!o && own->claims[i].ephemeral)
            return refuse(c, arena_printf(c->arena,
                                          "waiting for ephemeral volume controller to create the "
                                          "persistentvolumeclaim \"" STR_FMT "\"",
                                          STR_ARG(name)));
        if (!o)
            return refuse(c, arena_printf(c->arena, "persistentvolumeclaim \"" STR_FMT "\" not found", STR_ARG(name)));
        const struct core_v1_persistent_volume_claim *claim = view_object(c->arena, o);
        if (str_eqz(claim->status->phase, "Lost"))
            return refuse(c, arena_printf(c->arena,
                                          "persistentvolumeclaim \"" STR_FMT "\" bound to non-existent "
                                          "persistentvolume \"" STR_FMT "\"",
                                          STR_ARG(name), STR_ARG(claim->spec->volume_name)));
        if (o->deletion_s)
            return refuse(
                c, arena_printf(c->arena, "persistentvolumeclaim \"" STR_FMT "\" is being deleted", STR_ARG(name)));
        if (is_bound(claim))
            add_volume(c, v, claim->spec->volume_name);
        else if (!claim->spec->volume_name.len && waits_for_consumer(c, claim))
            v->unbound = true;
        else
            immediate = true;
    }
    if (immediate)
        return refuse(c, STR("pod has unbound immediate PersistentVolumeClaims"));
    c->state[PLUGIN_VOLUME_BINDING] = v;
    return v->len || v->unbound ? PLUGIN_GO : PLUGIN_SKIP;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    const struct volumes *v = c->state[PLUGIN_VOLUME_BINDING];
    uint64_t reasons = v->unbound ? (uint64_t)1 << REASON_VOLUME_BIND : 0;
    for (size_t i = 0; i < v->len; i++)
        if (!node_selector_matches(v->selectors[i], n))
            reasons |= (uint64_t)1 << REASON_VOLUME_NODE_AFFINITY;
    return (struct verdict){reasons, true};
}

const struct plugin plugin_volume_binding = {.name = "VolumeBinding",
                                             .events = EVENT_STORAGE | EVENT_NODE_ADD | EVENT_NODE_LABEL,
                                             .pre_filter = pre_filter,
                                             .filter = filter};
