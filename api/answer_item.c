#include "api/answer.h"

#include "base/clock.h"
#include "openapi/convert.h"
#include "openapi/json.h"
#include "openapi/object/object.h"
#include "openapi/protobuf.h"
#include "openapi/table.h"

const struct resource *api_store(const struct api_request *req)
{
    return req->resource->stored_as ? req->resource->stored_as : req->resource;
}

struct str api_request_version(const struct api_request *req)
{
    return resource_api_version(req->arena, req->resource->group, req->version->version);
}

bool answer_is_native(const struct api_request *req)
{
    const struct resource *store = api_store(req);
    return (req->format == API_JSON || req->format == API_YAML) && str_eq(req->resource->group, store->storage_group) &&
           str_eq(req->version->version, store->storage_version);
}

bool answer_is_pretty(const struct api_request *req)
{
    if (req->format == API_PROTOBUF)
        return false;
    if (req->format == API_YAML || req->options.has_pretty)
        return req->format == API_YAML || req->options.pretty;
    return str_starts(req->user_agent, STR("curl")) || str_starts(req->user_agent, STR("Wget")) ||
           str_starts(req->user_agent, STR("Mozilla/5.0"));
}

const char *answer_content_type(const struct api_request *req)
{
    if (req->format == API_PROTOBUF && req->verb == VERB_WATCH)
        return PROTOBUF_WATCH_MEDIA_TYPE;
    /* other protobuf answers name their type themselves: what comes here instead is text */
    return req->format == API_YAML ? "application/yaml" : "application/json";
}

struct value *answer_value(struct api_request *req, const struct object *o, struct err *err)
{
    const struct resource *store = api_store(req);
    struct value *v = object_value(req->arena, o);
    if (!o->revision)
        value_remove_path(v, "metadata.resourceVersion"); /* dry run: never stored */
    struct str from = convert_storage_api_version(req->arena, store), to = api_request_version(req);
    if (str_eq(from, to))
        return v;
    return convert(req->arena, store, from, to, v, err);
}

/* The inside of `"metadata":{…}` at the start of a body: ends before the closing brace. */
static struct str metadata_inside(struct str body)
{
    const char *p = body.p + OBJECT_BODY_PREFIX.len, *end = body.p + body.len, *start = p;
    int depth = 1;
    for (bool quoted = false; p < end; p++) {
        if (quoted) {
            if (*p == '\\')
                p++;
            else if (*p == '"')
                quoted = false;
        } else if (*p == '"') {
            quoted = true;
        } else if (*p == '{') {
            depth++;
        } else if (*p == '}' && --depth == 0) {
            break;
        }
    }
    return (struct str){start, (size_t)(p - start)};
}

static void partial_metadata(struct api_request *req, struct buf *out, const struct object *o, int64_t revision)
{
    buf_printf(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/" STR_FMT "\",\"metadata\":{",
               STR_ARG(req->table_version));
    if (revision || o->revision)
        buf_printf(out, "\"resourceVersion\":\"%lld\",", (long long)(revision ? revision : o->revision));
    buf_add_str(out, metadata_inside(o->body));
    buf_addz(out, "}}");
}

static int table_row(struct api_request *req, struct buf *out, const struct object *o, int64_t revision,
                     struct err *err)
{
    struct arena *a = req->arena;
    struct value *v = object_value(a, o);
    struct value *cells = table_row_cells(a, api_store(req), req->version, v, clock_wall_us());
    struct value *conditions = table_row_conditions(a, api_store(req), v);
    buf_addz(out, "{\"cells\":");
    json_encode(out, cells);
    if (conditions) {
        buf_addz(out, ",\"conditions\":");
        json_encode(out, conditions);
    }
    if (str_eqz(req->options.include_object, "Object")) {
        struct value *full = answer_value(req, o, err);
        if (!full)
            return err->code;
        buf_addz(out, ",\"object\":");
        json_encode(out, full);
    } else if (!str_eqz(req->options.include_object, "None")) {
        buf_addz(out, ",\"object\":");
        partial_metadata(req, out, o, revision);
    }
    buf_add_char(out, '}');
    return 0;
}

int answer_item(struct api_request *req, struct buf *out, const struct object *o, bool with_type, int64_t revision,
                struct err *err)
{
    if (req->format == API_TABLE)
        return table_row(req, out, o, revision, err);
    if (req->format == API_METADATA) {
        partial_metadata(req, out, o, revision);
        return 0;
    }
    if (answer_is_native(req)) {
        if (!revision || revision == o->revision) {
            object_head(out, o, with_type);
        } else {
            struct str version = api_request_version(req);
            buf_printf(out,
                       "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT
                       "\",\"metadata\":{\"resourceVersion\":\"%lld\",",
                       STR_ARG(req->resource->kind), STR_ARG(version), (long long)revision);
        }
        buf_add_str(out, object_tail(o));
        return 0;
    }
    struct value *v = answer_value(req, o, err);
    if (!v)
        return err->code;
    if (revision)
        value_set_path(req->arena, v, "metadata.resourceVersion",
                       value_string(req->arena, arena_printf(req->arena, "%lld", (long long)revision)));
    json_encode(out, v);
    return 0;
}

static void list_meta(struct buf *out, int64_t revision, struct str continue_, int64_t remaining)
{
    buf_addz(out, "\"metadata\":{");
    if (revision)
        buf_printf(out, "\"resourceVersion\":\"%lld\"", (long long)revision);
    if (continue_.len) {
        buf_addz(out, ",\"continue\":");
        json_encode_string(out, continue_);
    }
    if (remaining >= 0)
        buf_printf(out, ",\"remainingItemCount\":%lld", (long long)remaining);
    buf_addz(out, "},");
}

static void table_definitions(struct api_request *req, struct buf *out)
{
    buf_addz(out, "\"columnDefinitions\":");
    json_encode(out, table_column_definitions(req->arena, api_store(req), req->version));
    buf_addz(out, ",\"rows\":[");
}

void answer_list_head(struct api_request *req, struct buf *out, int64_t revision, struct str continue_,
                      int64_t remaining)
{
    if (req->format == API_TABLE || req->format == API_METADATA)
        buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"meta.k8s.io/" STR_FMT "\",",
                   req->format == API_TABLE ? "Table" : "PartialObjectMetadataList", STR_ARG(req->table_version));
    else
        buf_printf(out, "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT "\",", STR_ARG(req->resource->list_kind),
                   STR_ARG(api_request_version(req)));
    list_meta(out, revision, continue_, remaining);
    if (req->format == API_TABLE)
        table_definitions(req, out);
    else
        buf_addz(out, "\"items\":[");
}

int answer_table(struct api_request *req, struct buf *out, const struct object *o, int64_t revision, struct err *err)
{
    answer_list_head(req, out, revision ? revision : o->revision, STR_NULL, -1);
    int rc = table_row(req, out, o, revision, err);
    buf_addz(out, "]}");
    return rc;
}
