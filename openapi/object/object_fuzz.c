/* An object as it stands in the store: any bytes are refused or read, and what is read is read again as the same. */
#include "openapi/object/object.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static const char *const selectable[] = {"spec.nodeName", "spec.hostNetwork", "status.count", NULL};
static const struct resource_version versions[] = {{.version = {"v1", 2}, .selectable = selectable}, {.version = {0}}};
static const struct resource things = {
    .group = {"apps", 4},
    .name = {"things", 6},
    .kind = {"Thing", 5},
    .namespaced = true,
    .storage_prefix = {"/registry/things/", 17},
    .storage_group = {"apps", 4},
    .storage_version = {"v1", 2},
    .versions = versions,
    .stored_as = &things,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(64u << 20);
    struct str stored = {(const char *)data, size};
    struct object *first, *again;
    struct err err = ERR_INIT;

    if (object_from_stored(a, &things, stored, 7, 5, &first, &err) == 0) {
        assert(str_starts(first->body, STR("{\"metadata\":{")));
        if (object_from_stored(a, &things, first->body, 7, 5, &again, &err) < 0)
            __builtin_trap();
        assert(str_eq(first->body, again->body) && str_eq(first->name, again->name));
        assert(first->n_labels == again->n_labels && first->n_owners == again->n_owners);
        object_put(first);
        object_put(again);
    }
    arena_destroy(a);
    return 0;
}
