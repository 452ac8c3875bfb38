#include "base/ref.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct copied_bytes {
    struct ref ref;
    char bytes[];
};

struct taken_bytes {
    struct ref ref;
    char *bytes;
};

static void copied_free(struct ref *r)
{
    free(r);
}

static void taken_free(struct ref *r)
{
    free(((struct taken_bytes *)r)->bytes);
    free(r);
}

struct slice slice_copy(const void *p, size_t len)
{
    struct copied_bytes *c = mem_alloc(sizeof *c + len);
    ref_init(&c->ref, copied_free);
    if (len)
        memcpy(c->bytes, p, len);
    return (struct slice){c->bytes, len, &c->ref};
}

struct slice slice_take(char *malloced, size_t len)
{
    struct taken_bytes *t = mem_alloc(sizeof *t);
    ref_init(&t->ref, taken_free);
    t->bytes = malloced;
    return (struct slice){malloced, len, &t->ref};
}
