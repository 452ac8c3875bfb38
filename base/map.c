#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    void *value;
    size_t len;
    char key[];
};

static struct map_entry **map_find(const struct map *m, struct str key, uint64_t hash)
{
    struct map_entry **at = &m->buckets[hash & (m->n_buckets - 1)];
    while (*at && !((*at)->hash == hash && str_eq((struct str){(*at)->key, (*at)->len}, key)))
        at = &(*at)->next;
    return at;
}

static void map_grow(struct map *m)
{
    size_t n = m->n_buckets ? m->n_buckets * 2 : 8;
    struct map_entry **buckets = MEM_ARRAY(struct map_entry *, n);
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct map_entry *e = m->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
}

void map_finish(struct map *m)
{
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct map_entry *e = m->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    }
    free(m->buckets);
    *m = (struct map){0};
}

void *map_get(const struct map *m, struct str key)
{
    if (!m->len)
        return NULL;
    struct map_entry *e = *map_find(m, key, str_hash(key));
    return e ? e->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
    if (m->len >= m->n_buckets)
        map_grow(m);
    uint64_t hash = str_hash(key);
    struct map_entry **at = map_find(m, key, hash);
    if (*at) {
        void *old = (*at)->value;
        (*at)->value = value;
        return old;
    }
    struct map_entry *e = mem_alloc(sizeof *e + key.len + 1);
    *e = (struct map_entry){.hash = hash, .value = value, .len = key.len};
    if (key.len)
        memcpy(e->key, key.p, key.len);
    e->key[key.len] = 0;
    *at = e;
    m->len++;
    return NULL;
}

void *map_remove(struct map *m, struct str key)
{
    if (!m->len)
        return NULL;
    struct map_entry **at = map_find(m, key, str_hash(key)), *e = *at;
    if (!e)
        return NULL;
    void *value = e->value;
    *at = e->next;
    free(e);
    m->len--;
    return value;
}

void map_iter_init(struct map_iter *it, const struct map *m)
{
    *it = (struct map_iter){.map = m};
}

bool map_iter_next(struct map_iter *it, struct str *ret_key, void **ret_value)
{
    while (!it->next) {
        if (it->bucket == it->map->n_buckets)
            return false;
        it->next = it->map->buckets[it->bucket++];
    }
    it->entry = it->next;
    it->next = it->entry->next;
    if (ret_key)
        *ret_key = (struct str){it->entry->key, it->entry->len};
    if (ret_value)
        *ret_value = it->entry->value;
    return true;
}
