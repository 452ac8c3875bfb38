#include "scheduler/resources.h"

#include "base/mem.h"
#include "openapi/meta/quantity.h"

#include <stdlib.h>

enum { N_AMOUNTS = N_FIXED_RESOURCES + EXTENDED_MAX, DEFAULT_CPU_MILLI = 100, DEFAULT_MEMORY = 200 << 20 };

struct amounts {
    int64_t n[N_AMOUNTS];
    int64_t nonzero[2];
};

int resource_number(struct resource_names *names, struct str name)
{
    size_t slash;
    if (!str_index(name, '/', &slash) && !str_starts(name, STR("hugepages-")) &&
        !str_starts(name, STR("attachable-volumes-")))
        return -1;
    for (size_t i = 0; i < names->len; i++)
        if (str_eqz(name, names->names[i]))
            return (int)i;
    if (names->len == EXTENDED_MAX)
        return -1;
    names->names[names->len] = mem_dup(name.p, name.len);
    return (int)names->len++;
}

void resource_names_finish(struct resource_names *names)
{
    for (size_t i = 0; i < names->len; i++)
        free(names->names[i]);
    names->len = 0;
}

static int slot_of(struct resource_names *names, struct str name)
{
    if (str_eqz(name, "cpu"))
        return RESOURCE_CPU;
    if (str_eqz(name, "memory"))
        return RESOURCE_MEMORY;
    if (str_eqz(name, "ephemeral-storage"))
        return RESOURCE_EPHEMERAL_STORAGE;
    int number = resource_number(names, name);
    return number < 0 ? -1 : N_FIXED_RESOURCES + number;
}

static int64_t amount_of(int slot, struct str text)
{
    struct quantity q = quantity_from(text);
    return slot == RESOURCE_CPU ? quantity_milli_value(&q) : quantity_value(&q);
}

static void raise_to(struct amounts *to, const struct amounts *from)
{
    for (int i = 0; i < N_AMOUNTS; i++)
        to->n[i] = to->n[i] > from->n[i] ? to->n[i] : from->n[i];
    for (int i = 0; i < 2; i++)
        to->nonzero[i] = to->nonzero[i] > from->nonzero[i] ? to->nonzero[i] : from->nonzero[i];
}

static void add(struct amounts *to, const struct amounts *from)
{
    for (int i = 0; i < N_AMOUNTS; i++)
        to->n[i] += from->n[i];
    for (int i = 0; i < 2; i++)
        to->nonzero[i] += from->nonzero[i];
}

static void read_list(struct resource_names *names, struct str_entry_array list, struct amounts *a, uint64_t *seen)
{
    for (size_t i = 0; i < list.len; i++) {
        int slot = slot_of(names, list.items[i].key);
        if (slot < 0)
            continue;
        int64_t n = amount_of(slot, list.items[i].value);
        a->n[slot] = a->n[slot] > n ? a->n[slot] : n;
        *seen |= (uint64_t)1 << slot;
    }
}

/* One container's, with the larger of what it has and what it shall have while it is being resized. */
static struct amounts of_container(struct resource_names *names, const struct core_v1_container *c,
                                   struct core_v1_container_status_array statuses)
{
    struct amounts a = {0};
    uint64_t seen = 0;
    if (c->resources)
        read_list(names, c->resources->requests, &a, &seen);
    for (size_t i = 0; i < statuses.len; i++) {
        const struct core_v1_container_status *s = &statuses.items[i];
        if (!str_eq(s->name, c->name))
            continue;
        read_list(names, s->allocated_resources, &a, &seen);
        if (s->resources)
            read_list(names, s->resources->requests, &a, &seen);
    }
    a.nonzero[RESOURCE_CPU] = seen & 1 << RESOURCE_CPU ? a.n[RESOURCE_CPU] : DEFAULT_CPU_MILLI;
    a.nonzero[RESOURCE_MEMORY] = seen & 1 << RESOURCE_MEMORY ? a.n[RESOURCE_MEMORY] : DEFAULT_MEMORY;
    return a;
}

/* Init containers run one after the other, beside the sidecars that were started before them. */
static void count_init_containers(struct resource_names *names, const struct core_v1_pod *pod, struct amounts *sum)
{
    const struct core_v1_pod_spec *spec = pod->spec;
    struct amounts sidecars = {0}, most = {0};
    for (size_t i = 0; i < spec->init_containers.len; i++) {
        const struct core_v1_container *c = &spec->init_containers.items[i];
        struct amounts a = of_container(names, c, pod->status->init_container_statuses);
        if (str_eqz(c->restart_policy, "Always")) {
            add(sum, &a);
            add(&sidecars, &a);
            a = sidecars;
        } else {
            add(&a, &sidecars);
        }
        raise_to(&most, &a);
    }
    raise_to(sum, &most);
}

static void override_with_pod_level(struct resource_names *names, const struct core_v1_pod_spec *spec,
                                    struct amounts *sum)
{
    for (size_t i = 0; spec->resources && i < spec->resources->requests.len; i++) {
        const struct str_entry *e = &spec->resources->requests.items[i];
        int slot = slot_of(names, e->key);
        if (slot < 0 || slot == RESOURCE_EPHEMERAL_STORAGE)
            continue;
        sum->n[slot] = amount_of(slot, e->value);
        if (slot <= RESOURCE_MEMORY)
            sum->nonzero[slot] = sum->n[slot];
    }
}

void requests_of_pod(const struct core_v1_pod *pod, struct resource_names *names, struct requests *ret)
{
    const struct core_v1_pod_spec *spec = pod->spec;
    struct amounts sum = {0}, overhead = {0};
    uint64_t seen = 0;
    for (size_t i = 0; i < spec->containers.len; i++) {
        struct amounts a = of_container(names, &spec->containers.items[i], pod->status->container_statuses);
        add(&sum, &a);
    }
    if (spec->init_containers.len)
        count_init_containers(names, pod, &sum);
    override_with_pod_level(names, spec, &sum);
    if (spec->overhead.len) {
        read_list(names, spec->overhead, &overhead, &seen);
        overhead.nonzero[0] = overhead.n[0];
        overhead.nonzero[1] = overhead.n[1];
        add(&sum, &overhead);
    }
    *ret = (struct requests){.nonzero = {sum.nonzero[0], sum.nonzero[1]}};
    memcpy(ret->fixed, sum.n, sizeof ret->fixed);
    size_t n = 0;
    for (int i = N_FIXED_RESOURCES; i < N_AMOUNTS; i++)
        n += sum.n[i] != 0;
    if (!n)
        return;
    ret->extended = MEM_ARRAY(struct extended_amount, n);
    for (int i = N_FIXED_RESOURCES; i < N_AMOUNTS; i++)
        if (sum.n[i])
            ret->extended[ret->n_extended++] = (struct extended_amount){i - N_FIXED_RESOURCES, sum.n[i]};
}
