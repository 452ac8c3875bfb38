#include "node/pod/env.h"

#include "openapi/meta/names.h"

#include <ctype.h>

static struct str *find(const struct env *env, struct str name)
{
    for (size_t i = 0; i < env->len; i++) {
        if (str_eq(env->items[i].name, name))
            return &env->items[i].value;
    }
    return NULL;
}

static void set(struct arena *a, struct env *env, struct str name, struct str value)
{
    struct str *at = find(env, name);
    if (at)
        *at = value;
    else
        ARENA_PUSH(a, env->items, env->len, env->cap, (struct env_entry){name, value.p ? value : STR("")});
}

static struct str expand_with(struct arena *a, const struct env *first, const struct env *second, struct str text)
{
    struct buf out = {0};
    struct str ret;
    if (!memchr(text.p ? text.p : "", '$', text.len))
        return text;
    for (size_t i = 0; i < text.len; i++) {
        size_t end;
        struct str name, *value;
        if (text.p[i] != '$' || i + 1 >= text.len) {
            buf_add_char(&out, text.p[i]);
            continue;
        }
        if (text.p[i + 1] == '$') {
            buf_add_char(&out, '$');
            i++;
            continue;
        }
        if (text.p[i + 1] != '(' || !str_index(str_sub(text, i, text.len), ')', &end)) {
            buf_add_char(&out, '$');
            continue;
        }
        name = str_sub(text, i + 2, i + end);
        value = find(first, name);
        if (!value && second)
            value = find(second, name);
        if (value)
            buf_add_str(&out, *value);
        else
            buf_add_str(&out, str_sub(text, i, i + end + 1));
        i += end;
    }
    ret = arena_str(a, buf_str(&out));
    buf_free(&out);
    return ret.p ? ret : STR("");
}

struct str env_expand(struct arena *a, const struct env *env, struct str text)
{
    return expand_with(a, env, NULL, text);
}

static struct str upper(struct arena *a, struct str s)
{
    char *p = arena_memdup(a, s.p, s.len);
    for (size_t i = 0; i < s.len; i++)
        p[i] = p[i] == '-' || p[i] == '.' ? '_' : (char)toupper((unsigned char)p[i]);
    return (struct str){p, s.len};
}

static struct str joined(struct arena *a, struct str base, const char *suffix)
{
    return arena_printf(a, STR_FMT "%s", STR_ARG(base), suffix);
}

static void add_service(struct arena *a, struct env *env, const struct core_v1_service *s)
{
    struct str name = upper(a, s->metadata->name), ip = s->spec->cluster_ip;
    const char *open, *close;
    if (!ip.len || str_eqz(ip, "None") || !s->spec->ports.len)
        return;
    open = memchr(ip.p, ':', ip.len) ? "[" : "";
    close = *open ? "]" : "";
    set(a, env, joined(a, name, "_SERVICE_HOST"), ip);
    set(a, env, joined(a, name, "_SERVICE_PORT"), arena_printf(a, "%d", s->spec->ports.items[0].port));
    for (size_t i = 0; i < s->spec->ports.len; i++) {
        if (s->spec->ports.items[i].name.len)
            set(a, env,
                arena_printf(a, STR_FMT "_SERVICE_PORT_" STR_FMT, STR_ARG(name),
                             STR_ARG(upper(a, s->spec->ports.items[i].name))),
                arena_printf(a, "%d", s->spec->ports.items[i].port));
    }
    for (size_t i = 0; i < s->spec->ports.len; i++) {
        __typeof__(&s->spec->ports.items[0]) p = &s->spec->ports.items[i];
        struct str protocol = p->protocol.len ? p->protocol : STR("TCP"), prefix, lower, url;
        char *low = arena_memdup(a, protocol.p, protocol.len);
        for (size_t j = 0; j < protocol.len; j++)
            low[j] = (char)tolower((unsigned char)low[j]);
        lower = (struct str){low, protocol.len};
        url = arena_printf(a, STR_FMT "://%s" STR_FMT "%s:%d", STR_ARG(lower), open, STR_ARG(ip), close, p->port);
        prefix = arena_printf(a, STR_FMT "_PORT_%d_" STR_FMT, STR_ARG(name), p->port, STR_ARG(upper(a, protocol)));
        if (i == 0)
            set(a, env, joined(a, name, "_PORT"), url);
        set(a, env, prefix, url);
        set(a, env, joined(a, prefix, "_PROTO"), lower);
        set(a, env, joined(a, prefix, "_PORT"), arena_printf(a, "%d", p->port));
        set(a, env, joined(a, prefix, "_ADDR"), ip);
    }
}

static void add_services(struct arena *a, const struct env_input *in, struct env *ret)
{
    bool links = !in->pod->spec->has_enable_service_links || in->pod->spec->enable_service_links;
    for (size_t i = 0; i < in->n_services; i++) {
        const struct core_v1_service *s = in->services[i];
        bool master = str_eqz(s->metadata->namespace_, "default") && str_eqz(s->metadata->name, "kubernetes");
        if (master || (links && str_eq(s->metadata->namespace_, in->pod->metadata->namespace_)))
            add_service(a, ret, s);
    }
}

