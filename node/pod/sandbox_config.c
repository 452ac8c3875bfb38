/* The sandbox: names, labels, host name, DNS, ports, namespaces and the control group above the containers. */
#include "node/pod/config.h"

#include "node/pod/cgroup.h"
#include "node/pod/labels.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

char *config_z(struct arena *a, struct str s)
{
    return (char *)arena_str(a, s.p ? s : STR("")).p;
}

static Runtime__V1__KeyValue *kv(struct arena *a, const char *key, const char *value)
{
    Runtime__V1__KeyValue *m = arena_alloc(a, sizeof *m);
    runtime__v1__key_value__init(m);
    m->key = (char *)key;
    m->value = (char *)(value ? value : "");
    return m;
}

Runtime__V1__KeyValue **config_kv(struct arena *a, const char *const (*pairs)[2], size_t n)
{
    Runtime__V1__KeyValue **items = ARENA_ARRAY(a, Runtime__V1__KeyValue *, n + 1);
    for (size_t i = 0; i < n; i++)
        items[i] = kv(a, pairs[i][0], pairs[i][1]);
    return items;
}

/* ---- DNS ---- */

struct lines {
    char **items;
    size_t len, cap;
};

static void add_once(struct arena *a, struct lines *l, const char *text)
{
    for (size_t i = 0; i < l->len; i++) {
        if (strcmp(l->items[i], text) == 0)
            return;
    }
    ARENA_PUSH(a, l->items, l->len, l->cap, arena_strdup(a, text));
}

static void read_resolv_conf(struct arena *a, struct lines *servers, struct lines *searches, struct lines *options)
{
    FILE *f = fopen("/etc/resolv.conf", "re");
    char line[1024], *save, *word;
    while (f && fgets(line, sizeof line, f)) {
        struct lines *to;
        word = strtok_r(line, " \t\r\n", &save);
        if (!word || *word == '#' || *word == ';')
            continue;
        to = strcmp(word, "nameserver") == 0 ? servers
             : strcmp(word, "search") == 0   ? searches
             : strcmp(word, "options") == 0  ? options
                                             : NULL;
        if (to == searches)
            searches->len = 0;
        while (to && (word = strtok_r(NULL, " \t\r\n", &save)))
            add_once(a, to, word);
    }
    if (f)
        fclose(f);
}

/* The pod's options win over those of the same name. */
static void set_option(struct arena *a, struct lines *options, const char *text)
{
    size_t name = strcspn(text, ":");
    for (size_t i = 0; i < options->len; i++) {
        if (strcspn(options->items[i], ":") == name && strncmp(options->items[i], text, name) == 0) {
            options->items[i] = arena_strdup(a, text);
            return;
        }
    }
    ARENA_PUSH(a, options->items, options->len, options->cap, arena_strdup(a, text));
}

static Runtime__V1__DNSConfig *dns_config(struct arena *a, const struct pod *p, const struct core_v1_pod *pod)
{
    const struct agent_options *opt = &p->agent->opt;
    const struct core_v1_pod_spec *spec = pod->spec;
    struct lines servers = {0}, searches = {0}, options = {0}, host_searches = {0};
    bool cluster = opt->cluster_dns && (str_eqz(spec->dns_policy, "ClusterFirstWithHostNet") ||
                                        (str_eqz(spec->dns_policy, "ClusterFirst") && !spec->host_network));
    Runtime__V1__DNSConfig *d = arena_alloc(a, sizeof *d);
    runtime__v1__dnsconfig__init(d);
    if (cluster) {
        struct lines unused = {0}, none = {0};
        add_once(a, &servers, opt->cluster_dns);
        add_once(a, &searches, arena_printf(a, "%s.svc.%s", p->namespace_, opt->cluster_domain).p);
        add_once(a, &searches, arena_printf(a, "svc.%s", opt->cluster_domain).p);
        add_once(a, &searches, opt->cluster_domain);
        read_resolv_conf(a, &unused, &host_searches, &none);
        for (size_t i = 0; i < host_searches.len; i++)
            add_once(a, &searches, host_searches.items[i]);
        set_option(a, &options, "ndots:5");
    } else if (!str_eqz(spec->dns_policy, "None")) {
        read_resolv_conf(a, &servers, &searches, &options);
    }
    if (spec->dns_config) {
        for (size_t i = 0; i < spec->dns_config->nameservers.len; i++)
            add_once(a, &servers, config_z(a, spec->dns_config->nameservers.items[i]));
        for (size_t i = 0; i < spec->dns_config->searches.len; i++)
            add_once(a, &searches, config_z(a, spec->dns_config->searches.items[i]));
        for (size_t i = 0; i < spec->dns_config->options.len; i++) {
            const struct core_v1_pod_dns_config_option *o = &spec->dns_config->options.items[i];
            set_option(a, &options,
                       o->value.p ? arena_printf(a, STR_FMT ":" STR_FMT, STR_ARG(o->name), STR_ARG(o->value)).p
                                  : config_z(a, o->name));
        }
    }
    d->servers = servers.items;
    d->n_servers = servers.len;
    d->searches = searches.items;
    d->n_searches = searches.len;
    d->options = options.items;
    d->n_options = options.len;
    return d;
}

