/* LimitRanges: requests and limits a pod's author left open are filled in, and what is outside the bounds is refused.
 */
#include "api/admission/admission.h"

#include "openapi/meta/quantity.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"

#define ANNOTATION "kubernetes.io/limit-ranger"

/* ---- filling in ---- */

struct filled { /* what was set, for the annotation */
    struct arena *arena;
    struct str text;
};

static void note(struct filled *f, struct str keys, const char *what, bool init, struct str container)
{
    if (!keys.len)
        return;
    f->text = arena_printf(f->arena, STR_FMT "%s" STR_FMT " %s for %scontainer " STR_FMT, STR_ARG(f->text),
                           f->text.len ? "; " : "", STR_ARG(keys), what, init ? "init " : "", STR_ARG(container));
}

static struct str fill(struct arena *a, struct value *container, const char *path, const struct value *defaults)
{
    struct str keys = STR("");
    for (size_t i = 0; i < value_len(defaults); i++) {
        struct value *list = value_ensure_map(a, container, path);
        const struct value_member *m = &defaults->map.members[i];
        if (value_get(list, m->key))
            continue;
        value_set(a, list, m->key, m->value);
        keys = arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(keys), keys.len ? ", " : "", STR_ARG(m->key));
    }
    return keys;
}

static void fill_containers(struct arena *a, struct value *list, const struct value *limit, bool init, struct filled *f)
{
    for (size_t i = 0; i < value_len(list); i++) {
        struct value *c = value_at(list, i);
        struct str name = value_path_str(c, "name");
        struct str limits = value_len(value_getz(limit, "default"))
                                ? fill(a, c, "resources.limits", value_getz(limit, "default"))
                                : STR("");
        struct str requests = value_len(value_getz(limit, "defaultRequest"))
                                  ? fill(a, c, "resources.requests", value_getz(limit, "defaultRequest"))
                                  : STR("");
        note(f, requests, "request", init, name);
        note(f, limits, "limit", init, name);
    }
}

static struct object_tree *ranges(struct admission_call *c, struct object_tree_iter *it)
{
    struct object_tree *t = admission_list(c, "", "limitranges");
    object_tree_iter_init(it, t, c->namespace_);
    return t;
}

static int fill_pod(struct admission_call *c, struct err *err)
{
    struct object_tree_iter it;
    const struct object *o;
    struct filled f = {.arena = c->arena, .text = STR("")};
    (void)err;
    if (c->verb != VERB_CREATE || !admission_is(c, "", "pods"))
        return 0;
    ranges(c, &it);
    while ((o = object_tree_next(&it))) {
        struct value *limits = value_path(object_value(c->arena, o), "spec.limits");
        for (size_t i = 0; i < value_len(limits); i++) {
            const struct value *limit = value_at(limits, i);
            if (!str_eqz(value_path_str(limit, "type"), "Container"))
                continue;
            fill_containers(c->arena, value_path(c->object, "spec.containers"), limit, false, &f);
            fill_containers(c->arena, value_path(c->object, "spec.initContainers"), limit, true, &f);
        }
    }
    if (f.text.len)
        value_setz(c->arena, value_ensure_map(c->arena, c->object, "metadata.annotations"), ANNOTATION,
                   value_string(c->arena, arena_printf(c->arena, "LimitRanger plugin set: " STR_FMT, STR_ARG(f.text))));
    return 0;
}

/* ---- bounds ---- */

struct faults {
    struct arena *arena;
    struct str text;
    size_t n;
};

static void fault(struct faults *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct faults *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(f->arena, fmt, ap);
    va_end(ap);
    f->text = f->n++ ? arena_printf(f->arena, STR_FMT ", " STR_FMT, STR_ARG(f->text), STR_ARG(s)) : s;
}

struct usage { /* requests and limits: of a container, or summed for a pod */
    const struct value *requests, *limits;
};

static bool amount(const struct value *list, struct str name, struct quantity *ret)
{
    struct str text = value_str(value_get(list, name));
    *ret = quantity_from(text);
    return text.len > 0;
}

static void check_min(struct faults *f, struct str type, const struct value_member *m, const struct usage *u)
{
    struct quantity bound = quantity_from(value_str(m->value)), q;
    struct str text = value_str(m->value);
    if (!amount(u->requests, m->key, &q)) {
        fault(f, "minimum " STR_FMT " usage per " STR_FMT " is " STR_FMT ".  No request is specified", STR_ARG(m->key),
              STR_ARG(type), STR_ARG(text));
        return;
    }
    if (quantity_cmp(&q, &bound) < 0)
        fault(f, "minimum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but request is " STR_FMT, STR_ARG(m->key),
              STR_ARG(type), STR_ARG(text), STR_ARG(quantity_text(f->arena, &q)));
    else if (amount(u->limits, m->key, &q) && quantity_cmp(&q, &bound) < 0)
        fault(f, "minimum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but limit is " STR_FMT, STR_ARG(m->key),
              STR_ARG(type), STR_ARG(text), STR_ARG(quantity_text(f->arena, &q)));
}

static void check_max(struct faults *f, struct str type, const struct value_member *m, const struct usage *u)
{
    struct quantity bound = quantity_from(value_str(m->value)), q;
    struct str text = value_str(m->value);
    bool claim = str_eqz(type, "PersistentVolumeClaim");
    if (!claim && !amount(u->limits, m->key, &q)) {
        fault(f, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ".  No limit is specified", STR_ARG(m->key),
              STR_ARG(type), STR_ARG(text));
        return;
    }
    if (!claim && quantity_cmp(&q, &bound) > 0)
        fault(f, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but limit is " STR_FMT, STR_ARG(m->key),
              STR_ARG(type), STR_ARG(text), STR_ARG(quantity_text(f->arena, &q)));
    else if (amount(u->requests, m->key, &q) && quantity_cmp(&q, &bound) > 0)
        fault(f, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but request is " STR_FMT, STR_ARG(m->key),
              STR_ARG(type), STR_ARG(text), STR_ARG(quantity_text(f->arena, &q)));
}

