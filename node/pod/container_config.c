/* One container: what it runs, its environment, mounts, resources and confinement. */
#include "node/pod/config.h"

#include "node/pod/env.h"
#include "node/pod/labels.h"
#include "node/pod/resources.h"
#include "node/volumes/volumes.h"
#include "openapi/meta/identity.h"
#include "openapi/object/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct building {
    struct arena *a;
    struct pod_container *c;
    struct pod *p;
    const struct core_v1_pod *pod;
    const struct core_v1_container *spec;
    struct env env;
    Runtime__V1__ContainerConfig *config;
};

/* FNV-1a: stored with the container, so it must not change from one process to the next. */
uint64_t config_hash(const struct core_v1_container *c)
{
    uint64_t h = 14695981039346656037u;
    struct str parts[] = {c->name, STR("\n"), c->image};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < parts[i].len; j++)
            h = (h ^ (unsigned char)parts[i].p[j]) * 1099511628211u;
    }
    return h ? h : 1;
}

static int build_env(struct building *b, struct err *err)
{
    struct downward_facts facts;
    struct env_input in = {
        .pod = b->pod, .container = b->spec, .facts = &facts, .find = pod_source_find, .find_arg = b->p};
    const struct core_v1_service **services = NULL;
    size_t n = 0, cap = 0;
    struct object_tree *tree = informer_snapshot(b->p->agent->service_informer);
    struct object_tree_iter it;
    const struct object *o;
    int rc;
    object_tree_iter_init(&it, tree, str_from(b->p->namespace_));
    while ((o = object_tree_next(&it)))
        ARENA_PUSH(b->a, services, n, cap, view_object(b->a, o));
    o = object_tree_find(tree, STR("default"), STR("kubernetes"));
    if (o && strcmp(b->p->namespace_, "default") != 0)
        ARENA_PUSH(b->a, services, n, cap, view_object(b->a, o));
    pod_downward_facts(b->p, &facts);
    in.services = services;
    in.n_services = n;
    rc = env_build(b->a, &in, &b->env, err);
    if (rc == 0) {
        b->config->envs = ARENA_ARRAY(b->a, Runtime__V1__KeyValue *, b->env.len + 1);
        for (size_t i = 0; i < b->env.len; i++) {
            const char *pair[1][2] = {{config_z(b->a, b->env.items[i].name), config_z(b->a, b->env.items[i].value)}};
            b->config->envs[b->config->n_envs++] = config_kv(b->a, pair, 1)[0];
        }
    }
    object_tree_put(tree);
    return rc;
}

static char **words(struct building *b, const struct str_array *from)
{
    char **out = ARENA_ARRAY(b->a, char *, from->len + 1);
    for (size_t i = 0; i < from->len; i++)
        out[i] = config_z(b->a, env_expand(b->a, &b->env, from->items[i].p ? from->items[i] : STR("")));
    return out;
}

/* ---- mounts ---- */

static Runtime__V1__Mount *mount(struct building *b, const char *inside, const char *host, bool readonly)
{
    Runtime__V1__Mount *m = arena_alloc(b->a, sizeof *m);
    runtime__v1__mount__init(m);
    m->container_path = (char *)inside;
    m->host_path = (char *)host;
    m->readonly = readonly;
    b->config->mounts[b->config->n_mounts++] = m;
    return m;
}

/* A path below the volume, made when absent; links that lead out of it are refused. */
static int sub_path(struct building *b, const char *base, struct str sub, const char **ret, struct err *err)
{
    char path[PATH_MAX], real_base[PATH_MAX], real_path[PATH_MAX];
    struct stat st;
    size_t len;
    snprintf(path, sizeof path, "%s/" STR_FMT, base, STR_ARG(sub));
    if (stat(path, &st) < 0) {
        for (char *p = path + strlen(base) + 1; *p; p++) {
            if (*p != '/')
                continue;
            *p = 0;
            mkdir(path, 0777);
            *p = '/';
        }
        if (mkdir(path, 0777) < 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "failed to prepare subPath for volumeMount");
        chmod(path, 0777);
    }
    if (!realpath(base, real_base) || !realpath(path, real_path))
        return err_set_errno(err, ERR_IO, errno, "failed to prepare subPath for volumeMount");
    len = strlen(real_base);
    if (strncmp(real_base, real_path, len) != 0 || (real_path[len] && real_path[len] != '/'))
        return err_set(err, ERR_INVALID, "failed to prepare subPath for volumeMount \"" STR_FMT "\"", STR_ARG(sub));
    *ret = arena_strdup(b->a, real_path);
    return 0;
}

