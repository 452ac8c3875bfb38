#include "api/verbs/list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(1u << 20);
    struct err err = ERR_INIT;
    struct str ns, name;
    int64_t revision;
    continue_decode(a, (struct str){(const char *)data, size}, true, &revision, &ns, &name, &err);
    arena_destroy(a);
    return 0;
}
