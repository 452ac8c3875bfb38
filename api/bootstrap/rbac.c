/* Roles and bindings from their tables. */
#include "api/bootstrap/plan.h"
#include "api/bootstrap/tables.h"

static const struct str rbac_group = {"rbac.authorization.k8s.io", 25};

static struct value *list_of(struct arena *a, const char *text)
{
    struct value *list = value_list(a);
    struct str rest = str_from(text), one;
    while (str_split(&rest, ',', &one))
        value_append(a, list, value_string(a, one));
    return list;
}

static void set_list(struct arena *a, struct value *rule, const char *key, const char *text)
{
    if (text)
        value_setz(a, rule, key, list_of(a, text));
}

static struct value *rbac_metadata(struct arena *a, struct value *v)
{
    struct value *labels = value_ensure_map(a, v, "metadata.labels");
    value_setz(a, labels, "kubernetes.io/bootstrapping", value_stringz(a, "rbac-defaults"));
    struct value *annotations = value_ensure_map(a, v, "metadata.annotations");
    value_setz(a, annotations, "rbac.authorization.kubernetes.io/autoupdate", value_stringz(a, "true"));
    return labels;
}

static void plan_aggregation(struct arena *a, struct value *v, const char *role)
{
    struct value *selectors = NULL;
    for (const struct bootstrap_label *l = bootstrap_aggregations; l->role; l++) {
        if (strcmp(l->role, role) != 0)
            continue;
        if (!selectors)
            selectors = value_ensure_list(a, value_ensure_map(a, v, "aggregationRule"), "clusterRoleSelectors");
        struct value *one = value_map(a);
        value_set(a, value_ensure_map(a, one, "matchLabels"), str_from(l->label), value_stringz(a, "true"));
        value_append(a, selectors, one);
    }
}

/* The rows of one role, from the first on; answers the row after them. */
static const struct bootstrap_rule *plan_role(struct bootstrap_plan *p, const struct bootstrap_rule *row)
{
    struct arena *a = p->scratch;
    struct value *v = value_map(a), *rules = value_list(a);
    const char *ns = row->namespace_, *name = row->role;
    struct value *labels = rbac_metadata(a, v);
    for (const struct bootstrap_label *l = bootstrap_role_labels; !ns && l->role; l++)
        if (strcmp(l->role, name) == 0)
            value_set(a, labels, str_from(l->label), value_stringz(a, "true"));
    for (;
         row->role && strcmp(row->role, name) == 0 && strcmp(row->namespace_ ? row->namespace_ : "", ns ? ns : "") == 0;
         row++) {
        if (!row->verbs)
            continue;
        struct value *rule = value_map(a);
        set_list(a, rule, "verbs", row->verbs);
        set_list(a, rule, "apiGroups", row->groups);
        set_list(a, rule, "resources", row->resources);
        set_list(a, rule, "resourceNames", row->names);
        set_list(a, rule, "nonResourceURLs", row->urls);
        value_append(a, rules, rule);
    }
    value_setz(a, v, "rules", rules);
    if (!ns)
        plan_aggregation(a, v, name);
    bootstrap_plan_create(p, rbac_group, ns ? STR("roles") : STR("clusterroles"), str_from(ns), str_from(name), v);
    arena_reset(a);
    return row;
}

static struct value *subject_value(struct arena *a, struct str text)
{
    struct value *v = value_map(a);
    struct str kind, ns;
    str_split(&text, ':', &kind);
    value_setz(a, v, "kind", value_string(a, kind));
    if (str_eq(kind, STR("ServiceAccount"))) {
        str_split(&text, '/', &ns);
        value_setz(a, v, "name", value_string(a, text));
        value_setz(a, v, "namespace", value_string(a, ns));
        return v;
    }
    value_setz(a, v, "apiGroup", value_string(a, rbac_group));
    value_setz(a, v, "name", value_string(a, text));
    return v;
}

static void plan_binding(struct bootstrap_plan *p, const struct bootstrap_binding *b)
{
    struct arena *a = p->scratch;
    struct value *v = value_map(a), *ref = value_map(a);
    struct str rest = str_from(b->role), kind, one;
    rbac_metadata(a, v);
    str_split(&rest, '/', &kind);
    value_setz(a, ref, "apiGroup", value_string(a, rbac_group));
    value_setz(a, ref, "kind", value_string(a, kind));
    value_setz(a, ref, "name", value_string(a, rest));
    if (b->subjects) {
        struct value *subjects = value_list(a);
        rest = str_from(b->subjects);
        while (str_split(&rest, ',', &one))
            value_append(a, subjects, subject_value(a, one));
        value_setz(a, v, "subjects", subjects);
    }
    value_setz(a, v, "roleRef", ref);
    bootstrap_plan_create(p, rbac_group, b->namespace_ ? STR("rolebindings") : STR("clusterrolebindings"),
                          str_from(b->namespace_), str_from(b->name), v);
    arena_reset(a);
}

void bootstrap_plan_rbac(struct bootstrap_plan *p)
{
    for (const struct bootstrap_rule *row = bootstrap_rules; row->role;)
        row = plan_role(p, row);
    for (const struct bootstrap_binding *b = bootstrap_bindings; b->name; b++)
        plan_binding(p, b);
}
