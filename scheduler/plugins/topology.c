#include "scheduler/plugins/topology.h"

static size_t slot_of(const struct topology_counts *t, struct str key, struct str value)
{
    size_t at = (size_t)(str_hash(value) + key.len) & (t->cap - 1);
    while (t->slots[at] && !(str_eq(t->slots[at]->value, value) && str_eq(t->slots[at]->key, key)))
        at = (at + 1) & (t->cap - 1);
    return at;
}

const int64_t *topology_count_find(const struct topology_counts *t, struct str key, struct str value)
{
    if (!t->len)
        return NULL;
    const struct topology_count *found = t->slots[slot_of(t, key, value)];
    return found ? &found->n : NULL;
}

static void grow(struct arena *a, struct topology_counts *t)
{
    struct topology_counts bigger = {.cap = t->cap ? t->cap * 2 : 16, .len = t->len};
    bigger.slots = ARENA_ARRAY(a, struct topology_count *, bigger.cap);
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i])
            bigger.slots[slot_of(&bigger, t->slots[i]->key, t->slots[i]->value)] = t->slots[i];
    *t = bigger;
}

int64_t *topology_count_at(struct arena *a, struct topology_counts *t, struct str key, struct str value)
{
    if (t->len * 2 >= t->cap)
        grow(a, t);
    size_t at = slot_of(t, key, value);
    if (!t->slots[at]) {
        t->slots[at] = ARENA_NEW(a, struct topology_count);
        *t->slots[at] = (struct topology_count){key, value, 0};
        t->len++;
    }
    return &t->slots[at]->n;
}
