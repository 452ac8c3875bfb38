#include "base/clock.h"
#include "conformance/history/record.h"

#include <inttypes.h>

#define LONG_EVERY 64
#define LONG_BYTES 20000

static const struct {
    const char *name, *path, *head;
} resources[OBJECT_KINDS] = {
    {"configmaps", "/api/v1", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","},
    {"leases", "/apis/coordination.k8s.io/v1", "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\","},
};

const char *resource_name(enum object_kind object_kind)
{
    return resources[object_kind].name;
}

void resource_path(const struct recorder *r, enum object_kind object_kind, const char *name, struct buf *out)
{
    buf_printf(out, "%s/namespaces/%s/%s", resources[object_kind].path, r->namespace_, resources[object_kind].name);
    if (name)
        buf_printf(out, "/%s", name);
}

static size_t padding(int64_t value)
{
    return value % LONG_EVERY ? (size_t)((uint64_t)value * 2654435761u % 600) : LONG_BYTES;
}

static char letter(int64_t value)
{
    return (char)('a' + value % 26);
}

void object_write(const struct key *key, int64_t value, int64_t expect, bool whole, struct buf *out)
{
    if (whole)
        buf_printf(out, "%s\"metadata\":{\"name\":\"%s\",", resources[key->object_kind].head, key->name);
    else
        buf_addz(out, "{\"metadata\":{");
    if (expect)
        buf_printf(out, "\"resourceVersion\":\"%" PRId64 "\",", expect);
    buf_printf(out, "\"annotations\":{\"a\":\"%" PRId64 "\",\"padding\":\"", value);
    for (size_t i = 0; i < padding(value); i++)
        buf_add_char(out, letter(value));
    buf_printf(out, "\",\"z\":\"%" PRId64 "\"}}}", value);
}

static bool padded(struct str text, int64_t value)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] != letter(value))
            return false;
    }
    return text.len == padding(value);
}

void object_read(const struct value *object, struct object_read *ret)
{
    const struct value *annotations = value_path(object, "metadata.annotations");
    struct str a = value_str(value_getz(annotations, "a")), z = value_str(value_getz(annotations, "z"));
    struct str text = value_str(value_getz(annotations, "padding"));
    *ret = (struct object_read){.name = value_path_str(object, "metadata.name"),
                                .uid = value_path_str(object, "metadata.uid")};
    str_to_i64(value_path_str(object, "metadata.resourceVersion"), &ret->revision);
    if (str_to_i64(a, &ret->value) && str_eq(a, z) && padded(text, ret->value))
        snprintf(ret->value_text, sizeof ret->value_text, "%" PRId64, ret->value);
    else
        snprintf(ret->value_text, sizeof ret->value_text, "!a=%.20s,z=%.20s,padding=%zu,uid=%.8s", a.len ? a.p : "",
                 z.len ? z.p : "", text.len, ret->uid.len ? ret->uid.p : "");
}

int64_t object_log_items(struct recorder *r, enum object_kind object_kind, const char *only, const struct value *list)
{
    struct value *items = value_getz(list, "items");
    int64_t revision = 0;
    for (size_t i = 0; i < value_len(items); i++) {
        struct object_read o;
        object_read(value_at(items, i), &o);
        if ((only && !str_eqz(o.name, only)) || !recorder_key(r, object_kind, o.name))
            continue;
        recorder_log(r, "item %s/" STR_FMT " %" PRId64 " %s " STR_FMT, resource_name(object_kind), STR_ARG(o.name),
                     o.revision, o.value_text, STR_ARG(o.uid));
    }
    str_to_i64(value_path_str(list, "metadata.resourceVersion"), &revision);
    return revision;
}

static void add_token(struct buf *out, const char *kind, struct str text)
{
    if (text.len)
        buf_printf(out, "%s%s:" STR_FMT, out->len ? "," : "", kind, STR_ARG(text));
}

static void service_tokens(struct buf *out, const struct value *object)
{
    struct value *addresses = value_path(object, "spec.clusterIPs"), *ports = value_path(object, "spec.ports");
    for (size_t i = 0; i < value_len(addresses); i++) {
        struct str address = value_str(value_at(addresses, i));
        if (!str_eqz(address, "None"))
            add_token(out, "ip", address);
    }
    for (size_t i = 0; i < value_len(ports); i++) {
        char text[24];
        int64_t port = value_path_int(value_at(ports, i), "nodePort", 0);
        snprintf(text, sizeof text, "%" PRId64, port);
        if (port)
            add_token(out, "port", str_from(text));
    }
}

/* A pod has its address, and counts for its owner, until it is on its way out: its object may outlive it. */
static void pod_tokens(struct buf *out, const struct value *object, bool simulated)
{
    struct str phase = value_path_str(object, "status.phase");
    struct value *owners = value_path(object, "metadata.ownerReferences");
    if (str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed") || value_path(object, "metadata.deletionTimestamp"))
        return;
    for (size_t i = 0; i < value_len(owners); i++)
        add_token(out, "of", value_path_str(value_at(owners, i), "uid"));
    if (!simulated && !value_path_bool(object, "spec.hostNetwork", false))
        add_token(out, "ip", value_path_str(object, "status.podIP"));
}

void object_log_held(struct recorder *r, const char *type, const char *kind, const struct value *object,
                     int64_t revision)
{
    struct buf tokens = {0};
    char text[24];
    if (strcmp(kind, "services") == 0) {
        service_tokens(&tokens, object);
    } else if (strcmp(kind, "pods") == 0) {
        pod_tokens(&tokens, object, r->simulated_pods);
    } else if (strcmp(kind, "nodes") == 0) {
        add_token(&tokens, "range", value_path_str(object, "spec.podCIDR"));
    } else {
        snprintf(text, sizeof text, "%" PRId64, value_path_int(object, "spec.replicas", 0));
        add_token(&tokens, "most", str_from(text));
    }
    recorder_log(r, "held %" PRId64 " %s %s " STR_FMT "/" STR_FMT " %" PRId64 " " STR_FMT " " STR_FMT, clock_mono_us(),
                 type, kind, STR_ARG(value_path_str(object, "metadata.namespace")),
                 STR_ARG(value_path_str(object, "metadata.name")), revision,
                 STR_ARG(value_path_str(object, "metadata.uid")), STR_ARG(tokens.len ? buf_str(&tokens) : STR("-")));
    buf_free(&tokens);
}
