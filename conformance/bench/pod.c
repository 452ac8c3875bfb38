/* The pod that every figure uses: as people write them, padded by an annotation. */
#include "conformance/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE "bench-sample"

void pod_body(const struct pod_shape *shape, const char *name, struct buf *out)
{
    buf_printf(out,
               "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"bench\","
               "\"pod-template-hash\":\"5d8f7c9b4\"}",
               name);
    if (shape->padding) {
        buf_addz(out, ",\"annotations\":{\"bench.example.com/padding\":\"");
        buf_reserve(out, shape->padding);
        memset(out->p + out->len, 'x', shape->padding);
        out->len += shape->padding;
        buf_addz(out, "\"}");
    }
    buf_printf(out,
               "},\"spec\":{\"terminationGracePeriodSeconds\":0,\"containers\":[{\"name\":\"main\",\"image\":\"%s\","
               "\"imagePullPolicy\":\"IfNotPresent\",%s\"env\":[{\"name\":\"MODE\",\"value\":\"production\"}],"
               "\"resources\":{\"requests\":{\"cpu\":\"10m\",\"memory\":\"16Mi\"}}}]}}",
               shape->image, shape->held ? "\"command\":[\"sleep\",\"100000\"]," : "");
}

void pod_shape_learn(struct pod_shape *shape, struct loop *loop, struct http_client *client)
{
    char path[256], *answer;
    struct buf body = {0};
    snprintf(path, sizeof path, "/api/v1/namespaces/%s/serviceaccounts", shape->namespace_);
    ask_well(loop, client, "POST", path, NULL, STR("{\"metadata\":{\"name\":\"default\"}}"), 409, NULL);
    if (!shape->bytes)
        return;
    shape->padding = 1;
    pod_body(shape, SAMPLE, &body);
    snprintf(path, sizeof path, "/api/v1/namespaces/%s/pods", shape->namespace_);
    ask_well(loop, client, "POST", path, NULL, buf_str(&body), 0, &answer);
    size_t len = strlen(answer);
    shape->padding = shape->bytes > len ? shape->bytes - len : 1;
    free(answer);
    buf_free(&body);
    snprintf(path, sizeof path, "/api/v1/namespaces/%s/pods/" SAMPLE, shape->namespace_);
    ask_well(loop, client, "DELETE", path, NULL, STR("{\"gracePeriodSeconds\":0}"), 404, NULL);
}
