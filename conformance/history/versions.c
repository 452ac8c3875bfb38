#include "conformance/history/versions.h"

#include <inttypes.h>
#include <stdlib.h>

typedef VEC(struct version) version_list;

static void saw_item(version_list *out, const struct item *i, int64_t time_us)
{
    struct version version = {.revision = i->revision,
                              .value = i->value,
                              .key = i->key,
                              .uid = i->uid,
                              .line = i->line,
                              .created = -1,
                              .known_us = time_us};
    if (!i->torn)
        vec_push(out, version);
}

static void saw_op(version_list *out, const struct history *h, const struct op *op)
{
    if (op->outcome != OUTCOME_OK || op->torn)
        return;
    for (size_t i = 0; i < op->n_items; i++)
        saw_item(out, &h->items.items[op->first_item + i], op->end_us);
    if (op->kind >= OP_LIST || !op->revision)
        return;
    struct version version = {.revision = op->revision,
                              .value = op->value,
                              .key = op->key,
                              .uid = op->uid,
                              .line = op->line,
                              .created = op->kind == OP_CREATE ? 1
                                         : op_writes(op->kind) ? 0
                                                               : -1,
                              .known_us = op->end_us};
    vec_push(out, version);
}

static void saw_step(version_list *out, const struct history *h, const struct step *s)
{
    for (size_t i = 0; i < s->n_items; i++)
        saw_item(out, &h->items.items[s->first_item + i], s->time_us);
    if (s->kind != STEP_SEEN || s->object.torn)
        return;
    saw_item(out, &s->object, s->time_us);
    out->items[out->len - 1].created = s->type == EVENT_ADDED;
    out->items[out->len - 1].deleted = s->type == EVENT_DELETED;
}