static int volume_mount(struct building *b, const struct core_v1_volume_mount *m, struct err *err)
{
    const char *host = pod_volume_path(b->p->volumes, m->name);
    Runtime__V1__Mount *out;
    struct stat st;
    if (!host)
        return err_set(err, ERR_NOT_FOUND, "cannot find volume \"" STR_FMT "\" to mount into container \"" STR_FMT "\"",
                       STR_ARG(m->name), STR_ARG(b->spec->name));
    if (m->sub_path.len && sub_path(b, host, m->sub_path, &host, err) < 0)
        return err->code;
    if (m->sub_path_expr.len && sub_path(b, host, env_expand(b->a, &b->env, m->sub_path_expr), &host, err) < 0)
        return err->code;
    if (stat(host, &st) < 0)
        mkdir(host, 0755); /* a hostPath without a type: the runtime would make it too */
    out = mount(b,
                arena_printf(b->a, "%s" STR_FMT, m->mount_path.len && m->mount_path.p[0] == (char)47 ? "" : "/",
                             STR_ARG(m->mount_path))
                    .p,
                host, m->read_only);
    out->propagation = str_eqz(m->mount_propagation, "Bidirectional")
                           ? RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL
                       : str_eqz(m->mount_propagation, "HostToContainer")
                           ? RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER
                           : RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE;
    return 0;
}

static int write_text(const char *path, const char *text, mode_t mode, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set_errno(err, ERR_IO, e, "write %s", path);
    }
    fchmod(fd, mode);
    close(fd);
    return 0;
}

