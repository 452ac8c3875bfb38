#include "controllers/deployment/rollout.h"

#include <stdlib.h>

#define DESIRED_ANNOTATION "deployment.kubernetes.io/desired-replicas"
#define MAX_ANNOTATION "deployment.kubernetes.io/max-replicas"
#define LIVE_MAX 64 /* sets with pods at the same time */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t resolve(const struct int_or_string *v, int64_t of, bool up, int64_t otherwise_percent)
{
    int64_t percent = otherwise_percent;
    if (v && v->present) {
        if (!v->is_string)
            return v->integer;
        struct str digits = str_sub(v->string, 0, v->string.len ? v->string.len - 1 : 0);
        if (!str_to_i64(digits, &percent))
            percent = 0;
    }
    return (percent * of + (up ? 99 : 0)) / 100;
}

void rollout_limits(struct rollout *r)
{
    const struct apps_v1_deployment_strategy *strategy = r->deployment->spec->strategy;
    const struct apps_v1_rolling_update_deployment *rolling = strategy ? strategy->rolling_update : NULL;
    if (strategy && str_eqz(strategy->type, "Recreate"))
        return;
    r->max_surge = resolve(rolling ? &rolling->max_surge : NULL, r->replicas, true, 25);
    r->max_unavailable = resolve(rolling ? &rolling->max_unavailable : NULL, r->replicas, false, 25);
    if (r->max_surge == 0 && r->max_unavailable == 0)
        r->max_unavailable = 1; /* rounding left no room to move */
}

int64_t rollout_max_unavailable(const struct rollout *r)
{
    return smaller(r->max_unavailable, r->replicas);
}

static int64_t old_replicas(const struct rollout *r)
{
    int64_t sum = 0;
    for (size_t i = 0; i < r->n_old; i++)
        sum += r->old[i].replicas;
    return sum;
}

static int64_t room_for_new(const struct rollout *r, int64_t have)
{
    if (r->deployment->spec->strategy && str_eqz(r->deployment->spec->strategy->type, "Recreate"))
        return r->replicas;
    int64_t total = old_replicas(r) + have, most = r->replicas + r->max_surge;
    if (total >= most)
        return have;
    return have + smaller(most - total, larger(r->replicas - have, 0));
}

int64_t rollout_first_replicas(const struct rollout *r)
{
    return room_for_new(r, 0);
}

/* ---- rolling update ---- */

static bool scale_new(struct rollout *r)
{
    struct set *s = r->current;
    if (s->replicas == r->replicas)
        return false;
    int64_t to = s->replicas > r->replicas ? r->replicas : room_for_new(r, s->replicas);
    bool changed = to != s->replicas;
    s->replicas = to;
    return changed;
}

/* Old pods that do not work protect nothing: they go first. */
static int64_t clean_up_unhealthy(struct rollout *r, int64_t most)
{
    int64_t gone = 0;
    for (size_t i = 0; i < r->n_old && gone < most; i++) {
        struct set *s = &r->old[i];
        int64_t unhealthy = smaller(most - gone, s->replicas - s->available);
        if (s->replicas == 0 || unhealthy <= 0)
            continue;
        s->replicas -= unhealthy;
        gone += unhealthy;
    }
    return gone;
}

static void scale_old_down(struct rollout *r)
{
    int64_t available = r->current ? r->current->available : 0;
    for (size_t i = 0; i < r->n_old; i++)
        available += r->old[i].available;
    int64_t least = r->replicas - rollout_max_unavailable(r), spare = available - least;
    for (size_t i = 0; i < r->n_old && spare > 0; i++) {
        int64_t down = smaller(r->old[i].replicas, spare);
        r->old[i].replicas -= down;
        spare -= down;
    }
}

static void reconcile_old(struct rollout *r)
{
    int64_t old = old_replicas(r), least = r->replicas - rollout_max_unavailable(r);
    if (old == 0 || !r->current)
        return;
    int64_t new_unavailable = r->current->replicas - r->current->available;
    int64_t most_down = old + r->current->replicas - least - new_unavailable;
    if (most_down <= 0)
        return;
    clean_up_unhealthy(r, most_down);
    scale_old_down(r);
}

void rollout_rolling_update(struct rollout *r)
{
    if (r->current && scale_new(r))
        return; /* the old ones follow when this has been seen */
    reconcile_old(r);
}

