/* Keys without objects: the set of those under a prefix, followed as it changes. */
#include "storage/cache/cache_internal.h"

#include "base/mem.h"

#include <stdlib.h>

static struct key_set *find_set(struct cache *c, struct str key)
{
    struct key_set *s = c->key_sets;

    while (s && !str_starts(key, s->prefix))
        s = s->next;
    return s;
}

void keys_publish(struct cache *c, const struct kv_event *e)
{
    struct key_set *s = find_set(c, e->pair.key);
    intptr_t revision = (intptr_t)e->pair.mod_revision;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    if (e->kind == KV_EVENT_PUT)
        map_put(&s->revisions, e->pair.key, (void *)revision);
    else if (s->loading)
        map_put(&s->revisions, e->pair.key, (void *)-revision);
    else
        map_remove(&s->revisions, e->pair.key);
    pthread_mutex_unlock(&s->lock);
}

/* What was published meanwhile is newer. */
static bool add_pair(void *arg, const struct kv_pair *p)
{
    struct key_set *s = arg;

    pthread_mutex_lock(&s->lock);
    intptr_t known = (intptr_t)map_get(&s->revisions, p->key);
    if ((known < 0 ? -known : known) < p->mod_revision)
        map_put(&s->revisions, p->key, (void *)(intptr_t)p->mod_revision);
    pthread_mutex_unlock(&s->lock);
    return true;
}

static void forget_deleted(struct key_set *s)
{
    struct arena *a = arena_create(0);
    struct str *gone = NULL, key;
    size_t n = 0, cap = 0;
    struct map_iter it;
    void *revision;

    pthread_mutex_lock(&s->lock);
    map_iter_init(&it, &s->revisions);
    while (map_iter_next(&it, &key, &revision))
        if ((intptr_t)revision < 0)
            ARENA_PUSH(a, gone, n, cap, arena_str(a, key));
    for (size_t i = 0; i < n; i++)
        map_remove(&s->revisions, gone[i]);
    s->loading = false;
    pthread_mutex_unlock(&s->lock);
    arena_destroy(a);
}

int cache_add_keys(struct cache *c, struct str prefix, struct err *err)
{
    struct key_set *s = MEM_NEW(struct key_set);
    struct arena *a = arena_create(0);

    pthread_mutex_init(&s->lock, NULL);
    s->prefix = (struct str){mem_dup(prefix.p, prefix.len), prefix.len};
    s->loading = true;
    pthread_mutex_lock(&c->publish_lock);
    s->next = c->key_sets;
    c->key_sets = s;
    pthread_mutex_unlock(&c->publish_lock);
    int rc = kv_range(c->kv, prefix, kv_prefix_end(a, prefix), 0, 0, add_pair, s, NULL, err);
    forget_deleted(s);
    arena_destroy(a);
    return rc < 0 ? err_context(err, "load " STR_FMT, STR_ARG(prefix)) : 0;
}

void keys_restart(struct cache *c, enum kv_restart step, const struct kv_pair *p)
{
    struct key_set *one = step == KV_RESTART_PAIRS ? find_set(c, p->key) : NULL;

    if (one)
        map_put(&one->rebuilt, p->key, (void *)(intptr_t)p->mod_revision);
    for (struct key_set *s = step == KV_RESTART_PAIRS ? NULL : c->key_sets; s; s = s->next) {
        pthread_mutex_lock(&s->lock);
        if (step == KV_RESTART_END) {
            struct map old = s->revisions;

            s->revisions = s->rebuilt;
            s->rebuilt = old;
        }
        map_finish(&s->rebuilt);
        s->rebuilt = (struct map){0};
        pthread_mutex_unlock(&s->lock);
    }
}

bool cache_has_key(struct cache *c, struct str key)
{
    pthread_mutex_lock(&c->publish_lock);
    struct key_set *s = find_set(c, key);
    pthread_mutex_unlock(&c->publish_lock);
    if (!s)
        return false;
    pthread_mutex_lock(&s->lock);
    bool there = map_get(&s->revisions, key) != NULL;
    pthread_mutex_unlock(&s->lock);
    return there;
}

void keys_finish(struct cache *c)
{
    for (struct key_set *s; (s = c->key_sets);) {
        c->key_sets = s->next;
        map_finish(&s->revisions);
        map_finish(&s->rebuilt);
        pthread_mutex_destroy(&s->lock);
        free((char *)(uintptr_t)s->prefix.p);
        free(s);
    }
}
