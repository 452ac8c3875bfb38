/* ResourceQuotas: what a namespace may use in all. The share a request takes is added to status.used in the transaction
 * of the request itself: two requests can never spend the same share, and a refused one spends nothing. */
#include "api/admission/admission.h"

#include "openapi/meta/quantity.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"

#include <stdlib.h>

#define MAX_USES 64

struct use {
    struct str name;
    struct quantity amount;
};

struct uses {
    struct arena *arena;
    struct use items[MAX_USES];
    size_t n;
};

static void add(struct uses *u, struct str name, struct quantity q)
{
    for (size_t i = 0; i < u->n; i++)
        if (str_eq(u->items[i].name, name)) {
            quantity_add(&u->items[i].amount, &q);
            return;
        }
    if (u->n < MAX_USES)
        u->items[u->n++] = (struct use){name, q};
}

static void most(struct uses *u, struct str name, struct quantity q)
{
    for (size_t i = 0; i < u->n; i++)
        if (str_eq(u->items[i].name, name)) {
            if (quantity_cmp(&q, &u->items[i].amount) > 0)
                u->items[i].amount = q;
            return;
        }
    add(u, name, q);
}

/* ---- what objects use ---- */

static void add_list(struct uses *u, const struct value *list, const char *prefix, bool is_max)
{
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value_member *m = &list->map.members[i];
        struct str name = arena_printf(u->arena, "%s" STR_FMT, prefix, STR_ARG(m->key));
        struct quantity q = quantity_from(value_str(m->value));
        (is_max ? most : add)(u, name, q);
    }
}

