#include "api/client/kubeconfig.h"

#include "openapi/json.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

static const struct value *find_named(const struct value *list, struct str name, const char *what)
{
    for (size_t i = 0; i < value_len(list) && value_is(list, VALUE_LIST); i++)
        if (str_eq(value_path_str(value_at(list, i), "name"), name))
            return value_getz(value_at(list, i), what);
    return NULL;
}

static char *from_base64(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len + 4);
    struct buf clean = {0};
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] > ' ')
            buf_add_char(&clean, s.p[i]);
    int n =
        clean.len % 4 == 0 ? EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)clean.p, (int)clean.len) : -1;
    while (n > 0 && clean.len && clean.p[clean.len - 1] == '=') {
        n--;
        clean.len--;
    }
    buf_free(&clean);
    if (n < 0)
        return NULL;
    out[n] = 0;
    return out;
}

static int read_beside(struct arena *a, const char *file, struct str path, const char **ret, struct err *err)
{
    const char *slash = strrchr(file, '/');
    struct str full = path.p[0] == '/' || !slash
                          ? arena_str(a, path)
                          : arena_printf(a, "%.*s/" STR_FMT, (int)(slash - file), file, STR_ARG(path));
    FILE *f = fopen(full.p, "re");
    if (!f)
        return err_set_errno(err, ERR_IO, errno, "open %s", full.p);
    struct buf text = {0};
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&text, block, n);
    fclose(f);
    *ret = arena_str(a, buf_str(&text)).p;
    buf_free(&text);
    if (!*ret)
        *ret = "";
    return 0;
}

/* `name`-data in base64, else the file `name` refers to, else NULL. */
static int read_pem(struct arena *a, const char *file, const struct value *from, const char *name, const char **ret,
                    struct err *err)
{
    struct str data = value_path_str(from, arena_printf(a, "%s-data", name).p);
    struct str path = value_path_str(from, name);
    *ret = NULL;
    if (data.len) {
        *ret = from_base64(a, data);
        return *ret ? 0 : err_set(err, ERR_BAD_REQUEST, "%s-data is not base64", name);
    }
    return path.len ? read_beside(a, file, path, ret, err) : 0;
}

static const char *zstr(struct arena *a, struct str s)
{
    return s.len ? arena_str(a, s).p : NULL;
}

static const char *const *all_servers(struct arena *a, const char *first, const struct value *cluster)
{
    const struct value *more =
        value_getz(find_named(value_getz(cluster, "extensions"), STR(KUBECONFIG_SERVERS), "extension"), "servers");
    size_t n = 0, max = value_is(more, VALUE_LIST) ? value_len(more) : 0;
    const char **list = ARENA_ARRAY(a, const char *, max + 2);
    list[n++] = first;
    for (size_t i = 0; i < max; i++) {
        const char *url = zstr(a, value_str(value_at(more, i)));
        if (url && strcmp(url, first) != 0)
            list[n++] = url;
    }
    list[n] = NULL;
    return list;
}

int kubeconfig_parse(struct arena *a, struct str text, const char *file, struct kubeconfig *ret, struct err *err)
{
    struct json_options opt = {0};
    struct value *v = NULL;
    *ret = (struct kubeconfig){0};
    int rc = yaml_decode(a, text, &opt, &v, err);
    if (rc < 0)
        return rc;
    struct str current = value_path_str(v, "current-context");
    if (!current.len)
        return err_set(err, ERR_BAD_REQUEST, "current-context is not set");
    const struct value *context = find_named(value_getz(v, "contexts"), current, "context");
    if (!context)
        return err_set(err, ERR_BAD_REQUEST, "context \"" STR_FMT "\" does not exist", STR_ARG(current));
    struct str cluster_name = value_path_str(context, "cluster"), user_name = value_path_str(context, "user");
    const struct value *cluster = find_named(value_getz(v, "clusters"), cluster_name, "cluster");
    const struct value *user = find_named(value_getz(v, "users"), user_name, "user");
    if (!cluster)
        return err_set(err, ERR_BAD_REQUEST, "cluster \"" STR_FMT "\" does not exist", STR_ARG(cluster_name));
    if (value_getz(user, "exec") || value_getz(user, "auth-provider"))
        return err_set(err, ERR_BAD_REQUEST, "user \"" STR_FMT "\" uses a credential plugin, which is not supported",
                       STR_ARG(user_name));
    ret->server = zstr(a, value_path_str(cluster, "server"));
    if (!ret->server)
        return err_set(err, ERR_BAD_REQUEST, "cluster \"" STR_FMT "\" has no server", STR_ARG(cluster_name));
    ret->servers = all_servers(a, ret->server, cluster);
    ret->server_name = zstr(a, value_path_str(cluster, "tls-server-name"));
    ret->namespace_ = zstr(a, value_path_str(context, "namespace"));
    ret->insecure = value_path_bool(cluster, "insecure-skip-tls-verify", false);
    ret->token = zstr(a, value_path_str(user, "token"));
    rc = read_pem(a, file, cluster, "certificate-authority", &ret->ca_pem, err);
    if (rc == 0)
        rc = read_pem(a, file, user, "client-certificate", &ret->cert_pem, err);
    if (rc == 0)
        rc = read_pem(a, file, user, "client-key", &ret->key_pem, err);
    if (rc == 0 && !ret->token && value_path_str(user, "tokenFile").len) {
        const char *token;
        rc = read_beside(a, file, value_path_str(user, "tokenFile"), &token, err);
        if (rc == 0)
            ret->token = zstr(a, str_trim(str_from(token)));
    }
    return rc;
}
