#include "storage/takeover/claims.h"
#include "storage/takeover/stored.h"

#include <stddef.h>
#include <stdint.h>

static int ignore(void *arg, struct str key, struct str value, struct err *err)
{
    (void)arg, (void)key, (void)value, (void)err;
    return 0;
}

/* The key up to the first newline, the value behind it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(64u << 20);
    struct str value = {(const char *)data, size}, key, json, what;
    struct err err = ERR_INIT;
    if (str_split(&value, '\n', &key) && value.p && stored_read(a, key, value, &json, &what, &err) == STORED_OBJECT)
        claims_of_service(a, json, ignore, NULL, &err);
    arena_destroy(a);
    return 0;
}
