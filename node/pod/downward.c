#include "node/pod/downward.h"

#include "node/pod/resources.h"
#include "openapi/meta/quantity.h"

static bool subscript(struct str path, struct str prefix, struct str *ret_key)
{
    struct str rest;
    if (!str_starts(path, prefix))
        return false;
    rest = str_sub(path, prefix.len, path.len);
    if (rest.len < 4 || !str_starts(rest, STR("['")) || !str_ends(rest, STR("']")))
        return false;
    *ret_key = str_sub(rest, 2, rest.len - 2);
    return true;
}

/* Go's %q for the values of label and annotation lists: ASCII escapes only. */
static void quote(struct buf *out, struct str s)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_addz(out, "\\n");
        else if (c == '\t')
            buf_addz(out, "\\t");
        else if (c == '\r')
            buf_addz(out, "\\r");
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_add_char(out, (char)c);
    }
    buf_add_char(out, '"');
}

#define RENDER_MAP(a, map)                                  \
    ({                                                      \
        struct buf text_ = {0};                             \
        for (size_t at_ = 0; at_ < (map).len; at_++) {      \
            if (at_)                                        \
                buf_add_char(&text_, '\n');                 \
            buf_add_str(&text_, (map).items[at_].key);      \
            buf_add_char(&text_, '=');                      \
            quote(&text_, (map).items[at_].value);          \
        }                                                   \
        struct str copy_ = arena_str((a), buf_str(&text_)); \
        buf_free(&text_);                                   \
        copy_;                                              \
    })

int downward_field(struct arena *a, const struct core_v1_pod *pod, const struct downward_facts *facts, struct str path,
                   struct str *ret, struct err *err)
{
    struct str key;
    *ret = STR("");
    if (subscript(path, STR("metadata.labels"), &key))
        *ret = VIEW_MAP_GET(pod->metadata->labels, key);
    else if (subscript(path, STR("metadata.annotations"), &key))
        *ret = VIEW_MAP_GET(pod->metadata->annotations, key);
    else if (str_eqz(path, "metadata.labels"))
        *ret = RENDER_MAP(a, pod->metadata->labels);
    else if (str_eqz(path, "metadata.annotations"))
        *ret = RENDER_MAP(a, pod->metadata->annotations);
    else if (str_eqz(path, "metadata.name"))
        *ret = pod->metadata->name;
    else if (str_eqz(path, "metadata.namespace"))
        *ret = pod->metadata->namespace_;
    else if (str_eqz(path, "metadata.uid"))
        *ret = pod->metadata->uid;
    else if (str_eqz(path, "spec.nodeName"))
        *ret = str_from(facts->node_name);
    else if (str_eqz(path, "spec.serviceAccountName"))
        *ret = pod->spec->service_account_name;
    else if (str_eqz(path, "status.hostIP") || str_eqz(path, "status.hostIPs"))
        *ret = str_from(facts->host_ip);
    else if (str_eqz(path, "status.podIP"))
        *ret = str_from(facts->pod_ips[0]);
    else if (str_eqz(path, "status.podIPs"))
        *ret = facts->pod_ips[1][0] ? arena_printf(a, "%s,%s", facts->pod_ips[0], facts->pod_ips[1])
                                    : str_from(facts->pod_ips[0]);
    else
        return err_set(err, ERR_INVALID, "unsupported fieldPath: " STR_FMT, STR_ARG(path));
    if (!ret->p)
        *ret = STR("");
    return 0;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return b > 0 ? (a + b - 1) / b : 0;
}

int downward_resource(struct arena *a, const struct core_v1_container *c, const struct downward_facts *facts,
                      struct str resource, struct str divisor, struct str *ret, struct err *err)
{
    struct amounts have = container_amounts(c);
    struct quantity d = quantity_from(divisor);
    int64_t by_milli = quantity_milli_value(&d), amount;
    if (by_milli <= 0)
        by_milli = 1000;
    if (str_eqz(resource, "limits.cpu") || str_eqz(resource, "requests.cpu")) {
        amount = str_starts(resource, STR("limits")) ? have.cpu_limit_milli : have.cpu_request_milli;
        if (!amount && str_starts(resource, STR("limits")))
            amount = facts->cpu_milli;
        *ret = arena_printf(a, "%lld", (long long)ceil_div(amount, by_milli));
        return 0;
    }
    if (str_eqz(resource, "limits.memory"))
        amount = have.memory_limit ? have.memory_limit : facts->memory;
    else if (str_eqz(resource, "requests.memory"))
        amount = have.memory_request;
    else if (str_eqz(resource, "limits.ephemeral-storage"))
        amount = have.ephemeral_limit ? have.ephemeral_limit : facts->ephemeral;
    else if (str_eqz(resource, "requests.ephemeral-storage"))
        amount = have.ephemeral_request;
    else
        return err_set(err, ERR_INVALID, "unsupported container resource : " STR_FMT, STR_ARG(resource));
    *ret = arena_printf(a, "%lld", (long long)ceil_div(amount, by_milli < 1000 ? 1 : by_milli / 1000));
    return 0;
}
