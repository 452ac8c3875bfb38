/* Rows of nodes, events, namespaces, configuration and volumes. */
#include "openapi/table_printers.h"

#include <stdlib.h>

static int compare_str(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct str node_roles(struct row *r)
{
    static const struct str prefix = {"node-role.kubernetes.io/", sizeof "node-role.kubernetes.io/" - 1};
    const struct value *labels = value_path(r->obj, "metadata.labels");
    struct str *roles = ARENA_ARRAY(r->a, struct str, value_len(labels) + 1), out = STR("");
    size_t n = 0;
    for (size_t i = 0; i < value_len(labels); i++) {
        struct str key = labels->map.members[i].key, value = value_str(labels->map.members[i].value);
        if (str_starts(key, prefix) && key.len > prefix.len)
            roles[n++] = str_sub(key, prefix.len, key.len);
        else if (str_eqz(key, "kubernetes.io/role") && value.len)
            roles[n++] = value;
    }
    qsort(roles, n, sizeof *roles, compare_str);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !str_eq(roles[i], roles[i - 1]))
            out = append(r, out, ",", roles[i]);
    }
    return out.len ? out : STR("<none>");
}

static struct str node_address(struct row *r, const char *type)
{
    const struct value *addresses = value_path(r->obj, "status.addresses");
    for (size_t i = 0; i < value_len(addresses); i++) {
        if (str_eqz(value_path_str(value_at(addresses, i), "type"), type))
            return value_path_str(value_at(addresses, i), "address");
    }
    return STR("<none>");
}

static void print_node(struct row *r)
{
    const struct value *ready = condition(r->obj, "Ready");
    cell_name(r);
    cellf(r, "%s%s",
          !ready                                  ? "Unknown"
          : condition_is(r->obj, "Ready", "True") ? "Ready"
                                                  : "NotReady",
          value_path_bool(r->obj, "spec.unschedulable", false) ? ",SchedulingDisabled" : "");
    cell(r, node_roles(r));
    cell_age(r);
    cell_text(r, "status.nodeInfo.kubeletVersion");
    cell(r, node_address(r, "InternalIP"));
    cell(r, node_address(r, "ExternalIP"));
    cell_or(r, value_path_str(r->obj, "status.nodeInfo.osImage"), "<unknown>");
    cell_or(r, value_path_str(r->obj, "status.nodeInfo.kernelVersion"), "<unknown>");
    cell_or(r, value_path_str(r->obj, "status.nodeInfo.containerRuntimeVersion"), "<unknown>");
}

static struct str lower(struct row *r, struct str s)
{
    char *out = arena_memdup(r->a, s.p ? s.p : "", s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        out[i] = (char)(out[i] >= 'A' && out[i] <= 'Z' ? out[i] + 32 : out[i]);
    return (struct str){out, s.len};
}

static struct str first_of(struct str a, struct str b)
{
    return a.len ? a : b;
}

static void print_event(struct row *r)
{
    const struct value *e = r->obj, *series = value_getz(e, "series");
    struct str event_time = value_path_str(e, "eventTime");
    struct str first = since(r, first_of(value_path_str(e, "firstTimestamp"), event_time));
    struct str last_stamp = value_path_str(e, "lastTimestamp");
    struct str last = last_stamp.len ? since(r, last_stamp) : first;
    int64_t count = value_path_int(e, "count", 0);
    if (value_is(series, VALUE_MAP)) {
        last = since(r, value_path_str(series, "lastObservedTime"));
        count = value_path_int(series, "count", 0);
    } else if (count == 0) {
        count = 1;
    }
    struct str kind = lower(r, value_path_str(e, "involvedObject.kind")),
               name = value_path_str(e, "involvedObject.name");
    struct str component = first_of(value_path_str(e, "source.component"), value_path_str(e, "reportingComponent"));
    struct str host = first_of(value_path_str(e, "source.host"), value_path_str(e, "reportingInstance"));
    cell(r, last);
    cell_text(r, "type");
    cell_text(r, "reason");
    cell(r, name.len ? arena_printf(r->a, STR_FMT "/" STR_FMT, STR_ARG(kind), STR_ARG(name)) : kind);
    cell_text(r, "involvedObject.fieldPath");
    cell(r, host.len ? append(r, component, ", ", host) : component);
    cell(r, str_trim(value_path_str(e, "message")));
    cell(r, first);
    cell_int(r, count);
    cell_name(r);
}

static void print_namespace(struct row *r)
{
    cell_name(r);
    cell_text(r, "status.phase");
    cell_age(r);
}

static void print_secret(struct row *r)
{
    cell_name(r);
    cell_text(r, "type");
    cell_int(r, (int64_t)value_len(value_getz(r->obj, "data")));
    cell_age(r);
}

static void print_config_map(struct row *r)
{
    cell_name(r);
    cell_int(r, (int64_t)(value_len(value_getz(r->obj, "data")) + value_len(value_getz(r->obj, "binaryData"))));
    cell_age(r);
}

static void print_name_age(struct row *r)
{
    cell_name(r);
    cell_age(r);
}

static struct str access_modes(struct row *r, const struct value *modes)
{
    static const char *const names[][2] = {
        {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
    struct str out = STR("");
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < value_len(modes); j++) {
            if (str_eqz(value_str(value_at(modes, j)), names[i][0])) {
                out = append(r, out, ",", str_from(names[i][1]));
                break;
            }
        }
    }
    return out;
}

static struct str phase_of(struct row *r)
{
    bool going = value_path_str(r->obj, "metadata.deletionTimestamp").len > 0;
    return going ? STR("Terminating") : value_path_str(r->obj, "status.phase");
}

static void print_volume(struct row *r)
{
    const struct value *claim = value_path(r->obj, "spec.claimRef");
    cell_name(r);
    cell_text(r, "spec.capacity.storage");
    cell(r, access_modes(r, value_path(r->obj, "spec.accessModes")));
    cell_text(r, "spec.persistentVolumeReclaimPolicy");
    cell(r, phase_of(r));
    if (value_is(claim, VALUE_MAP))
        cellf(r, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(claim, "namespace")),
              STR_ARG(value_path_str(claim, "name")));
    else
        cell(r, STR(""));
    cell_text(r, "spec.storageClassName");
    cell_or(r, value_path_str(r->obj, "spec.volumeAttributesClassName"), "<unset>");
    cell_text(r, "status.reason");
    cell_age(r);
    cell_or(r, value_path_str(r->obj, "spec.volumeMode"), "<unset>");
}

