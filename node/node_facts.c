/* The Node as a value, from facts about a machine; and the facts of this one. */
#include "node/node_object.h"

#include "openapi/meta/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *read_line(struct arena *a, const char *path)
{
    char line[256];
    FILE *f = fopen(path, "re");
    struct str text = STR("");
    if (f && fgets(line, sizeof line, f))
        text = arena_str(a, str_trim(str_from(line)));
    if (f)
        fclose(f);
    return text.p;
}

static const char *os_name(struct arena *a)
{
    char line[512];
    const char *found = "Linux";
    FILE *f = fopen("/etc/os-release", "re");
    while (f && fgets(line, sizeof line, f)) {
        struct str s = str_trim(str_from(line));
        if (!str_starts(s, STR("PRETTY_NAME=")))
            continue;
        s = str_sub(s, 12, s.len);
        if (s.len >= 2 && s.p[0] == '"')
            s = str_sub(s, 1, s.len - 1);
        found = arena_str(a, s).p;
    }
    if (f)
        fclose(f);
    return found;
}

static int64_t memory_total(void)
{
    char line[256];
    long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemTotal: %lld kB", &kib) == 1)
            break;
    }
    if (f)
        fclose(f);
    return (int64_t)kib * 1024;
}

void node_facts_read(struct arena *a, struct node_facts *f)
{
    struct utsname u;
    struct statvfs fs;
    uname(&u);
    f->kernel = arena_strdup(a, u.release);
    f->arch = strcmp(u.machine, "x86_64") == 0    ? "amd64"
              : strcmp(u.machine, "aarch64") == 0 ? "arm64"
                                                  : arena_strdup(a, u.machine);
    f->os_image = os_name(a);
    f->machine_id = read_line(a, "/etc/machine-id");
    f->system_uuid = read_line(a, "/sys/class/dmi/id/product_uuid");
    if (!*f->system_uuid)
        f->system_uuid = f->machine_id;
    f->boot_id = read_line(a, "/proc/sys/kernel/random/boot_id");
    f->cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
    f->memory = memory_total();
    f->ephemeral = statvfs("/var/lib", &fs) == 0 ? (int64_t)(fs.f_blocks * fs.f_frsize) : 0;
}

static struct value *text(struct arena *a, const char *s)
{
    return value_stringz(a, arena_strdup(a, s ? s : ""));
}

static void resources(struct arena *a, struct value *status, const char *key, const struct node_facts *f,
                      bool allocatable)
{
    struct value *v = value_map(a);
    int64_t ephemeral = allocatable ? f->ephemeral / 10 * 9 : f->ephemeral / 1024;
    value_setz(a, v, "cpu",
               value_string(a, f->cpu_milli % 1000 ? arena_printf(a, "%lldm", (long long)f->cpu_milli)
                                                   : arena_printf(a, "%lld", (long long)f->cpu_milli / 1000)));
    value_setz(a, v, "ephemeral-storage",
               value_string(a, arena_printf(a, allocatable ? "%lld" : "%lldKi", (long long)ephemeral)));
    value_setz(a, v, "hugepages-1Gi", value_stringz(a, "0"));
    value_setz(a, v, "hugepages-2Mi", value_stringz(a, "0"));
    value_setz(a, v, "memory", value_string(a, arena_printf(a, "%lldKi", (long long)f->memory / 1024)));
    value_setz(a, v, "pods", value_stringz(a, "110"));
    value_setz(a, status, key, v);
}

static void condition(struct arena *a, struct value *list, const struct node_facts *f, const struct value *current,
                      const char *type, bool is, const char *reason, const char *message)
{
    struct value *c = value_map(a);
    const struct value *old = NULL, *had = value_getz(current, "conditions");
    struct str now = time_format(a, f->now_us), since;
    for (size_t i = 0; i < value_len(had); i++) {
        if (str_eqz(value_path_str(value_at(had, i), "type"), type))
            old = value_at(had, i);
    }
    since = value_path_str(old, "lastTransitionTime");
    value_setz(a, c, "type", value_stringz(a, type));
    value_setz(a, c, "status", value_stringz(a, is ? "True" : "False"));
    value_setz(a, c, "lastHeartbeatTime", value_string(a, now));
    value_setz(
        a, c, "lastTransitionTime",
        value_string(a, since.len && str_eqz(value_path_str(old, "status"), is ? "True" : "False") ? since : now));
    value_setz(a, c, "reason", value_stringz(a, reason));
    value_setz(a, c, "message", text(a, message));
    value_append(a, list, c);
}

static void address(struct arena *a, struct value *list, const char *type, const char *what)
{
    struct value *v = value_map(a);
    value_setz(a, v, "type", value_stringz(a, type));
    value_setz(a, v, "address", text(a, what));
    value_append(a, list, v);
}

