/* Bodies: from bytes (or the in-process client's tree) to a tree of the stored form. */
#include "api/verbs/verb.h"

#include "openapi/convert.h"
#include "openapi/defaults.h"
#include "openapi/json.h"
#include "openapi/protobuf.h"

#define SUMMARY_MAX 30

static struct str media_type(struct str content_type)
{
    struct str type;
    if (!str_split(&content_type, ';', &type))
        return STR_NULL;
    return str_trim(type);
}

static bool is_yaml(struct str type)
{
    return str_eq_nocase(type, STR("application/yaml"));
}

static bool is_protobuf(struct str type)
{
    return str_eq_nocase(type, STR(PROTOBUF_MEDIA_TYPE));
}

/* The start of a body as upstream quotes it: objects as they are, anything else in hexadecimal. */
static struct str summary_of(struct arena *a, struct str body)
{
    struct str start = str_sub(body, 0, SUMMARY_MAX);
    const char *more = body.len > SUMMARY_MAX ? " ..." : "";
    if (!body.len)
        return STR("<empty>");
    if (body.p[0] == '{')
        return arena_printf(a, STR_FMT "%s", STR_ARG(start), more);
    char hex[2 * SUMMARY_MAX + 1];
    for (size_t i = 0; i < start.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)start.p[i]);
    return arena_printf(a, "%s%s", hex, more);
}

static int unrecognized(struct api_request *req, struct str kind, struct err *err, const char *why)
{
    struct str summary = summary_of(req->arena, req->body), cause = arena_str(req->arena, str_from(why));
    return err_set(err, ERR_BAD_REQUEST,
                   "the object provided is unrecognized (must be of type " STR_FMT "): " STR_FMT " (" STR_FMT ")",
                   STR_ARG(kind), STR_ARG(cause), STR_ARG(summary));
}

static int unmanageable(const char *why, struct str had_kind, struct str had_version, struct str kind, struct err *err)
{
    size_t slash;
    if (str_index(had_version, '/', &slash))
        had_version = str_sub(had_version, slash + 1, had_version.len);
    return err_set(err, ERR_BAD_REQUEST, STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT ": %s",
                   STR_ARG(had_kind), STR_ARG(had_version), STR_ARG(kind), why);
}

/* Upstream names what it could make out of the body before it failed. */
static int undecodable(struct api_request *req, struct str kind, struct str api_version, struct err *err)
{
    struct json_options plain = {0};
    struct value *v;
    struct err syntax = ERR_INIT;
    struct err cause = *err;
    int rc = is_yaml(media_type(req->content_type)) ? yaml_decode(req->arena, req->body, &plain, &v, &syntax)
                                                    : json_decode(req->arena, req->body, &plain, &v, &syntax);
    if (is_protobuf(media_type(req->content_type)))
        return unrecognized(req, kind, err, cause.message);
    if (rc < 0)
        return unrecognized(
            req, kind, err,
            arena_printf(req->arena, "couldn't get version/kind; json parse error: %s", syntax.message).p);
    if (v->kind != VALUE_MAP) {
        return unrecognized(req, kind, err,
                            arena_printf(req->arena,
                                         "couldn't get version/kind; json parse error: json: cannot unmarshal %s into "
                                         "Go value of type struct { APIVersion string "
                                         "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                                         "\"json:\\\"kind,omitempty\\\"\" }",
                                         json_kind_name(v))
                                .p);
    }
    struct str had_kind = value_str(value_getz(v, "kind")), version = value_str(value_getz(v, "apiVersion"));
    return unmanageable(cause.message, had_kind.len ? had_kind : kind, version.len ? version : api_version, kind, err);
}

/* Is there such a type at all, resource or not? */
static bool is_registered(struct arena *a, struct str kind, struct str api_version)
{
    size_t n;
    const struct schema_message *const *all = schema_messages(&n);
    for (size_t i = 0; i < n; i++)
        for (const struct schema_gvk *g = all[i]->gvks; g && g->kind; g++)
            if (str_eqz(kind, g->kind) &&
                str_eq(api_version, resource_api_version(a, str_from(g->group), str_from(g->version))))
                return true;
    return false;
}

/* Go's package of a group's internal types: "core", "apps", "rbac". */
static struct str internal_package(struct str group)
{
    size_t dot;
    if (!group.len || str_eqz(group, "events.k8s.io"))
        return STR("core");
    return str_index(group, '.', &dot) ? str_sub(group, 0, dot) : group;
}

