#include "api/answer_protobuf.h"

#include "api/answer.h"
#include "openapi/object/object.h"
#include "openapi/protobuf.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what was encoded before ---- */

enum { SLOTS = 512, UID_MAX = 48, KEPT_BYTES = 16 * 1024 /* of one message */ };

static struct kept {
    const struct resource_version *version;
    int64_t revision;
    char uid[UID_MAX];
    struct slice message;
} * kept; /* made when first needed */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept *slot_of(const struct object *o)
{
    return &kept[(str_hash(o->uid) ^ (uint64_t)o->revision * 0x9e3779b97f4a7c15u) % SLOTS];
}

static bool is_kept(const struct kept *k, const struct api_request *req, const struct object *o)
{
    return k->message.p && k->version == req->version && k->revision == o->revision && str_eqz(o->uid, k->uid);
}

static bool recall(const struct api_request *req, const struct object *o, struct slice *ret)
{
    bool found = false;
    pthread_mutex_lock(&kept_lock);
    if (kept) {
        struct kept *k = slot_of(o);
        found = is_kept(k, req, o);
        if (found) {
            ref_get(k->message.owner);
            *ret = k->message;
        }
    }
    pthread_mutex_unlock(&kept_lock);
    return found;
}

static void keep(const struct api_request *req, const struct object *o, struct slice message)
{
    if (message.len > KEPT_BYTES || o->uid.len >= UID_MAX)
        return;
    pthread_mutex_lock(&kept_lock);
    if (!kept)
        kept = calloc(SLOTS, sizeof *kept);
    if (!kept)
        abort();
    struct kept *k = slot_of(o);
    ref_put(k->message.owner);
    ref_get(message.owner);
    k->message = message;
    k->version = req->version;
    k->revision = o->revision;
    snprintf(k->uid, sizeof k->uid, STR_FMT, STR_ARG(o->uid));
    pthread_mutex_unlock(&kept_lock);
}

/* ---- objects ---- */

/* PartialObjectMetadata was asked for. */
static bool is_partial(const struct api_request *req)
{
    return req->table_version.len > 0;
}

static struct str api_version(const struct api_request *req, struct arena *a)
{
    return is_partial(req) ? arena_printf(a, "meta.k8s.io/" STR_FMT, STR_ARG(req->table_version))
                           : resource_api_version(a, req->resource->group, req->version->version);
}

static void wrap(struct api_request *req, struct buf *out, struct str message)
{
    struct arena *a = arena_create(0);
    protobuf_wrap(out, api_version(req, a), is_partial(req) ? STR("PartialObjectMetadata") : req->resource->kind,
                  message);
    arena_destroy(a);
}

static int encode_value(struct api_request *req, struct buf *out, const struct value *v, struct err *err)
{
    if (!is_partial(req))
        return protobuf_encode(out, req->version->message, v, err);
    struct buf meta = {0};
    int rc = protobuf_encode(&meta, schema_message_find(STR("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")),
                             value_getz(v, "metadata"), err);
    if (rc == 0)
        protobuf_add_bytes(out, 1, buf_str(&meta));
    buf_free(&meta);
    return rc;
}

static int encode_object(struct api_request *req, const struct object *o, int64_t revision, struct slice *ret,
                         struct err *err)
{
    struct arena *whole = req->arena;
    struct buf out = {0};
    req->arena = arena_create(0);
    struct value *v = answer_value(req, o, err);
    int rc = v ? 0 : err->code;
    if (rc == 0 && revision)
        value_set_path(req->arena, v, "metadata.resourceVersion",
                       value_string(req->arena, arena_printf(req->arena, "%lld", (long long)revision)));
    if (rc == 0)
        rc = encode_value(req, &out, v, err);
    arena_destroy(req->arena);
    req->arena = whole;
    if (rc < 0)
        buf_free(&out);
    else
        *ret = slice_take(out.p, out.len);
    return rc;
}

/* The object's bare message. One reference is the caller's. */
static int message_of(struct api_request *req, const struct object *o, int64_t revision, struct slice *ret,
                      struct err *err)
{
    /* under another revision it is another message: the last state that a watcher was to see */
    bool own = o->revision && (!revision || revision == o->revision), whole = !is_partial(req);
    if (own && whole && recall(req, o, ret))
        return 0;
    int rc = encode_object(req, o, own ? 0 : revision, ret, err);
    if (rc == 0 && own && whole)
        keep(req, o, *ret);
    return rc;
}

int answer_protobuf_object(struct api_request *req, struct buf *out, const struct object *o, struct err *err)
{
    struct slice message;
    int rc = message_of(req, o, 0, &message, err);
    if (rc < 0)
        return rc;
    wrap(req, out, (struct str){message.p, message.len});
    ref_put(message.owner);
    return 0;
}