static void check_ratio(struct faults *f, struct str type, const struct value_member *m, const struct usage *u)
{
    struct quantity bound = quantity_from(value_str(m->value)), request, limit;
    bool has_request = amount(u->requests, m->key, &request) && quantity_sign(&request) > 0;
    bool has_limit = amount(u->limits, m->key, &limit) && quantity_sign(&limit) > 0;
    if (!has_request || !has_limit) {
        fault(f,
              STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT ", but no %s is specified or %s is 0",
              STR_ARG(m->key), STR_ARG(type), STR_ARG(value_str(m->value)), has_request ? "limit" : "request",
              has_request ? "limit" : "request");
        return;
    }
    double ratio = (double)quantity_milli_value(&limit) / (double)quantity_milli_value(&request);
    if (ratio > (double)quantity_milli_value(&bound) / 1000)
        fault(f, STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT ", but provided ratio is %f",
              STR_ARG(m->key), STR_ARG(type), STR_ARG(value_str(m->value)), ratio);
}

static void check_bounds(struct faults *f, const struct value *limit, const struct usage *u)
{
    struct str type = value_path_str(limit, "type");
    const struct value *min = value_getz(limit, "min"), *max = value_getz(limit, "max"),
                       *ratio = value_getz(limit, "maxLimitRequestRatio");
    for (size_t i = 0; i < value_len(min); i++)
        check_min(f, type, &min->map.members[i], u);
    for (size_t i = 0; i < value_len(max); i++)
        check_max(f, type, &max->map.members[i], u);
    for (size_t i = 0; i < value_len(ratio); i++)
        check_ratio(f, type, &ratio->map.members[i], u);
}

/* A resource counts for the pod only when every container names it. */
static struct value *pod_sum(struct arena *a, const struct value *spec, const char *which)
{
    const struct value *containers = value_getz(spec, "containers"), *init = value_getz(spec, "initContainers");
    struct value *sum = value_map(a);
    for (size_t i = 0; i < value_len(containers); i++) {
        const struct value *list = value_getz(value_getz(value_at(containers, i), "resources"), which);
        for (size_t k = 0; k < value_len(list); k++) {
            struct quantity had = quantity_from(value_str(value_get(sum, list->map.members[k].key)));
            struct quantity q = quantity_from(value_str(list->map.members[k].value));
            quantity_add(&had, &q);
            value_set(a, sum, list->map.members[k].key, value_string(a, quantity_text(a, &had)));
        }
    }
    for (size_t i = 0; i < value_len(init); i++) {
        const struct value *list = value_getz(value_getz(value_at(init, i), "resources"), which);
        for (size_t k = 0; k < value_len(list); k++) {
            struct quantity had = quantity_from(value_str(value_get(sum, list->map.members[k].key)));
            struct quantity q = quantity_from(value_str(list->map.members[k].value));
            if (quantity_cmp(&q, &had) > 0)
                value_set(a, sum, list->map.members[k].key, list->map.members[k].value);
        }
    }
    return sum;
}

static void check_containers(struct faults *f, const struct value *limit, const struct value *list)
{
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *r = value_getz(value_at(list, i), "resources");
        struct usage u = {value_getz(r, "requests"), value_getz(r, "limits")};
        check_bounds(f, limit, &u);
    }
}

static void check_limit(struct admission_call *c, struct faults *f, const struct value *limit, bool claim)
{
    struct str type = value_path_str(limit, "type");
    const struct value *spec = value_getz(c->object, "spec");
    if (claim) {
        struct usage u = {value_path(spec, "resources.requests"), NULL};
        if (str_eqz(type, "PersistentVolumeClaim"))
            check_bounds(f, limit, &u);
    } else if (str_eqz(type, "Container")) {
        check_containers(f, limit, value_getz(spec, "containers"));
        check_containers(f, limit, value_getz(spec, "initContainers"));
    } else if (str_eqz(type, "Pod")) {
        struct usage u = {pod_sum(c->arena, spec, "requests"), pod_sum(c->arena, spec, "limits")};
        check_bounds(f, limit, &u);
    }
}

static int check(struct admission_call *c, struct err *err)
{
    bool claim = admission_is(c, "", "persistentvolumeclaims");
    struct object_tree_iter it;
    const struct object *o;
    struct faults f = {.arena = c->arena};
    if (!(claim ? c->verb & (VERB_CREATE | VERB_UPDATE) : c->verb == VERB_CREATE && admission_is(c, "", "pods")))
        return 0;
    ranges(c, &it);
    while ((o = object_tree_next(&it))) {
        struct value *limits = value_path(object_value(c->arena, o), "spec.limits");
        for (size_t i = 0; i < value_len(limits); i++)
            check_limit(c, &f, value_at(limits, i), claim);
    }
    if (!f.n)
        return 0;
    return api_err_forbidden(c->req, c->name, err, "%s" STR_FMT "%s", f.n > 1 ? "[" : "", STR_ARG(f.text),
                             f.n > 1 ? "]" : "");
}

const struct admission_plugin admission_limit_ranger = {"LimitRanger", fill_pod, check};
