#include "controllers/deployment/revisions.h"

#include "controllers/pods/pod_control.h"
#include "openapi/json.h"

#include <inttypes.h>
#include <stdlib.h>

#define DESIRED_ANNOTATION "deployment.kubernetes.io/desired-replicas"
#define MAX_ANNOTATION "deployment.kubernetes.io/max-replicas"
#define HISTORY_ANNOTATION "deployment.kubernetes.io/revision-history"
#define DEFAULT_HISTORY 10

struct str annotation_of(const struct meta_v1_object_meta *meta, const char *key)
{
    for (size_t i = 0; meta && i < meta->annotations.len; i++) {
        if (str_eqz(meta->annotations.items[i].key, key))
            return meta->annotations.items[i].value;
    }
    return STR_NULL;
}

/* The template without the label that only ReplicaSets carry. */
static struct value *bare_template(struct arena *a, const struct object *o)
{
    struct value *template = value_path(object_value(a, o), "spec.template");
    struct value *labels = value_path(template, "metadata.labels");
    if (labels)
        value_removez(labels, HASH_LABEL);
    return template;
}

static int by_age(const void *a, const void *b)
{
    const struct object *x = ((const struct set *)a)->object, *y = ((const struct set *)b)->object;
    if (x->creation_s != y->creation_s)
        return x->creation_s < y->creation_s ? -1 : 1;
    return str_cmp(x->name, y->name);
}

void revisions_find(struct arena *a, struct rollout *r, struct set *sets, size_t n)
{
    struct value *wanted = bare_template(a, r->object);
    qsort(sets, n, sizeof *sets, by_age);
    r->old = ARENA_ARRAY(a, struct set, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (!r->current && value_semantic_equal(wanted, bare_template(a, sets[i].object)))
            r->current = &sets[i]; /* the oldest, should there ever be two */
        else
            r->old[r->n_old++] = sets[i];
    }
}

int64_t revisions_max_old(const struct rollout *r)
{
    int64_t max = 0;
    for (size_t i = 0; i < r->n_old; i++)
        max = r->old[i].revision > max ? r->old[i].revision : max;
    return max;
}

/* What identifies a template, short enough for names and labels. */
static struct str template_hash(struct arena *a, const struct rollout *r)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    struct buf text = {0};
    json_encode(&text, bare_template(a, r->object));
    if (r->deployment->status->collision_count)
        buf_add_i64(&text, r->deployment->status->collision_count);
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 16777619u;
    buf_free(&text);
    struct str digits = arena_printf(a, "%" PRIu32, hash);
    char *safe = arena_memdup(a, digits.p, digits.len + 1);
    for (size_t i = 0; i < digits.len; i++)
        safe[i] = alphabet[(unsigned char)safe[i] % (sizeof alphabet - 1)];
    return (struct str){safe, digits.len};
}

static bool is_copied(struct str key)
{
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                      REVISION_ANNOTATION,
                                      HISTORY_ANNOTATION,
                                      DESIRED_ANNOTATION,
                                      MAX_ANNOTATION,
                                      "deprecated.deployment.rollback.to"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (str_eqz(key, own[i]))
            return false;
    }
    return true;
}

static struct value *number(struct arena *a, int64_t n)
{
    return value_string(a, arena_printf(a, "%" PRId64, n));
}

static struct value *annotations(struct arena *a, const struct rollout *r, int64_t revision)
{
    struct value *map = value_map(a);
    const struct meta_v1_object_meta *meta = r->deployment->metadata;
    for (size_t i = 0; i < meta->annotations.len; i++) {
        if (is_copied(meta->annotations.items[i].key))
            value_set(a, map, meta->annotations.items[i].key, value_string(a, meta->annotations.items[i].value));
    }
    value_setz(a, map, REVISION_ANNOTATION, number(a, revision));
    value_setz(a, map, DESIRED_ANNOTATION, number(a, r->replicas));
    value_setz(a, map, MAX_ANNOTATION, number(a, r->replicas + r->max_surge));
    return map;
}

struct str revisions_name(const struct rollout *r, struct arena *a)
{
    return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(r->object->name), STR_ARG(template_hash(a, r)));
}

