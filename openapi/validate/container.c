/* Containers: names, ports, mounts, resources, and how they start and stop. */
#include "openapi/validate/rules.h"

#include "openapi/meta/quantity.h"
#include "openapi/validate/container.h"

static bool is_whole_resource(struct str name)
{
    return str_starts(name, STR("hugepages-")) || is_extended_resource(name);
}

static void check_container_resource_name(struct check *c, at_path at, struct str name)
{
    size_t slash = 0;
    size_t before = c->p->len;
    check_resource_name(c, at, name);
    if (c->p->len != before)
        return;
    if (!str_index(name, '/', &slash)) {
        if (!one_of(name, "cpu,memory,ephemeral-storage") && !str_starts(name, STR("hugepages-")))
            bad_invalid(c, at, text_value(c, name), "must be a standard resource for containers");
    } else if (!is_extended_resource(name) && !str_contains(name, STR("kubernetes.io/"))) {
        bad_invalid(c, at, text_value(c, name), "doesn't follow extended resource name standard");
    }
}

static bool names_cpu_or_memory(const struct value *list)
{
    return has(list, "cpu") || has(list, "memory");
}

static void check_request(struct check *c, at_path at, struct str name, const struct value *request,
                          const struct value *limit)
{
    struct quantity want = quantity_from(value_str(request)), most = quantity_from(value_str(limit));
    if (!limit) {
        if (is_whole_resource(name))
            bad_required(c, AT(at, "limits"), "Limit must be set for non overcommitable resources");
        return;
    }
    if (is_whole_resource(name) && quantity_cmp(&want, &most) != 0)
        bad_invalid(c, AT(at, "requests"), request, "must be equal to " STR_FMT " limit of " STR_FMT, STR_ARG(name),
                    STR_ARG(value_str(limit)));
    else if (quantity_cmp(&want, &most) > 0)
        bad_invalid(c, AT(at, "requests"), request, "must be less than or equal to " STR_FMT " limit of " STR_FMT,
                    STR_ARG(name), STR_ARG(value_str(limit)));
}

void check_container_resources(struct check *c, at_path at, const struct value *resources)
{
    const struct value *limits = value_getz(resources, "limits"), *requests = value_getz(resources, "requests");
    bool huge = false;
    for (size_t i = 0; i < value_len(limits); i++) {
        struct str name = limits->map.members[i].key;
        at_path here = AT_KEY(AT(at, "limits"), name);
        check_container_resource_name(c, here, name);
        check_resource_quantity(c, here, name, limits->map.members[i].value);
        huge |= str_starts(name, STR("hugepages-"));
    }
    for (size_t i = 0; i < value_len(requests); i++) {
        struct str name = requests->map.members[i].key;
        at_path here = AT_KEY(AT(at, "requests"), name);
        check_container_resource_name(c, here, name);
        check_resource_quantity(c, here, name, requests->map.members[i].value);
        check_request(c, at, name, requests->map.members[i].value, value_get(limits, name));
        huge |= str_starts(name, STR("hugepages-"));
    }
    if (huge && !names_cpu_or_memory(limits) && !names_cpu_or_memory(requests))
        bad_forbidden(c, at, "HugePages require cpu or memory");
}

static void check_ports(struct check *c, at_path at, const struct value *ports)
{
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *p = value_at(ports, i);
        at_path here = AT_INDEX(at, i);
        struct str name = text_of(p, "name");
        int64_t host = int_of(p, "hostPort"), port = int_of(p, "containerPort");
        if (name.len) {
            bad_name(c, AT(here, "name"), name_check_port, name);
            for (size_t j = 0; j < i; j++) {
                if (str_eq(name, text_of(value_at(ports, j), "name"))) {
                    bad_duplicate(c, AT(here, "name"), value_getz(p, "name"));
                    break;
                }
            }
        }
        if (port == 0)
            bad_required(c, AT(here, "containerPort"), "");
        if (host < 0 || host > 65535)
            bad_invalid(c, AT(here, "hostPort"), value_getz(p, "hostPort"), "must be between 1 and 65535, inclusive");
    }
}