static void print_claim(struct row *r)
{
    bool bound = value_path_str(r->obj, "spec.volumeName").len > 0;
    cell_name(r);
    cell(r, phase_of(r));
    cell_text(r, "spec.volumeName");
    cell(r, bound ? value_path_str(r->obj, "status.capacity.storage") : STR(""));
    cell(r, bound ? access_modes(r, value_path(r->obj, "status.accessModes")) : STR(""));
    cell_text(r, "spec.storageClassName");
    cell_or(r, value_path_str(r->obj, "spec.volumeAttributesClassName"), "<unset>");
    cell_age(r);
    cell_or(r, value_path_str(r->obj, "spec.volumeMode"), "<unset>");
}

static void print_storage_class(struct row *r)
{
    const struct value *notes = value_path(r->obj, "metadata.annotations");
    const struct value *expand = value_getz(r->obj, "allowVolumeExpansion");
    bool is_default = str_eqz(value_str(value_getz(notes, "storageclass.kubernetes.io/is-default-class")), "true");
    cellf(r, STR_FMT "%s", STR_ARG(value_path_str(r->obj, "metadata.name")), is_default ? " (default)" : "");
    cell_text(r, "provisioner");
    cell_or(r, value_path_str(r->obj, "reclaimPolicy"), "Delete");
    cell_or(r, value_path_str(r->obj, "volumeBindingMode"), "Immediate");
    cell_bool(r, value_is(expand, VALUE_BOOL) && expand->boolean);
    cell_age(r);
}

static void print_volume_attachment(struct row *r)
{
    cell_name(r);
    cell_text(r, "spec.attacher");
    cell_text(r, "spec.source.persistentVolumeName");
    cell_text(r, "spec.nodeName");
    cell_bool(r, value_path_bool(r->obj, "status.attached", false));
    cell_age(r);
}

static void print_csi_node(struct row *r)
{
    cell_name(r);
    cell_int(r, (int64_t)value_len(value_path(r->obj, "spec.drivers")));
    cell_age(r);
}

static void print_csi_driver(struct row *r)
{
    cell_name(r);
    cell_bool(r, value_path_bool(r->obj, "spec.attachRequired", true));
    cell_bool(r, value_path_bool(r->obj, "spec.podInfoOnMount", false));
    cell_bool(r, value_path_bool(r->obj, "spec.storageCapacity", false));
}

static void print_csi_capacity(struct row *r)
{
    cell_name(r);
    cell_text(r, "storageClassName");
    cell_or(r, value_path_str(r->obj, "capacity"), "<unset>");
}

static void print_attributes_class(struct row *r)
{
    cell_name(r);
    cell_text(r, "driverName");
    cell_age(r);
}

static void print_component_status(struct row *r)
{
    const struct value *c = value_at(value_getz(r->obj, "conditions"), 0);
    cell_name(r);
    cell_or(r, str_eqz(value_path_str(c, "status"), "True") ? STR("Healthy") : STR("Unhealthy"), "Unknown");
    cell(r, value_path_str(c, "message"));
    cell(r, value_path_str(c, "error"));
}

static void print_api_service(struct row *r)
{
    const struct value *service = value_path(r->obj, "spec.service"), *available = condition(r->obj, "Available");
    struct str status = value_path_str(available, "status");
    cell_name(r);
    if (service)
        cellf(r, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(service, "namespace")),
              STR_ARG(value_path_str(service, "name")));
    else
        cell(r, STR("Local"));
    if (available && !str_eqz(status, "True"))
        cellf(r, STR_FMT " (" STR_FMT ")", STR_ARG(status), STR_ARG(value_path_str(available, "reason")));
    else
        cell_or(r, status, "Unknown");
    cell_age(r);
}

const struct table_printer cluster_printers[] = {
    {"node", print_node},
    {"event", print_event},
    {"namespace", print_namespace},
    {"secret", print_secret},
    {"configMap", print_config_map},
    {"serviceAccount", print_name_age},
    {"persistentVolume", print_volume},
    {"persistentVolumeClaim", print_claim},
    {"storageClass", print_storage_class},
    {"volumeAttachment", print_volume_attachment},
    {"csiNode", print_csi_node},
    {"csiDriver", print_csi_driver},
    {"csiStorageCapacity", print_csi_capacity},
    {"volumeAttributesClass", print_attributes_class},
    {"componentStatus", print_component_status},
    {"apiService", print_api_service},
    {NULL, NULL},
};
