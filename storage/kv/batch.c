#include "storage/kv/batch.h"

#include <stdlib.h>

void batch_reset(struct batch *b, struct local *kv, int64_t revision)
{
    if (!b->arena)
        b->arena = arena_create(0);
    arena_reset(b->arena);
    b->kv = kv;
    b->n_slots = 256;
    b->n_pending = 0;
    b->table = ARENA_ARRAY(b->arena, struct pending *, b->n_slots);
    b->all.len = b->writes.len = b->events.len = b->granted.len = b->ended.len = 0;
    b->revision = revision;
    b->now_ms = b->history_bytes = 0;
    if (b->scratch.cap > 1u << 20)
        buf_free(&b->scratch);
}

void batch_finish(struct batch *b)
{
    arena_destroy(b->arena);
    vec_free(&b->outcomes);
    vec_free(&b->all);
    vec_free(&b->writes);
    vec_free(&b->events);
    vec_free(&b->granted);
    vec_free(&b->ended);
    buf_free(&b->scratch);
}

/* ---- keys ---- */

static void table_grow(struct batch *b)
{
    b->n_slots *= 4;
    b->table = ARENA_ARRAY(b->arena, struct pending *, b->n_slots);
    for (size_t i = 0; i < b->all.len; i++) {
        struct pending **slot = &b->table[str_hash(b->all.items[i]->key) & (b->n_slots - 1)];

        b->all.items[i]->next = *slot;
        *slot = b->all.items[i];
    }
}

static struct pending *table_find(const struct batch *b, struct str key)
{
    struct pending *p = b->table[str_hash(key) & (b->n_slots - 1)];

    while (p && !str_eq(p->key, key))
        p = p->next;
    return p;
}

static struct pending *table_add(struct batch *b, struct str key)
{
    if (b->all.len >= b->n_slots)
        table_grow(b);
    struct pending **slot = &b->table[str_hash(key) & (b->n_slots - 1)];
    struct pending *p = ARENA_NEW(b->arena, struct pending);

    p->key = arena_str(b->arena, key);
    p->next = *slot;
    *slot = p;
    vec_push(&b->all, p);
    return p;
}

static int bad_state(struct str key, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the record of key \"" STR_FMT "\" is damaged", STR_ARG(key));
}

int batch_find(struct batch *b, struct str key, struct pending **ret, struct err *err)
{
    struct kv_engine *e = b->kv->engine;

    *ret = table_find(b, key);
    if (*ret)
        return 0;
    const struct pending *below = b->under ? table_find(b->under, key) : NULL;
    if (below) {
        *ret = table_add(b, key);
        (*ret)->state = below->state;
        return 0;
    }
    b->scratch.len = 0;
    int rc = e->ops->get(e, KV_SPACE_META, record_meta_key(b->arena, 'k', key), &b->scratch, err);
    if (rc < 0)
        return rc;
    *ret = table_add(b, key);
    if (rc == 0 && !record_parse_state(buf_str(&b->scratch), &(*ret)->state))
        return bad_state(key, err);
    return 0;
}

int batch_value(struct batch *b, struct pending *p, struct err *err)
{
    struct version_head head;

    if (p->value_known || !p->state.mod_revision)
        return 0;
    int rc = p->state.mod_revision > local_revision(&b->kv->kv) ? batch_settle(b, err) : 0;
    if (rc < 0)
        return rc;
    b->scratch.len = 0;
    rc = kv_read_version(b->kv, b->arena, p->key, p->state.mod_revision, &head, &b->scratch, err);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return err_set(err, ERR_CORRUPT, "key \"" STR_FMT "\" has no value at revision %lld", STR_ARG(p->key),
                       (long long)p->state.mod_revision);
    p->value = arena_str(b->arena, buf_str(&b->scratch));
    p->value_known = true;
    return 0;
}

static int compare_pending(const void *a, const void *b)
{
    return str_cmp((*(struct pending *const *)a)->key, (*(struct pending *const *)b)->key);
}

