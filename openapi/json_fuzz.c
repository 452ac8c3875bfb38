/* JSON with and without a schema, and what is decoded must encode to something that decodes. */
#include "openapi/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    static const char *const names[] = {"io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.Deployment",
                                        "io.k8s.api.core.v1.Secret", "io.k8s.api.core.v1.Event"};
    struct json_options opt = {.strictness = data[0] % 3};
    if (data[0] & 0x80)
        opt.schema = schema_message_find(str_from(names[data[0] >> 3 & 3]));
    struct arena *a = arena_create(64 << 20);
    struct err err = ERR_INIT;
    struct value *v, *again;
    if (json_decode(a, (struct str){(const char *)data + 1, size - 1}, &opt, &v, &err) == 0) {
        struct buf out = {0};
        json_encode(&out, v);
        struct json_options plain = {0};
        if (json_decode(a, buf_str(&out), &plain, &again, &err) < 0)
            abort();
        buf_free(&out);
    }
    arena_destroy(a);
    return 0;
}
