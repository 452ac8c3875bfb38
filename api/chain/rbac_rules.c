#include "api/chain/rbac_rules.h"

#include "base/map.h"

#include <stdlib.h>

struct names {
    const struct str *items;
    size_t len;
};

struct rule {
    struct names verbs, groups, resources, resource_names, urls;
};

struct role {
    const struct rule *rules;
    size_t n_rules;
};

struct grant {               /* what one binding gives one subject */
    struct str namespace_;   /* empty = everywhere */
    const struct role *role; /* NULL: the role named does not exist */
    struct str missing;
    struct grant *next;
};

struct rbac_rules {
    struct arena *arena;
    struct map roles;    /* "C/name" or "R/namespace/name" → struct role */
    struct map subjects; /* "u:name" or "g:name" → struct grant */
};

static struct names names_read(struct arena *a, const struct value *list)
{
    struct names n = {NULL, value_len(list)};
    struct str *items = ARENA_ARRAY(a, struct str, n.len ? n.len : 1);
    for (size_t i = 0; i < n.len; i++)
        items[i] = arena_str(a, value_str(value_at(list, i)));
    n.items = items;
    return n;
}

static struct rule rule_read(struct arena *a, const struct value *v)
{
    return (struct rule){
        .verbs = names_read(a, value_getz(v, "verbs")),
        .groups = names_read(a, value_getz(v, "apiGroups")),
        .resources = names_read(a, value_getz(v, "resources")),
        .resource_names = names_read(a, value_getz(v, "resourceNames")),
        .urls = names_read(a, value_getz(v, "nonResourceURLs")),
    };
}

