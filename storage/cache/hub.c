#include "storage/cache/hub.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { BOOKMARK_MS = 60 * 1000 };

struct delivery { /* a batch on its way to a loop */
    struct hub_loop *hub;
    struct event_batch *batch;
};

static void batch_free(struct ref *r)
{
    struct event_batch *b = (struct event_batch *)r;

    for (size_t i = 0; i < b->n; i++)
        ref_put(&b->events[i]->ref);
    free(b);
}

/* ---- index ---- */

static struct str index_key(struct buf *out, char kind, struct str a, struct str b)
{
    out->len = 0;
    buf_add_char(out, kind);
    buf_add_str(out, a);
    buf_add_char(out, '/');
    buf_add_str(out, b);
    return buf_str(out);
}

static struct str filter_key(struct buf *out, const struct watch_filter *f)
{
    if (f->name.p)
        return index_key(out, 'n', f->namespace_, f->name);
    if (f->field >= 0) {
        char field = (char)f->field;
        return index_key(out, 'f', (struct str){&field, 1}, f->field_value);
    }
    if (f->namespace_.len)
        return index_key(out, 's', f->namespace_, STR(""));
    return STR_NULL;
}

static void count_filter(struct store_index *x, const struct watch_filter *f, uint32_t by)
{
    if (f->name.p)
        x->n_named += by;
    else if (f->field >= 0)
        x->field_watches[f->field] += by;
    else if (f->namespace_.len)
        x->n_namespaced += by;
}

void hub_enter(struct watch *w)
{
    struct hub_loop *h = w->hub;
    struct cache *c = w->cache;
    uint16_t at = w->store->resource->index;
    struct store_index *x = h->indexes[at];
    struct buf key = {0};

    if (!h->n_watches++) {
        pthread_mutex_lock(&c->hub_lock);
        h->active = true;
        h->revision = c->hub_revision;
        pthread_mutex_unlock(&c->hub_lock);
    }
    if (!x)
        x = h->indexes[at] = MEM_NEW(struct store_index);
    assert(w->filter.field < HUB_FIELDS_MAX);
    count_filter(x, &w->filter, 1);
    struct str k = filter_key(&key, &w->filter);
    struct watch_list *list = &x->all;
    if (k.p && !(list = map_get(&x->by_key, k))) {
        list = MEM_NEW(struct watch_list);
        map_put(&x->by_key, k, list);
    }
    buf_free(&key);
    w->next = list->first;
    w->link = &list->first;
    if (w->next)
        w->next->link = &w->next;
    list->first = w;
    w->hub_next = h->first;
    w->hub_link = &h->first;
    if (w->hub_next)
        w->hub_next->hub_link = &w->hub_next;
    h->first = w;
}

void hub_leave(struct watch *w)
{
    struct hub_loop *h = w->hub;
    struct store_index *x = h->indexes[w->store->resource->index];
    struct buf key = {0};

    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    *w->hub_link = w->hub_next;
    if (w->hub_next)
        w->hub_next->hub_link = w->hub_link;
    count_filter(x, &w->filter, (uint32_t)-1);
    struct str k = filter_key(&key, &w->filter);
    struct watch_list *list = k.p ? map_get(&x->by_key, k) : NULL;
    if (list && !list->first)
        free(map_remove(&x->by_key, k));
    buf_free(&key);
    if (w->bookmarks && !--h->n_bookmarks)
        timer_stop(&h->bookmark_timer);
    if (!--h->n_watches) {
        pthread_mutex_lock(&w->cache->hub_lock);
        h->active = false;
        pthread_mutex_unlock(&w->cache->hub_lock);
    }
}

/* ---- delivering ---- */

static void offer(struct hub_loop *h, struct watch_list *list, struct watch_event *e)
{
    enum watch_type type;

    for (struct watch *w = list ? list->first : NULL; w; w = w->next) {
        if (w->state != WATCH_LIVE || e->revision <= w->seen || !watch_classify(w, e, &type))
            continue;
        if (!w->out.len) {
            w->refs++;
            vec_push(&h->touched, w);
        }
        watch_queue(w, e, type);
    }
}

static void offer_field(struct hub_loop *h, struct store_index *x, struct buf *key, size_t field,
                        const struct object *o, struct watch_event *e)
{
    char f = (char)field;

    offer(h, map_get(&x->by_key, index_key(key, 'f', (struct str){&f, 1}, o->fields[field])), e);
}

static void offer_event(struct hub_loop *h, struct store_index *x, struct buf *key, struct watch_event *e)
{
    const struct object *o = e->object, *prev = e->prev;

    offer(h, &x->all, e);
    if (x->n_namespaced)
        offer(h, map_get(&x->by_key, index_key(key, 's', o->namespace_, STR(""))), e);
    if (x->n_named) {
        offer(h, map_get(&x->by_key, index_key(key, 'n', o->namespace_, o->name)), e);
        if (o->namespace_.len) /* a name in whichever namespace */
            offer(h, map_get(&x->by_key, index_key(key, 'n', STR(""), o->name)), e);
    }
    for (size_t i = 0; i < o->n_fields && i < HUB_FIELDS_MAX; i++) {
        if (!x->field_watches[i])
            continue;
        offer_field(h, x, key, i, o, e);
        if (prev && i < prev->n_fields && !str_eq(prev->fields[i], o->fields[i]))
            offer_field(h, x, key, i, prev, e);
    }
}

