/* Leases: those that controllers and scheduler are elected with have a fence, a key outside /registry that is written
 * in the transaction that gives the lease to somebody, whoever asks for it. Its revision names the term: what a leader
 * writes carries a compare on it, so that nobody can write who has lost the lease without knowing it. */
#include "api/registry/registry.h"

static bool is_fenced(const struct value *lease)
{
    struct str name = value_path_str(lease, "metadata.name");
    return str_eqz(value_path_str(lease, "metadata.namespace"), "kube-system") &&
           (str_eqz(name, "kube-controller-manager") || str_eqz(name, "kube-scheduler"));
}

static void move_fence(struct registry_call *c, const struct value *lease, struct str holder)
{
    struct write *w = c->write;
    struct str key = arena_printf(c->arena, CLIENT_FENCES STR_FMT, STR_ARG(value_path_str(lease, "metadata.name")));
    for (size_t i = 0; i < w->n_ops; i++)
        if (str_eq(w->ops[i].key, key))
            return;
    w->ops[w->n_ops++] = (struct kv_op){.kind = KV_PUT, .key = key, .value = holder};
}

/* A term ends with its holder, and with its beginning: somebody may lead twice in a row. */
static int allocate(struct registry_call *c, struct value *v, const struct value *old, struct err *err)
{
    struct str holder = value_path_str(v, "spec.holderIdentity");
    (void)err;
    if (!is_fenced(v))
        return 0;
    if (!old || !str_eq(holder, value_path_str(old, "spec.holderIdentity")) ||
        !str_eq(value_path_str(v, "spec.acquireTime"), value_path_str(old, "spec.acquireTime")))
        move_fence(c, v, holder);
    return 0;
}

static void release(struct registry_call *c, const struct value *old)
{
    if (is_fenced(old))
        move_fence(c, old, STR(""));
}

const struct registry_rules registry_leases = {.group = "coordination.k8s.io",
                                               .resource = "leases",
                                               .flags = REGISTRY_CREATE_ON_UPDATE | REGISTRY_CONDITIONAL,
                                               .allocate = allocate,
                                               .release = release};
