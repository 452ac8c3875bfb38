#include "base/vec.h"
#include "base/mem.h"

#include <assert.h>
#include <stdint.h>

void *vec_grow_items(void *items, size_t *cap, size_t item_size, size_t want)
{
    size_t n = *cap ? *cap * 2 : 8;
    if (n < want)
        n = want;
    assert(n < SIZE_MAX / 2 / item_size);
    *cap = n;
    return mem_realloc(items, n * item_size);
}
