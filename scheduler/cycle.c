#include "scheduler/cycle.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { FEASIBLE_MIN = 100, SHARE_MIN = 5 };

void cycle_init(struct cycle *c, struct snapshot *s, uint64_t seed)
{
    *c = (struct cycle){.snapshot = s, .random = seed ? seed : 1, .arena = arena_create(0)};
}

void cycle_finish(struct cycle *c)
{
    arena_destroy(c->arena);
    free(c->feasible);
    free(c->statuses);
    free(c->totals);
    free(c->scores);
}

/* ---- asking the plugins ---- */

static void make_room(struct cycle *c)
{
    size_t n = c->snapshot->nodes.len;
    if (c->cap < n) {
        c->cap = n + n / 4 + 16;
        c->feasible = mem_realloc(c->feasible, c->cap * sizeof *c->feasible);
        c->statuses = mem_realloc(c->statuses, c->cap * sizeof *c->statuses);
        c->totals = mem_realloc(c->totals, c->cap * sizeof *c->totals);
        c->scores = mem_realloc(c->scores, c->cap * sizeof *c->scores);
    }
}

static void begin(struct cycle *c, const struct sched_pod *p)
{
    arena_reset(c->arena);
    make_room(c);
    c->pod = p;
    memset(c->state, 0, sizeof c->state);
    c->no_filter = c->no_score = c->refused_by = 0;
    c->narrowed = false;
    c->only = NULL;
    c->n_only = c->n_feasible = c->n_evaluated = 0;
    c->refusal = STR_NULL;
    c->refusal_final = false;
}

/* False when a plugin refuses the pod as a whole. */
static bool pre_filter(struct cycle *c)
{
    for (int i = 0; i < N_PLUGINS; i++) {
        enum plugin_answer answer = plugins[i]->pre_filter ? plugins[i]->pre_filter(c) : PLUGIN_GO;
        if (answer == PLUGIN_REFUSE) {
            c->refused_by |= 1u << i;
            return false;
        }
        if (answer == PLUGIN_SKIP || !plugins[i]->filter)
            c->no_filter |= 1u << i;
    }
    return true;
}

bool cycle_prepare(struct cycle *c, const struct sched_pod *p)
{
    begin(c, p);
    return pre_filter(c);
}

static struct verdict ask_all(const struct cycle *c, const struct sched_node *n, int *ret_plugin)
{
    for (int i = 0; i < N_PLUGINS; i++) {
        if (c->no_filter & 1u << i)
            continue;
        struct verdict v = plugins[i]->filter(c, n);
        if (v.reasons) {
            *ret_plugin = i;
            return v;
        }
    }
    return (struct verdict){0};
}

/* Room that preemption has made belongs to the pod it was made for, against others of no higher priority: the node must
 * do both with the nominated pods and, since they may never come (and others may have affinity to them), without. */
static struct verdict ask_with_nominated(const struct cycle *c, struct sched_node *n, int *ret_plugin)
{
    struct sched_pod *added[16];
    size_t n_added = 0;
    for (size_t i = 0; i < n->nominated.len && n_added < 16; i++) {
        struct sched_pod *p = n->nominated.items[i];
        if (p != c->pod && !p->node && p->priority >= c->pod->priority) {
            node_add_pod(c->snapshot, n, p);
            added[n_added++] = p;
        }
    }
    struct verdict v = ask_all(c, n, ret_plugin);
    while (n_added)
        node_remove_pod(c->snapshot, n, added[--n_added]);
    return v.reasons ? v : ask_all(c, n, ret_plugin);
}

struct verdict cycle_filter(const struct cycle *c, struct sched_node *n, int *ret_plugin)
{
    return n->nominated.len ? ask_with_nominated(c, n, ret_plugin) : ask_all(c, n, ret_plugin);
}

/* ---- filter ---- */

static size_t enough(size_t n_nodes)
{
    if (n_nodes < FEASIBLE_MIN)
        return n_nodes;
    size_t share = n_nodes / 125 < 50 - SHARE_MIN ? 50 - n_nodes / 125 : SHARE_MIN;
    size_t n = n_nodes * share / 100;
    return n < FEASIBLE_MIN ? FEASIBLE_MIN : n;
}

static bool consider(struct cycle *c, struct sched_node *n)
{
    int plugin = 0;
    struct verdict v = cycle_filter(c, n, &plugin);
    c->n_evaluated++;
    if (!v.reasons) {
        c->feasible[c->n_feasible++] = n;
        return true;
    }
    c->statuses[n->at] = (struct node_status){v, (uint8_t)plugin, true};
    c->refused_by |= 1u << plugin;
    return false;
}

static void filter(struct cycle *c)
{
    size_t n_all = c->snapshot->nodes.len;
    struct sched_node **nodes = c->narrowed ? c->only : c->snapshot->nodes.items;
    size_t n = c->narrowed ? c->n_only : n_all, want = enough(n);
    for (size_t i = 0; i < n_all; i++)
        c->statuses[i].seen = false;
    if (c->narrowed)
        c->refused_by |= 1u << PLUGIN_NODE_AFFINITY;
    size_t at = n ? c->next_start % n : 0;
    for (size_t i = 0; i < n && c->n_feasible < want; i++) {
        consider(c, nodes[at]);
        at = at + 1 == n ? 0 : at + 1;
    }
    c->next_start = (c->next_start + c->n_evaluated) % n_all;
}

/* ---- score ---- */

