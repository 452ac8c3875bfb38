/* node ports: a host port can be used once per address and protocol. */
#include "scheduler/cycle.h"

static enum plugin_answer pre_filter(struct cycle *c)
{
    return c->pod->constraints && c->pod->constraints->n_ports ? PLUGIN_GO : PLUGIN_SKIP;
}

static bool clash(const struct host_port *a, const struct host_port *b)
{
    return a->port == b->port && str_eq(a->protocol, b->protocol) && (!a->ip.len || !b->ip.len || str_eq(a->ip, b->ip));
}

static bool free_on(const struct sched_pod *p, const struct sched_node *n)
{
    for (size_t i = 0; i < p->constraints->n_ports; i++)
        for (size_t k = 0; k < n->ports.len; k++)
            if (clash(&p->constraints->ports[i], &n->ports.items[k]))
                return false;
    return true;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    if (!free_on(c->pod, n))
        return (struct verdict){(uint64_t)1 << REASON_PORTS, false};
    return (struct verdict){0};
}

static bool hint(const struct sched_pod *p, const struct sched_node *n, uint32_t events)
{
    (void)events;
    return !p->constraints || free_on(p, n);
}

const struct plugin plugin_node_ports = {.name = "NodePorts",
                                         .events = EVENT_NODE_ADD | EVENT_POD_DELETE,
                                         .hint = hint,
                                         .pre_filter = pre_filter,
                                         .filter = filter};
