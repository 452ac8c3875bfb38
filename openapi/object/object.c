/* Building objects and reading them back. Everything an object carries stands in one block behind its header: label,
 * field and owner arrays, their strings, then the body. Two extractors feed one packer: from a value tree (writes: no
 * parse) and from stored text (loading: one yyjson pass; the text becomes the body as it is whenever its head has the
 * form this project writes). */
#include "openapi/object/object.h"

#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <assert.h>
#include <stdlib.h>
#include <yyjson.h>

/* What the packer needs, borrowed from the source. */
struct parts {
    struct str namespace_, name, uid;
    int64_t creation_s, deletion_s, generation;
    bool has_finalizers;
    struct object_label *labels;
    size_t n_labels;
    struct str *fields;
    size_t n_fields;
    struct object_owner *owners;
    size_t n_owners;
    struct str body;
};

/* ---- small readers ---- */

static int64_t time_seconds(struct str s)
{
    int64_t us = s.len ? time_from(s) : 0;

    return us / 1000000 - (us % 1000000 < 0);
}

static const char *path_start(const char *path)
{
    return *path == '.' ? path + 1 : path;
}

/* What an absent selectable field reads as: upstream's field sets say "false" and "0" for booleans and numbers. */
static struct str absent_text(const struct resource_version *v, const char *path)
{
    const struct schema_message *m = v->message;
    struct str rest = str_from(path_start(path)), step;
    const struct schema_field *f = NULL;

    while (m && str_split(&rest, '.', &step)) {
        f = schema_field_find(m, step);
        if (!f)
            return STR("");
        m = f->message;
    }
    if (!f || rest.p || f->shape != SHAPE_SINGLE)
        return STR("");
    if (f->type == FIELD_BOOL)
        return STR("false");
    if (f->type == FIELD_INT32 || f->type == FIELD_INT64)
        return STR("0");
    return STR("");
}

static size_t n_selectable(const struct resource_version *v)
{
    size_t n = 0;

    while (v && v->selectable && v->selectable[n])
        n++;
    return n;
}

static int compare_labels(const void *a, const void *b)
{
    return str_cmp(((const struct object_label *)a)->key, ((const struct object_label *)b)->key);
}

/* ---- packing ---- */

static void object_free(struct ref *r)
{
    free(r);
}

static struct str take(char **at, struct str s)
{
    struct str copy = {*at, s.len};

    if (s.len)
        memcpy(*at, s.p, s.len);
    *at += s.len;
    return copy;
}

static size_t parts_text_len(const struct parts *p)
{
    size_t n = p->namespace_.len + p->name.len + p->uid.len + p->body.len;

    for (size_t i = 0; i < p->n_labels; i++)
        n += p->labels[i].key.len + p->labels[i].value.len;
    for (size_t i = 0; i < p->n_fields; i++)
        n += p->fields[i].len;
    for (size_t i = 0; i < p->n_owners; i++)
        n += p->owners[i].uid.len + p->owners[i].api_version.len + p->owners[i].kind.len + p->owners[i].name.len;
    return n;
}

static int pack(const struct resource *r, struct parts *p, int64_t revision, int64_t create_revision,
                struct object **ret, struct err *err)
{
    if (p->n_labels > UINT16_MAX || p->n_owners > UINT16_MAX || p->n_fields > UINT16_MAX)
        return err_set(err, ERR_TOO_LARGE, "too many labels or owner references");
    if (!p->name.len)
        return err_set(err, ERR_INVALID, "metadata.name is missing");
    if (p->n_labels > 1)
        qsort(p->labels, p->n_labels, sizeof *p->labels, compare_labels);

    size_t arrays = p->n_labels * sizeof(struct object_label) + p->n_fields * sizeof(struct str) +
                    p->n_owners * sizeof(struct object_owner);
    struct object *o = malloc(sizeof *o + arrays + parts_text_len(p));

    if (!o)
        abort();
    struct object_label *labels = (struct object_label *)(o + 1);
    struct str *fields = (struct str *)(labels + p->n_labels);
    struct object_owner *owners = (struct object_owner *)(fields + p->n_fields);
    char *text = (char *)(owners + p->n_owners);