struct value *node_build_status(struct arena *a, const struct node_facts *f, const struct value *current)
{
    struct value *v = value_map(a), *list = value_list(a), *info = value_map(a), *handlers, *handler;
    resources(a, v, "capacity", f, false);
    resources(a, v, "allocatable", f, true);
    condition(a, list, f, current, "MemoryPressure", false, "KubeletHasSufficientMemory",
              "kubelet has sufficient memory available");
    condition(a, list, f, current, "DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
    condition(a, list, f, current, "PIDPressure", false, "KubeletHasSufficientPID",
              "kubelet has sufficient PID available");
    if (f->ready)
        condition(a, list, f, current, "Ready", true, "KubeletReady", "kubelet is posting ready status");
    else
        condition(a, list, f, current, "Ready", false, f->not_ready_reason, f->not_ready_message);
    value_setz(a, v, "conditions", list);
    list = value_list(a);
    if (f->address && *f->address)
        address(a, list, "InternalIP", f->address);
    address(a, list, "Hostname", f->hostname);
    value_setz(a, v, "addresses", list);
    value_set_path(a, v, "daemonEndpoints.kubeletEndpoint.Port", value_int(a, f->port));
    value_setz(a, info, "machineID", text(a, f->machine_id));
    value_setz(a, info, "systemUUID", text(a, f->system_uuid));
    value_setz(a, info, "bootID", text(a, f->boot_id));
    value_setz(a, info, "kernelVersion", text(a, f->kernel));
    value_setz(a, info, "osImage", text(a, f->os_image));
    value_setz(a, info, "containerRuntimeVersion", text(a, f->runtime_version));
    value_setz(a, info, "kubeletVersion", value_stringz(a, "v1.36.2"));
    value_setz(a, info, "kubeProxyVersion", value_stringz(a, ""));
    value_setz(a, info, "operatingSystem", value_stringz(a, "linux"));
    value_setz(a, info, "architecture", text(a, f->arch));
    value_setz(a, v, "nodeInfo", info);
    if (f->images)
        value_setz(a, v, "images", f->images);
    handlers = value_list(a);
    handler = value_map(a);
    value_setz(a, handler, "name", value_stringz(a, ""));
    value_append(a, handlers, handler);
    value_setz(a, v, "runtimeHandlers", handlers);
    return v;
}

static void label(struct arena *a, struct value *labels, const char *key, const char *value)
{
    value_set(a, labels, str_from(key), text(a, value));
}

struct value *node_build(struct arena *a, const struct node_facts *f)
{
    struct value *v = value_map(a), *labels = value_map(a), *cidrs;
    value_setz(a, v, "kind", value_stringz(a, "Node"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    value_set_path(a, v, "metadata.name", text(a, f->name));
    label(a, labels, "beta.kubernetes.io/arch", f->arch);
    label(a, labels, "beta.kubernetes.io/os", "linux");
    label(a, labels, "kubernetes.io/arch", f->arch);
    label(a, labels, "kubernetes.io/hostname", f->hostname);
    label(a, labels, "kubernetes.io/os", "linux");
    for (size_t i = 0; f->labels && f->labels[i]; i++) {
        struct str rest = str_from(f->labels[i]), key;
        str_split(&rest, '=', &key);
        value_set(a, labels, arena_str(a, key), value_string(a, rest.p ? arena_str(a, rest) : STR("")));
    }
    value_set_path(a, v, "metadata.labels", labels);
    value_set_path(a, v, "metadata.annotations", value_map(a));
    value_set(a, value_path(v, "metadata.annotations"), STR("volumes.kubernetes.io/controller-managed-attach-detach"),
              value_stringz(a, "true"));
    if (f->pod_cidr && *f->pod_cidr) {
        cidrs = value_list(a);
        value_append(a, cidrs, text(a, f->pod_cidr));
        value_set_path(a, v, "spec.podCIDR", text(a, f->pod_cidr));
        value_set_path(a, v, "spec.podCIDRs", cidrs);
    }
    value_setz(a, v, "status", node_build_status(a, f, NULL));
    return v;
}

struct value *node_build_lease(struct arena *a, const char *name, const char *uid, int64_t now_us)
{
    struct value *v = value_map(a), *owner = value_map(a), *owners = value_list(a);
    value_setz(a, v, "kind", value_stringz(a, "Lease"));
    value_setz(a, v, "apiVersion", value_stringz(a, "coordination.k8s.io/v1"));
    value_set_path(a, v, "metadata.name", text(a, name));
    value_set_path(a, v, "metadata.namespace", value_stringz(a, "kube-node-lease"));
    value_setz(a, owner, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, owner, "kind", value_stringz(a, "Node"));
    value_setz(a, owner, "name", text(a, name));
    value_setz(a, owner, "uid", text(a, uid));
    value_append(a, owners, owner);
    value_set_path(a, v, "metadata.ownerReferences", owners);
    value_set_path(a, v, "spec.holderIdentity", text(a, name));
    value_set_path(a, v, "spec.leaseDurationSeconds", value_int(a, 40));
    value_set_path(a, v, "spec.renewTime", value_string(a, time_format_micro(a, now_us)));
    return v;
}
