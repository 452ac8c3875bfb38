#include "api/verbs/list.h"

#include "base/base64.h"
#include "openapi/json.h"
#include "openapi/object/object.h"

struct str continue_encode(struct arena *a, int64_t revision, const struct object *last, bool namespaced)
{
    struct str start =
        namespaced ? arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(last->namespace_), STR_ARG(last->name)) : last->name;
    return base64url_encode(a,
                            arena_printf(a, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":\"" STR_FMT "\\u0000\"}",
                                         (long long)revision, STR_ARG(start)));
}

int continue_decode(struct arena *a, struct str token, bool namespaced, int64_t *ret_revision,
                    struct str *ret_namespace, struct str *ret_name, struct err *err)
{
    struct str text;
    struct value *v;
    struct json_options plain = {0};
    struct err ignored = ERR_INIT;
    if (!base64_decode(a, token, &text))
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
