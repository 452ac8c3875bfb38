#include "api/verbs/list.h"

#include "openapi/json.h"
#include "openapi/object/object.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static struct str base64url(struct arena *a, struct str in)
{
    char *p = arena_alloc(a, in.len * 4 / 3 + 4);
    size_t n = 0;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < in.len; i++) {
        bits = bits << 8 | (unsigned char)in.p[i];
        for (have += 8; have >= 6; have -= 6)
            p[n++] = alphabet[bits >> (have - 6) & 63];
    }
    if (have)
        p[n++] = alphabet[bits << (6 - have) & 63];
    return (struct str){p, n};
}

static bool unbase64url(struct arena *a, struct str in, struct str *ret)
{
    char *p = arena_alloc(a, in.len + 1);
    size_t n = 0;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < in.len; i++) {
        const char *at = in.p[i] ? strchr(alphabet, in.p[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            p[n++] = (char)(bits >> have & 255);
        }
    }
    *ret = (struct str){p, n};
    return true;
}

struct str continue_encode(struct arena *a, int64_t revision, const struct object *last, bool namespaced)
{
    struct str start =
        namespaced ? arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(last->namespace_), STR_ARG(last->name)) : last->name;
    return base64url(a, arena_printf(a, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":\"" STR_FMT "\\u0000\"}",
                                     (long long)revision, STR_ARG(start)));
}

int continue_decode(struct arena *a, struct str token, bool namespaced, int64_t *ret_revision,
                    struct str *ret_namespace, struct str *ret_name, struct err *err)
{
    struct str text;
    struct value *v;
    struct json_options plain = {0};
    struct err ignored = ERR_INIT;
    if (!unbase64url(a, token, &text))
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: illegal base64 data at input byte 0");
    if (json_decode(a, text, &plain, &v, &ignored) < 0)
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: %s", ignored.message);
    struct str version = value_str(value_getz(v, "v")), start = value_str(value_getz(v, "start"));
    int64_t revision = value_path_int(v, "rv", 0);
    if (!str_eqz(version, "meta.k8s.io/v1"))
        return err_set(err, ERR_BAD_REQUEST,
                       "continue key is not valid: server does not recognize this encoded version \"" STR_FMT "\"",
                       STR_ARG(version));
    if (revision == 0)
        return err_set(err, ERR_BAD_REQUEST,
                       "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
    if (!start.len)
        return err_set(err, ERR_BAD_REQUEST,
                       "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)");
    if (str_contains(start, STR("../")) || str_starts(start, STR("/")))
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: invalid continue token");
    if (start.p[start.len - 1] == '\0')
        start.len--;
    size_t slash;
    *ret_namespace = STR("");
    *ret_name = start;
    if (namespaced && str_index(start, '/', &slash)) {
        *ret_namespace = str_sub(start, 0, slash);
        *ret_name = str_sub(start, slash + 1, start.len);
    }
    *ret_revision = revision;
    return 0;
}