/* ---- values ---- */

static const struct schema_message *schema_of(const struct value *v)
{
    struct str group = value_str(value_getz(v, "apiVersion")), kind = value_str(value_getz(v, "kind")), head;
    size_t n;
    if (str_eqz(kind, "Status"))
        return schema_message_find(STR("io.k8s.apimachinery.pkg.apis.meta.v1.Status"));
    struct str version = group;
    if (str_contains(group, STR("/"))) {
        str_split(&version, '/', &head);
        group = head;
    } else {
        group = STR("");
    }
    const struct schema_message *const *all = schema_messages(&n);
    for (size_t i = 0; i < n; i++)
        for (const struct schema_gvk *g = all[i]->gvks; g && g->kind; g++)
            if (str_eqz(kind, g->kind) && str_eqz(group, g->group) && str_eqz(version, g->version))
                return all[i];
    return NULL;
}

int answer_protobuf_value(struct buf *out, const struct schema_message *schema, const struct value *v)
{
    struct err err;
    if (!schema)
        schema = schema_of(v);
    return protobuf_fits(schema) && protobuf_encode_object(out, schema, v, &err) == 0 ? 0 : 1;
}

/* ---- lists ---- */

int answer_protobuf_item(struct api_request *req, struct buf *items, const struct object *o, struct err *err)
{
    struct slice message;
    int rc = message_of(req, o, 0, &message, err);
    if (rc < 0)
        return rc;
    protobuf_add_bytes(items, 2, (struct str){message.p, message.len});
    ref_put(message.owner);
    return 0;
}

void answer_protobuf_list_head(struct api_request *req, struct buf *out, size_t items_len, int64_t revision,
                               struct str continue_, int64_t remaining)
{
    struct arena *a = req->arena;
    struct value *meta = value_map(a);
    struct buf inside = {0}, head = {0};
    struct err err;
    if (revision)
        value_setz(a, meta, "resourceVersion", value_string(a, arena_printf(a, "%lld", (long long)revision)));
    value_setz(a, meta, "continue", value_string(a, continue_.p ? continue_ : STR("")));
    if (remaining >= 0)
        value_setz(a, meta, "remainingItemCount", value_int(a, remaining));
    if (protobuf_encode(&inside, schema_message_find(STR("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")), meta,
                        &err) < 0)
        abort(); /* our own tree */
    protobuf_add_bytes(&head, 1, buf_str(&inside));
    protobuf_wrap_head(out, api_version(req, a),
                       is_partial(req) ? STR("PartialObjectMetadataList") : req->resource->list_kind,
                       head.len + items_len);
    buf_add_str(out, buf_str(&head));
    buf_free(&inside);
    buf_free(&head);
}

void answer_protobuf_list_tail(struct buf *out)
{
    protobuf_wrap_tail(out);
}

/* ---- watches ---- */

int answer_protobuf_event(struct api_request *req, struct buf *out, const char *type, const struct object *o,
                          int64_t revision, struct err *err)
{
    struct slice message;
    struct buf object = {0};
    int rc = message_of(req, o, revision, &message, err);
    if (rc < 0)
        return rc;
    wrap(req, &object, (struct str){message.p, message.len});
    protobuf_watch_frame(out, str_from(type), buf_str(&object));
    ref_put(message.owner);
    buf_free(&object);
    return 0;
}

void answer_protobuf_bookmark(struct api_request *req, struct buf *out, int64_t revision, bool initial_end)
{
    struct arena *a = arena_create(0);
    struct value *v = value_map(a);
    struct buf message = {0}, object = {0};
    struct err err;
    value_set_path(a, v, "metadata.resourceVersion", value_string(a, arena_printf(a, "%lld", (long long)revision)));
    if (initial_end) {
        struct value *annotations = value_ensure_map(a, v, "metadata.annotations");
        value_setz(a, annotations, "k8s.io/initial-events-end", value_stringz(a, "true"));
    }
    if (encode_value(req, &message, v, &err) < 0)
        abort(); /* our own tree */
    wrap(req, &object, buf_str(&message));
    protobuf_watch_frame(out, STR("BOOKMARK"), buf_str(&object));
    buf_free(&message);
    buf_free(&object);
    arena_destroy(a);
}

void answer_protobuf_error(struct api_request *req, struct buf *out, const struct value *status)
{
    struct buf object = {0};
    (void)req;
    if (answer_protobuf_value(&object, NULL, status) == 0)
        protobuf_watch_frame(out, STR("ERROR"), buf_str(&object));
    buf_free(&object);
}
