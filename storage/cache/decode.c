/* From stored bytes to objects. What Skiff (or a stock API server, in the storage version) wrote as JSON is taken as it
 * is; protobuf, and other versions of a kind, are turned into that form first. */
#include "storage/cache/cache_internal.h"

#include "base/log.h"
#include "storage/takeover/stored.h"

/* `{"kind":"Pod","apiVersion":"v1",` */
static bool in_storage_form(const struct resource *r, struct str text)
{
    struct str pieces[] = {STR("{\"kind\":\""), r->kind,   STR("\",\"apiVersion\":\""), r->storage_group, STR("/"),
                           r->storage_version,  STR("\",")};

    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (i == 4 && !r->storage_group.len)
            continue;
        if (!str_starts(text, pieces[i]))
            return false;
        text = str_sub(text, pieces[i].len, text.len);
    }
    return true;
}

int store_decode(const struct store *s, struct arena *scratch, const struct kv_pair *p, struct object **ret,
                 struct err *err)
{
    struct str text = p->value, unserved;

    *ret = NULL;
    if (s->builtin && !in_storage_form(s->resource, text)) {
        int rc = stored_read(scratch, p->key, p->value, &text, &unserved, err);

        if (rc < 0)
            return rc;
        if (rc == STORED_UNSERVED) {
            log_warn("storage", "key " STR_FMT " is left out: " STR_FMT " is not served", STR_ARG(p->key),
                     STR_ARG(unserved));
            return 1;
        }
    }
    return object_from_stored(scratch, s->resource, text, p->mod_revision, p->create_revision, ret, err);
}
