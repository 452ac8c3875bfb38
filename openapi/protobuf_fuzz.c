#include "openapi/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(16u << 20);
    struct err err = ERR_INIT;
    struct protobuf_envelope e;
    struct value *v;
    struct str bytes = {(const char *)data, size};
    if (protobuf_open(bytes, &e, &err) == 0)
        protobuf_decode(a, schema_message_find(STR("io.k8s.api.core.v1.Pod")), e.raw, &v, &err);
    protobuf_decode(a, schema_message_find(STR("io.k8s.api.apps.v1.Deployment")), bytes, &v, &err);
    arena_destroy(a);
    return 0;
}
