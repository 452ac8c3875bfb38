#include "base/net/http.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(0);
    struct str query = {(const char *)data, size}, name, value;
    while (http_query_next(a, &query, &name, &value))
        assert(name.len + value.len <= size);
    struct str s = http_percent_decode(a, (struct str){(const char *)data, size});
    assert(s.len <= size);
    arena_destroy(a);
    return 0;
}
