#include "storage/snapshot/summary.h"

#include "openapi/schema.h"
#include "storage/crypt/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* "/registry/zoo.example/pandas/…" is pandas.zoo.example; other prefixes stay as they are. */
static struct str name_of(struct arena *a, struct str key)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n), *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && str_starts(key, all[i]->storage_prefix) &&
            (!best || all[i]->storage_prefix.len > best->storage_prefix.len))
            best = all[i]->stored_as ? all[i]->stored_as : all[i];
    if (best)
        return best->group.len ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(best->name), STR_ARG(best->group))
                               : best->name;
    struct str rest = key, empty, top, group, name;
    if (!str_split(&rest, '/', &empty) || empty.len || !str_split(&rest, '/', &top) || !str_split(&rest, '/', &group))
        return key;
    if (str_eq(top, STR("registry")) && str_contains(group, STR(".")) && str_split(&rest, '/', &name) && rest.p)
        return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(name), STR_ARG(group));
    return arena_printf(a, "/" STR_FMT "/" STR_FMT, STR_ARG(top), STR_ARG(group));
}

static void count(struct arena *a, struct arena *scratch, struct snapshot_summary *s, const struct snapshot_entry *e)
{
    struct str name = name_of(scratch, e->key);
    struct snapshot_count *c = NULL;
    for (size_t i = s->n_counts; i-- && !c;) /* keys come in order: usually the last one */
        if (str_eq(s->counts[i].name, name))
            c = &s->counts[i];
    if (!c) {
        ARENA_PUSH(a, s->counts, s->n_counts, s->cap_counts, (struct snapshot_count){.name = arena_str(a, name)});
        c = &s->counts[s->n_counts - 1];
    }
    c->n++;
    c->bytes += (int64_t)e->value.len;
    arena_reset(scratch);
    s->n_entries++;
    if (!e->sealed)
        return;
    struct str id = crypt_key_id(e->value);
    size_t at = 0;
    s->n_sealed++;
    while (at < s->n_keys && !str_eq(s->keys[at].id, id))
        at++;
    if (at == s->n_keys)
        ARENA_PUSH(a, s->keys, s->n_keys, s->cap_keys, (struct snapshot_key_use){.id = arena_str(a, id)});
    s->keys[at].n++;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct snapshot_count *)a)->name, ((const struct snapshot_count *)b)->name);
}

int snapshot_summarize(struct arena *a, const char *file, void (*progress)(void *arg, uint64_t bytes), void *arg,
                       struct snapshot_summary *ret, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", file);
    struct snapshot_reader *r = snapshot_reader_create(snapshot_read_fd, &fd);
    struct arena *scratch = arena_create(0);
    struct snapshot_entry entry;
    *ret = (struct snapshot_summary){0};
    int rc = snapshot_reader_head(r, &ret->head, err);
    while (rc == 0 && (rc = snapshot_reader_next(r, &entry, err)) == 0) {
        count(a, scratch, ret, &entry);
        if (progress && ret->n_entries % 64 == 0)
            progress(arg, snapshot_reader_bytes(r));
    }
    if (rc >= 0) {
        int parsed = identities_parse(a, snapshot_reader_identities(r), &ret->identities, err);
        rc = parsed < 0 ? parsed : rc;
    }
    ret->size = snapshot_reader_bytes(r);
    memcpy(ret->sha256, snapshot_reader_sha256(r), sizeof ret->sha256);
    if (ret->n_counts)
        qsort(ret->counts, ret->n_counts, sizeof *ret->counts, by_name);
    arena_destroy(scratch);
    snapshot_reader_destroy(r);
    close(fd);
    return rc < 0 ? err_context(err, "%s", file) : 0;
}