    *o = (struct object){
        .resource = r,
        .revision = revision,
        .create_revision = create_revision,
        .creation_s = p->creation_s,
        .deletion_s = p->deletion_s,
        .generation = p->generation,
        .has_finalizers = p->has_finalizers,
        .n_labels = (uint16_t)p->n_labels,
        .n_fields = (uint16_t)p->n_fields,
        .n_owners = (uint16_t)p->n_owners,
        .labels = labels,
        .fields = fields,
        .owners = owners,
    };
    ref_init(&o->ref, object_free);
    o->namespace_ = take(&text, p->namespace_);
    o->name = take(&text, p->name);
    o->uid = take(&text, p->uid);
    for (size_t i = 0; i < p->n_labels; i++)
        labels[i] = (struct object_label){take(&text, p->labels[i].key), take(&text, p->labels[i].value)};
    for (size_t i = 0; i < p->n_fields; i++)
        fields[i] = take(&text, p->fields[i]);
    for (size_t i = 0; i < p->n_owners; i++) {
        const struct object_owner *from = &p->owners[i];

        owners[i] = *from;
        owners[i].uid = take(&text, from->uid);
        owners[i].api_version = take(&text, from->api_version);
        owners[i].kind = take(&text, from->kind);
        owners[i].name = take(&text, from->name);
    }
    o->body = take(&text, p->body);
    *ret = o;
    return 0;
}

/* ---- from a value tree ---- */

static struct str value_text(struct arena *a, const struct value *v)
{
    if (!v)
        return STR_NULL;
    switch (v->kind) {
    case VALUE_STRING:
        return v->string;
    case VALUE_BOOL:
        return v->boolean ? STR("true") : STR("false");
    case VALUE_INT:
        return arena_printf(a, "%lld", (long long)v->integer);
    case VALUE_DOUBLE:
        return arena_printf(a, "%.17g", v->number);
    case VALUE_MAP: /* an event's `source` selects by its component */
        return value_path_str(v, "component");
    default:
        return STR_NULL;
    }
}

static bool member_is_head(struct str key)
{
    return str_eqz(key, "kind") || str_eqz(key, "apiVersion");
}

static void encode_members(struct buf *out, const struct value *map, bool first, bool (*skip)(struct str key))
{
    for (size_t i = 0; i < map->map.len; i++) {
        const struct value_member *m = &map->map.members[i];

        if (skip(m->key))
            continue;
        if (!first)
            buf_add_char(out, ',');
        first = false;
        json_encode_string(out, m->key);
        buf_add_char(out, ':');
        json_encode(out, m->value);
    }
}

static bool skip_in_metadata(struct str key)
{
    return str_eqz(key, "resourceVersion");
}

static bool skip_in_root(struct str key)
{
    return member_is_head(key) || str_eqz(key, "metadata");
}

static void encode_body(struct buf *out, const struct value *v, const struct value *metadata)
{
    buf_add_str(out, OBJECT_BODY_PREFIX);
    encode_members(out, metadata, true, skip_in_metadata);
    buf_add_char(out, '}');
    encode_members(out, v, false, skip_in_root);
    buf_add_char(out, '}');
}

static void labels_from_value(struct arena *a, const struct value *labels, struct parts *p)
{
    if (!value_is(labels, VALUE_MAP) || !labels->map.len)
        return;
    p->labels = ARENA_ARRAY(a, struct object_label, labels->map.len);
    for (size_t i = 0; i < labels->map.len; i++)
        p->labels[p->n_labels++] =
            (struct object_label){labels->map.members[i].key, value_str(labels->map.members[i].value)};
}

static void owners_from_value(struct arena *a, const struct value *owners, struct parts *p)
{
    size_t n = value_is(owners, VALUE_LIST) ? owners->list.len : 0;

    if (!n)
        return;
    p->owners = ARENA_ARRAY(a, struct object_owner, n);
    for (size_t i = 0; i < n; i++) {
        const struct value *from = owners->list.items[i];

        p->owners[p->n_owners++] = (struct object_owner){
            .uid = value_path_str(from, "uid"),
            .api_version = value_path_str(from, "apiVersion"),
            .kind = value_path_str(from, "kind"),
            .name = value_path_str(from, "name"),
            .controller = value_path_bool(from, "controller", false),
            .block_owner_deletion = value_path_bool(from, "blockOwnerDeletion", false),
        };
    }
}

