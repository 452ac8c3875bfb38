#include "api/chain/accept.h"
#include "api/route.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* path ? query \n accept */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(0);
    struct str rest = {(const char *)data, size}, path, query, version;
    struct route r;
    enum api_format format;
    struct err err = ERR_INIT;
    str_split(&rest, '\n', &query);
    str_split(&query, '?', &path);
    route_parse(a, STR("GET"), path, query, &r);
    accept_object(a, rest, true, &format, &version, &err);
    arena_destroy(a);
    return 0;
}