static void pod_uses(struct uses *u, const struct value *pod)
{
    struct str phase = value_path_str(pod, "status.phase");
    static const struct {
        const char *list;
        bool is_max;
    } lists[] = {{"containers", false}, {"initContainers", true}};
    if (str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed"))
        return; /* count/pods aside, a finished pod uses nothing */
    add(u, STR("pods"), quantity_from_int(1));
    for (size_t l = 0; l < 2; l++) {
        const struct value *list = value_getz(value_getz(pod, "spec"), lists[l].list);
        for (size_t i = 0; i < value_len(list); i++) {
            const struct value *r = value_getz(value_at(list, i), "resources");
            add_list(u, value_getz(r, "requests"), "requests.", lists[l].is_max);
            add_list(u, value_getz(r, "limits"), "limits.", lists[l].is_max);
        }
    }
    for (size_t i = 0, n = u->n; i < n; i++) { /* the short names mean requests */
        struct str name = u->items[i].name;
        if (str_eqz(name, "requests.cpu") || str_eqz(name, "requests.memory") ||
            str_eqz(name, "requests.ephemeral-storage"))
            add(u, str_sub(name, 9, name.len), u->items[i].amount);
    }
}

static void service_uses(struct uses *u, const struct value *v)
{
    struct str type = value_path_str(v, "spec.type");
    size_t ports = value_len(value_path(v, "spec.ports"));
    add(u, STR("services"), quantity_from_int(1));
    if (str_eqz(type, "LoadBalancer"))
        add(u, STR("services.loadbalancers"), quantity_from_int(1));
    if (str_eqz(type, "NodePort") ||
        (str_eqz(type, "LoadBalancer") && value_path_bool(v, "spec.allocateLoadBalancerNodePorts", true)))
        add(u, STR("services.nodeports"), quantity_from_int((int64_t)ports));
}

static void claim_uses(struct uses *u, const struct value *v)
{
    struct str class_ = value_path_str(v, "spec.storageClassName"),
               size = value_path_str(v, "spec.resources.requests.storage");
    add(u, STR("persistentvolumeclaims"), quantity_from_int(1));
    if (size.len)
        add(u, STR("requests.storage"), quantity_from(size));
    if (!class_.len)
        return;
    add(u, arena_printf(u->arena, STR_FMT ".storageclass.storage.k8s.io/persistentvolumeclaims", STR_ARG(class_)),
        quantity_from_int(1));
    if (size.len)
        add(u, arena_printf(u->arena, STR_FMT ".storageclass.storage.k8s.io/requests.storage", STR_ARG(class_)),
            quantity_from(size));
}

static void object_uses(struct uses *u, const struct resource *r, const struct value *v)
{
    static const char *const counted[] = {"configmaps", "secrets", "replicationcontrollers", "resourcequotas"};
    add(u, arena_printf(u->arena, "count/" STR_FMT, STR_ARG(api_group_resource(u->arena, r))), quantity_from_int(1));
    if (r->group.len)
        return;
    if (str_eqz(r->name, "pods"))
        pod_uses(u, v);
    else if (str_eqz(r->name, "services"))
        service_uses(u, v);
    else if (str_eqz(r->name, "persistentvolumeclaims"))
        claim_uses(u, v);
    else
        for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
            if (str_eqz(r->name, counted[i]))
                add(u, str_from(counted[i]), quantity_from_int(1));
}

/* ---- which quotas count ---- */

static bool in_scope(struct str scope, const struct value *pod)
{
    bool terminating = value_path(pod, "spec.activeDeadlineSeconds") != NULL;
    bool best_effort = true;
    const struct value *list = value_path(pod, "spec.containers");
    for (size_t i = 0; i < value_len(list); i++)
        if (value_len(value_path(value_at(list, i), "resources.requests")) ||
            value_len(value_path(value_at(list, i), "resources.limits")))
            best_effort = false;
    if (str_eqz(scope, "Terminating"))
        return terminating;
    if (str_eqz(scope, "NotTerminating"))
        return !terminating;
    if (str_eqz(scope, "BestEffort"))
        return best_effort;
    if (str_eqz(scope, "NotBestEffort"))
        return !best_effort;
    return false;
}

static bool expression_holds(const struct value *e, const struct value *pod)
{
    struct str scope = value_path_str(e, "scopeName"), op = value_path_str(e, "operator");
    if (!str_eqz(scope, "PriorityClass"))
        return in_scope(scope, pod);
    struct str class_ = value_path_str(pod, "spec.priorityClassName");
    bool in = false;
    const struct value *values = value_getz(e, "values");
    for (size_t i = 0; i < value_len(values); i++)
        in = in || str_eq(class_, value_str(value_at(values, i)));
    if (str_eqz(op, "In"))
        return in;
    if (str_eqz(op, "NotIn"))
        return !in;
    return str_eqz(op, "Exists") ? class_.len > 0 : !class_.len;
}

static bool quota_covers(const struct value *quota, bool is_pod, const struct value *v)
{
    const struct value *scopes = value_path(quota, "spec.scopes"),
                       *expressions = value_path(quota, "spec.scopeSelector.matchExpressions");
    if ((value_len(scopes) || value_len(expressions)) && !is_pod)
        return false;
    for (size_t i = 0; i < value_len(scopes); i++)
        if (!in_scope(value_str(value_at(scopes, i)), v))
            return false;
    for (size_t i = 0; i < value_len(expressions); i++)
        if (!expression_holds(value_at(expressions, i), v))
            return false;
    return true;
}

/* ---- spending ---- */

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct use *)a)->name, ((const struct use *)b)->name);
}

static void print(struct buf *b, struct arena *a, struct str name, const struct quantity *q)
{
    buf_printf(b, "%s" STR_FMT "=" STR_FMT, b->len ? "," : "", STR_ARG(name), STR_ARG(quantity_text(a, q)));
}

static int spend(struct admission_call *c, const struct object *o, struct value *quota, const struct uses *u,
                 struct err *err)
{
    struct arena *a = c->arena;
    const struct value *hard = value_path(quota, "status.hard");
    struct value *used = NULL;
    struct buf requested = {0}, had = {0}, limited = {0};
    bool any = false;
    int rc = 0;
    for (size_t i = 0; i < u->n; i++) {
        struct str bound = value_str(value_get(hard, u->items[i].name));
        if (!bound.len)
            continue;
        if (!used)
            used = value_ensure_map(a, quota, "status.used");
        struct quantity before = quantity_from(value_str(value_get(used, u->items[i].name))), after = before;
        struct quantity limit = quantity_from(bound);
        if (quantity_sign(&u->items[i].amount) == 0)
            continue;
        quantity_add(&after, &u->items[i].amount);
        any = true;
        value_set(a, used, u->items[i].name, value_string(a, quantity_text(a, &after)));
        if (quantity_sign(&u->items[i].amount) < 0 || quantity_cmp(&after, &limit) <= 0)
            continue;
        print(&requested, a, u->items[i].name, &u->items[i].amount);
        print(&had, a, u->items[i].name, &before);
        print(&limited, a, u->items[i].name, &limit);
    }
    if (requested.len)
        rc = api_err_forbidden(
            c->req, c->name, err,
            "exceeded quota: " STR_FMT ", requested: " STR_FMT ", used: " STR_FMT ", limited: " STR_FMT,
            STR_ARG(o->name), STR_ARG(buf_str(&requested)), STR_ARG(buf_str(&had)), STR_ARG(buf_str(&limited)));
    buf_free(&requested);
    buf_free(&had);
    buf_free(&limited);
    return rc < 0 || !any ? rc : write_also_update(c->write, o->resource, o, quota, err);
}

