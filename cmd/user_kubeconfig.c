#include "cmd/user_kubeconfig.h"

#include "cmd/cluster.h"
#include "openapi/json.h"
#include "openapi/yaml_encode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (4u << 20)

static int user_file(struct arena *a, const char *file, const char **ret, struct err *err)
{
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (file && *file) {
        *ret = file;
        return 0;
    }
    if (list && *list) {
        *ret = arena_printf(a, "%.*s", (int)strcspn(list, ":"), list).p;
        return 0;
    }
    if (!home || !*home)
        return err_set(err, ERR_BAD_REQUEST, "no --kubeconfig, $KUBECONFIG or $HOME says where the kubeconfig is");
    *ret = arena_printf(a, "%s/.kube/config", home).p;
    return 0;
}

/* 1 = no such file, or an empty one */
static int read_config(struct arena *a, const char *file, struct value **ret, struct err *err)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return errno == ENOENT ? 1 : err_set_errno(err, ERR_IO, errno, "read %s", file);
    char *text = arena_alloc(a, FILE_MAX);
    size_t n = fread(text, 1, FILE_MAX, f);
    fclose(f);
    if (n == FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s is larger than 4 MiB", file);
    if (str_trim((struct str){text, n}).len == 0)
        return 1;
    struct json_options options = {0};
    if (yaml_decode(a, (struct str){text, n}, &options, ret, err) < 0)
        return err_context(err, "%s", file);
    if (!value_is(*ret, VALUE_MAP))
        return err_set(err, ERR_BAD_REQUEST, "%s is not a kubeconfig", file);
    return 0;
}

static int write_config(struct arena *a, const char *file, const struct value *config, struct err *err)
{
    const char *part = arena_printf(a, "%s.%d.part", file, (int)getpid()).p;
    char *dir = arena_strdup(a, file), *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = 0;
        int rc = cluster_make_dir(dir, err);
        if (rc < 0)
            return rc;
    }
    struct buf text = {0};
    yaml_encode(&text, config, false);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n = fd >= 0 ? write(fd, text.p, text.len) : -1;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    bool ok = n == (ssize_t)text.len && rename(part, file) == 0;
    buf_free(&text);
    return ok ? 0 : err_set_errno(err, ERR_IO, n < 0 ? errnum : errno, "write %s", file);
}

static void drop_named(struct value *config, const char *list_name, const char *name)
{
    struct value *list = value_getz(config, list_name);
    for (size_t i = value_is(list, VALUE_LIST) ? list->list.len : 0; i-- > 0;) {
        if (str_eqz(value_str(value_getz(list->list.items[i], "name")), name))
            value_remove_at(list, i);
    }
}

static void drop_context(struct value *config, const char *context)
{
    drop_named(config, "clusters", context);
    drop_named(config, "users", context);
    drop_named(config, "contexts", context);
}

static void add_named(struct arena *a, struct value *config, const char *list_name, const char *name, const char *what,
                      struct value *content)
{
    struct value *entry = value_map(a);
    value_setz(a, entry, "name", value_stringz(a, name));
    value_setz(a, entry, what, content);
    value_append(a, value_ensure_list(a, config, list_name), entry);
}

static struct value *first(struct value *config, const char *list_name, const char *what)
{
    return value_getz(value_at(value_getz(config, list_name), 0), what);
}

int user_kubeconfig_merge(const char *file, const char *from, const char *context, struct err *err)
{
    struct arena *a = arena_create(0);
    struct value *ours = NULL, *config = NULL;
    int rc = read_config(a, from, &ours, err);
    if (rc == 1)
        rc = err_set(err, ERR_IO, "%s is missing or empty", from);
    if (rc == 0 && (rc = user_file(a, file, &file, err)) == 0)
        rc = read_config(a, file, &config, err);
    if (rc == 1) {
        config = value_map(a);
        value_setz(a, config, "apiVersion", value_stringz(a, "v1"));
        value_setz(a, config, "kind", value_stringz(a, "Config"));
        rc = 0;
    }
    if (rc == 0) {
        struct value *pair = value_map(a), *cluster = first(ours, "clusters", "cluster"),
                     *user = first(ours, "users", "user");
        drop_context(config, context);
        value_setz(a, pair, "cluster", value_stringz(a, context));
        value_setz(a, pair, "user", value_stringz(a, context));
        add_named(a, config, "clusters", context, "cluster", cluster ? cluster : value_map(a));
        add_named(a, config, "users", context, "user", user ? user : value_map(a));
        add_named(a, config, "contexts", context, "context", pair);
        value_setz(a, config, "current-context", value_stringz(a, context));
        rc = write_config(a, file, config, err);
    }
    arena_destroy(a);
    return rc;
}

int user_kubeconfig_remove(const char *file, const char *context, struct err *err)
{
    struct arena *a = arena_create(0);
    struct value *config = NULL;
    int rc = user_file(a, file, &file, err);
    if (rc == 0)
        rc = read_config(a, file, &config, err);
    if (rc == 0) {
        drop_context(config, context);
        if (str_eqz(value_str(value_getz(config, "current-context")), context))
            value_setz(a, config, "current-context", value_stringz(a, ""));
        rc = write_config(a, file, config, err);
    }
    arena_destroy(a);
    return rc < 0 ? rc : 0;
}
