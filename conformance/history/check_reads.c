/* What was read stands there, and consistent reads are no older than what was known when they began. */
#include "conformance/history/check.h"

#include <inttypes.h>

static void check_get_present(const struct versions *v, const struct op *op, int64_t told, struct findings *f)
{
    const struct version *after = versions_after(v, op->key, op->revision);
    const struct op *deleted = versions_delete_of(v, op->key, op->uid);
    if (after && after->revision <= told)
        finding(f, FINDING_STALE_READ, op->line,
                "%s was read at revision %" PRId64 "; somebody had been told of %" PRId64
                " before, and it has changed at %" PRId64,
                key_text(v, op->key), op->revision, told, after->revision);
    else if (deleted && deleted->end_us < op->begin_us)
        finding(f, FINDING_STALE_READ, op->line,
                "%s was read at revision %" PRId64 " after its deletion was acknowledged "
                "on line %d",
                key_text(v, op->key), op->revision, deleted->line);
}

/* Could the object of `at` have been deleted before the end of the read? The first deletion after it decides. */
static bool perhaps_absent(const struct versions *v, const struct op *op, const struct version *at)
{
    const struct op *acknowledged = versions_delete_of(v, op->key, at->uid);
    size_t n;
    const struct op *const *deletes = versions_deletes(v, op->key, &n);
    for (const struct version *next = versions_after(v, op->key, at->revision); next;
         next = versions_after(v, op->key, next->revision)) {
        if (next->uid != at->uid)
            return true; /* deleted in between, and nobody was told when */
        if (!next->deleted)
            continue;
        if (next->op)
            return next->op->begin_us <= op->end_us;
        for (size_t i = 0; i < n && !deletes[i]->uid; i++) {
            if (deletes[i]->begin_us <= op->end_us)
                return true;
        }
        return false;
    }
    return acknowledged ? acknowledged->begin_us <= op->end_us : !v->h->final_us;
}

static void check_get_absent(const struct versions *v, const struct op *op, int64_t told, struct findings *f)
{
    const struct version *at = versions_at(v, op->key, told);
    if (at && !at->deleted && !perhaps_absent(v, op, at))
        finding(f, FINDING_STALE_READ, op->line,
                "%s was not there, but had been written at revision %" PRId64 " before", key_text(v, op->key),
                at->revision);
}

struct state { /* what a list said */
    int line, scope;
    int64_t begin_us, revision;
    const struct item *items;
    size_t n;
};

/* A write that had been acknowledged before is lost; one beside the list shows that the list is of several moments. */
static enum finding_kind missing(const struct state *s, const struct version *at)
{
    bool before = at && at->op && at->op->outcome == OUTCOME_OK && at->op->end_us < s->begin_us;
    return before ? FINDING_LOST_WRITE : FINDING_LIST_MIXED;
}

static bool lists(const struct state *s, int key)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].key == key)
            return true;
    }
    return false;
}

/* The items are the state of the scope at the list's revision. */
static void check_state(const struct versions *v, const struct state *s, struct findings *f)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct version *at = versions_at(v, s->items[i].key, s->revision);
        if (!s->items[i].torn && (!at || at->revision != s->items[i].revision))
            finding(f, missing(s, at), s->items[i].line,
                    "a list at revision %" PRId64 " has %s of revision %" PRId64 "; it was at %" PRId64 " then",
                    s->revision, key_text(v, s->items[i].key), s->items[i].revision, at ? at->revision : 0);
    }
    for (int key = 1; key < (int)v->h->keys.texts.len; key++) {
        const struct version *at = versions_at(v, key, s->revision), *after = versions_after(v, key, s->revision);
        if (!at || at->deleted || !history_in_scope(v->h, key, s->scope) || lists(s, key))
            continue;
        /* its deletion may have no known revision */
        if (after ? after->uid == at->uid : !versions_delete_of(v, key, at->uid))
            finding(f, missing(s, at), s->line, "a list at revision %" PRId64 " lacks %s of revision %" PRId64,
                    s->revision, key_text(v, key), at->revision);
    }
}

static void check_list(const struct versions *v, const struct op *op, int64_t told, struct findings *f)
{
    if (op->kind == OP_LIST && op->revision < told)
        finding(f, FINDING_STALE_READ, op->line,
                "a list has revision %" PRId64 ", but began after somebody had been told of revision %" PRId64,
                op->revision, told);
    const struct state state = {.line = op->line,
                                .scope = op->key,
                                .begin_us = op->begin_us,
                                .revision = op->revision,
                                .items = v->h->items.items + op->first_item,
                                .n = op->n_items};
    check_state(v, &state, f);
}

void check_reads(const struct versions *v, struct findings *f)
{
    for (size_t i = 0; i < v->h->ops.len; i++) {
        const struct op *op = &v->h->ops.items[i];
        if (op->outcome != OUTCOME_OK || op_writes(op->kind) || op->torn)
            continue;
        int64_t told = versions_told_before(v, op->begin_us);
        if (op->kind >= OP_LIST)
            check_list(v, op, told, f);
        else if (op->kind == OP_GET && op->revision)
            check_get_present(v, op, told, f);
        else if (op->kind == OP_GET)
            check_get_absent(v, op, told, f);
    }
    for (size_t i = 0; i < v->h->steps.len; i++) {
        const struct step *s = &v->h->steps.items[i];
        if (s->kind != STEP_RELIST)
            continue;
        int64_t told = versions_told_before(v, s->begin_us);
        if (s->revision < told)
            finding(f, FINDING_STALE_READ, s->line,
                    "watcher %d listed at revision %" PRId64 " after somebody had been told of revision %" PRId64,
                    s->watcher, s->revision, told);
        const struct state state = {.line = s->line,
                                    .scope = s->scope,
                                    .begin_us = s->begin_us,
                                    .revision = s->revision,
                                    .items = v->h->items.items + s->first_item,
                                    .n = s->n_items};
        check_state(v, &state, f);
    }
}
