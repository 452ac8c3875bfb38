/* Bytes that decode must encode, and what was encoded must decode to the same bytes again. */
#include "openapi/protobuf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void there_and_back(struct arena *a, const struct schema_message *m, struct str bytes)
{
    struct err err = ERR_INIT;
    struct value *v;
    struct buf once = {0}, twice = {0};
    if (protobuf_decode(a, m, bytes, &v, &err) == 0 && protobuf_encode(&once, m, v, &err) == 0) {
        assert(protobuf_decode(a, m, buf_str(&once), &v, &err) == 0 || err.code == ERR_LIMIT);
        if (!err.code) {
            assert(protobuf_encode(&twice, m, v, &err) == 0);
            assert(str_eq(buf_str(&once), buf_str(&twice)));
        }
    }
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "io.k8s.api.core.v1.Pod",           "io.k8s.api.apps.v1.Deployment",
        "io.k8s.api.core.v1.Secret",        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        "io.k8s.api.coordination.v1.Lease", "io.k8s.api.policy.v1.PodDisruptionBudget",
    };
    struct arena *a = arena_create(16u << 20);
    struct err err = ERR_INIT;
    struct protobuf_envelope e;
    struct str bytes = {(const char *)data, size};
    if (protobuf_open(bytes, &e, &err) == 0)
        there_and_back(a, schema_message_find(str_from(names[0])), e.raw);
    if (size > 1)
        there_and_back(a, schema_message_find(str_from(names[data[0] % (sizeof names / sizeof *names)])),
                       str_sub(bytes, 1, size));
    arena_destroy(a);
    return 0;
}
