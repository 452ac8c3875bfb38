/* Environment variables and where their values come from. */
#include "openapi/validate/container.h"

#include "openapi/meta/quantity.h"

static const char env_fields[] = "metadata.name,metadata.namespace,metadata.uid,spec.nodeName,spec.serviceAccountName,"
                                 "status.hostIP,status.hostIPs,status.podIP,status.podIPs";
static const char volume_fields[] =
    "metadata.annotations,metadata.labels,metadata.name,metadata.namespace,metadata.uid";
static const char resources[] = "limits.cpu,limits.ephemeral-storage,limits.memory,requests.cpu,"
                                "requests.ephemeral-storage,requests.memory";

/* metadata.labels['key'] and metadata.annotations['key'] */
static bool split_subscript(struct str path, struct str *ret_path, struct str *ret_key)
{
    size_t at = 0;
    if (!str_index(path, '[', &at) || !str_ends(path, STR("']")) || path.len < at + 4 || path.p[at + 1] != '\'')
        return false;
    *ret_path = str_sub(path, 0, at);
    *ret_key = str_sub(path, at + 2, path.len - 2);
    return true;
}

void check_field_ref(struct check *c, at_path at, const struct value *ref, bool in_volume)
{
    static const char known[] =
        "metadata.annotations,metadata.labels,metadata.name,metadata.namespace,metadata.uid,"
        "spec.nodeName,spec.restartPolicy,spec.serviceAccountName,spec.schedulerName,status.phase,"
        "status.hostIP,status.hostIPs,status.podIP,status.podIPs,spec.host";
    struct str path = text_of(ref, "fieldPath"), base, key;
    const char *allowed = in_volume ? volume_fields : env_fields;
    if (path.len == 0)
        return;
    if (split_subscript(path, &base, &key)) {
        if (str_eqz(base, "metadata.annotations") || str_eqz(base, "metadata.labels"))
            bad_name(c, at, name_check_qualified, key);
        else
            bad_invalid(c, AT(at, "fieldPath"), text_value(c, base), "does not support subscript");
        return;
    }
    if (!one_of(path, known))
        bad_invalid(c, AT(at, "fieldPath"), text_value(c, path),
                    "error converting fieldPath: field label not supported: " STR_FMT, STR_ARG(path));
    else if (!one_of(path, allowed))
        bad_unsupported(c, AT(at, "fieldPath"), text_value(c, path), allowed);
}

void check_resource_field_ref(struct check *c, at_path at, const struct value *ref, bool in_volume)
{
    struct str name = text_of(ref, "resource"), divisor = text_of(ref, "divisor");
    bool huge = str_starts(name, STR("limits.hugepages-")) || str_starts(name, STR("requests.hugepages-"));
    if (in_volume && text_of(ref, "containerName").len == 0)
        bad_required(c, AT(at, "containerName"), "");
    if (name.len == 0)
        return;
    if (!one_of(name, resources) && !huge) {
        bad_unsupported(c, AT(at, "resource"), text_value(c, name), resources);
        return;
    }
    bool cpu = str_ends(name, STR(".cpu"));
    static const char sizes[] = "1,1k,1M,1G,1T,1P,1E,1Ki,1Mi,1Gi,1Ti,1Pi,1Ei";
    if (divisor.len == 0 || str_eqz(divisor, "0") || one_of(divisor, cpu ? "1m,1" : sizes))
        return;
    if (cpu)
        bad_invalid(c, AT(at, "divisor"), text_value(c, name),
                    "only divisor's values 1m and 1 are supported with the cpu resource");
    else
        bad_invalid(
            c, AT(at, "divisor"), text_value(c, name),
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the %s "
            "resource",
            str_ends(name, STR(".memory")) ? "memory"
            : huge                         ? "hugepages"
                                           : "local ephemeral storage");
}

static void check_key_ref(struct check *c, at_path at, const struct value *ref)
{
    if (text_of(ref, "key").len)
        bad_name(c, AT(at, "key"), name_check_config_key, text_of(ref, "key"));
}

static void check_value_from(struct check *c, at_path at, const struct value *var)
{
    const struct value *from = value_getz(var, "valueFrom");
    int sources = 0;
    if (!value_is(from, VALUE_MAP))
        return;
    if (has(from, "fieldRef") && ++sources)
        check_field_ref(c, AT(at, "fieldRef"), value_getz(from, "fieldRef"), false);
    if (has(from, "resourceFieldRef") && ++sources)
        check_resource_field_ref(c, AT(at, "resourceFieldRef"), value_getz(from, "resourceFieldRef"), false);
    if (has(from, "configMapKeyRef") && ++sources)
        check_key_ref(c, AT(at, "configMapKeyRef"), value_getz(from, "configMapKeyRef"));
    if (has(from, "secretKeyRef") && ++sources)
        check_key_ref(c, AT(at, "secretKeyRef"), value_getz(from, "secretKeyRef"));
    sources += has(from, "fileKeyRef");
    struct value *none = text_value(c, STR(""));
    if (sources == 0)
        bad_invalid(
            c, at, none,
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    else if (text_of(var, "value").len)
        bad_invalid(c, at, none, "may not be specified when `value` is not empty");
    else if (sources > 1)
        bad_invalid(c, at, none, "may not have more than one field specified at a time");
}

void check_env(struct check *c, at_path at, const struct value *container)
{
    const struct value *env = value_getz(container, "env"), *from = value_getz(container, "envFrom");
    for (size_t i = 0; i < value_len(env); i++) {
        const struct value *var = value_at(env, i);
        at_path here = AT_INDEX(AT(at, "env"), i);
        if (text_of(var, "name").len)
            bad_name(c, AT(here, "name"), name_check_env, text_of(var, "name"));
        check_value_from(c, AT(here, "valueFrom"), var);
    }
    for (size_t i = 0; i < value_len(from); i++) {
        const struct value *source = value_at(from, i);
        at_path here = AT_INDEX(AT(at, "envFrom"), i);
        int sources = has(source, "configMapRef") + has(source, "secretRef");
        if (text_of(source, "prefix").len)
            bad_name(c, AT(here, "prefix"), name_check_env, text_of(source, "prefix"));
        if (sources == 0)
            bad_invalid(c, AT(at, "envFrom"), text_value(c, STR("")),
                        "must specify one of: `configMapRef` or `secretRef`");
        else if (sources > 1)
            bad_invalid(c, AT(at, "envFrom"), text_value(c, STR("")),
                        "may not have more than one field specified at a time");
    }
}