static bool in_range(struct str key, struct str from, struct str end)
{
    return str_cmp(key, from) >= 0 && str_cmp(key, end) < 0;
}

static int list_stored(struct batch *b, struct str key, struct str end, struct err *err)
{
    struct kv_engine *e = b->kv->engine;
    int rc = batch_settle(b, err);
    if (rc < 0)
        return rc;
    struct kv_cursor *c = e->ops->cursor_open(e, KV_SPACE_META);
    struct str at, value, stop = record_meta_key(b->arena, 'k', end);

    e->ops->cursor_seek(c, record_meta_key(b->arena, 'k', key));
    while ((rc = e->ops->cursor_read(c, &at, &value, err)) == 0 && str_cmp(at, stop) < 0) {
        struct str name = str_sub(at, 1, at.len);

        if (!table_find(b, name)) {
            struct pending *p = table_add(b, name);

            if (!record_parse_state(value, &p->state)) {
                rc = bad_state(name, err);
                break;
            }
        }
        e->ops->cursor_next(c);
    }
    e->ops->cursor_close(c);
    return rc < 0 ? rc : 0;
}

int batch_range(struct batch *b, struct str key, struct str end, struct pending ***ret, size_t *ret_n, struct err *err)
{
    struct pending *one;
    size_t n = 0;
    int rc;

    if (!end.p) {
        rc = batch_find(b, key, &one, err);
        if (rc < 0)
            return rc;
        *ret = ARENA_NEW(b->arena, struct pending *);
        **ret = one;
        *ret_n = one->state.mod_revision != 0;
        return 0;
    }
    rc = list_stored(b, key, end, err);
    if (rc < 0)
        return rc;
    struct pending **list = ARENA_ARRAY(b->arena, struct pending *, b->all.len + 1);
    for (size_t i = 0; i < b->all.len; i++)
        if (b->all.items[i]->state.mod_revision && in_range(b->all.items[i]->key, key, end))
            list[n++] = b->all.items[i];
    if (n)
        qsort(list, n, sizeof *list, compare_pending);
    *ret = list;
    *ret_n = n;
    return 0;
}

/* ---- changes ---- */

void batch_write(struct batch *b, enum kv_space space, struct str key, struct str head, struct str body)
{
    vec_push(&b->writes, (struct kv_write){.space = space, .key = key, .head = head, .body = body});
}

void batch_remove(struct batch *b, enum kv_space space, struct str key)
{
    vec_push(&b->writes, (struct kv_write){.space = space, .remove = true, .key = key});
}

/* What the key held before, for the event; NULL when it is new. */
static int previous(struct batch *b, struct pending *p, void *cookie, const struct kv_pair **ret, struct err *err)
{
    *ret = NULL;
    if (!p->state.mod_revision)
        return 0;
    if (!cookie) {
        int rc = batch_value(b, p, err);
        if (rc < 0)
            return rc;
    }
    struct kv_pair *prev = ARENA_NEW(b->arena, struct kv_pair);
    *prev = (struct kv_pair){
        .key = p->key,
        .value = cookie ? STR_NULL : p->value,
        .create_revision = p->state.create_revision,
        .mod_revision = p->state.mod_revision,
        .version = p->state.version,
        .lease = p->state.lease,
    };
    *ret = prev;
    return 0;
}

static void log_event(struct batch *b, enum kv_event_kind kind, struct pending *p)
{
    struct log_entry entry = {.kind = kind, .prev_mod_revision = p->state.mod_revision, .key = p->key};

    b->history_bytes += (int64_t)(p->state.size + 2 * p->key.len + 64);

    batch_write(b, KV_SPACE_LOG, record_log_key(b->arena, b->revision, b->index++), record_log_value(b->arena, &entry),
                STR_NULL);
}

