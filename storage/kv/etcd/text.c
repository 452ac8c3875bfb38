/* Where the cluster is, as people write it on a command line. */
#include "storage/kv/kv.h"

#include "base/vec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int read_password(struct arena *a, const char *path, const char **ret, struct err *err)
{
    char line[1024];
    FILE *f = fopen(path, "re");

    if (!f)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    if (!fgets(line, sizeof line, f))
        line[0] = 0;
    fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    *ret = arena_strdup(a, line);
    explicit_bzero(line, sizeof line);
    return 0;
}

static int set_option(struct arena *a, struct kv_etcd_options *o, struct str item, struct err *err)
{
    struct {
        const char *name, **to;
    } rows[] = {{"ca", &o->ca_file}, {"cert", &o->cert_file}, {"key", &o->key_file},
                {"user", &o->user},  {"prefix", &o->prefix},  {"password-file", NULL}};
    struct str name, value = item;

    str_split(&value, '=', &name);
    if (value.p && str_eqz(name, "history-ms") && str_to_i64(value, &o->history_ms) && o->history_ms > 0)
        return 0;
    for (size_t i = 0; value.p && i < sizeof rows / sizeof *rows; i++) {
        const char *text = arena_str(a, value).p;

        if (!str_eqz(name, rows[i].name))
            continue;
        if (!rows[i].to)
            return read_password(a, text, &o->password, err);
        *rows[i].to = text;
        return 0;
    }
    return err_set(err, ERR_BAD_REQUEST,
                   "\"" STR_FMT "\" is not known: after the addresses come ca=, cert=, key=, user=, password-file= or "
                   "prefix=, each behind a semicolon",
                   STR_ARG(item));
}

int kv_open_etcd_text(const char *text, struct kv **ret, struct err *err)
{
    struct arena *a = arena_create(0);
    struct kv_etcd_options o = {0};
    VEC(const char *) urls = {0};
    struct str rest = str_from(text), list, url;
    int rc = 0;

    str_split(&rest, ';', &list);
    while (str_split(&list, ',', &url)) {
        const char *scheme = memmem(url.p, url.len, "://", 3) ? "" : "http://";
        vec_push(&urls, arena_printf(a, "%s" STR_FMT, scheme, STR_ARG(url)).p);
    }
    vec_push(&urls, NULL);
    o.endpoints = urls.items;
    for (struct str item; rc == 0 && str_split(&rest, ';', &item);)
        rc = set_option(a, &o, item, err);
    if (rc == 0)
        rc = kv_open_etcd(&o, ret, err);
    if (rc < 0)
        err_context(err, "etcd at " STR_FMT, (int)strcspn(text, ";"), text);
    vec_free(&urls);
    arena_destroy(a);
    return rc;
}