static void role_add(struct rbac_rules *r, bool cluster, const struct value *v)
{
    const struct value *list = value_getz(v, "rules");
    struct role *role = ARENA_NEW(r->arena, struct role);
    struct rule *rules = ARENA_ARRAY(r->arena, struct rule, value_len(list) + 1);
    role->n_rules = value_len(list);
    role->rules = rules;
    for (size_t i = 0; i < role->n_rules; i++)
        rules[i] = rule_read(r->arena, value_at(list, i));
    struct str name = value_path_str(v, "metadata.name"), ns = value_path_str(v, "metadata.namespace");
    struct str key = cluster ? arena_printf(r->arena, "C/" STR_FMT, STR_ARG(name))
                             : arena_printf(r->arena, "R/" STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    map_put(&r->roles, key, role);
}

static void grant_add(struct rbac_rules *r, struct str subject, struct grant grant)
{
    struct grant *g = ARENA_NEW(r->arena, struct grant);
    *g = grant;
    g->next = map_get(&r->subjects, subject);
    map_put(&r->subjects, subject, g);
}

/* "u:…" or "g:…"; STR_NULL for a subject that means nobody. */
static struct str subject_key(struct arena *a, const struct value *s, struct str namespace_)
{
    struct str kind = value_path_str(s, "kind"), name = value_path_str(s, "name");
    if (str_eq(kind, STR("User")))
        return arena_printf(a, "u:" STR_FMT, STR_ARG(name));
    if (str_eq(kind, STR("Group")))
        return arena_printf(a, "g:" STR_FMT, STR_ARG(name));
    if (str_eq(kind, STR("ServiceAccount"))) {
        struct str ns = value_path_str(s, "namespace");
        if (!ns.len)
            ns = namespace_;
        if (ns.len)
            return arena_printf(a, "u:system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(ns), STR_ARG(name));
    }
    return STR_NULL;
}

static void binding_add(struct rbac_rules *r, bool cluster, const struct value *v)
{
    struct str ns = cluster ? STR_NULL : arena_str(r->arena, value_path_str(v, "metadata.namespace"));
    struct str name = value_path_str(v, "roleRef.name");
    bool cluster_role = str_eq(value_path_str(v, "roleRef.kind"), STR("ClusterRole"));
    struct str key = cluster_role ? arena_printf(r->arena, "C/" STR_FMT, STR_ARG(name))
                                  : arena_printf(r->arena, "R/" STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    struct grant g = {.namespace_ = ns, .role = map_get(&r->roles, key)};
    if (!g.role)
        g.missing = arena_printf(r->arena, "%s.rbac.authorization.k8s.io \"" STR_FMT "\" not found",
                                 cluster_role ? "clusterrole" : "role", STR_ARG(name));
    const struct value *subjects = value_getz(v, "subjects");
    for (size_t i = 0; i < value_len(subjects); i++) {
        struct str subject = subject_key(r->arena, value_at(subjects, i), ns);
        if (subject.p)
            grant_add(r, subject, g);
    }
}

static struct rbac_rules *rules_new(void)
{
    struct rbac_rules *r = calloc(1, sizeof *r);
    r->arena = arena_create(0);
    return r;
}

/* Nodes, and agents that join with a bootstrap token, get what they need without a binding that an administrator could
 * lose: upstream's node authorizer is not a binding either. */
static void grant_nodes(struct rbac_rules *r)
{
    static const struct {
        struct str subject, role;
    } grants[] = {
        {{"g:system:nodes", 14}, {"C/system:node", 13}},
        {{"g:system:nodes", 14}, {"C/system:node-proxier", 21}}, /* the agent is the service proxy too */
        {{"g:system:bootstrappers", 22}, {"C/system:node-bootstrapper", 26}},
    };
    for (size_t i = 0; i < sizeof grants / sizeof *grants; i++) {
        const struct role *role = map_get(&r->roles, grants[i].role);
        if (role)
            grant_add(r, grants[i].subject, (struct grant){.role = role});
    }
}

static void add(struct rbac_rules *r, int kind, const struct value *v)
{
    if (kind == RBAC_ROLES || kind == RBAC_CLUSTER_ROLES)
        role_add(r, kind == RBAC_CLUSTER_ROLES, v);
    else
        binding_add(r, kind == RBAC_CLUSTER_ROLE_BINDINGS, v);
}

struct rbac_rules *rbac_rules_compile(struct object_tree *const *trees)
{
    struct rbac_rules *r = rules_new();
    struct arena *scratch = arena_create(0);
    for (int kind = 0; kind < RBAC_KINDS; kind++) { /* roles before the bindings that name them */
        struct object_tree_iter it;
        object_tree_iter_init(&it, trees[kind], STR_NULL);
        for (const struct object *o; (o = object_tree_next(&it));) {
            add(r, kind, object_value(scratch, o));
            arena_reset(scratch);
        }
    }
    arena_destroy(scratch);
    grant_nodes(r);
    return r;
}

struct rbac_rules *rbac_rules_from_values(const struct value *const *lists)
{
    struct rbac_rules *r = rules_new();
    for (int kind = 0; kind < RBAC_KINDS; kind++)
        for (size_t i = 0; i < value_len(lists[kind]); i++)
            add(r, kind, value_at(lists[kind], i));
    grant_nodes(r);
    return r;
}

void rbac_rules_destroy(struct rbac_rules *r)
{
    if (!r)
        return;
    map_finish(&r->roles);
    map_finish(&r->subjects);
    arena_destroy(r->arena);
    free(r);
}

/* ---- who has which grants ---- */

struct grants {
    const struct rbac_rules *rules;
    const struct api_user *user;
    struct str namespace_;
    size_t next_subject; /* 0 = the user, then the groups */
    const struct grant *at;
};

static const struct grant *grants_next(struct grants *it)
{
    for (;;) {
        while (!it->at) {
            if (it->next_subject > it->user->n_groups)
                return NULL;
            struct str name = it->next_subject ? it->user->groups[it->next_subject - 1] : it->user->name;
            char key[512];
            if (name.len + 2 <= sizeof key) {
                key[0] = it->next_subject ? 'g' : 'u';
                key[1] = ':';
                memcpy(key + 2, name.p ? name.p : "", name.len);
                it->at = map_get(&it->rules->subjects, (struct str){key, name.len + 2});
            }
            it->next_subject++;
        }
        const struct grant *g = it->at;
        it->at = g->next;
        if (!g->namespace_.len || (it->namespace_.len && str_eq(g->namespace_, it->namespace_)))
            return g;
    }
}

/* ---- matching ---- */

static bool names_match(const struct names *n, struct str s)
{
    for (size_t i = 0; i < n->len; i++)
        if (str_eq(n->items[i], s) || str_eq(n->items[i], STR("*")))
            return true;
    return false;
}

static bool resource_matches(const struct names *n, struct str resource, struct str subresource)
{
    for (size_t i = 0; i < n->len; i++) {
        struct str have = n->items[i];
        if (str_eq(have, STR("*")))
            return true;
        if (!subresource.len) {
            if (str_eq(have, resource))
                return true;
            continue;
        }
        struct str base;
        struct str rest = have;
        if (!str_split(&rest, '/', &base) || !rest.p || !str_eq(rest, subresource))
            continue;
        if (str_eq(base, resource) || str_eq(base, STR("*")))
            return true;
    }
    return false;
}

static bool url_matches(const struct names *n, struct str path)
{
    for (size_t i = 0; i < n->len; i++) {
        struct str have = n->items[i];
        if (str_eq(have, STR("*")) || str_eq(have, path))
            return true;
        if (str_ends(have, STR("*")) && str_starts(path, str_sub(have, 0, have.len - 1)))
            return true;
    }
    return false;
}

/* 1 allowed, 0 not, 2 for certain names only (and not for this one) */
static int rule_allows(const struct rule *rule, const struct api_attributes *at)
{
    if (!names_match(&rule->verbs, at->verb))
        return 0;
    if (at->non_resource)
        return url_matches(&rule->urls, at->path);
    if (!names_match(&rule->groups, at->group) || !resource_matches(&rule->resources, at->resource, at->subresource))
        return 0;
    if (!rule->resource_names.len)
        return 1;
    for (size_t i = 0; i < rule->resource_names.len; i++)
        if (at->name.len && str_eq(rule->resource_names.items[i], at->name))
            return 1;
    return 2;
}

bool rbac_rules_allow(const struct rbac_rules *r, const struct api_user *user, const struct api_attributes *at,
                      bool *ret_by_name)
{
    struct grants it = {.rules = r, .user = user, .namespace_ = at->non_resource ? STR_NULL : at->namespace_};
    for (const struct grant *g; (g = grants_next(&it));) {
        for (size_t i = 0; g->role && i < g->role->n_rules; i++) {
            int answer = rule_allows(&g->role->rules[i], at);
            if (answer == 1)
                return true;
            if (answer == 2)
                *ret_by_name = true;
        }
    }
    return false;
}

struct str rbac_rules_missing(const struct rbac_rules *r, struct arena *a, const struct api_user *user,
                              struct str namespace_)
{
    struct grants it = {.rules = r, .user = user, .namespace_ = namespace_};
    struct str text = STR_NULL;
    size_t n = 0;
    for (const struct grant *g; (g = grants_next(&it));) {
        if (g->role)
            continue;
        text = n++ ? arena_printf(a, STR_FMT ", " STR_FMT, STR_ARG(text), STR_ARG(g->missing)) : g->missing;
    }
    if (!n)
        return STR_NULL;
    return arena_printf(a, n > 1 ? "RBAC: [" STR_FMT "]" : "RBAC: " STR_FMT, STR_ARG(text));
}

/* ---- reviews ---- */

static struct value *names_value(struct arena *a, const struct names *n)
{
    struct value *list = value_list(a);
    for (size_t i = 0; i < n->len; i++)
        value_append(a, list, value_string(a, arena_str(a, n->items[i])));
    return list;
}

struct value *rbac_rules_list(const struct rbac_rules *r, struct arena *a, const struct api_user *user,
                              struct str namespace_)
{
    struct value *status = value_map(a), *resources = value_list(a), *urls = value_list(a);
    struct grants it = {.rules = r, .user = user, .namespace_ = namespace_};
    for (const struct grant *g; (g = grants_next(&it));) {
        for (size_t i = 0; g->role && i < g->role->n_rules; i++) {
            const struct rule *rule = &g->role->rules[i];
            struct value *v = value_map(a);
            value_setz(a, v, "verbs", names_value(a, &rule->verbs));
            if (rule->urls.len) {
                value_setz(a, v, "nonResourceURLs", names_value(a, &rule->urls));
                value_append(a, urls, v);
                continue;
            }
            value_setz(a, v, "apiGroups", names_value(a, &rule->groups));
            value_setz(a, v, "resources", names_value(a, &rule->resources));
            if (rule->resource_names.len)
                value_setz(a, v, "resourceNames", names_value(a, &rule->resource_names));
            value_append(a, resources, v);
        }
    }
    value_setz(a, status, "resourceRules", resources);
    value_setz(a, status, "nonResourceRules", urls);
    value_setz(a, status, "incomplete", value_bool(a, false));
    return status;
}

/* One elementary right: is there a rule of the user's that includes it? */
static bool right_held(const struct rbac_rules *r, const struct api_user *user, struct str namespace_, struct str verb,
                       struct str group, struct str resource, struct str name, struct str url)
{
    struct api_attributes at = {.verb = verb,
                                .group = group,
                                .resource = resource,
                                .name = name,
                                .namespace_ = namespace_,
                                .non_resource = url.len > 0,
                                .path = url};
    struct str rest = resource, base;
    if (str_split(&rest, '/', &base) && rest.p) {
        at.resource = base;
        at.subresource = rest;
    }
    return rbac_rules_allow(r, user, &at, &(bool){false});
}

static const struct names one_empty = {&(const struct str){"", 0}, 1};

static bool rule_held(const struct rbac_rules *r, const struct api_user *user, struct str namespace_,
                      const struct rule *rule)
{
    const struct names *names = rule->resource_names.len ? &rule->resource_names : &one_empty;
    for (size_t v = 0; v < rule->verbs.len; v++) {
        struct str verb = rule->verbs.items[v];
        for (size_t u = 0; u < rule->urls.len; u++)
            if (!right_held(r, user, namespace_, verb, STR_NULL, STR_NULL, STR_NULL, rule->urls.items[u]))
                return false;
        for (size_t g = 0; g < rule->groups.len; g++)
            for (size_t s = 0; s < rule->resources.len; s++)
                for (size_t n = 0; n < names->len; n++)
                    if (!right_held(r, user, namespace_, verb, rule->groups.items[g], rule->resources.items[s],
                                    names->items[n], STR_NULL))
                        return false;
    }
    return true;
}

static void names_text(struct buf *out, const char *title, const struct names *n, bool *ret_some)
{
    if (!n->len)
        return;
    buf_printf(out, "%s%s:[", *ret_some ? ", " : "", title);
    for (size_t i = 0; i < n->len; i++)
        buf_printf(out, "%s\"" STR_FMT "\"", i ? " " : "", STR_ARG(n->items[i]));
    buf_addz(out, "]");
    *ret_some = true;
}

int rbac_rules_cover(const struct rbac_rules *r, struct arena *a, const struct api_user *user, struct str namespace_,
                     const struct value *rules, struct str *ret_missing)
{
    struct buf missing = {0};
    if (api_user_in_group(user, STR("system:masters")))
        return 0;
    for (size_t i = 0; i < value_len(rules); i++) {
        struct rule rule = rule_read(a, value_at(rules, i));
        if (rule_held(r, user, namespace_, &rule))
            continue;
        bool some = false;
        buf_addz(&missing, missing.len ? "\n{" : "{");
        names_text(&missing, "APIGroups", &rule.groups, &some);
        names_text(&missing, "Resources", &rule.resources, &some);
        names_text(&missing, "ResourceNames", &rule.resource_names, &some);
        names_text(&missing, "NonResourceURLs", &rule.urls, &some);
        names_text(&missing, "Verbs", &rule.verbs, &some);
        buf_addz(&missing, "}");
    }
    bool complete = missing.len == 0;
    *ret_missing = arena_str(a, buf_str(&missing));
    buf_free(&missing);
    return complete ? 0 : 1;
}