bool rollout_recreate_scale_down(struct rollout *r)
{
    bool changed = false;
    for (size_t i = 0; i < r->n_old; i++) {
        changed = changed || r->old[i].replicas > 0;
        r->old[i].replicas = 0;
    }
    return changed;
}

/* ---- scaling ---- */

static int64_t annotated(const struct set *s, const char *name)
{
    int64_t n = -1;
    for (size_t i = 0; i < s->rs->metadata->annotations.len; i++) {
        if (str_eqz(s->rs->metadata->annotations.items[i].key, name))
            str_to_i64(s->rs->metadata->annotations.items[i].value, &n);
    }
    return n;
}

/* The sets that have pods, the current one first. */
static size_t live_sets(const struct rollout *r, struct set **ret, size_t most)
{
    size_t n = 0;
    if (r->current && r->current->replicas > 0)
        ret[n++] = r->current;
    for (size_t i = 0; i < r->n_old && n < most; i++) {
        if (r->old[i].replicas > 0)
            ret[n++] = &r->old[i];
    }
    return n;
}

bool rollout_is_scaled(const struct rollout *r)
{
    struct set *live[LIVE_MAX];
    size_t n = live_sets(r, live, LIVE_MAX);
    for (size_t i = 0; i < n; i++) {
        int64_t desired = annotated(live[i], DESIRED_ANNOTATION);
        if (desired >= 0 && desired != r->replicas)
            return true;
    }
    return false;
}

static int by_size(const struct set *x, const struct set *y, int newer_first)
{
    if (x->replicas != y->replicas)
        return x->replicas > y->replicas ? -1 : 1;
    if (x->object->creation_s != y->object->creation_s)
        return x->object->creation_s > y->object->creation_s ? -newer_first : newer_first;
    return -newer_first * str_cmp(x->object->name, y->object->name);
}

static int larger_then_newer(const void *x, const void *y)
{
    return by_size(*(struct set *const *)x, *(struct set *const *)y, 1);
}

static int larger_then_older(const void *x, const void *y)
{
    return by_size(*(struct set *const *)x, *(struct set *const *)y, -1);
}

/* By how much a set changes when the whole grows or shrinks: in proportion to its size, to the nearest pod. */
static int64_t share(const struct rollout *r, const struct set *s)
{
    int64_t before = annotated(s, MAX_ANNOTATION), target = r->replicas + r->max_surge;
    if (r->replicas == 0)
        return -s->replicas;
    if (before <= 0)
        before = r->deployment->status->replicas;
    if (before <= 0)
        return 0;
    return (s->replicas * target * 2 + before) / (before * 2) - s->replicas;
}

static void scale_in_proportion(struct rollout *r, struct set **live, size_t n)
{
    int64_t total = 0, added = 0;
    for (size_t i = 0; i < n; i++)
        total += live[i]->replicas;
    int64_t to_add = (r->replicas > 0 ? r->replicas + r->max_surge : 0) - total;
    if (to_add == 0)
        return;
    qsort(live, n, sizeof *live, to_add > 0 ? larger_then_newer : larger_then_older);
    for (size_t i = 0; i < n; i++) {
        int64_t left = to_add - added, part = left ? share(r, live[i]) : 0;
        part = to_add > 0 ? smaller(part, left) : larger(part, left);
        live[i]->replicas = larger(live[i]->replicas + part, 0);
        added += part;
    }
    live[0]->replicas = larger(live[0]->replicas + to_add - added, 0); /* what rounding left over */
}

void rollout_scale(struct rollout *r)
{
    struct set *live[LIVE_MAX], *only;
    size_t n = live_sets(r, live, LIVE_MAX);
    if (n <= 1) {
        only = n ? live[0] : r->current ? r->current : r->n_old ? &r->old[r->n_old - 1] : NULL;
        if (only)
            only->replicas = r->replicas;
        return;
    }
    const struct set *c = r->current;
    if (c && c->replicas == r->replicas && annotated(c, DESIRED_ANNOTATION) == r->replicas &&
        c->available == r->replicas) {
        for (size_t i = 0; i < r->n_old; i++)
            r->old[i].replicas = 0; /* the current one has all it needs */
        return;
    }
    bool recreate = r->deployment->spec->strategy && str_eqz(r->deployment->spec->strategy->type, "Recreate");
    if (!recreate)
        scale_in_proportion(r, live, n);
}