static int by_revision(const void *a, const void *b)
{
    const struct version *x = a, *y = b;
    if (x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static void agree(struct version *known, const struct version *told, const struct history *h, struct findings *f)
{
    if (told->key != known->key || told->deleted != known->deleted || told->value != known->value ||
        told->uid != known->uid)
        finding(f, FINDING_REVISION_REUSED, told->line,
                "revision %" PRId64 " is %s%s with %" PRId64 ", on line %d it was %s%s with %" PRId64, told->revision,
                h->keys.texts.items[told->key], told->deleted ? " deleted" : "", told->value, known->line,
                h->keys.texts.items[known->key], known->deleted ? " deleted" : "", known->value);
    else if (told->created >= 0 && known->created >= 0 && told->created != known->created)
        finding(f, FINDING_WATCH_TYPE, told->line, "revision %" PRId64 " of %s: created on one of lines %d and %d only",
                told->revision, h->keys.texts.items[told->key], known->line, told->line);
    if (known->created < 0)
        known->created = told->created;
    if (told->known_us < known->known_us)
        known->known_us = told->known_us;
}

static int by_value(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;
    return x->value < y->value ? -1 : x->value > y->value;
}

static int by_key_and_uid(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static void index_writes(struct versions *v)
{
    for (size_t i = 0; i < v->h->ops.len; i++) {
        const struct op *op = &v->h->ops.items[i];
        if (op->kind == OP_DELETE && op->outcome != OUTCOME_FAIL)
            vec_push(&v->deletes, op);
        else if (op_writes(op->kind) && op->kind != OP_DELETE)
            vec_push(&v->writes, op);
    }
    if (v->writes.len)
        qsort(v->writes.items, v->writes.len, sizeof *v->writes.items, by_value);
    if (v->deletes.len)
        qsort(v->deletes.items, v->deletes.len, sizeof *v->deletes.items, by_key_and_uid);
}

static int by_time(const void *a, const void *b)
{
    const struct told *x = a, *y = b;
    return x->time_us < y->time_us ? -1 : x->time_us > y->time_us;
}

static void tell(struct versions *v, int64_t time_us, int64_t revision)
{
    if (revision > 0)
        vec_push(&v->told, (struct told){time_us, revision});
}

static void index_told(struct versions *v)
{
    for (size_t i = 0; i < v->h->ops.len; i++) {
        const struct op *op = &v->h->ops.items[i];
        if (op->outcome == OUTCOME_OK)
            tell(v, op->end_us, op->revision);
    }
    for (size_t i = 0; i < v->h->steps.len; i++) {
        const struct step *s = &v->h->steps.items[i];
        if (s->kind != STEP_WATCH)
            tell(v, s->time_us, s->revision);
    }
    for (size_t i = 0; i < v->all.len; i++) { /* an acknowledged deletion, whose revision only watchers are told */
        const struct version *d = &v->all.items[i];
        if (d->deleted && d->op && d->op->outcome == OUTCOME_OK)
            tell(v, d->op->end_us, d->revision);
    }
    if (v->told.len)
        qsort(v->told.items, v->told.len, sizeof *v->told.items, by_time);
    for (size_t i = 1; i < v->told.len; i++) {
        if (v->told.items[i].revision < v->told.items[i - 1].revision)
            v->told.items[i].revision = v->told.items[i - 1].revision;
    }
}

void versions_build(struct versions *v, const struct history *h, struct findings *f)
{
    version_list seen = {0};
    *v = (struct versions){.h = h, .keys = calloc(h->keys.texts.len, sizeof *v->keys)};
    for (size_t i = 0; i < h->ops.len; i++)
        saw_op(&seen, h, &h->ops.items[i]);
    for (size_t i = 0; i < h->steps.len; i++)
        saw_step(&seen, h, &h->steps.items[i]);
    if (seen.len)
        qsort(seen.items, seen.len, sizeof *seen.items, by_revision);
    for (size_t i = 0; i < seen.len; i++) {
        struct version *last = v->all.len ? &v->all.items[v->all.len - 1] : NULL;
        if (last && last->revision == seen.items[i].revision)
            agree(last, &seen.items[i], h, f);
        else
            vec_push(&v->all, seen.items[i]);
    }
    free(seen.items);
    index_writes(v);
    for (size_t i = 0; i < v->all.len; i++) {
        struct version *version = &v->all.items[i];
        version->op =
            version->deleted ? versions_delete_of(v, version->key, version->uid) : versions_write_of(v, version->value);
        vec_push(&v->keys[version->key].at, i);
    }
    index_told(v);
}

void versions_finish(struct versions *v)
{
    for (size_t i = 0; i < v->h->keys.texts.len; i++)
        vec_free(&v->keys[i].at);
    free(v->keys);
    vec_free(&v->all);
    vec_free(&v->writes);
    vec_free(&v->deletes);
    vec_free(&v->told);
}

int64_t versions_told_before(const struct versions *v, int64_t time_us)
{
    size_t low = 0, high = v->told.len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (v->told.items[middle].time_us < time_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? v->told.items[low - 1].revision : 0;
}

/* How many versions of the key have a revision of at most `revision`. */
static size_t count_up_to(const struct versions *v, int key, int64_t revision)
{
    const struct key_versions *k = &v->keys[key];
    size_t low = 0, high = k->at.len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (v->all.items[k->at.items[middle]].revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct version *versions_at(const struct versions *v, int key, int64_t revision)
{
    size_t n = count_up_to(v, key, revision);
    return n ? &v->all.items[v->keys[key].at.items[n - 1]] : NULL;
}

const struct version *versions_exact(const struct versions *v, int key, int64_t revision)
{
    const struct version *at = versions_at(v, key, revision);
    return at && at->revision == revision ? at : NULL;
}

const struct version *versions_after(const struct versions *v, int key, int64_t revision)
{
    size_t n = count_up_to(v, key, revision);
    return n < v->keys[key].at.len ? &v->all.items[v->keys[key].at.items[n]] : NULL;
}

const struct op *versions_write_of(const struct versions *v, int64_t value)
{
    struct op wanted = {.value = value};
    const struct op *key = &wanted, **found = NULL;
    if (v->writes.len)
        found = bsearch(&key, v->writes.items, v->writes.len, sizeof *v->writes.items, by_value);
    return found ? *found : NULL;
}

const struct op *const *versions_deletes(const struct versions *v, int key, size_t *ret_n)
{
    size_t first = 0, end;
    while (first < v->deletes.len && v->deletes.items[first]->key < key)
        first++;
    for (end = first; end < v->deletes.len && v->deletes.items[end]->key == key;)
        end++;
    *ret_n = end - first;
    return v->deletes.items + first;
}

const struct op *versions_delete_of(const struct versions *v, int key, int uid)
{
    size_t low = 0, high = v->deletes.len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct op *op = v->deletes.items[middle];
        if (op->key < key || (op->key == key && op->uid < uid))
            low = middle + 1;
        else
            high = middle;
    }
    const struct op *op = uid && low < v->deletes.len ? v->deletes.items[low] : NULL;
    return op && op->key == key && op->uid == uid && op->outcome == OUTCOME_OK ? op : NULL;
}
