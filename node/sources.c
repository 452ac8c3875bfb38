#include "node/sources.h"

#include "base/base64.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

struct sources {
    struct client *client;
    struct map all; /* "0/namespace/name" */
    void (*on_change)(void *arg, struct source *s);
    void *arg;
};

struct source {
    struct sources *owner;
    enum source_kind kind;
    char *namespace_, *name, *key;
    unsigned refs;
    struct informer *informer;
    bool synced;
    const struct object *object;
    struct arena *arena; /* of the entries */
    struct source_entry *entries;
    size_t n_entries;
    struct str type;
};

struct sources *sources_create(struct client *client, void (*on_change)(void *arg, struct source *s), void *arg)
{
    struct sources *all = calloc(1, sizeof *all);
    all->client = client;
    all->on_change = on_change;
    all->arg = arg;
    return all;
}

static void drop(struct source *s)
{
    informer_destroy(s->informer);
    object_put(s->object);
    arena_destroy(s->arena);
    free(s->namespace_);
    free(s->name);
    free(s->key);
    free(s);
}

void sources_destroy(struct sources *all)
{
    struct map_iter it;
    struct str key;
    void *v;
    if (!all)
        return;
    map_iter_init(&it, &all->all);
    while (map_iter_next(&it, &key, &v))
        drop(v);
    map_finish(&all->all);
    free(all);
}

/* The server has checked that it is base64. */
static struct str plain_of(struct arena *a, struct str text)
{
    struct str plain = STR_NULL;
    base64_decode(a, text, &plain);
    return plain;
}

static void push_entry(struct source *s, size_t *cap, struct str key, struct str value)
{
    ARENA_PUSH(s->arena, s->entries, s->n_entries, *cap, (struct source_entry){key, value});
}

static int by_key(const void *a, const void *b)
{
    return str_cmp(((const struct source_entry *)a)->key, ((const struct source_entry *)b)->key);
}

static void decode(struct source *s)
{
    size_t cap = 0;
    arena_destroy(s->arena);
    s->arena = NULL;
    s->entries = NULL;
    s->n_entries = 0;
    s->type = STR_NULL;
    if (!s->object)
        return;
    s->arena = arena_create(0);
    if (s->kind == SOURCE_CONFIG_MAP) {
        const struct core_v1_config_map *m = view_object(s->arena, s->object);
        for (size_t i = 0; i < m->data.len; i++)
            push_entry(s, &cap, m->data.items[i].key, m->data.items[i].value);
        for (size_t i = 0; i < m->binary_data.len; i++)
            push_entry(s, &cap, m->binary_data.items[i].key, plain_of(s->arena, m->binary_data.items[i].value));
        if (s->n_entries)
            qsort(s->entries, s->n_entries, sizeof *s->entries, by_key);
    } else {
        const struct core_v1_secret *m = view_object(s->arena, s->object);
        for (size_t i = 0; i < m->data.len; i++)
            push_entry(s, &cap, m->data.items[i].key, plain_of(s->arena, m->data.items[i].value));
        s->type = m->type;
    }
}

static void changed(void *arg, const struct object *old, const struct object *now)
{
    struct source *s = arg;
    (void)old;
    if (now)
        object_get(now);
    object_put(s->object);
    s->object = now;
    decode(s);
    if (s->synced)
        s->owner->on_change(s->owner->arg, s);
}

static void synced(void *arg)
{
    struct source *s = arg;
    bool first = !s->synced;
    s->synced = true;
    if (first)
        s->owner->on_change(s->owner->arg, s);
}

struct source *source_get(struct sources *all, enum source_kind kind, struct str namespace_, struct str name)
{
    char key[600], selector[300];
    struct source *s;
    struct informer_options opt = {.namespace_ = namespace_, .on_change = changed, .on_synced = synced};
    snprintf(key, sizeof key, "%d/" STR_FMT "/" STR_FMT, kind, STR_ARG(namespace_), STR_ARG(name));
    s = map_get(&all->all, str_from(key));
    if (s) {
        s->refs++;
        return s;
    }
    s = calloc(1, sizeof *s);
    s->owner = all;
    s->kind = kind;
    s->namespace_ = strndup(namespace_.p ? namespace_.p : "", namespace_.len);
    s->name = strndup(name.p ? name.p : "", name.len);
    s->key = strdup(key);
    s->refs = 1;
    map_put(&all->all, str_from(key), s);
    snprintf(selector, sizeof selector, "metadata.name=%s", s->name);
    opt.resource = resource_find(STR(""), kind == SOURCE_SECRET ? STR("secrets") : STR("configmaps"));
    opt.field_selector = str_from(selector);
    opt.arg = s;
    s->informer = client_informer(all->client, &opt);
    return s;
}

void source_put(struct source *s)
{
    if (!s || --s->refs)
        return;
    map_remove(&s->owner->all, str_from(s->key));
    drop(s);
}

enum source_state source_state(const struct source *s)
{
    return !s->synced ? SOURCE_PENDING : s->object ? SOURCE_FOUND : SOURCE_ABSENT;
}

bool source_is(const struct source *s, enum source_kind kind, struct str namespace_, struct str name)
{
    return s->kind == kind && str_eqz(namespace_, s->namespace_) && str_eqz(name, s->name);
}

size_t source_entries(const struct source *s, const struct source_entry **ret)
{
    *ret = s->entries;
    return s->n_entries;
}

int source_entry_find(const struct source *s, struct str key, struct str *ret)
{
    for (size_t i = 0; i < s->n_entries; i++) {
        if (str_eq(s->entries[i].key, key)) {
            *ret = s->entries[i].value;
            return 0;
        }
    }
    return 1;
}

struct str source_type(const struct source *s)
{
    return s->type;
}
