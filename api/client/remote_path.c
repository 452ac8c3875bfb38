#include "api/client/remote.h"

#include "openapi/json.h"

static void add_escaped(struct buf *out, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        if ((ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || strchr("-_.~:", ch)) {
            buf_add_char(out, (char)ch);
        } else {
            buf_add_char(out, '%');
            buf_add_char(out, hex[ch >> 4]);
            buf_add_char(out, hex[ch & 15]);
        }
    }
}

const struct resource *remote_resource(const struct resource *r, struct str *version)
{
    if (version->p)
        return r;
    if (r->stored_as)
        r = r->stored_as;
    *version = resource_version_find(r, r->storage_version) ? r->storage_version : r->versions[0].version;
    return r;
}

static void add_segment(struct buf *out, struct str s)
{
    buf_add_char(out, '/');
    add_escaped(out, s);
}

void remote_path(struct buf *out, const struct resource *r, struct str version, struct str namespace_, struct str name,
                 struct str subresource)
{
    if (r->group.len) {
        buf_addz(out, "/apis");
        add_segment(out, r->group);
    } else {
        buf_addz(out, "/api");
    }
    add_segment(out, version);
    if (r->namespaced && namespace_.len) {
        buf_addz(out, "/namespaces");
        add_segment(out, namespace_);
    }
    add_segment(out, r->name);
    if (name.len)
        add_segment(out, name);
    if (subresource.len)
        add_segment(out, subresource);
}

void remote_query(struct buf *out, const char *name, struct str value)
{
    if (!value.len)
        return;
    buf_add_char(out, memchr(out->p, '?', out->len) ? '&' : '?');
    buf_addz(out, name);
    buf_add_char(out, '=');
    add_escaped(out, value);
}

int64_t remote_revision(const struct value *object)
{
    int64_t revision;
    return str_to_i64(value_path_str(object, "metadata.resourceVersion"), &revision) ? revision : 0;
}

static enum err_code code_of_reason(struct str reason)
{
    static const struct {
        const char *reason;
        enum err_code code;
    } rows[] = {
        {"BadRequest", ERR_BAD_REQUEST},
        {"Unauthorized", ERR_UNAUTHORIZED},
        {"Forbidden", ERR_FORBIDDEN},
        {"NotFound", ERR_NOT_FOUND},
        {"MethodNotAllowed", ERR_METHOD_NOT_ALLOWED},
        {"NotAcceptable", ERR_NOT_ACCEPTABLE},
        {"AlreadyExists", ERR_ALREADY_EXISTS},
        {"Conflict", ERR_CONFLICT},
        {"Expired", ERR_EXPIRED},
        {"Gone", ERR_EXPIRED},
        {"RequestEntityTooLarge", ERR_TOO_LARGE},
        {"UnsupportedMediaType", ERR_UNSUPPORTED_MEDIA},
        {"Invalid", ERR_INVALID},
        {"TooManyRequests", ERR_TOO_MANY},
        {"InternalError", ERR_INTERNAL},
        {"ServiceUnavailable", ERR_UNAVAILABLE},
        {"ServerTimeout", ERR_UNAVAILABLE},
        {"Timeout", ERR_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eqz(reason, rows[i].reason))
            return rows[i].code;
    return ERR_OK;
}

static enum err_code code_of_http(int status)
{
    switch (status) {
    case 400:
        return ERR_BAD_REQUEST;
    case 401:
        return ERR_UNAUTHORIZED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 405:
        return ERR_METHOD_NOT_ALLOWED;
    case 406:
        return ERR_NOT_ACCEPTABLE;
    case 409:
        return ERR_CONFLICT;
    case 410:
        return ERR_EXPIRED;
    case 413:
        return ERR_TOO_LARGE;
    case 415:
        return ERR_UNSUPPORTED_MEDIA;
    case 422:
        return ERR_INVALID;
    case 429:
        return ERR_TOO_MANY;
    case 502:
    case 503:
        return ERR_UNAVAILABLE;
    case 504:
        return ERR_TIMEOUT;
    default:
        return ERR_INTERNAL;
    }
}

int remote_status(struct arena *a, int http_status, struct str body, struct err *err)
{
    struct err bad = ERR_INIT;
    struct json_options opt = {0};
    struct value *v = NULL;
    if (json_decode(a, body, &opt, &v, &bad) < 0 || !str_eq(value_path_str(v, "kind"), STR("Status")))
        return err_set(err, code_of_http(http_status), "the server answered %d: " STR_FMT, http_status,
                       STR_ARG(str_sub(str_trim(body), 0, 300)));
    int64_t status = value_path_int(v, "code", http_status);
    enum err_code code = code_of_reason(value_path_str(v, "reason"));
    if (code == ERR_OK)
        code = code_of_http((int)status);
    err_set(err, code, STR_FMT, STR_ARG(value_path_str(v, "message")));
    err->retry_after_s = (int)value_path_int(v, "details.retryAfterSeconds", 0);
    return code;
}
