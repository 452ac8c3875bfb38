#include "scheduler/owners.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct owner_pods *owner_pods_get(struct map *owners, struct str uid)
{
    struct owner_pods *o = map_get(owners, uid);
    if (!o) {
        o = MEM_NEW(struct owner_pods);
        o->uid = mem_dup(uid.p, uid.len);
        map_put(owners, uid, o);
    }
    o->n_users++;
    return o;
}

void owner_pods_put(struct map *owners, struct owner_pods *o)
{
    if (!o || --o->n_users)
        return;
    map_remove(owners, str_from(o->uid));
    free(o->uid);
    free(o->slots);
    free(o);
}

static size_t start_of(const struct owner_pods *o, const struct sched_node *n)
{
    return (size_t)(((uintptr_t)n >> 4) * 0x9e3779b97f4a7c15u >> 20) & (o->cap - 1);
}

static struct owner_slot *slot_of(const struct owner_pods *o, const struct sched_node *n)
{
    size_t at = start_of(o, n);
    while (o->slots[at].node && o->slots[at].node != n)
        at = (at + 1) & (o->cap - 1);
    return &o->slots[at];
}

static void grow(struct owner_pods *o)
{
    struct owner_pods bigger = *o;
    bigger.cap = o->cap ? o->cap * 2 : 8;
    bigger.slots = MEM_ARRAY(struct owner_slot, bigger.cap);
    for (size_t i = 0; i < o->cap; i++)
        if (o->slots[i].node)
            *slot_of(&bigger, o->slots[i].node) = o->slots[i];
    free(o->slots);
    *o = bigger;
}

/* Linear probing without tombstones: what stands behind a hole may have to move into it. */
static void close_hole(struct owner_pods *o, size_t hole)
{
    o->slots[hole].node = NULL;
    for (size_t at = (hole + 1) & (o->cap - 1); o->slots[at].node; at = (at + 1) & (o->cap - 1)) {
        size_t start = start_of(o, o->slots[at].node);
        if (((at - start) & (o->cap - 1)) < ((at - hole) & (o->cap - 1)))
            continue;
        o->slots[hole] = o->slots[at];
        o->slots[at].node = NULL;
        hole = at;
    }
}

void owner_pods_add(struct owner_pods *o, const struct sched_node *n, int32_t by)
{
    if (o->len * 2 >= o->cap)
        grow(o);
    struct owner_slot *slot = slot_of(o, n);
    if (!slot->node) {
        assert(by > 0);
        *slot = (struct owner_slot){n, 0};
        o->len++;
    }
    slot->n += by;
    o->n_pods += (size_t)by;
    if (slot->n == 0) {
        o->len--;
        close_hole(o, (size_t)(slot - o->slots));
    }
}

int32_t owner_pods_on(const struct owner_pods *o, const struct sched_node *n)
{
    if (!o->len)
        return 0;
    const struct owner_slot *slot = slot_of(o, n);
    return slot->node ? slot->n : 0;
}