static const struct value *find_named(const struct value *list, struct str name)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eq(text_of(value_at(list, i), "name"), name))
            return value_at(list, i);
    }
    return NULL;
}

static void check_mounts(struct check *c, at_path at, const struct value *container, const struct value *volumes)
{
    const struct value *mounts = value_getz(container, "volumeMounts"),
                       *devices = value_getz(container, "volumeDevices");
    for (size_t i = 0; i < value_len(mounts); i++) {
        const struct value *m = value_at(mounts, i);
        at_path here = AT_INDEX(AT(at, "volumeMounts"), i);
        struct str name = text_of(m, "name"), path = text_of(m, "mountPath");
        if (name.len && !find_named(volumes, name))
            bad_not_found(c, AT(here, "name"), value_getz(m, "name"));
        if (find_named(devices, name))
            bad_invalid(c, AT(here, "name"), value_getz(m, "name"), "must not already exist in volumeDevices");
        for (size_t j = 0; j < i && path.len; j++) {
            if (str_eq(path, text_of(value_at(mounts, j), "mountPath"))) {
                bad_invalid(c, AT(here, "mountPath"), value_getz(m, "mountPath"), "must be unique");
                break;
            }
        }
        if (text_of(m, "subPath").len)
            check_relative_path(c, AT(here, "subPath"), text_of(m, "subPath"), false);
        if (text_of(m, "subPathExpr").len) {
            if (text_of(m, "subPath").len)
                bad_invalid(c, AT(here, "subPathExpr"), value_getz(m, "subPathExpr"),
                            "subPathExpr and subPath are mutually exclusive");
            check_relative_path(c, AT(here, "subPathExpr"), text_of(m, "subPathExpr"), false);
        }
        bool privileged = value_path_bool(container, "securityContext.privileged", false);
        if (text_is(m, "mountPropagation", "Bidirectional") && !privileged)
            bad_forbidden(c, AT(here, "mountPropagation"),
                          "Bidirectional mount propagation is available only to privileged containers");
        if (one_of(text_of(m, "recursiveReadOnly"), "IfPossible,Enabled") && !bool_of(m, "readOnly"))
            bad_forbidden(c, AT(here, "recursiveReadOnly"), "may only be specified when readOnly is true");
    }
    for (size_t i = 0; i < value_len(devices); i++) {
        const struct value *d = value_at(devices, i);
        at_path here = AT_INDEX(AT(at, "volumeDevices"), i);
        const struct value *volume = find_named(volumes, text_of(d, "name"));
        if (text_of(d, "name").len && !volume)
            bad_not_found(c, AT(here, "name"), value_getz(d, "name"));
        else if (volume && !has(volume, "persistentVolumeClaim") && !has(volume, "ephemeral"))
            bad_invalid(c, AT(here, "name"), value_getz(d, "name"),
                        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    }
}

static void check_security_context(struct check *c, at_path at, const struct value *sc)
{
    const struct value *add = value_path(sc, "capabilities.add"),
                       *escalate = value_getz(sc, "allowPrivilegeEscalation");
    if (!value_is(escalate, VALUE_BOOL) || escalate->boolean)
        return;
    if (bool_of(sc, "privileged"))
        bad_invalid(c, at, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    for (size_t i = 0; i < value_len(add); i++) {
        if (str_eqz(value_str(value_at(add, i)), "CAP_SYS_ADMIN"))
            bad_invalid(c, at, sc,
                        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
}

static void check_container(struct check *c, at_path at, const struct value *spec, const struct value *container)
{
    struct str image = text_of(container, "image");
    if (image.len == 0)
        bad_required(c, AT(at, "image"), "");
    else if (c->is_pod && str_trim(image).len != image.len)
        bad_invalid(c, AT(at, "image"), value_getz(container, "image"), "must not have leading or trailing whitespace");
    check_ports(c, AT(at, "ports"), value_getz(container, "ports"));
    check_env(c, at, container);
    check_mounts(c, at, container, value_getz(spec, "volumes"));
    check_container_resources(c, AT(at, "resources"), value_getz(container, "resources"));
    check_security_context(c, AT(at, "securityContext"), value_getz(container, "securityContext"));
}

static void check_host_network(struct check *c, at_path at, const struct value *ports)
{
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *p = value_at(ports, i);
        if (int_of(p, "hostPort") != int_of(p, "containerPort") && has(p, "hostPort"))
            bad_invalid(c, AT(AT_INDEX(at, i), "containerPort"), value_getz(p, "containerPort"),
                        "must match `hostPort` when `hostNetwork` is true");
    }
}

/* "TCP/10.0.0.1/80" of every host port, to find two that collide */
static void check_host_ports(struct check *c, at_path at, const struct value *containers)
{
    struct str *seen = NULL;
    size_t len = 0, cap = 0;
    for (size_t i = 0; i < value_len(containers); i++) {
        const struct value *ports = value_getz(value_at(containers, i), "ports");
        for (size_t j = 0; j < value_len(ports); j++) {
            const struct value *p = value_at(ports, j);
            if (int_of(p, "hostPort") == 0)
                continue;
            struct str id = arena_printf(c->a, STR_FMT "/" STR_FMT "/%lld", STR_ARG(text_of(p, "protocol")),
                                         STR_ARG(text_of(p, "hostIP")), (long long)int_of(p, "hostPort"));
            bool found = false;
            for (size_t k = 0; k < len && !found; k++)
                found = str_eq(seen[k], id);
            if (found)
                bad_duplicate(c, AT(AT_INDEX(AT(AT_INDEX(at, i), "ports"), j), "hostPort"), text_value(c, id));
            ARENA_PUSH(c->a, seen, len, cap, id);
        }
    }
}

static bool name_taken(const struct value *spec, const char *list, size_t at, struct str name)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    for (size_t l = 0; l < 3; l++) {
        const struct value *containers = value_getz(spec, lists[l]);
        bool same = strcmp(lists[l], list) == 0;
        for (size_t i = 0; i < value_len(containers) && (!same || i < at); i++) {
            if (str_eq(text_of(value_at(containers, i), "name"), name))
                return true;
        }
        if (same)
            return false;
    }
    return false;
}

static void check_init_only(struct check *c, at_path at, const struct value *container)
{
    static const char *const fields[] = {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};
    for (size_t i = 0; i < 4; i++) {
        if (has(container, fields[i]))
            bad_forbidden(c, AT_STR(at, str_from(fields[i])),
                          "may not be set for init containers without restartPolicy=Always");
    }
}

void check_containers(struct check *c, at_path spec_at, const struct value *spec)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    bool host_network = bool_of(spec, "hostNetwork");
    int64_t grace = value_path_int(spec, "terminationGracePeriodSeconds", 30);
    for (size_t l = 0; l < 3; l++) {
        const struct value *containers = value_getz(spec, lists[l]);
        at_path at = AT_STR(spec_at, str_from(lists[l]));
        for (size_t i = 0; i < value_len(containers); i++) {
            const struct value *container = value_at(containers, i);
            at_path here = AT_INDEX(at, i);
            struct str name = text_of(container, "name");
            check_container(c, here, spec, container);
            if (name.len && name_taken(spec, lists[l], i, name))
                bad_duplicate(c, AT(here, "name"), value_getz(container, "name"));
            bool sidecar = text_is(container, "restartPolicy", "Always");
            if (l == 1 && !sidecar)
                check_init_only(c, here, container);
            else
                check_probes(c, here, container, grace);
            if (host_network)
                check_host_network(c, AT(here, "ports"), value_getz(container, "ports"));
        }
        if (l == 0)
            check_host_ports(c, at, containers);
    }
}
