/* Pods put up with a node that is away for five minutes; new nodes start as not ready. */
#include "api/admission/admission.h"

#define TOLERATION_S 300
#define NOT_READY "node.kubernetes.io/not-ready"
#define UNREACHABLE "node.kubernetes.io/unreachable"

static bool tolerates(const struct value *tolerations, const char *key)
{
    for (size_t i = 0; i < value_len(tolerations); i++) {
        const struct value *t = value_at(tolerations, i);
        struct str k = value_path_str(t, "key"), effect = value_path_str(t, "effect");
        if ((str_eqz(k, key) || !k.len) && (str_eqz(effect, "NoExecute") || !effect.len))
            return true;
    }
    return false;
}

static void tolerate(struct arena *a, struct value *spec, const char *key)
{
    if (tolerates(value_getz(spec, "tolerations"), key))
        return;
    struct value *t = value_map(a);
    value_setz(a, t, "key", value_string(a, str_from(key)));
    value_setz(a, t, "operator", value_stringz(a, "Exists"));
    value_setz(a, t, "effect", value_stringz(a, "NoExecute"));
    value_setz(a, t, "tolerationSeconds", value_int(a, TOLERATION_S));
    value_append(a, value_ensure_list(a, spec, "tolerations"), t);
}

static int admit_pod(struct admission_call *c, struct err *err)
{
    (void)err;
    if (!(c->verb & (VERB_CREATE | VERB_UPDATE)) || !admission_is(c, "", "pods"))
        return 0;
    struct value *spec = value_ensure_map(c->arena, c->object, "spec");
    tolerate(c->arena, spec, NOT_READY);
    tolerate(c->arena, spec, UNREACHABLE);
    return 0;
}

static int admit_node(struct admission_call *c, struct err *err)
{
    (void)err;
    if (c->verb != VERB_CREATE || !admission_is(c, "", "nodes"))
        return 0;
    struct value *spec = value_ensure_map(c->arena, c->object, "spec");
    struct value *taints = value_ensure_list(c->arena, spec, "taints");
    for (size_t i = 0; i < value_len(taints); i++)
        if (str_eqz(value_path_str(value_at(taints, i), "key"), NOT_READY) &&
            str_eqz(value_path_str(value_at(taints, i), "effect"), "NoSchedule"))
            return 0;
    struct value *t = value_map(c->arena);
    value_setz(c->arena, t, "key", value_stringz(c->arena, NOT_READY));
    value_setz(c->arena, t, "effect", value_stringz(c->arena, "NoSchedule"));
    value_append(c->arena, taints, t);
    return 0;
}

const struct admission_plugin admission_default_toleration_seconds = {"DefaultTolerationSeconds", admit_pod, NULL};
const struct admission_plugin admission_taint_nodes_by_condition = {"TaintNodesByCondition", admit_node, NULL};