static void deliver(void *arg)
{
    struct delivery *d = arg;
    struct hub_loop *h = d->hub;
    struct event_batch *b = d->batch;
    struct buf key = {0};

    free(d);
    if (h->n_watches && b->revision > h->revision) {
        h->revision = b->revision;
        for (size_t i = 0; i < b->n; i++) {
            struct store_index *x = h->indexes[b->events[i]->store->resource->index];

            if (x)
                offer_event(h, x, &key, b->events[i]);
        }
        buf_free(&key);
        /* callbacks may start and stop watches: the list is taken over first */
        size_t n = h->touched.len;
        struct watch **touched = h->touched.items;
        memset(&h->touched, 0, sizeof h->touched);
        for (size_t i = 0; i < n; i++) {
            watch_flush(touched[i]);
            watch_release(touched[i]);
        }
        h->touched.len = 0;
        if (!h->touched.items) {
            h->touched.items = touched;
            h->touched.cap = n; /* at least */
        } else {
            free(touched);
        }
    }
    ref_put(&b->ref);
}

void hub_publish(struct cache *c, struct event_batch *b)
{
    ref_init(&b->ref, batch_free);
    pthread_mutex_lock(&c->hub_lock);
    c->hub_revision = b->revision;
    for (size_t i = 0; i < c->loops.len; i++) {
        struct hub_loop *h = c->loops.items[i];

        if (!h->active)
            continue;
        struct delivery *d = mem_alloc(sizeof *d);
        *d = (struct delivery){h, b};
        ref_get(&b->ref);
        loop_post(h->loop, deliver, d);
    }
    pthread_mutex_unlock(&c->hub_lock);
    ref_put(&b->ref);
}

/* ---- the store has started over ---- */

struct jump {
    struct hub_loop *hub;
    int64_t revision;
};

/* Watchers go back to catching up, from what they have seen. */
static void jump(void *arg)
{
    struct jump *j = arg;
    struct hub_loop *h = j->hub;

    for (struct watch *w = h->first; w; w = w->hub_next)
        if (w->state == WATCH_LIVE) {
            watch_pause(w);
            watch_resume(w);
        }
    if (h->revision < j->revision)
        h->revision = j->revision;
    free(j);
}

void hub_restart(struct cache *c, int64_t revision)
{
    pthread_mutex_lock(&c->hub_lock);
    c->hub_revision = revision;
    for (size_t i = 0; i < c->loops.len; i++) {
        struct hub_loop *h = c->loops.items[i];

        if (!h->active)
            continue;
        struct jump *j = mem_alloc(sizeof *j);
        *j = (struct jump){h, revision};
        loop_post(h->loop, jump, j);
    }
    pthread_mutex_unlock(&c->hub_lock);
}

/* ---- bookmarks ---- */

static void bookmark_all(void *arg)
{
    struct hub_loop *h = arg;
    VEC(struct watch *) list = {0};

    for (struct watch *w = h->first; w; w = w->hub_next) {
        if (!w->bookmarks || w->state != WATCH_LIVE)
            continue;
        w->refs++;
        vec_push(&list, w);
    }
    for (size_t i = 0; i < list.len; i++) {
        watch_bookmark(list.items[i]);
        watch_release(list.items[i]);
    }
    vec_free(&list);
    if (h->n_bookmarks)
        timer_start(&h->bookmark_timer, h->loop, BOOKMARK_MS, bookmark_all, h);
}

void hub_bookmarks(struct hub_loop *h)
{
    if (!h->n_bookmarks++)
        timer_start(&h->bookmark_timer, h->loop, BOOKMARK_MS, bookmark_all, h);
}

/* ---- loops ---- */

struct hub_loop *hub_loop_for(struct cache *c, struct loop *loop)
{
    struct hub_loop *h = NULL;

    pthread_mutex_lock(&c->hub_lock);
    for (size_t i = 0; i < c->loops.len; i++)
        if (c->loops.items[i]->loop == loop)
            h = c->loops.items[i];
    if (!h) {
        h = MEM_NEW(struct hub_loop);
        h->cache = c;
        h->loop = loop;
        vec_push(&c->loops, h);
    }
    pthread_mutex_unlock(&c->hub_lock);
    return h;
}

void hub_finish(struct cache *c)
{
    for (size_t i = 0; i < c->loops.len; i++) {
        struct hub_loop *h = c->loops.items[i];

        for (size_t j = 0; j < CACHE_RESOURCES_MAX; j++) {
            if (!h->indexes[j])
                continue;
            map_finish(&h->indexes[j]->by_key);
            free(h->indexes[j]);
        }
        vec_free(&h->touched);
        free(h);
    }
    vec_free(&c->loops);
}
