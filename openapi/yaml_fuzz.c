/* YAML with and without a schema. */
#include "openapi/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct json_options opt = {.strictness = data[0] % 3};
    if (data[0] & 0x80)
        opt.schema = schema_message_find(STR("io.k8s.api.core.v1.Pod"));
    struct arena *a = arena_create(64 << 20);
    struct err err = ERR_INIT;
    struct value *v;
    yaml_decode(a, (struct str){(const char *)data + 1, size - 1}, &opt, &v, &err);
    arena_destroy(a);
    return 0;
}