static void move_lease(struct batch *b, struct pending *p, int64_t to)
{
    if (p->state.lease == to)
        return;
    if (p->state.lease)
        batch_remove(b, KV_SPACE_META, record_lease_key(b->arena, 'a', p->state.lease, p->key));
    if (to)
        batch_write(b, KV_SPACE_META, record_lease_key(b->arena, 'a', to, p->key), STR_NULL, STR_NULL);
}

/* The value as it goes to disk, and the id of what changed it. */
static int seal(struct batch *b, struct str key, struct str value, uint8_t *ret_id, struct str *ret, struct err *err)
{
    const struct kv_transform *t = b->kv->kv.choose ? b->kv->kv.choose(b->kv->kv.choose_arg, key) : NULL;
    struct buf sealed = {0};

    *ret_id = 0;
    *ret = value;
    if (!t)
        return 0;
    int rc = t->seal(t->arg, key, value, &sealed, err);
    if (rc == 0) {
        /* the transform writes its id in front; here the id has its place in the record's head */
        struct str whole = buf_str(&sealed);

        *ret_id = t->id;
        *ret = arena_str(b->arena, str_sub(whole, 1, whole.len));
    }
    buf_free(&sealed);
    return rc;
}

int batch_put(struct batch *b, const struct kv_op *op, int64_t lease, struct err *err)
{
    const struct kv_pair *prev;
    struct pending *p;
    struct str stored, value = op->value;
    int rc = batch_find(b, op->key, &p, err);

    if (rc < 0 || (op->keep_value && (rc = batch_value(b, p, err)) < 0))
        return rc;
    if (op->keep_value)
        value = p->value;
    if (op->keep_lease)
        lease = p->state.lease;
    struct version_head head = {.lease = lease};
    if ((rc = previous(b, p, op->cookie, &prev, err)) < 0 ||
        (rc = seal(b, op->key, value, &head.transform, &stored, err)) < 0)
        return rc;
    struct key_state next = {
        .create_revision = prev ? p->state.create_revision : b->revision,
        .mod_revision = b->revision,
        .version = p->state.version + 1,
        .lease = lease,
        .size = (uint32_t)stored.len,
    };
    head.create_revision = next.create_revision;
    head.version = next.version;
    batch_write(b, KV_SPACE_VERSIONS, record_version_key(b->arena, p->key, b->revision),
                record_version_head(b->arena, &head), stored);
    log_event(b, KV_EVENT_PUT, p);
    move_lease(b, p, lease);
    batch_write(b, KV_SPACE_META, record_meta_key(b->arena, 'k', p->key), record_state(b->arena, &next), STR_NULL);
    p->state = next;
    p->value = value;
    p->value_known = true;
    vec_push(&b->events, (struct kv_event){
                             .kind = KV_EVENT_PUT,
                             .pair = {p->key, value, next.create_revision, next.mod_revision, next.version, lease},
                             .prev = prev,
                             .cookie = op->cookie,
                         });
    return 0;
}

int batch_delete(struct batch *b, struct pending *p, void *cookie, struct err *err)
{
    const struct kv_pair *prev;
    struct version_head head = {.flags = RECORD_TOMBSTONE};
    int rc = previous(b, p, cookie, &prev, err);

    if (rc < 0)
        return rc;
    batch_write(b, KV_SPACE_VERSIONS, record_version_key(b->arena, p->key, b->revision),
                record_version_head(b->arena, &head), STR_NULL);
    log_event(b, KV_EVENT_DELETE, p);
    move_lease(b, p, 0);
    batch_remove(b, KV_SPACE_META, record_meta_key(b->arena, 'k', p->key));
    p->state = (struct key_state){0};
    p->value = STR_NULL;
    p->value_known = false;
    vec_push(&b->events, (struct kv_event){
                             .kind = KV_EVENT_DELETE,
                             .pair = {.key = p->key, .mod_revision = b->revision},
                             .prev = prev,
                             .cookie = cookie,
                         });
    return 0;
}
