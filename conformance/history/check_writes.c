/* Where each version comes from, and whether one may follow the other. */
#include "conformance/history/check.h"

#include <inttypes.h>
#include <stdlib.h>

static void check_origin(const struct versions *v, const struct version *one, struct findings *f)
{
    const struct op *op = one->op;
    const char *key = key_text(v, one->key);
    if (!op || op->key != one->key)
        finding(f, FINDING_NOBODY_WROTE, one->line, "%s has %" PRId64 " at revision %" PRId64 ", which nobody wrote",
                key, one->value, one->revision);
    else if (op->outcome == OUTCOME_FAIL)
        finding(f, FINDING_FAILED_BUT_THERE, one->line,
                "%s has %" PRId64 " at revision %" PRId64 "; the write on line %d was refused with %d", key, one->value,
                one->revision, op->line, op->status);
    else if (op->revision && op->revision != one->revision)
        finding(f, FINDING_APPLIED_TWICE, one->line,
                "%s has %" PRId64 " at revision %" PRId64 ", and line %d was answered with revision %" PRId64, key,
                one->value, one->revision, op->line, op->revision);
    else if (one->known_us < op->begin_us)
        finding(f, FINDING_FUTURE_READ, one->line, "%s has %" PRId64 " before line %d began to write it", key,
                one->value, op->line);
}

/* A deletion that was seen must have been asked for; that only one was asked for by uid is checked with the answers. */
static void check_deletion_origin(const struct versions *v, const struct version *one, struct findings *f)
{
    size_t n;
    const struct op *const *deletes = versions_deletes(v, one->key, &n);
    bool asked = one->op != NULL;
    for (size_t i = 0; !asked && i < n && !deletes[i]->uid; i++)
        asked = deletes[i]->begin_us <= one->known_us;
    if (!asked)
        finding(f, FINDING_NOBODY_WROTE, one->line, "%s was deleted at revision %" PRId64 ", which nobody asked for",
                key_text(v, one->key), one->revision);
}

static bool perhaps_deleted_between(const struct versions *v, const struct version *before, const struct version *after)
{
    size_t n;
    const struct op *const *deletes = versions_deletes(v, before->key, &n);
    for (size_t i = 0; i < n; i++) {
        if ((!deletes[i]->uid || deletes[i]->uid == before->uid) && deletes[i]->begin_us <= after->known_us)
            return true;
    }
    return false;
}

/* `before` NULL: the first of its key. */
static void check_pair(const struct versions *v, const struct version *before, const struct version *after,
                       struct findings *f)
{
    const char *key = key_text(v, after->key);
    bool there = before && !before->deleted;
    if (after->deleted) {
        if (before && before->deleted && before->uid == after->uid)
            finding(f, FINDING_APPLIED_TWICE, after->line, "%s was deleted at revisions %" PRId64 " and %" PRId64, key,
                    before->revision, after->revision);
        else if (there && before->uid == after->uid && before->value != after->value)
            finding(f, FINDING_REVISION_REUSED, after->line,
                    "%s was deleted at revision %" PRId64 " with %" PRId64 ", but had %" PRId64 " at %" PRId64, key,
                    after->revision, after->value, before->value, before->revision);
    } else if (before && before->uid == after->uid) {
        if (before->deleted)
            finding(f, FINDING_RESURRECTED, after->line,
                    "%s, deleted at revision %" PRId64 ", was changed at revision %" PRId64, key, before->revision,
                    after->revision);
        else if (after->created == 1)
            finding(f, FINDING_CREATED_TWICE, after->line, "%s was created at revisions %" PRId64 " and %" PRId64, key,
                    before->revision, after->revision);
    } else if (there && !perhaps_deleted_between(v, before, after)) {
        finding(f, FINDING_CREATED_TWICE, after->line,
                "%s was there at revision %" PRId64 " and is another object at revision %" PRId64 "; nobody deleted it",
                key, before->revision, after->revision);
    }
    if (after->op && after->op->expect && (!there || before->revision != after->op->expect))
        finding(f, FINDING_LOST_UPDATE, after->line,
                "%s at revision %" PRId64 " follows revision %" PRId64 "; it was conditional on %" PRId64, key,
                after->revision, before ? before->revision : 0, after->op->expect);
}

/* Real time: whoever began after somebody was told of a revision gets a later one. */
static void check_order(const struct versions *v, const struct version *one, struct findings *f)
{
    const struct op *op = one->op;
    if (!op || op->outcome == OUTCOME_FAIL)
        return;
    int64_t told = versions_told_before(v, op->begin_us);
    if (one->revision <= told)
        finding(f, FINDING_ORDER, op->line,
                "%s got revision %" PRId64 ", but began after somebody had been told of revision %" PRId64,
                key_text(v, one->key), one->revision, told);
}

/* One object is deleted once, and stays so. */
static void check_deletes(const struct versions *v, struct findings *f)
{
    for (size_t i = 0; i < v->deletes.len; i++) {
        const struct op *op = v->deletes.items[i], *next = i + 1 < v->deletes.len ? v->deletes.items[i + 1] : NULL;
        if (!op->uid || op->outcome != OUTCOME_OK)
            continue;
        if (next && next->key == op->key && next->uid == op->uid && next->outcome == OUTCOME_OK)
            finding(f, FINDING_APPLIED_TWICE, next->line,
                    "%s: the deletion of one object was acknowledged on line %d too", key_text(v, op->key), op->line);
        const struct key_versions *k = &v->keys[op->key];
        const struct version *last = k->at.len ? &v->all.items[k->at.items[k->at.len - 1]] : NULL;
        if (last && !last->deleted && last->uid == op->uid && v->h->final_us)
            finding(f, FINDING_LOST_WRITE, op->line, "%s: the deletion was acknowledged, and nobody saw it",
                    key_text(v, op->key));
    }
}

/* No write has two revisions. */
static void check_once(const struct versions *v, struct findings *f)
{
    int64_t *revisions = calloc(v->h->ops.len + 1, sizeof *revisions); /* by op */
    for (size_t i = 0; i < v->all.len; i++) {
        const struct version *one = &v->all.items[i];
        if (one->deleted || !one->op)
            continue;
        int64_t *revision = &revisions[one->op - v->h->ops.items];
        if (*revision)
            finding(f, FINDING_APPLIED_TWICE, one->line,
                    "%s has %" PRId64 " at revisions %" PRId64 " and %" PRId64 "; it was written once, on line %d",
                    key_text(v, one->key), one->value, *revision, one->revision, one->op->line);
        *revision = one->revision;
    }
    free(revisions);
}

void check_writes(const struct versions *v, struct findings *f)
{
    for (size_t i = 0; i < v->all.len; i++) {
        const struct version *one = &v->all.items[i];
        if (one->deleted)
            check_deletion_origin(v, one, f);
        else
            check_origin(v, one, f);
        check_order(v, one, f);
    }
    for (size_t key = 1; key < v->h->keys.texts.len; key++) {
        const struct key_versions *k = &v->keys[key];
        for (size_t i = 0; i < k->at.len; i++)
            check_pair(v, i ? &v->all.items[k->at.items[i - 1]] : NULL, &v->all.items[k->at.items[i]], f);
    }
    check_deletes(v, f);
    check_once(v, f);
}