static int hosts_file(struct building *b, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = {0};
    const struct core_v1_pod_spec *spec = b->pod->spec;
    struct str host = spec->hostname.len ? spec->hostname : b->pod->metadata->name;
    int rc;
    for (size_t i = 0; i < b->spec->volume_mounts.len; i++) {
        if (str_eqz(b->spec->volume_mounts.items[i].mount_path, "/etc/hosts"))
            return 0;
    }
    pod_dir(b->p, path, sizeof path);
    strncat(path, "/etc-hosts", sizeof path - strlen(path) - 1);
    if (spec->host_network) {
        char line[1024];
        FILE *f = fopen("/etc/hosts", "re");
        buf_addz(&text, "# Kubernetes-managed hosts file (host network).\n");
        while (f && fgets(line, sizeof line, f))
            buf_addz(&text, line);
        if (f)
            fclose(f);
    } else {
        buf_addz(&text,
                 "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                 "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        buf_printf(&text, "%s\t", pod_ip(b->p));
        if (spec->subdomain.len)
            buf_printf(&text, STR_FMT "." STR_FMT ".%s.svc.%s\t", STR_ARG(host), STR_ARG(spec->subdomain),
                       b->p->namespace_, b->p->agent->opt.cluster_domain);
        buf_printf(&text, STR_FMT "\n", STR_ARG(host));
    }
    if (spec->host_aliases.len) {
        buf_addz(&text, "\n# Entries added by HostAliases.\n");
        for (size_t i = 0; i < spec->host_aliases.len; i++) {
            buf_add_str(&text, spec->host_aliases.items[i].ip);
            for (size_t j = 0; j < spec->host_aliases.items[i].hostnames.len; j++)
                buf_printf(&text, "\t" STR_FMT, STR_ARG(spec->host_aliases.items[i].hostnames.items[j]));
            buf_add_char(&text, '\n');
        }
    }
    buf_add_char(&text, 0);
    rc = write_text(path, text.p, 0644, err);
    buf_free(&text);
    if (rc == 0)
        mount(b, "/etc/hosts", arena_strdup(b->a, path),
              b->spec->security_context && b->spec->security_context->read_only_root_filesystem);
    return rc;
}

static int termination_file(struct building *b, struct err *err)
{
    char path[PATH_MAX];
    char *p;
    if (!b->spec->termination_message_path.len)
        return 0;
    pod_dir(b->p, path, sizeof path);
    strncat(path, "/containers", sizeof path - strlen(path) - 1);
    mkdir(path, 0750);
    p = path + strlen(path);
    snprintf(p, sizeof path - (size_t)(p - path), "/%s", b->c->name);
    mkdir(path, 0750);
    p = path + strlen(path);
    snprintf(p, sizeof path - (size_t)(p - path), "/" STR_FMT, STR_ARG(name_suffix_new(b->a, 8)));
    if (write_text(path, "", 0666, err) < 0)
        return err->code;
    mount(b, config_z(b->a, b->spec->termination_message_path), arena_strdup(b->a, path), false);
    return 0;
}

static int mounts(struct building *b, struct err *err)
{
    char path[PATH_MAX];
    pod_dir(b->p, path, sizeof path);
    mkdir(path, 0750);
    b->config->mounts = ARENA_ARRAY(b->a, Runtime__V1__Mount *, b->spec->volume_mounts.len + 3);
    for (size_t i = 0; i < b->spec->volume_mounts.len; i++) {
        if (volume_mount(b, &b->spec->volume_mounts.items[i], err) < 0)
            return err->code;
    }
    if (hosts_file(b, err) < 0)
        return err->code;
    return termination_file(b, err);
}

/* ---- confinement ---- */

static const char *const masked[] = {"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                                     "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                     "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                     "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static Runtime__V1__Int64Value *number(struct arena *a, int64_t n)
{
    Runtime__V1__Int64Value *v = arena_alloc(a, sizeof *v);
    runtime__v1__int64_value__init(v);
    v->value = n;
    return v;
}

static char **upper_names(struct arena *a, const struct str_array *from)
{
    char **out = ARENA_ARRAY(a, char *, from->len + 1);
    for (size_t i = 0; i < from->len; i++)
        out[i] = config_z(a, from->items[i]);
    return out;
}

static Runtime__V1__SecurityProfile *seccomp(struct building *b, bool privileged)
{
    const struct core_v1_security_context *sc = b->spec->security_context;
    const struct core_v1_pod_security_context *psc = b->pod->spec->security_context;
    const struct core_v1_seccomp_profile *want = sc && sc->seccomp_profile ? sc->seccomp_profile
                                                 : psc                     ? psc->seccomp_profile
                                                                           : NULL;
    Runtime__V1__SecurityProfile *out = arena_alloc(b->a, sizeof *out);
    runtime__v1__security_profile__init(out);
    out->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    if (want && !privileged && str_eqz(want->type, "RuntimeDefault"))
        out->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
    if (want && !privileged && str_eqz(want->type, "Localhost")) {
        out->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        out->localhost_ref = (char *)arena_printf(b->a, "%s/seccomp/" STR_FMT, b->p->agent->opt.root_dir,
                                                  STR_ARG(want->localhost_profile))
                                 .p;
    }
    return out;
}

static int user(struct building *b, Runtime__V1__LinuxContainerSecurityContext *s, const struct image_facts *image,
                struct err *err)
{
    const struct core_v1_security_context *sc = b->spec->security_context;
    const struct core_v1_pod_security_context *psc = b->pod->spec->security_context;
    bool non_root = sc && sc->has_run_as_non_root ? sc->run_as_non_root : psc && psc->run_as_non_root;
    int64_t uid = sc && sc->has_run_as_user ? sc->run_as_user : psc && psc->has_run_as_user ? psc->run_as_user : -1;
    int64_t gid = sc && sc->has_run_as_group ? sc->run_as_group : psc && psc->has_run_as_group ? psc->run_as_group : -1;
    if (uid >= 0)
        s->run_as_user = number(b->a, uid);
    else if (image->uid >= 0)
        s->run_as_user = number(b->a, image->uid);
    else if (image->username && *image->username)
        s->run_as_username = arena_strdup(b->a, image->username);
    else
        s->run_as_user = number(b->a, 0);
    if (gid >= 0)
        s->run_as_group = number(b->a, gid);
    if (non_root && uid == 0)
        return err_set(err, ERR_INVALID,
                       "container's runAsUser breaks non-root policy (pod: \"%s_%s(%s)\", container: %s)", b->p->name,
                       b->p->namespace_, b->p->uid, b->c->name);
    if (non_root && uid < 0 && image->username && *image->username)
        return err_set(err, ERR_INVALID,
                       "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root "
                       "(pod: \"%s_%s(%s)\", container: %s)",
                       image->username, b->p->name, b->p->namespace_, b->p->uid, b->c->name);
    if (non_root && uid < 0 && image->uid <= 0)
        return err_set(err, ERR_INVALID,
                       "container has runAsNonRoot and image will run as root (pod: \"%s_%s(%s)\", container: %s)",
                       b->p->name, b->p->namespace_, b->p->uid, b->c->name);
    return 0;
}

static int security(struct building *b, const struct image_facts *image, Runtime__V1__LinuxContainerConfig *l,
                    struct err *err)
{
    const struct core_v1_security_context *sc = b->spec->security_context;
    const struct core_v1_pod_security_context *psc = b->pod->spec->security_context;
    const struct core_v1_pod_spec *spec = b->pod->spec;
    Runtime__V1__LinuxContainerSecurityContext *s = arena_alloc(b->a, sizeof *s);
    Runtime__V1__NamespaceOption *ns = arena_alloc(b->a, sizeof *ns);
    runtime__v1__linux_container_security_context__init(s);
    runtime__v1__namespace_option__init(ns);
    ns->network = spec->host_network ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    ns->ipc = spec->host_ipc ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    ns->pid = spec->host_pid                  ? RUNTIME__V1__NAMESPACE_MODE__NODE
              : spec->share_process_namespace ? RUNTIME__V1__NAMESPACE_MODE__POD
                                              : RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    s->namespace_options = ns;
    s->privileged = sc && sc->privileged;
    s->readonly_rootfs = sc && sc->read_only_root_filesystem;
    s->no_new_privs = sc && sc->has_allow_privilege_escalation && !sc->allow_privilege_escalation;
    if (sc && sc->capabilities) {
        Runtime__V1__Capability *cap = arena_alloc(b->a, sizeof *cap);
        runtime__v1__capability__init(cap);
        cap->add_capabilities = upper_names(b->a, &sc->capabilities->add);
        cap->n_add_capabilities = sc->capabilities->add.len;
        cap->drop_capabilities = upper_names(b->a, &sc->capabilities->drop);
        cap->n_drop_capabilities = sc->capabilities->drop.len;
        s->capabilities = cap;
    }
    s->supplemental_groups = ARENA_ARRAY(b->a, int64_t, (psc ? psc->supplemental_groups.len : 0) + 2);
    if (psc && psc->has_fs_group)
        s->supplemental_groups[s->n_supplemental_groups++] = psc->fs_group;
    for (size_t i = 0; psc && i < psc->supplemental_groups.len; i++)
        s->supplemental_groups[s->n_supplemental_groups++] = psc->supplemental_groups.items[i];
    if (!s->privileged && !(sc && str_eqz(sc->proc_mount, "Unmasked"))) {
        s->masked_paths = (char **)masked;
        s->n_masked_paths = sizeof masked / sizeof *masked;
        s->readonly_paths = (char **)readonly;
        s->n_readonly_paths = sizeof readonly / sizeof *readonly;
    }
    s->seccomp = seccomp(b, s->privileged);
    l->security_context = s;
    return user(b, s, image, err);
}

static void resources(struct building *b, Runtime__V1__LinuxContainerConfig *l)
{
    struct amounts have = container_amounts(b->spec);
    Runtime__V1__LinuxContainerResources *r = arena_alloc(b->a, sizeof *r);
    runtime__v1__linux_container_resources__init(r);
    r->cpu_shares = cpu_shares(have.cpu_request_milli ? have.cpu_request_milli : have.cpu_limit_milli);
    r->cpu_period = CPU_PERIOD_US;
    r->cpu_quota = cpu_quota_us(have.cpu_limit_milli);
    r->memory_limit_in_bytes = have.memory_limit;
    r->oom_score_adj = oom_score_adj(b->pod, b->spec, b->p->agent->memory_capacity);
    if (r->oom_score_adj < b->p->agent->least_oom_score_adj)
        r->oom_score_adj = b->p->agent->least_oom_score_adj;
    l->resources = r;
}

static void names(struct building *b, int32_t restart_count)
{
    struct arena *a = b->a;
    Runtime__V1__ContainerMetadata *m = arena_alloc(a, sizeof *m);
    int64_t grace = b->pod->metadata->has_deletion_grace_period_seconds
                        ? b->pod->metadata->deletion_grace_period_seconds
                        : b->pod->spec->termination_grace_period_seconds;
    const char *labels[][2] = {{LABEL_CONTAINER_NAME, b->c->name},
                               {LABEL_POD_NAME, b->p->name},
                               {LABEL_POD_NAMESPACE, b->p->namespace_},
                               {LABEL_POD_UID, b->p->uid}};
    const char *annotations[][2] = {
        {ANNOTATION_HASH, arena_printf(a, "%llx", (unsigned long long)config_hash(b->spec)).p},
        {ANNOTATION_RESTART_COUNT, arena_printf(a, "%d", restart_count).p},
        {ANNOTATION_TERMINATION_PATH, config_z(a, b->spec->termination_message_path)},
        {ANNOTATION_TERMINATION_POLICY, config_z(a, b->spec->termination_message_policy)},
        {ANNOTATION_GRACE, arena_printf(a, "%lld", (long long)grace).p},
    };
    runtime__v1__container_metadata__init(m);
    m->name = arena_strdup(a, b->c->name);
    m->attempt = (uint32_t)restart_count;
    b->config->metadata = m;
    for (size_t i = 0; i < 4; i++)
        labels[i][1] = arena_strdup(a, labels[i][1]);
    b->config->labels = config_kv(a, labels, 4);
    b->config->n_labels = 4;
    b->config->annotations = config_kv(a, annotations, 5);
    b->config->n_annotations = 5;
    b->config->log_path = (char *)arena_printf(a, "%s/%d.log", b->c->name, restart_count).p;
}

int config_container(struct arena *a, struct pod_container *c, const struct pod_version *v,
                     const struct image_facts *image, int32_t restart_count, Runtime__V1__ContainerConfig **ret,
                     struct err *err)
{
    struct building b = {.a = a, .c = c, .p = c->owner, .pod = v->pod, .spec = pod_container_spec(v, c)};
    Runtime__V1__ImageSpec *is = arena_alloc(a, sizeof *is);
    Runtime__V1__LinuxContainerConfig *l = arena_alloc(a, sizeof *l);
    int rc;
    b.config = arena_alloc(a, sizeof *b.config);
    runtime__v1__container_config__init(b.config);
    runtime__v1__image_spec__init(is);
    runtime__v1__linux_container_config__init(l);
    is->image = arena_strdup(a, image->id);
    is->user_specified_image = config_z(a, b.spec->image);
    b.config->image = is;
    b.config->linux = l;
    names(&b, restart_count);
    rc = build_env(&b, err);
    if (rc == 0)
        rc = mounts(&b, err);
    if (rc == 0)
        rc = security(&b, image, l, err);
    if (rc < 0)
        return rc;
    resources(&b, l);
    b.config->command = words(&b, &b.spec->command);
    b.config->n_command = b.spec->command.len;
    b.config->args = words(&b, &b.spec->args);
    b.config->n_args = b.spec->args.len;
    b.config->working_dir = config_z(a, b.spec->working_dir);
    b.config->stdin = b.spec->stdin;
    b.config->stdin_once = b.spec->stdin_once;
    b.config->tty = b.spec->tty;
    *ret = b.config;
    return 0;
}
