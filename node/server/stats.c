/* /stats/summary, thin: the node, and each pod's containers as the runtime counts them. */
#include "node/server/server.h"

#include "base/clock.h"
#include "node/cri/api.pb-c.h"
#include "node/pod/labels.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <stdlib.h>

struct stats_request {
    struct agent *agent;
    struct http_exchange *ex; /* NULL: the client has gone */
};

static const char *label(const Runtime__V1__ContainerAttributes *at, const char *key)
{
    for (size_t i = 0; at && i < at->n_labels; i++) {
        if (strcmp(at->labels[i]->key, key) == 0)
            return at->labels[i]->value;
    }
    return "";
}

static struct value *container(struct arena *a, const Runtime__V1__ContainerStats *s)
{
    struct value *v = value_map(a);
    value_setz(a, v, "name", value_stringz(a, label(s->attributes, LABEL_CONTAINER_NAME)));
    if (s->cpu && s->cpu->usage_core_nano_seconds) {
        value_set_path(a, v, "cpu.time", value_string(a, time_format(a, s->cpu->timestamp / 1000)));
        value_set_path(a, v, "cpu.usageNanoCores",
                       value_int(a, s->cpu->usage_nano_cores ? (int64_t)s->cpu->usage_nano_cores->value : 0));
        value_set_path(a, v, "cpu.usageCoreNanoSeconds", value_int(a, (int64_t)s->cpu->usage_core_nano_seconds->value));
    }
    if (s->memory && s->memory->working_set_bytes) {
        value_set_path(a, v, "memory.time", value_string(a, time_format(a, s->memory->timestamp / 1000)));
        value_set_path(a, v, "memory.workingSetBytes", value_int(a, (int64_t)s->memory->working_set_bytes->value));
    }
    return v;
}

static struct value *pod_of(struct arena *a, struct value *pods, const Runtime__V1__ContainerAttributes *at)
{
    const char *uid = label(at, LABEL_POD_UID);
    struct value *v;
    for (size_t i = 0; i < value_len(pods); i++) {
        if (str_eqz(value_path_str(value_at(pods, i), "podRef.uid"), uid))
            return value_at(pods, i);
    }
    v = value_map(a);
    value_set_path(a, v, "podRef.name", value_stringz(a, label(at, LABEL_POD_NAME)));
    value_set_path(a, v, "podRef.namespace", value_stringz(a, label(at, LABEL_POD_NAMESPACE)));
    value_set_path(a, v, "podRef.uid", value_stringz(a, uid));
    value_setz(a, v, "containers", value_list(a));
    value_append(a, pods, v);
    return v;
}

static void counted(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct stats_request *r = arg;
    const Runtime__V1__ListContainerStatsResponse *answer = (const void *)response;
    struct value *v, *pods;
    struct arena *a;
    struct buf out = {0};
    if (!r->ex) {
        free(r);
        return;
    }
    r->ex->on_close = NULL;
    if (!answer) {
        serve_error(r->ex, 500, "%s", err->message);
        free(r);
        return;
    }
    a = r->ex->arena;
    v = value_map(a);
    pods = value_list(a);
    value_set_path(a, v, "node.nodeName", value_stringz(a, r->agent->opt.node_name));
    for (size_t i = 0; i < answer->n_stats; i++) {
        struct value *pod = pod_of(a, pods, answer->stats[i]->attributes);
        value_append(a, value_getz(pod, "containers"), container(a, answer->stats[i]));
    }
    value_setz(a, v, "pods", pods);
    json_encode(&out, v);
    serve_text(r->ex, 200, "application/json", buf_str(&out));
    buf_free(&out);
    free(r);
}

static void client_gone(struct http_exchange *ex)
{
    ((struct stats_request *)ex->user)->ex = NULL;
}

void serve_stats(struct agent *a, struct http_exchange *ex)
{
    struct stats_request *r = calloc(1, sizeof *r);
    Runtime__V1__ListContainerStatsRequest req = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
    r->agent = a;
    r->ex = ex;
    ex->user = r;
    ex->on_close = client_gone;
    cri_call(a->cri, RUNTIME_SERVICE, "ListContainerStats", &req.base,
             &runtime__v1__list_container_stats_response__descriptor, RUNTIME_TIMEOUT_MS, counted, r);
}