static int check_type(struct api_request *req, const struct value *v, struct str kind, struct str api_version,
                      struct err *err)
{
    struct str k = value_str(value_getz(v, "kind")), version = value_str(value_getz(v, "apiVersion")), v_only;
    size_t slash;
    k = k.len ? k : kind;
    version = version.len ? version : api_version;
    if (str_eq(k, kind) && str_eq(version, api_version))
        return 0;
    v_only = str_index(version, '/', &slash) ? str_sub(version, slash + 1, version.len) : version;
    if (str_contains(v_only, STR("/")))
        return unrecognized(req, kind, err,
                            arena_printf(req->arena, "unexpected GroupVersion string: " STR_FMT, STR_ARG(version)).p);
    if (!is_registered(req->arena, k, version))
        return unmanageable(arena_printf(req->arena,
                                         "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT
                                         "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                                         STR_ARG(k), STR_ARG(version))
                                .p,
                            k, version, kind, err);
    if (!str_eq(k, kind)) {
        struct str group = str_sub(api_version, 0, str_index(api_version, '/', &slash) ? slash : 0);
        struct str package = internal_package(group);
        return unmanageable(arena_printf(req->arena,
                                         "converting (" STR_FMT "." STR_FMT ") to (" STR_FMT "." STR_FMT
                                         "): unknown conversion",
                                         STR_ARG(v_only), STR_ARG(k), STR_ARG(package), STR_ARG(kind))
                                .p,
                            k, version, kind, err);
    }
    return err_set(err, ERR_BAD_REQUEST,
                   "the API version in the data (" STR_FMT ") does not match the expected API version (" STR_FMT ")",
                   STR_ARG(version), STR_ARG(api_version));
}

static enum json_strictness strictness(const struct api_request *req)
{
    if (str_eqz(req->options.field_validation, "Strict"))
        return JSON_STRICT;
    if (str_eqz(req->options.field_validation, "Ignore") || !req->exchange)
        return JSON_IGNORE;
    return JSON_WARN;
}

static void warn_all(struct api_request *req, const struct json_options *opt)
{
    for (size_t i = 0; i < opt->ret_n_warnings; i++)
        api_warn(req, STR_FMT, STR_ARG(opt->ret_warnings[i]));
}

static void set_type(struct arena *a, struct value *v, struct str kind, struct str api_version)
{
    if (!value_str(value_getz(v, "kind")).len)
        value_setz(a, v, "kind", value_string(a, kind));
    if (!value_str(value_getz(v, "apiVersion")).len)
        value_setz(a, v, "apiVersion", value_string(a, api_version));
}

/* The type of a binary body is in its envelope, not in the message. */
static int decode_protobuf(struct api_request *req, const struct schema_message *schema, struct value **ret,
                           struct err *err)
{
    struct protobuf_envelope e;
    int rc = protobuf_open(req->body, &e, err);
    if (rc == 0)
        rc = schema ? protobuf_decode(req->arena, schema, e.raw, ret, err)
                    : err_set(err, ERR_UNSUPPORTED_MEDIA,
                              "the body of the request was in an unknown format - accepted media types include: "
                              "application/json, application/yaml");
    if (rc < 0)
        return rc;
    if (e.kind.len)
        value_setz(req->arena, *ret, "kind", value_string(req->arena, arena_str(req->arena, e.kind)));
    if (e.api_version.len)
        value_setz(req->arena, *ret, "apiVersion", value_string(req->arena, arena_str(req->arena, e.api_version)));
    return 0;
}

int body_decode(struct api_request *req, const struct schema_message *schema, struct str kind, struct str api_version,
                struct value **ret, struct err *err)
{
    struct value *v;
    if (req->body_value) {
        v = value_copy(req->arena, req->body_value);
    } else {
        struct str type = media_type(req->content_type);
        struct json_options opt = {.schema = schema, .strictness = strictness(req)};
        int rc = is_protobuf(type) ? decode_protobuf(req, schema, &v, err)
                 : is_yaml(type)   ? yaml_decode(req->arena, req->body, &opt, &v, err)
                                   : json_decode(req->arena, req->body, &opt, &v, err);
        if (rc < 0)
            return rc == ERR_BAD_REQUEST && strncmp(err->message, "strict decoding error", 21) != 0
                       ? undecodable(req, kind, api_version, err)
                       : rc;
        warn_all(req, &opt);
    }
    if (v->kind != VALUE_MAP)
        return err_set(err, ERR_BAD_REQUEST, "the object provided is unrecognized (must be of type " STR_FMT ")",
                       STR_ARG(kind));
    int rc = check_type(req, v, kind, api_version, err);
    set_type(req->arena, v, kind, api_version);
    *ret = v;
    return rc;
}

int body_plain(struct api_request *req, const struct schema_message *schema, struct value **ret, struct err *err)
{
    struct json_options opt = {.schema = schema, .strictness = JSON_IGNORE};
    struct str type = media_type(req->content_type);
    return is_protobuf(type) ? decode_protobuf(req, schema, ret, err)
           : is_yaml(type)   ? yaml_decode(req->arena, req->body, &opt, ret, err)
                             : json_decode(req->arena, req->body, &opt, ret, err);
}

int body_recode(struct api_request *req, const struct schema_message *schema, const struct value *v, struct value **ret,
                struct err *err)
{
    struct buf text = {0};
    json_encode(&text, v);
    struct str kept = arena_str(req->arena, buf_str(&text));
    buf_free(&text);
    struct json_options opt = {.schema = schema, .strictness = strictness(req)};
    int rc = json_decode(req->arena, kept, &opt, ret, err);
    if (rc < 0)
        return rc;
    warn_all(req, &opt);
    return 0;
}

int body_to_storage(struct api_request *req, struct value *v, struct value **ret, struct err *err)
{
    const struct resource *store = api_store(req);
    defaults_apply(req->arena, req->resource, req->version->version, v);
    struct str from = api_request_version(req), to = convert_storage_api_version(req->arena, store);
    if (!str_eq(from, to)) {
        v = convert(req->arena, store, from, to, v, err);
        if (!v)
            return err->code;
    }
    *ret = v;
    return 0;
}

int body_object(struct api_request *req, struct value **ret, struct err *err)
{
    struct value *v;
    int rc = body_decode(req, req->version->message, req->resource->kind, api_request_version(req), &v, err);
    if (rc < 0)
        return rc;
    return body_to_storage(req, v, ret, err);
}

int body_subresource(struct api_request *req, struct value **ret, struct err *err)
{
    const struct subresource *s = req->subresource;
    struct str version = resource_api_version(req->arena, str_from(s->group), str_from(s->version));
    int rc = body_decode(req, s->message, str_from(s->kind), version, ret, err);
    if (rc == 0 && s->message)
        defaults_apply_message(req->arena, s->message, *ret);
    return rc;
}
