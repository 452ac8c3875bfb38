/* What the cluster looks like: nodes and pods as the informers tell, turned into changes of the snapshot and the queue.
 */
#include "scheduler/scheduler_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

struct sched_pod *scheduler_find(const struct scheduler *s, struct str uid)
{
    return map_get(&s->by_uid, uid);
}

/* ---- events ---- */

void scheduler_note_event(struct scheduler *s, uint32_t events, struct str node_name)
{
    if (!events || !s->queue.unschedulable.len)
        return;
    s->events |= events;
    for (size_t i = 0; i < s->n_changed_nodes && node_name.len; i++)
        if (str_eq(s->changed_nodes[i], node_name))
            node_name = STR("");
    if (node_name.len && s->n_changed_nodes < CHANGED_NODES_MAX)
        s->changed_nodes[s->n_changed_nodes++] = (struct str){mem_dup(node_name.p, node_name.len), node_name.len};
    else if (node_name.len)
        s->many_nodes = true;
    scheduler_take_turn(s);
}

static bool plugin_helped(struct scheduler *s, const struct plugin *plugin, const struct sched_pod *p)
{
    const uint32_t about_nodes =
        EVENT_NODE_ADD | EVENT_NODE_ALLOCATABLE | EVENT_NODE_LABEL | EVENT_NODE_TAINT | EVENT_POD_DELETE;
    uint32_t events = s->events & plugin->events;
    if (!events)
        return false;
    if (!plugin->hint || s->many_nodes || (events & ~about_nodes))
        return true;
    for (size_t i = 0; i < s->n_changed_nodes; i++) {
        const struct sched_node *n = snapshot_node(&s->snapshot, s->changed_nodes[i]);
        if (n && plugin->hint(p, n, events))
            return true;
    }
    return false;
}

static bool helped(void *arg, const struct sched_pod *p)
{
    struct scheduler *s = arg;
    if (!p->refused_by) /* there were no nodes at all */
        return s->events & EVENT_NODE_ADD;
    for (int i = 0; i < N_PLUGINS; i++)
        if (p->refused_by & 1u << i && plugin_helped(s, plugins[i], p))
            return true;
    return false;
}

void scheduler_apply_events(struct scheduler *s)
{
    if (s->events)
        pod_queue_event(&s->queue, clock_mono_ms(), helped, s);
    for (size_t i = 0; i < s->n_changed_nodes; i++)
        free((void *)s->changed_nodes[i].p);
    s->events = 0;
    s->n_changed_nodes = 0;
    s->many_nodes = false;
}

/* ---- nodes ---- */

static void on_node(void *arg, const struct object *old, const struct object *now)
{
    struct scheduler *s = arg;
    if (now) {
        uint32_t events = snapshot_set_node(&s->snapshot, now, NULL);
        scheduler_note_event(s, events, now->name);
    } else {
        snapshot_remove_node(&s->snapshot, old->name);
        scheduler_note_event(s, EVENT_NODE_DELETE, STR(""));
    }
}

/* ---- pods ---- */

static struct str field(const struct object *o, int at)
{
    return at < o->n_fields ? o->fields[at] : STR("");
}

static bool has_ended(const struct scheduler *s, const struct object *o)
{
    struct str phase = field(o, s->field_phase);
    return str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed");
}

static bool is_ours(const struct scheduler *s, const struct object *o)
{
    return str_eqz(field(o, s->field_scheduler_name), SCHEDULER_NAME);
}

static void forget(struct scheduler *s, struct sched_pod *p)
{
    if (p->node) {
        struct str name = STR("");
        char copy[256];
        if (p->node->name.len < sizeof copy) {
            memcpy(copy, p->node->name.p, p->node->name.len);
            name = (struct str){copy, p->node->name.len};
        }
        snapshot_unplace(&s->snapshot, p);
        scheduler_note_event(s, EVENT_POD_DELETE, name);
    }
    if (p->nominated.len)
        snapshot_nominate(&s->snapshot, p, STR_NULL);
    pod_queue_remove(&s->queue, p);
    map_remove(&s->by_uid, p->object->uid);
    sched_pod_destroy(p, &s->snapshot);
}

static bool same_labels(const struct object *a, const struct object *b)
{
    bool same = a->n_labels == b->n_labels;
    for (size_t i = 0; i < a->n_labels && same; i++)
        same = str_eq(a->labels[i].key, b->labels[i].key) && str_eq(a->labels[i].value, b->labels[i].value);
    return same;
}

/* It is on a node, as the API says: our own decision come true, or somebody else's. */
static void set_placed(struct scheduler *s, struct sched_pod *p, const struct object *now)
{
    struct str node_name = field(now, s->field_node_name);
    uint32_t events = 0;
    if (p->state != POD_PLACED) {
        pod_queue_remove(&s->queue, p);
        if (p->nominated.len)
            snapshot_nominate(&s->snapshot, p, STR_NULL);
        events |= EVENT_POD_ADD;
    }
    bool moved = p->node && !str_eq(p->node->name, node_name);
    bool decode = sched_pod_must_decode(p, now);
    if (p->node && (moved || decode)) {
        snapshot_unplace(&s->snapshot, p);
        events |= EVENT_POD_DELETE; /* it may need less now */
    }
    bool labels = !same_labels(p->object, now);
    sched_pod_update(p, now, &s->snapshot);
    p->state = POD_PLACED;
    if (!p->node)
        snapshot_place(&s->snapshot, p, node_name);
    sched_pod_slim(p);
    scheduler_note_event(s, events | (labels ? EVENT_POD_LABEL : 0), node_name);
}