void revisions_create(const struct rollout *r, struct str name, struct outcome *out)
{
    struct arena *a = out->arena;
    struct str hash = str_sub(name, r->object->name.len + 1, name.len);
    struct value *template = bare_template(a, r->object), *body = value_map(a), *owners = value_list(a);
    struct value *selector = value_path(object_value(a, r->object), "spec.selector");
    int64_t replicas = rollout_first_replicas(r);
    value_set(a, value_ensure_map(a, value_ensure_map(a, template, "metadata"), "labels"), STR(HASH_LABEL),
              value_string(a, hash));
    value_set(a, value_ensure_map(a, selector, "matchLabels"), STR(HASH_LABEL), value_string(a, hash));
    value_append(a, owners, controller_reference(a, r->object));
    value_setz(a, body, "apiVersion", value_stringz(a, "apps/v1"));
    value_setz(a, body, "kind", value_stringz(a, "ReplicaSet"));
    value_set_path(a, body, "metadata.name", value_string(a, name));
    value_set_path(a, body, "metadata.namespace", value_string(a, r->object->namespace_));
    value_set_path(a, body, "metadata.labels", value_copy(a, value_path(template, "metadata.labels")));
    value_set_path(a, body, "metadata.annotations", annotations(a, r, revisions_max_old(r) + 1));
    value_set_path(a, body, "metadata.ownerReferences", owners);
    value_set_path(a, body, "spec.replicas", value_int(a, replicas));
    if (r->deployment->spec->min_ready_seconds)
        value_set_path(a, body, "spec.minReadySeconds", value_int(a, r->deployment->spec->min_ready_seconds));
    value_set_path(a, body, "spec.selector", selector);
    value_set_path(a, body, "spec.template", template);
    struct write *w = outcome_create(out, resource_find(STR("apps"), STR("replicasets")), r->object->namespace_, body);
    if (replicas > 0)
        w->on_success = (struct reconcile_event){
            r->object, "Normal", "ScalingReplicaSet",
            arena_printf(a, "Scaled up replica set " STR_FMT " from 0 to %" PRId64, STR_ARG(name), replicas)};
    w->accept = 1u << -ERR_ALREADY_EXISTS; /* the next run sees whose it is */
    w->on_failure =
        (struct reconcile_event){r->object, "Warning", "ReplicaSetCreateError",
                                 arena_printf(a, "Failed to create new replica set \"" STR_FMT "\": ", STR_ARG(name))};
}

/* The revisions a set had before, for `kubectl rollout history` and people: "1,3". */
static struct str past_revisions(struct arena *a, const struct set *s)
{
    struct str past = annotation_of(s->rs->metadata, HISTORY_ANNOTATION),
               last = annotation_of(s->rs->metadata, REVISION_ANNOTATION);
    return past.len ? arena_printf(a, STR_FMT "," STR_FMT, STR_ARG(past), STR_ARG(last)) : last;
}

void revisions_update(const struct rollout *r, const struct set *s, struct outcome *out)
{
    struct arena *a = out->arena;
    bool current = s == r->current;
    int64_t revision = s->revision, newest = revisions_max_old(r) + 1;
    struct value *patch = value_map(a);
    bool changed = false;
    if (current && revision < newest)
        revision = newest; /* rolled back: an old template is the newest again */
    if (s->replicas != s->was) {
        value_set_path(a, patch, "spec.replicas", value_int(a, s->replicas));
        changed = true;
    }
    struct value *wanted = annotations(a, r, revision);
    if (current && s->revision && revision > s->revision)
        value_setz(a, wanted, HISTORY_ANNOTATION, value_string(a, past_revisions(a, s)));
    for (size_t i = 0; i < wanted->map.len; i++) {
        struct str key = wanted->map.members[i].key, value = value_str(wanted->map.members[i].value);
        bool counts = str_eqz(key, DESIRED_ANNOTATION) || str_eqz(key, MAX_ANNOTATION);
        if (!current && !counts) /* old sets keep their own past; only the counts follow */
            continue;
        if (!current && s->replicas == 0 && s->was == 0)
            continue;
        if (str_eq(view_map_get(s->rs->metadata->annotations, key), value))
            continue;
        value_set(a, value_ensure_map(a, value_ensure_map(a, patch, "metadata"), "annotations"), key,
                  value_string(a, value));
        changed = true;
    }
    if (current && s->rs->spec->min_ready_seconds != r->deployment->spec->min_ready_seconds) {
        value_set_path(a, patch, "spec.minReadySeconds", value_int(a, r->deployment->spec->min_ready_seconds));
        changed = true;
    }
    if (!changed)
        return;
    struct write *w = outcome_patch(out, s->object, NULL, patch);
    if (s->replicas != s->was)
        w->on_success = (struct reconcile_event){
            r->object, "Normal", "ScalingReplicaSet",
            arena_printf(a, "Scaled %s replica set " STR_FMT " from %" PRId64 " to %" PRId64,
                         s->replicas > s->was ? "up" : "down", STR_ARG(s->object->name), s->was, s->replicas)};
}

static int by_revision(const void *a, const void *b)
{
    const struct set *x = *(const struct set *const *)a, *y = *(const struct set *const *)b;
    return x->revision < y->revision ? -1 : x->revision > y->revision;
}

void revisions_clean_up(const struct rollout *r, struct outcome *out)
{
    const struct apps_v1_deployment_spec *spec = r->deployment->spec;
    int64_t keep = spec->has_revision_history_limit ? spec->revision_history_limit : DEFAULT_HISTORY;
    const struct set **idle = ARENA_ARRAY(out->arena, const struct set *, r->n_old + 1);
    size_t n = 0;
    for (size_t i = 0; i < r->n_old; i++) {
        if (!r->old[i].object->deletion_s)
            idle[n++] = &r->old[i];
    }
    qsort(idle, n, sizeof *idle, by_revision);
    for (size_t i = 0; (int64_t)(n - i) > keep; i++) {
        const struct set *s = idle[i];
        if (s->was == 0 && s->replicas == 0 && s->actual == 0 &&
            s->rs->status->observed_generation >= s->object->generation)
            outcome_delete(out, s->object);
    }
}