static uint64_t next_random(struct cycle *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

static void score(struct cycle *c)
{
    memset(c->totals, 0, c->n_feasible * sizeof *c->totals);
    for (int i = 0; i < N_PLUGINS; i++) {
        const struct plugin *p = plugins[i];
        if (!p->score || (p->pre_score && p->pre_score(c) != PLUGIN_GO))
            continue;
        for (size_t k = 0; k < c->n_feasible; k++)
            c->scores[k] = p->score(c, c->feasible[k]);
        if (p->normalize)
            p->normalize(c, c->scores, c->n_feasible);
        for (size_t k = 0; k < c->n_feasible; k++)
            c->totals[k] += p->weight * c->scores[k];
    }
}

/* The best, and among equals each with the same chance. */
static struct sched_node *pick(struct cycle *c)
{
    size_t best = 0;
    uint64_t equals = 1;
    for (size_t i = 1; i < c->n_feasible; i++) {
        if (c->totals[i] > c->totals[best]) {
            best = i;
            equals = 1;
        } else if (c->totals[i] == c->totals[best] && next_random(c) % ++equals == 0) {
            best = i;
        }
    }
    return c->feasible[best];
}

struct sched_node *cycle_run(struct cycle *c, const struct sched_pod *p)
{
    begin(c, p);
    if (!c->snapshot->nodes.len || !pre_filter(c))
        return NULL;
    struct sched_node *nominated = p->nominated.len ? snapshot_node(c->snapshot, p->nominated) : NULL;
    if (nominated && consider(c, nominated))
        return nominated;
    c->n_evaluated = 0;
    filter(c);
    if (!c->n_feasible)
        return NULL;
    if (c->n_feasible == 1)
        return c->feasible[0];
    score(c);
    return pick(c);
}

/* ---- saying why not ---- */

static const char *const texts[REASON_EXTENDED] = {
    [REASON_NODE_UNSCHEDULABLE] = "node(s) were unschedulable",
    [REASON_NODE_NAME] = "node(s) didn't match the requested node name",
    [REASON_TAINT] = "node(s) had untolerated taint(s)",
    [REASON_NODE_AFFINITY] = "node(s) didn't match Pod's node affinity/selector",
    [REASON_PORTS] = "node(s) didn't have free ports for the requested pod ports",
    [REASON_TOO_MANY_PODS] = "Too many pods",
    [REASON_CPU] = "Insufficient cpu",
    [REASON_MEMORY] = "Insufficient memory",
    [REASON_EPHEMERAL_STORAGE] = "Insufficient ephemeral-storage",
    [REASON_SPREAD] = "node(s) didn't match pod topology spread constraints",
    [REASON_SPREAD_LABEL] = "node(s) didn't match pod topology spread constraints (missing required label)",
    [REASON_AFFINITY] = "node(s) didn't match pod affinity rules",
    [REASON_ANTI_AFFINITY] = "node(s) didn't match pod anti-affinity rules",
    [REASON_EXISTING_ANTI_AFFINITY] = "node(s) didn't satisfy existing pods anti-affinity rules",
    [REASON_NOT_IN_PREFILTER] = "node(s) didn't satisfy plugin(s) [NodeAffinity]",
    [REASON_NO_VICTIMS] = "No preemption victims found for incoming pod",
    [REASON_PREEMPTION_USELESS] = "Preemption is not helpful for scheduling",
    [REASON_VOLUME_NODE_AFFINITY] = "node(s) didn't match PersistentVolume's node affinity",
    [REASON_VOLUME_BIND] = "node(s) didn't find available persistent volumes to bind",
};

void reasons_count(uint64_t reasons, size_t counts[64])
{
    for (int i = 0; i < N_REASONS; i++)
        counts[i] += reasons >> i & 1;
}

static int compare_lines(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str reasons_message(struct arena *a, const struct snapshot *s, const size_t counts[64], size_t n_nodes)
{
    struct str lines[N_REASONS];
    size_t n = 0;
    for (int i = 0; i < N_REASONS; i++) {
        if (!counts[i])
            continue;
        lines[n++] = i < REASON_EXTENDED
                         ? arena_printf(a, "%zu %s", counts[i], texts[i])
                         : arena_printf(a, "%zu Insufficient %s", counts[i], s->names.names[i - REASON_EXTENDED]);
    }
    qsort(lines, n, sizeof *lines, compare_lines); /* as text: "10 …" comes before "2 …" */
    struct str out = arena_printf(a, "0/%zu nodes are available:", n_nodes);
    for (size_t i = 0; i < n; i++)
        out = arena_printf(a, STR_FMT "%s " STR_FMT, STR_ARG(out), i ? "," : "", STR_ARG(lines[i]));
    return n ? arena_printf(a, STR_FMT ".", STR_ARG(out)) : out;
}

struct str cycle_message(const struct cycle *c)
{
    const struct snapshot *s = c->snapshot;
    size_t counts[64] = {0};
    if (!s->nodes.len)
        return STR("no nodes available to schedule pods");
    if (c->refusal.p)
        return arena_printf(c->arena, "0/%zu nodes are available: " STR_FMT ".", s->nodes.len, STR_ARG(c->refusal));
    for (size_t i = 0; i < s->nodes.len; i++) {
        if (c->statuses[i].seen)
            reasons_count(c->statuses[i].verdict.reasons, counts);
        else
            counts[REASON_NOT_IN_PREFILTER]++;
    }
    return reasons_message(c->arena, s, counts, s->nodes.len);
}