static void set_waiting(struct scheduler *s, struct sched_pod *p, const struct object *now, bool is_new)
{
    if (p->state == POD_BINDING || p->state == POD_PLACED) { /* an older state than our decision, or its status */
        if (p->state == POD_BINDING && !sched_pod_must_decode(p, now))
            sched_pod_update(p, now, &s->snapshot);
        return;
    }
    bool spec_changed = is_new || p->object->generation != now->generation || !now->generation;
    if (!spec_changed) { /* its status, mostly written by ourselves, or its labels: it stays where it is */
        bool labels = !same_labels(p->object, now);
        sched_pod_update(p, now, &s->snapshot);
        if (labels)
            pod_queue_activate(&s->queue, p, clock_mono_ms());
    } else {
        if (!is_new) {
            pod_queue_remove(&s->queue, p);
            sched_pod_update(p, now, &s->snapshot);
        }
        if (p->state == POD_IDLE)
            pod_queue_add(&s->queue, p);
    }
    scheduler_take_turn(s);
}

static void on_pod(void *arg, const struct object *old, const struct object *now)
{
    struct scheduler *s = arg;
    struct sched_pod *p = scheduler_find(s, (now ? now : old)->uid);
    if (old && now && !str_eq(old->uid, now->uid)) { /* a namesake took its place between two reports */
        on_pod(arg, old, NULL);
        old = NULL;
    }
    bool placed = now && field(now, s->field_node_name).len;
    if (!now || has_ended(s, now) || (!placed && (!is_ours(s, now) || now->deletion_s))) {
        if (p)
            forget(s, p);
        return;
    }
    bool is_new = !p;
    if (is_new) {
        p = sched_pod_create(now, &s->snapshot);
        map_put(&s->by_uid, now->uid, p);
    }
    if (placed)
        set_placed(s, p, now);
    else
        set_waiting(s, p, now, is_new);
}

/* ---- what plugins look up ---- */

static void on_namespace(void *arg, const struct object *old, const struct object *now)
{
    (void)old;
    if (now)
        scheduler_note_event(arg, EVENT_NAMESPACE, STR(""));
}

static void on_storage(void *arg, const struct object *old, const struct object *now)
{
    (void)old;
    if (now)
        scheduler_note_event(arg, EVENT_STORAGE, STR(""));
}

static const struct object *lookup(void *arg, enum lookup_kind kind, struct str namespace_, struct str name)
{
    static const int watches[] = {[LOOKUP_NAMESPACE] = WATCH_NAMESPACES,
                                  [LOOKUP_CLAIM] = WATCH_CLAIMS,
                                  [LOOKUP_VOLUME] = WATCH_VOLUMES,
                                  [LOOKUP_STORAGE_CLASS] = WATCH_STORAGE_CLASSES};
    struct scheduler *s = arg;
    struct object_tree *t = informer_snapshot(s->informers[watches[kind]]);
    const struct object *o = object_tree_find(t, namespace_, name);
    object_tree_put(t); /* the informer's own reference holds it until the loop goes on */
    return o;
}

/* ---- life ---- */

static void on_synced(void *arg)
{
    scheduler_take_turn(arg);
}

static int selectable_at(const struct resource *r, const char *path)
{
    const char *const *fields = resource_storage_version(r)->selectable;
    int at = 0;
    while (strcmp(fields[at], path) != 0)
        at++;
    return at;
}

static const struct {
    const char *group, *resource;
    void (*on_change)(void *arg, const struct object *old, const struct object *now);
} watched[N_WATCHES] = {
    [WATCH_NAMESPACES] = {"", "namespaces", on_namespace},
    [WATCH_NODES] = {"", "nodes", on_node},
    [WATCH_PODS] = {"", "pods", on_pod},
    [WATCH_BUDGETS] = {"policy", "poddisruptionbudgets", NULL},
    [WATCH_CLAIMS] = {"", "persistentvolumeclaims", on_storage},
    [WATCH_VOLUMES] = {"", "persistentvolumes", on_storage},
    [WATCH_STORAGE_CLASSES] = {"storage.k8s.io", "storageclasses", on_storage},
};

void scheduler_watch(struct scheduler *s)
{
    s->pod_resource = resource_find(STR(""), STR("pods"));
    s->field_node_name = selectable_at(s->pod_resource, "spec.nodeName");
    s->field_scheduler_name = selectable_at(s->pod_resource, "spec.schedulerName");
    s->field_phase = selectable_at(s->pod_resource, "status.phase");
    for (int i = 0; i < N_WATCHES; i++) {
        struct informer_options opt = {.resource =
                                           resource_find(str_from(watched[i].group), str_from(watched[i].resource)),
                                       .on_change = watched[i].on_change,
                                       .on_synced = on_synced,
                                       .arg = s};
        s->informers[i] = client_informer(s->client, &opt);
    }
    s->snapshot.lookup = lookup;
    s->snapshot.lookup_arg = s;
}

void scheduler_unwatch(struct scheduler *s)
{
    for (int i = 0; i < N_WATCHES; i++)
        informer_destroy(s->informers[i]);
}

bool scheduler_synced(const struct scheduler *s)
{
    for (int i = 0; i < N_WATCHES; i++)
        if (!informer_synced(s->informers[i]))
            return false;
    return true;
}

void scheduler_forget_all(struct scheduler *s)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &s->by_uid);
    while (map_iter_next(&it, &key, &value)) {
        struct sched_pod *p = value;
        if (p->nominated.len)
            snapshot_nominate(&s->snapshot, p, STR_NULL);
        snapshot_unplace(&s->snapshot, p);
        sched_pod_destroy(p, &s->snapshot);
    }
    map_finish(&s->by_uid);
    scheduler_apply_events(s);
}