int object_from_value(struct arena *scratch, const struct resource *r, const struct value *v, int64_t revision,
                      int64_t create_revision, struct object **ret, struct err *err)
{
    const struct value *metadata = value_getz(v, "metadata");
    const struct resource_version *version = resource_storage_version(r);
    struct parts p = {0};

    if (!value_is(metadata, VALUE_MAP))
        return err_set(err, ERR_INVALID, "metadata is missing");
    p.namespace_ = value_path_str(metadata, "namespace");
    p.name = value_path_str(metadata, "name");
    p.uid = value_path_str(metadata, "uid");
    p.creation_s = time_seconds(value_path_str(metadata, "creationTimestamp"));
    p.deletion_s = time_seconds(value_path_str(metadata, "deletionTimestamp"));
    p.generation = value_path_int(metadata, "generation", 0);
    p.has_finalizers = value_len(value_getz(metadata, "finalizers")) > 0;
    labels_from_value(scratch, value_getz(metadata, "labels"), &p);
    owners_from_value(scratch, value_getz(metadata, "ownerReferences"), &p);
    p.n_fields = n_selectable(version);
    p.fields = ARENA_ARRAY(scratch, struct str, p.n_fields + 1);
    for (size_t i = 0; i < p.n_fields; i++) {
        p.fields[i] = value_text(scratch, value_path(v, path_start(version->selectable[i])));
        if (!p.fields[i].p)
            p.fields[i] = absent_text(version, version->selectable[i]);
    }

    struct buf body = {0};
    encode_body(&body, v, metadata);
    p.body = buf_str(&body);
    int rc = pack(r, &p, revision, create_revision, ret, err);
    buf_free(&body);
    return rc;
}

/* ---- from stored text ---- */

static struct str json_str(yyjson_val *v)
{
    return yyjson_is_str(v) ? (struct str){yyjson_get_str(v), yyjson_get_len(v)} : STR_NULL;
}

static yyjson_val *json_path(yyjson_val *v, const char *path)
{
    struct str rest = str_from(path), step;

    while (v && str_split(&rest, '.', &step))
        v = yyjson_obj_getn(v, step.p, step.len);
    return v;
}

static struct str json_text(struct arena *a, yyjson_val *v)
{
    if (yyjson_is_str(v))
        return json_str(v);
    if (yyjson_is_bool(v))
        return yyjson_get_bool(v) ? STR("true") : STR("false");
    if (yyjson_is_uint(v))
        return arena_printf(a, "%llu", (unsigned long long)yyjson_get_uint(v));
    if (yyjson_is_sint(v))
        return arena_printf(a, "%lld", (long long)yyjson_get_sint(v));
    if (yyjson_is_real(v))
        return arena_printf(a, "%.17g", yyjson_get_real(v));
    if (yyjson_is_obj(v)) /* an event's `source` selects by its component */
        return json_str(yyjson_obj_get(v, "component"));
    return STR_NULL;
}

static void labels_from_json(struct arena *a, yyjson_val *labels, struct parts *p)
{
    size_t n = yyjson_is_obj(labels) ? yyjson_obj_size(labels) : 0, i, max;
    yyjson_val *key, *value;

    if (!n)
        return;
    p->labels = ARENA_ARRAY(a, struct object_label, n);
    yyjson_obj_foreach(labels, i, max, key, value)
    {
        p->labels[p->n_labels++] = (struct object_label){json_str(key), json_str(value)};
    }
}

static void owners_from_json(struct arena *a, yyjson_val *owners, struct parts *p)
{
    size_t n = yyjson_is_arr(owners) ? yyjson_arr_size(owners) : 0, i, max;
    yyjson_val *from;

    if (!n)
        return;
    p->owners = ARENA_ARRAY(a, struct object_owner, n);
    yyjson_arr_foreach(owners, i, max, from)
    {
        p->owners[p->n_owners++] = (struct object_owner){
            .uid = json_str(yyjson_obj_get(from, "uid")),
            .api_version = json_str(yyjson_obj_get(from, "apiVersion")),
            .kind = json_str(yyjson_obj_get(from, "kind")),
            .name = json_str(yyjson_obj_get(from, "name")),
            .controller = yyjson_get_bool(yyjson_obj_get(from, "controller")),
            .block_owner_deletion = yyjson_get_bool(yyjson_obj_get(from, "blockOwnerDeletion")),
        };
    }
}

static bool skip_head_member(struct str *s, struct str name)
{
    size_t end;

    if (!str_starts(*s, name))
        return false;
    struct str rest = str_sub(*s, name.len, s->len);
    if (!str_index(rest, '"', &end) || end + 1 >= rest.len || rest.p[end + 1] != ',')
        return false;
    *s = str_sub(rest, end + 2, rest.len);
    return true;
}