/* ---- the rest ---- */

static void port_mappings(struct arena *a, const struct core_v1_pod_spec *spec, Runtime__V1__PodSandboxConfig *config)
{
    size_t n = 0;
    for (size_t i = 0; i < spec->containers.len; i++)
        n += spec->containers.items[i].ports.len;
    config->port_mappings = ARENA_ARRAY(a, Runtime__V1__PortMapping *, n + 1);
    for (size_t i = 0; i < spec->containers.len; i++) {
        for (size_t j = 0; j < spec->containers.items[i].ports.len; j++) {
            const struct core_v1_container_port *from = &spec->containers.items[i].ports.items[j];
            Runtime__V1__PortMapping *m = arena_alloc(a, sizeof *m);
            runtime__v1__port_mapping__init(m);
            m->protocol = str_eqz(from->protocol, "UDP")    ? RUNTIME__V1__PROTOCOL__UDP
                          : str_eqz(from->protocol, "SCTP") ? RUNTIME__V1__PROTOCOL__SCTP
                                                            : RUNTIME__V1__PROTOCOL__TCP;
            m->container_port = from->container_port;
            m->host_port = from->host_port;
            m->host_ip = config_z(a, from->host_ip);
            config->port_mappings[config->n_port_mappings++] = m;
        }
    }
}

static Runtime__V1__Int64Value *number(struct arena *a, int64_t n)
{
    Runtime__V1__Int64Value *v = arena_alloc(a, sizeof *v);
    runtime__v1__int64_value__init(v);
    v->value = n;
    return v;
}

static bool any_privileged(const struct core_v1_pod_spec *spec)
{
    for (size_t i = 0; i < spec->containers.len + spec->init_containers.len; i++) {
        const struct core_v1_container *c = i < spec->containers.len
                                                ? &spec->containers.items[i]
                                                : &spec->init_containers.items[i - spec->containers.len];
        if (c->security_context && c->security_context->privileged)
            return true;
    }
    return false;
}

static Runtime__V1__LinuxSandboxSecurityContext *security(struct arena *a, const struct core_v1_pod_spec *spec)
{
    const struct core_v1_pod_security_context *from = spec->security_context;
    Runtime__V1__LinuxSandboxSecurityContext *s = arena_alloc(a, sizeof *s);
    Runtime__V1__NamespaceOption *ns = arena_alloc(a, sizeof *ns);
    Runtime__V1__SecurityProfile *seccomp = arena_alloc(a, sizeof *seccomp);
    runtime__v1__linux_sandbox_security_context__init(s);
    runtime__v1__namespace_option__init(ns);
    runtime__v1__security_profile__init(seccomp);
    ns->network = spec->host_network ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    ns->ipc = spec->host_ipc ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    ns->pid = spec->host_pid                  ? RUNTIME__V1__NAMESPACE_MODE__NODE
              : spec->share_process_namespace ? RUNTIME__V1__NAMESPACE_MODE__POD
                                              : RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    s->namespace_options = ns;
    s->privileged = any_privileged(spec);
    seccomp->profile_type = s->privileged ? RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined
                                          : RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
    s->seccomp = seccomp;
    if (!from)
        return s;
    if (from->has_run_as_user)
        s->run_as_user = number(a, from->run_as_user);
    if (from->has_run_as_group && from->has_run_as_user)
        s->run_as_group = number(a, from->run_as_group);
    s->supplemental_groups = ARENA_ARRAY(a, int64_t, from->supplemental_groups.len + 1);
    if (from->has_fs_group)
        s->supplemental_groups[s->n_supplemental_groups++] = from->fs_group;
    for (size_t i = 0; i < from->supplemental_groups.len; i++)
        s->supplemental_groups[s->n_supplemental_groups++] = from->supplemental_groups.items[i];
    return s;
}