/* A quota on cpu or memory obliges every container to say how much it wants. */
static int check_stated(struct admission_call *c, const struct object *o, const struct value *hard, struct err *err)
{
    static const char *const demanded[] = {"limits.cpu",      "limits.memory", "requests.cpu",
                                           "requests.memory", "cpu",           "memory"};
    struct buf missing = {0};
    const struct value *list = value_path(c->object, "spec.containers");
    for (size_t d = 0; d < sizeof demanded / sizeof *demanded; d++) {
        struct str name = str_from(demanded[d]);
        if (!value_get(hard, name))
            continue;
        bool limit = str_starts(name, STR("limits."));
        size_t dot;
        struct str key = str_index(name, '.', &dot) ? str_sub(name, dot + 1, name.len) : name;
        struct buf containers = {0};
        for (size_t i = 0; i < value_len(list); i++)
            if (!value_get(value_path(value_at(list, i), limit ? "resources.limits" : "resources.requests"), key))
                buf_printf(&containers, "%s" STR_FMT, containers.len ? "," : "",
                           STR_ARG(value_path_str(value_at(list, i), "name")));
        if (containers.len)
            buf_printf(&missing, "%s" STR_FMT " for: " STR_FMT, missing.len ? "; " : "", STR_ARG(name),
                       STR_ARG(buf_str(&containers)));
        buf_free(&containers);
    }
    int rc = missing.len ? api_err_forbidden(c->req, c->name, err, "failed quota: " STR_FMT ": must specify " STR_FMT,
                                             STR_ARG(o->name), STR_ARG(buf_str(&missing)))
                         : 0;
    buf_free(&missing);
    return rc;
}

static void subtract_old(struct uses *u, const struct uses *before)
{
    for (size_t i = 0; i < before->n; i++) {
        struct quantity minus = {0};
        quantity_sub(&minus, &before->items[i].amount);
        add(u, before->items[i].name, minus);
    }
}

static int check(struct admission_call *c, struct err *err)
{
    if (!(c->verb & (VERB_CREATE | VERB_UPDATE)) || c->subresource.len || !c->resource->namespaced)
        return 0;
    struct object_tree *t = admission_list(c, "", "resourcequotas");
    if (!object_tree_len(t))
        return 0;
    struct object_tree_iter it;
    const struct object *o;
    bool is_pod = admission_is(c, "", "pods");
    struct uses u = {.arena = c->arena}, before = {.arena = c->arena};
    object_uses(&u, c->resource, c->object);
    if (c->old)
        object_uses(&before, c->resource, c->old);
    subtract_old(&u, &before);
    qsort(u.items, u.n, sizeof *u.items, by_name);
    object_tree_iter_init(&it, t, c->namespace_);
    while ((o = object_tree_next(&it))) {
        struct value *quota = object_value(c->arena, o);
        if (!quota_covers(quota, is_pod, c->object) ||
            (str_eq(o->name, c->name) && admission_is(c, "", "resourcequotas")))
            continue;
        int rc = is_pod && c->verb == VERB_CREATE ? check_stated(c, o, value_path(quota, "status.hard"), err) : 0;
        if (rc == 0)
            rc = spend(c, o, quota, &u, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

const struct admission_plugin admission_resource_quota = {"ResourceQuota", NULL, check};