/* The stored text without kind and apiVersion when nothing but its head has to go; STR_NULL when it must be rewritten.
 */
static struct str body_as_it_is(struct str stored, yyjson_val *root, yyjson_val *metadata, struct arena *a)
{
    struct str s = str_trim(stored);
    size_t heads = 0, head_members = 0, i, max;
    yyjson_val *key, *value;

    if (yyjson_obj_get(metadata, "resourceVersion") || !str_starts(s, STR("{")))
        return STR_NULL;
    yyjson_obj_foreach(root, i, max, key, value)
    {
        (void)value;
        head_members += member_is_head(json_str(key));
    }
    struct str rest = str_sub(s, 1, s.len);
    while (skip_head_member(&rest, STR("\"kind\":\"")) || skip_head_member(&rest, STR("\"apiVersion\":\"")))
        heads++;
    if (heads != head_members || !str_starts(rest, STR("\"metadata\":{")))
        return STR_NULL;
    if (!heads)
        return s;
    char *p = arena_alloc(a, rest.len + 1);
    p[0] = '{';
    memcpy(p + 1, rest.p, rest.len);
    return (struct str){p, rest.len + 1};
}

static int rewrite_stored(struct arena *scratch, const struct resource *r, struct str stored, int64_t revision,
                          int64_t create_revision, struct object **ret, struct err *err)
{
    struct json_options opt = {0};
    struct value *v;
    int rc = json_decode(scratch, stored, &opt, &v, err);

    if (rc < 0)
        return rc;
    return object_from_value(scratch, r, v, revision, create_revision, ret, err);
}

static void parts_from_json(struct arena *a, const struct resource *r, yyjson_val *root, yyjson_val *metadata,
                            struct parts *p)
{
    const struct resource_version *version = resource_storage_version(r);

    p->namespace_ = json_str(yyjson_obj_get(metadata, "namespace"));
    p->name = json_str(yyjson_obj_get(metadata, "name"));
    p->uid = json_str(yyjson_obj_get(metadata, "uid"));
    p->creation_s = time_seconds(json_str(yyjson_obj_get(metadata, "creationTimestamp")));
    p->deletion_s = time_seconds(json_str(yyjson_obj_get(metadata, "deletionTimestamp")));
    p->generation = yyjson_get_sint(yyjson_obj_get(metadata, "generation"));
    p->has_finalizers = yyjson_arr_size(yyjson_obj_get(metadata, "finalizers")) > 0;
    labels_from_json(a, yyjson_obj_get(metadata, "labels"), p);
    owners_from_json(a, yyjson_obj_get(metadata, "ownerReferences"), p);
    p->n_fields = n_selectable(version);
    p->fields = ARENA_ARRAY(a, struct str, p->n_fields + 1);
    for (size_t i = 0; i < p->n_fields; i++) {
        p->fields[i] = json_text(a, json_path(root, path_start(version->selectable[i])));
        if (!p->fields[i].p)
            p->fields[i] = absent_text(version, version->selectable[i]);
    }
}

int object_from_stored(struct arena *scratch, const struct resource *r, struct str stored, int64_t revision,
                       int64_t create_revision, struct object **ret, struct err *err)
{
    /* Loading decodes many thousands in a row between allocations that stay: a pool of the thread's own for the
     * document keeps the heap without holes. */
    static _Thread_local _Alignas(16) char pool[96 * 1024];
    yyjson_read_err read_err;
    yyjson_alc in_pool;
    bool small = yyjson_read_max_memory_usage(stored.len, 0) <= sizeof pool - 64 &&
                 yyjson_alc_pool_init(&in_pool, pool, sizeof pool);
    yyjson_doc *doc = yyjson_read_opts((char *)stored.p, stored.len, 0, small ? &in_pool : NULL, &read_err);

    if (!doc)
        return err_set(err, ERR_CORRUPT, "stored object is not JSON: %s at byte %zu", read_err.msg, read_err.pos);
    yyjson_val *root = yyjson_doc_get_root(doc), *metadata = yyjson_obj_get(root, "metadata");
    struct parts p = {0};
    int rc;

    if (!yyjson_is_obj(metadata)) {
        rc = err_set(err, ERR_CORRUPT, "stored object has no metadata");
    } else if (p.body = body_as_it_is(stored, root, metadata, scratch), !p.body.p) {
        rc = rewrite_stored(scratch, r, stored, revision, create_revision, ret, err);
    } else {
        parts_from_json(scratch, r, root, metadata, &p);
        rc = pack(r, &p, revision, create_revision, ret, err);
    }
    yyjson_doc_free(doc);
    return rc;
}