Runtime__V1__PodSandboxConfig *config_sandbox(struct arena *a, struct pod *p, const struct pod_version *v,
                                              uint32_t attempt)
{
    const struct core_v1_pod *pod = v->pod;
    const struct core_v1_pod_spec *spec = pod->spec;
    Runtime__V1__PodSandboxConfig *c = arena_alloc(a, sizeof *c);
    Runtime__V1__PodSandboxMetadata *m = arena_alloc(a, sizeof *m);
    Runtime__V1__LinuxPodSandboxConfig *l = arena_alloc(a, sizeof *l);
    char path[PATH_MAX];
    size_t n_labels = pod->metadata->labels.len, n_annotations = pod->metadata->annotations.len, at = 0;
    const char *(*labels)[2] = arena_alloc(a, (n_labels + 3) * sizeof *labels);
    const char *(*annotations)[2] = arena_alloc(a, (n_annotations + 2) * sizeof *annotations);
    runtime__v1__pod_sandbox_config__init(c);
    runtime__v1__pod_sandbox_metadata__init(m);
    runtime__v1__linux_pod_sandbox_config__init(l);
    m->name = arena_strdup(a, p->name);
    m->namespace_ = arena_strdup(a, p->namespace_);
    m->uid = arena_strdup(a, p->uid);
    m->attempt = attempt;
    c->metadata = m;
    if (!spec->host_network) {
        struct str host = str_sub(spec->hostname.len ? spec->hostname : pod->metadata->name, 0, 63);
        while (host.len && (host.p[host.len - 1] == '-' || host.p[host.len - 1] == '.'))
            host.len--;
        c->hostname = config_z(a, host);
    }
    pod_log_dir(p, path, sizeof path);
    c->log_directory = arena_strdup(a, path);
    c->dns_config = dns_config(a, p, pod);
    port_mappings(a, spec, c);
    for (size_t i = 0; i < n_labels; i++, at++) {
        labels[at][0] = config_z(a, pod->metadata->labels.items[i].key);
        labels[at][1] = config_z(a, pod->metadata->labels.items[i].value);
    }
    labels[at][0] = LABEL_POD_NAME, labels[at++][1] = m->name;
    labels[at][0] = LABEL_POD_NAMESPACE, labels[at++][1] = m->namespace_;
    labels[at][0] = LABEL_POD_UID, labels[at++][1] = m->uid;
    c->labels = config_kv(a, labels, at);
    c->n_labels = at;
    for (at = 0; at < n_annotations; at++) {
        annotations[at][0] = config_z(a, pod->metadata->annotations.items[at].key);
        annotations[at][1] = config_z(a, pod->metadata->annotations.items[at].value);
    }
    annotations[at][0] = ANNOTATION_CONFIG_SOURCE, annotations[at++][1] = "api";
    c->annotations = config_kv(a, annotations, at);
    c->n_annotations = at;
    cgroup_pod_path(path, sizeof path, p->agent->opt.cgroup_root, qos_of(pod), p->uid);
    l->cgroup_parent = p->cgroup_made ? arena_strdup(a, path) : (char *)"";
    l->security_context = security(a, spec);
    if (spec->security_context) {
        size_t n = spec->security_context->sysctls.len;
        l->sysctls = ARENA_ARRAY(a, Runtime__V1__KeyValue *, n + 1);
        for (size_t i = 0; i < n; i++)
            l->sysctls[l->n_sysctls++] = kv(a, config_z(a, spec->security_context->sysctls.items[i].name),
                                            config_z(a, spec->security_context->sysctls.items[i].value));
    }
    c->linux = l;
    return c;
}
