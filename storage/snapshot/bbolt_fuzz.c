#include "storage/snapshot/bbolt.h"

static int look(void *arg, struct str key, struct str value, struct err *err)
{
    uint64_t *sum = arg;
    (void)err;
    for (size_t i = 0; i < key.len; i++)
        *sum += (uint8_t)key.p[i];
    for (size_t i = 0; i < value.len; i++)
        *sum += (uint8_t)value.p[i];
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    uint64_t sum = 0;
    bbolt_walk((struct str){(const char *)data, size}, STR("key"), look, &sum, &err);
    return 0;
}
