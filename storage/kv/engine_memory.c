/* The memory engine: a skip list per space under one reader-writer lock. A cursor remembers the key it stands at and
 * finds its place again each time, so it holds no lock between calls. */
#include "base/mem.h"
#include "storage/kv/kv_engine.h"

#include <pthread.h>
#include <stdlib.h>

enum { LEVELS = 20 };

struct entry {
    struct str key, value; /* behind the links */
    int height;
    struct entry *next[];
};

struct list {
    struct entry *head[LEVELS];
};

struct memory_engine {
    struct kv_engine engine;
    pthread_rwlock_t lock;
    struct list lists[KV_SPACES];
    uint64_t seed;
};

struct kv_cursor {
    struct memory_engine *e;
    struct list *list;
    struct buf key, value;
    bool behind; /* stand behind key, not at it */
};

/* The first entry not below key, and the links that lead to it. */
static struct entry *seek(struct list *l, struct str key, struct entry ***links)
{
    struct entry **from = l->head, *at = NULL;

    for (int level = LEVELS - 1; level >= 0; level--) {
        while ((at = from[level]) && str_cmp(at->key, key) < 0)
            from = at->next;
        if (links)
            links[level] = &from[level];
    }
    return at;
}

static void apply(struct memory_engine *m, const struct kv_write *w)
{
    struct list *l = &m->lists[w->space];
    struct entry **links[LEVELS];
    struct entry *old = seek(l, w->key, links);

    if (old && str_eq(old->key, w->key)) {
        for (int level = 0; level < old->height; level++)
            *links[level] = old->next[level];
        free(old);
    }
    if (w->remove)
        return;
    int height = 1;
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    for (uint64_t bits = m->seed >> 24; height < LEVELS && (bits & 3) == 0; bits >>= 2)
        height++;
    size_t links_size = (size_t)height * sizeof(struct entry *);
    size_t value_len = w->head.len + w->body.len;
    struct entry *new = mem_alloc(sizeof *new + links_size + w->key.len + value_len);
    char *text = (char *)new->next + links_size;

    new->height = height;
    new->key = (struct str){text, w->key.len};
    memcpy(text, w->key.p, w->key.len);
    text += w->key.len;
    new->value = (struct str){text, value_len};
    if (w->head.len)
        memcpy(text, w->head.p, w->head.len);
    if (w->body.len)
        memcpy(text + w->head.len, w->body.p, w->body.len);
    for (int level = 0; level < height; level++) {
        new->next[level] = *links[level];
        *links[level] = new;
    }
}

static int memory_write(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *err)
{
    struct memory_engine *m = (struct memory_engine *)e;

    (void)sync;
    (void)err;
    pthread_rwlock_wrlock(&m->lock);
    for (size_t i = 0; i < n; i++)
        apply(m, &writes[i]);
    pthread_rwlock_unlock(&m->lock);
    return 0;
}

static int memory_get(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *err)
{
    struct memory_engine *m = (struct memory_engine *)e;

    (void)err;
    pthread_rwlock_rdlock(&m->lock);
    struct entry *at = seek(&m->lists[space], key, NULL);
    bool found = at && str_eq(at->key, key);
    if (found)
        buf_add_str(out, at->value);
    pthread_rwlock_unlock(&m->lock);
    return found ? 0 : 1;
}

static struct kv_cursor *memory_cursor_open(struct kv_engine *e, enum kv_space space)
{
    struct kv_cursor *c = MEM_NEW(struct kv_cursor);

    c->e = (struct memory_engine *)e;
    c->list = &c->e->lists[space];
    return c;
}

static void memory_cursor_seek(struct kv_cursor *c, struct str key)
{
    c->key.len = 0;
    buf_add_str(&c->key, key);
    c->behind = false;
}

static int memory_cursor_read(struct kv_cursor *c, struct str *ret_key, struct str *ret_value, struct err *err)
{
    (void)err;
    pthread_rwlock_rdlock(&c->e->lock);
    struct entry *at = seek(c->list, buf_str(&c->key), NULL);
    if (at && c->behind && str_eq(at->key, buf_str(&c->key)))
        at = at->next[0];
    if (at) {
        c->key.len = c->value.len = 0;
        buf_add_str(&c->key, at->key);
        buf_add_str(&c->value, at->value);
        c->behind = false;
    }
    pthread_rwlock_unlock(&c->e->lock);
    if (!at)
        return 1;
    *ret_key = buf_str(&c->key);
    *ret_value = buf_str(&c->value);
    return 0;
}

static void memory_cursor_next(struct kv_cursor *c)
{
    c->behind = true;
}

static void memory_cursor_close(struct kv_cursor *c)
{
    buf_free(&c->key);
    buf_free(&c->value);
    free(c);
}

static int memory_recover(struct kv_engine *e, struct err *err)
{
    (void)e;
    (void)err;
    return 0;
}

static void memory_close(struct kv_engine *e)
{
    struct memory_engine *m = (struct memory_engine *)e;

    for (int i = 0; i < KV_SPACES; i++) {
        for (struct entry *at = m->lists[i].head[0], *next; at; at = next) {
            next = at->next[0];
            free(at);
        }
    }
    pthread_rwlock_destroy(&m->lock);
    free(m);
}

struct kv_engine *kv_engine_memory(void)
{
    static const struct kv_engine_ops ops = {
        .name = "memory",
        .get = memory_get,
        .write = memory_write,
        .cursor_open = memory_cursor_open,
        .cursor_seek = memory_cursor_seek,
        .cursor_read = memory_cursor_read,
        .cursor_next = memory_cursor_next,
        .cursor_close = memory_cursor_close,
        .recover = memory_recover,
        .close = memory_close,
    };
    struct memory_engine *m = MEM_NEW(struct memory_engine);

    m->engine.ops = &ops;
    m->seed = 1;
    pthread_rwlock_init(&m->lock, NULL);
    return &m->engine;
}