void object_set_revision(struct object *o, int64_t revision, int64_t create_revision)
{
    o->revision = revision;
    o->create_revision = create_revision;
}

struct object *object_at_revision(const struct object *o, int64_t revision)
{
    struct parts p = {
        .namespace_ = o->namespace_,
        .name = o->name,
        .uid = o->uid,
        .creation_s = o->creation_s,
        .deletion_s = o->deletion_s,
        .generation = o->generation,
        .has_finalizers = o->has_finalizers,
        .fields = (struct str *)o->fields,
        .n_fields = o->n_fields,
        .owners = (struct object_owner *)o->owners,
        .n_owners = o->n_owners,
        .body = o->body,
    };
    struct object *copy;
    struct err err;

    /* Sorted already: packing must not write to the shared original. */
    p.labels = malloc((o->n_labels + 1u) * sizeof *p.labels);
    if (!p.labels)
        abort();
    p.n_labels = o->n_labels;
    if (o->n_labels)
        memcpy(p.labels, o->labels, o->n_labels * sizeof *p.labels);
    int rc = pack(o->resource, &p, revision, o->create_revision, &copy, &err);
    assert(rc == 0);
    free(p.labels);
    return copy;
}

/* ---- reading ---- */

void object_head(struct buf *out, const struct object *o, bool with_type)
{
    const struct resource *r = o->resource;

    buf_add_char(out, '{');
    if (with_type) {
        buf_addz(out, "\"kind\":\"");
        buf_add_str(out, r->kind);
        buf_addz(out, "\",\"apiVersion\":\"");
        if (r->storage_group.len) {
            buf_add_str(out, r->storage_group);
            buf_add_char(out, '/');
        }
        buf_add_str(out, r->storage_version);
        buf_addz(out, "\",");
    }
    buf_addz(out, "\"metadata\":{\"resourceVersion\":\"");
    buf_add_i64(out, o->revision);
    buf_addz(out, "\",");
}

struct str object_tail(const struct object *o)
{
    size_t skip = OBJECT_BODY_PREFIX.len;

    return (struct str){o->body.p + skip, o->body.len - skip};
}

struct value *object_value(struct arena *a, const struct object *o)
{
    struct json_options opt = {0};
    struct value *body, *root = value_map(a);
    struct err err;
    int rc = json_decode(a, o->body, &opt, &body, &err);

    assert(rc == 0); /* bodies are our own encoding */
    value_setz(a, root, "kind", value_string(a, o->resource->kind));
    value_setz(a, root, "apiVersion",
               value_string(a, resource_api_version(a, o->resource->storage_group, o->resource->storage_version)));
    for (size_t i = 0; i < body->map.len; i++) {
        struct value_member *m = &body->map.members[i];

        if (str_eqz(m->key, "metadata") && value_is(m->value, VALUE_MAP)) {
            /* in wire order: behind name, generateName, namespace, selfLink and uid */
            struct value *metadata = value_map(a), *from = m->value;
            static const char *const before[] = {"name", "generateName", "namespace", "selfLink", "uid"};
            bool placed = false;

            for (size_t j = 0; j < from->map.len; j++) {
                bool is_before = false;
                for (size_t k = 0; k < sizeof before / sizeof *before; k++)
                    is_before |= str_eqz(from->map.members[j].key, before[k]);
                if (!is_before && !placed) {
                    value_setz(a, metadata, "resourceVersion",
                               value_string(a, arena_printf(a, "%lld", (long long)o->revision)));
                    placed = true;
                }
                value_set(a, metadata, from->map.members[j].key, from->map.members[j].value);
            }
            if (!placed)
                value_setz(a, metadata, "resourceVersion",
                           value_string(a, arena_printf(a, "%lld", (long long)o->revision)));
            value_setz(a, root, "metadata", metadata);
        } else {
            value_set(a, root, m->key, m->value);
        }
    }
    return root;
}

struct str object_label(const struct object *o, struct str key)
{
    size_t low = 0, high = o->n_labels;

    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = str_cmp(o->labels[mid].key, key);

        if (order == 0)
            return o->labels[mid].value;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return STR_NULL;
}

const struct object_owner *object_controller(const struct object *o)
{
    for (size_t i = 0; i < o->n_owners; i++)
        if (o->owners[i].controller)
            return &o->owners[i];
    return NULL;
}