static int add_all(struct arena *a, const struct env_input *in, struct env *ret, enum source_kind kind,
                   struct str prefix, struct str name, bool optional, struct err *err)
{
    const struct source *s = in->find(in->find_arg, kind, name);
    const struct source_entry *entries;
    size_t n;
    if (!s || source_state(s) != SOURCE_FOUND) {
        if (optional)
            return 0;
        return err_set(err, ERR_NOT_FOUND, "%s \"" STR_FMT "\" not found",
                       kind == SOURCE_SECRET ? "secret" : "configmap", STR_ARG(name));
    }
    n = source_entries(s, &entries);
    for (size_t i = 0; i < n; i++) {
        struct str key = prefix.len ? arena_printf(a, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(entries[i].key))
                                    : arena_str(a, entries[i].key);
        if (name_ok(name_check_env, key))
            set(a, ret, key, arena_str(a, entries[i].value));
    }
    return 0;
}

/* 1: an optional reference leads nowhere: no variable. */
static int from_key(struct arena *a, const struct env_input *in, enum source_kind kind, struct str name, struct str key,
                    bool optional, struct str *ret, struct err *err)
{
    const struct source *s = in->find(in->find_arg, kind, name);
    struct str found;
    if (!s || source_state(s) != SOURCE_FOUND) {
        if (optional)
            return 1;
        return err_set(err, ERR_NOT_FOUND, "%s \"" STR_FMT "\" not found",
                       kind == SOURCE_SECRET ? "secret" : "configmap", STR_ARG(name));
    }
    if (source_entry_find(s, key, &found)) {
        if (optional)
            return 1;
        return err_set(err, ERR_NOT_FOUND, "couldn't find key " STR_FMT " in %s " STR_FMT "/" STR_FMT, STR_ARG(key),
                       kind == SOURCE_SECRET ? "Secret" : "ConfigMap", STR_ARG(in->pod->metadata->namespace_),
                       STR_ARG(name));
    }
    *ret = arena_str(a, found);
    return 0;
}

static const struct core_v1_container *named(const struct core_v1_pod *pod, struct str name,
                                             const struct core_v1_container *otherwise)
{
    for (size_t i = 0; name.len && i < pod->spec->containers.len; i++) {
        if (str_eq(pod->spec->containers.items[i].name, name))
            return &pod->spec->containers.items[i];
    }
    for (size_t i = 0; name.len && i < pod->spec->init_containers.len; i++) {
        if (str_eq(pod->spec->init_containers.items[i].name, name))
            return &pod->spec->init_containers.items[i];
    }
    return otherwise;
}

static int one_value(struct arena *a, const struct env_input *in, const struct core_v1_env_var *var,
                     const struct env *so_far, const struct env *services, struct str *ret, struct err *err)
{
    const struct core_v1_env_var_source *from = var->value_from;
    if (var->value.len || !from) {
        *ret = expand_with(a, so_far, services, var->value.p ? var->value : STR(""));
        return 0;
    }
    if (from->field_ref)
        return downward_field(a, in->pod, in->facts, from->field_ref->field_path, ret, err);
    if (from->resource_field_ref)
        return downward_resource(a, named(in->pod, from->resource_field_ref->container_name, in->container), in->facts,
                                 from->resource_field_ref->resource, from->resource_field_ref->divisor, ret, err);
    if (from->config_map_key_ref)
        return from_key(a, in, SOURCE_CONFIG_MAP, from->config_map_key_ref->name, from->config_map_key_ref->key,
                        from->config_map_key_ref->optional, ret, err);
    if (from->secret_key_ref)
        return from_key(a, in, SOURCE_SECRET, from->secret_key_ref->name, from->secret_key_ref->key,
                        from->secret_key_ref->optional, ret, err);
    *ret = STR("");
    return 0;
}

int env_build(struct arena *a, const struct env_input *in, struct env *ret, struct err *err)
{
    struct env services = {0};
    int rc = 0;
    *ret = (struct env){0};
    add_services(a, in, &services);
    for (size_t i = 0; rc == 0 && i < in->container->env_from.len; i++) {
        __typeof__(&in->container->env_from.items[0]) from = &in->container->env_from.items[i];
        if (from->config_map_ref)
            rc = add_all(a, in, ret, SOURCE_CONFIG_MAP, from->prefix, from->config_map_ref->name,
                         from->config_map_ref->optional, err);
        else if (from->secret_ref)
            rc = add_all(a, in, ret, SOURCE_SECRET, from->prefix, from->secret_ref->name, from->secret_ref->optional,
                         err);
    }
    for (size_t i = 0; rc >= 0 && i < in->container->env.len; i++) {
        const struct core_v1_env_var *var = &in->container->env.items[i];
        struct str value;
        rc = one_value(a, in, var, ret, &services, &value, err);
        if (rc == 0)
            set(a, ret, var->name, value);
    }
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < services.len; i++) {
        if (!find(ret, services.items[i].name))
            set(a, ret, services.items[i].name, services.items[i].value);
    }
    return 0;
}
