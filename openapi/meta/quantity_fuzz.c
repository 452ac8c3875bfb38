/* Any text is a quantity or refused; canonical text is a fixed point. */
#include "openapi/meta/quantity.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(0);
    struct str in = {(const char *)data, size}, once, twice;
    if (quantity_canonical(a, in, &once) == 0) {
        assert(quantity_canonical(a, once, &twice) == 0);
        assert(str_eq(once, twice));
    }
    arena_destroy(a);
    return 0;
}
