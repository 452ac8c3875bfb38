#include "api/admission/admission.h"

#include "openapi/object/object.h"
#include "openapi/object/tree.h"

static const struct object *global_default(struct admission_call *c, struct value **ret)
{
    struct object_tree_iter it;
    const struct object *o, *best = NULL;
    int64_t least = INT64_MAX;
    object_tree_iter_init(&it, admission_list(c, "scheduling.k8s.io", "priorityclasses"), STR(""));
    while ((o = object_tree_next(&it))) {
        /* hardly any says that it is one: those that do not even speak of it are not parsed, pod after pod */
        if (!str_contains(o->body, STR("\"globalDefault\"")))
            continue;
        struct value *v = object_value(c->arena, o);
        int64_t value = value_path_int(v, "value", 0);
        if (value_path_bool(v, "globalDefault", false) && value < least) {
            least = value;
            best = o;
            *ret = v;
        }
    }
    return best;
}

static int admit_pod(struct admission_call *c, struct err *err)
{
    struct arena *a = c->arena;
    struct value *spec = value_ensure_map(a, c->object, "spec"), *class_ = NULL;
    struct str name = value_path_str(spec, "priorityClassName");
    int64_t priority = 0;
    struct str policy = STR("PreemptLowerPriority");
    if (!name.len) {
        const struct object *o = global_default(c, &class_);
        if (o)
            value_setz(a, spec, "priorityClassName", value_string(a, o->name));
    } else {
        const struct object *o = admission_find(c, "scheduling.k8s.io", "priorityclasses", STR(""), name);
        if (!o)
            return api_err_forbidden(c->req, c->name, err, "no PriorityClass with name " STR_FMT " was found",
                                     STR_ARG(name));
        class_ = object_value(a, o);
    }
    if (class_) {
        priority = value_path_int(class_, "value", 0);
        if (value_path_str(class_, "preemptionPolicy").len)
            policy = value_path_str(class_, "preemptionPolicy");
    }
    const struct value *given = value_getz(spec, "priority");
    if (value_is(given, VALUE_INT) && given->integer != priority)
        return api_err_forbidden(
            c->req, c->name, err,
            "the integer value of priority (%lld) must not be provided in pod spec; priority admission "
            "controller computed %lld from the given PriorityClass name",
            (long long)given->integer, (long long)priority);
    struct str given_policy = value_path_str(spec, "preemptionPolicy");
    if (given_policy.len && !str_eq(given_policy, policy))
        return api_err_forbidden(c->req, c->name, err,
                                 "the string value of PreemptionPolicy (" STR_FMT
                                 ") must not be provided in pod spec; priority "
                                 "admission controller computed " STR_FMT " from the given PriorityClass name",
                                 STR_ARG(given_policy), STR_ARG(policy));
    value_setz(a, spec, "priority", value_int(a, priority));
    value_setz(a, spec, "preemptionPolicy", value_string(a, policy));
    return 0;
}

static int admit(struct admission_call *c, struct err *err)
{
    return c->verb == VERB_CREATE && admission_is(c, "", "pods") ? admit_pod(c, err) : 0;
}

static int check_class(struct admission_call *c, struct err *err)
{
    struct value *other = NULL;
    if (!(c->verb & (VERB_CREATE | VERB_UPDATE)) || !admission_is(c, "scheduling.k8s.io", "priorityclasses") ||
        !value_path_bool(c->object, "globalDefault", false))
        return 0;
    const struct object *o = global_default(c, &other);
    if (o && !str_eq(o->name, c->name))
        return api_err_forbidden(c->req, c->name, err,
                                 "PriorityClass " STR_FMT " is already marked as default. Only one default can exist",
                                 STR_ARG(o->name));
    return 0;
}

const struct admission_plugin admission_priority = {"Priority", admit, check_class};
