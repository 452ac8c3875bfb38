/* The documents are a walk over the resources (paths) and over the messages these reach (schemas), one item per step.
 */
#include "openapi/document.h"

#include "openapi/json.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIND_V3, KIND_V2 };
enum { PHASE_HEAD, PHASE_PATHS, PHASE_SCHEMAS, PHASE_TAIL, PHASE_DONE };

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."
#define RESOURCE "io.k8s.apimachinery.pkg.api.resource."
#define INTSTR "io.k8s.apimachinery.pkg.util.intstr."
#define RUNTIME "io.k8s.apimachinery.pkg.runtime."

/* Types that JSON writes as a scalar and the tables therefore do not hold. */
static const struct {
    const char *name, *text;
} scalars[] = {
    {META "Time", "{\"type\":\"string\",\"format\":\"date-time\",\"description\":\"An instant, in RFC 3339.\"}"},
    {META "MicroTime",
     "{\"type\":\"string\",\"format\":\"date-time\",\"description\":\"An instant with microseconds, in RFC 3339.\"}"},
    {META "Duration", "{\"type\":\"string\",\"description\":\"A length of time, such as 1h30m.\"}"},
    {META "Patch", "{\"type\":\"object\",\"description\":\"A patch in the format its content type says.\"}"},
    {RESOURCE "Quantity", "{\"description\":\"An amount: a number with an optional suffix (m, k, M, G, Ki, Mi, Gi "
                          "...).\",\"oneOf\":[{\"type\":"
                          "\"string\"},{\"type\":\"number\"}]}"},
    {INTSTR "IntOrString", "{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
                           "\"description\":\"A number, or a "
                           "name or percentage.\"}"},
    {RUNTIME "RawExtension", "{\"type\":\"object\",\"description\":\"Any object.\"}"},
};
static const char v2_quantity[] =
    "{\"type\":\"string\",\"description\":\"An amount: a number with an optional suffix.\"}";
static const char v2_int_or_string[] = "{\"type\":\"string\",\"format\":\"int-or-string\"}";

/* ---- which messages a document needs ---- */

static int compare_name(const void *key, const void *item)
{
    return str_cmp(*(const struct str *)key, (*(const struct schema_message *const *)item)->name);
}

static ssize_t message_index(struct str name)
{
    size_t n = 0;
    const struct schema_message *const *all = schema_messages(&n);
    const struct schema_message *const *at = bsearch(&name, all, n, sizeof *all, compare_name);
    return at ? at - all : -1;
}

static bool is_needed(const struct document_writer *w, size_t i)
{
    return w->needed[i / 64] >> (i % 64) & 1;
}

static void need(struct document_writer *w, const struct schema_message *m)
{
    ssize_t i = m ? message_index(m->name) : -1;
    if (i < 0 || (size_t)i / 64 >= sizeof w->needed / sizeof *w->needed || is_needed(w, (size_t)i))
        return;
    w->needed[i / 64] |= 1ULL << (i % 64);
    for (size_t f = 0; f < m->n_fields; f++)
        need(w, m->fields[f].message);
}

static void list_name(char *out, size_t size, const struct schema_message *m)
{
    snprintf(out, size, STR_FMT "List", STR_ARG(m->name));
}

static const struct schema_message *list_message(const struct schema_message *m)
{
    char name[200];
    list_name(name, sizeof name, m);
    return schema_message_find(str_from(name));
}

static const struct resource_version *served(const struct document_writer *w, const struct resource *r)
{
    if (w->kind == KIND_V2)
        return r->versions;
    return str_eq(r->group, w->group) ? resource_version_find(r, w->version) : NULL;
}

static bool need_resources(struct document_writer *w)
{
    size_t n = 0;
    bool any = false;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++) {
        const struct resource_version *v = served(w, all[i]);
        if (!v)
            continue;
        any = true;
        need(w, v->message);
        if (v->message)
            need(w, list_message(v->message));
        for (const struct subresource *s = v->subresources; s && s->name.p; s++)
            need(w, s->message);
    }
    need(w, schema_message_find(STR(META "Status")));
    need(w, schema_message_find(STR(META "DeleteOptions")));
    return any;
}

/* ---- schemas ---- */

static void add_ref(struct buf *out, const struct document_writer *w, struct str name)
{
    buf_printf(out, "{\"$ref\":\"%s" STR_FMT "\"}", w->kind == KIND_V2 ? "#/definitions/" : "#/components/schemas/",
               STR_ARG(name));
}

static const char *scalar_ref(enum field_type type)
{
    switch (type) {
    case FIELD_TIME:
        return META "Time";
    case FIELD_MICRO_TIME:
        return META "MicroTime";
    case FIELD_DURATION:
        return META "Duration";
    case FIELD_QUANTITY:
        return RESOURCE "Quantity";
    case FIELD_INT_OR_STRING:
        return INTSTR "IntOrString";
    case FIELD_ANY:
        return RUNTIME "RawExtension";
    default:
        return NULL;
    }
}

/* The schema of one value, without the closing brace, so that a field can add what it knows. */
static void open_value(struct buf *out, const struct document_writer *w, const struct schema_field *f)
{
    static const char *const plain[] = {
        [FIELD_BOOL] = "{\"type\":\"boolean\"",
        [FIELD_INT32] = "{\"type\":\"integer\",\"format\":\"int32\"",
        [FIELD_INT64] = "{\"type\":\"integer\",\"format\":\"int64\"",
        [FIELD_DOUBLE] = "{\"type\":\"number\",\"format\":\"double\"",
        [FIELD_STRING] = "{\"type\":\"string\"",
        [FIELD_BYTES] = "{\"type\":\"string\",\"format\":\"byte\"",
    };
    struct str name = f->type == FIELD_MESSAGE ? f->message->name : str_from(scalar_ref(f->type));
    if (!name.p) {
        buf_addz(out, plain[f->type]);
        return;
    }
    if (w->kind == KIND_V2) {
        add_ref(out, w, name);
        out->len--;
        return;
    }
    buf_addz(out, "{\"allOf\":[");
    add_ref(out, w, name);
    buf_addz(out, "]");
}

static void add_words(struct buf *out, const char *key, const struct str *words)
{
    buf_printf(out, ",\"%s\":[", key);
    for (const struct str *s = words; s->p; s++) {
        if (s != words)
            buf_add_char(out, ',');
        json_encode_string(out, *s);
    }
    buf_add_char(out, ']');
}

static void add_extensions(struct buf *out, const struct schema_field *f)
{
    static const char *const types[] = {NULL, "atomic", "set", "map"};
    if (f->list_type != LIST_TYPE_NONE)
        buf_printf(out, ",\"x-kubernetes-%s-type\":\"%s\"",
                   f->shape == SHAPE_LIST  ? "list"
                   : f->shape == SHAPE_MAP ? "map"
                                           : "map",
                   types[f->list_type]);
    if (f->list_type == LIST_TYPE_MAP && f->map_keys)
        add_words(out, "x-kubernetes-list-map-keys", f->map_keys);
    if (f->merge_key.len) {
        buf_addz(out, ",\"x-kubernetes-patch-merge-key\":");
        json_encode_string(out, f->merge_key);
    }
    if (f->patch_strategy) {
        bool merge = f->patch_strategy & PATCH_MERGE, replace = f->patch_strategy & PATCH_REPLACE;
        bool retain = f->patch_strategy & PATCH_RETAIN_KEYS;
        buf_printf(out, ",\"x-kubernetes-patch-strategy\":\"%s%s%s\"",
                   merge     ? "merge"
                   : replace ? "replace"
                             : "",
                   retain && (merge || replace) ? "," : "", retain ? "retainKeys" : "");
    }
}

static void add_property(struct buf *out, const struct document_writer *w, const struct schema_field *f)
{
    json_encode_string(out, f->name);
    buf_add_char(out, ':');
    if (f->shape == SHAPE_LIST)
        buf_addz(out, "{\"type\":\"array\",\"items\":");
    else if (f->shape == SHAPE_MAP)
        buf_addz(out, "{\"type\":\"object\",\"additionalProperties\":");
    if (f->shape == SHAPE_MAP && f->flags & FIELD_MAP_OF_LISTS)
        buf_addz(out, "{\"type\":\"array\",\"items\":");
    open_value(out, w, f);
    if (f->shape == SHAPE_MAP && f->flags & FIELD_MAP_OF_LISTS)
        buf_add_char(out, '}');
    if (f->shape != SHAPE_SINGLE)
        buf_add_char(out, '}');
    if (f->description && *f->description) {
        buf_addz(out, ",\"description\":");
        json_encode_string(out, str_from(f->description));
    }
    if (f->default_json)
        buf_printf(out, ",\"default\":%s", f->default_json);
    const struct str *words = f->known_values ? f->known_values : f->values;
    if (words && f->shape == SHAPE_SINGLE && f->type == FIELD_STRING)
        add_words(out, "enum", words);
    add_extensions(out, f);
    buf_add_char(out, '}');
}

static void add_gvk(struct buf *out, const char *group, const char *version, const char *kind)
{
    buf_printf(out, "{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}", group, kind, version);
}

static void add_schema(struct buf *out, const struct document_writer *w, const struct schema_message *m)
{
    bool required = false;
    json_encode_string(out, m->name);
    buf_addz(out, ":{\"type\":\"object\"");
    if (m->description && *m->description) {
        buf_addz(out, ",\"description\":");
        json_encode_string(out, str_from(m->description));
    }
    if (m->n_fields)
        buf_addz(out, ",\"properties\":{");
    for (size_t i = 0; i < m->n_fields; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_property(out, w, &m->fields[m->by_name ? m->by_name[i] : i]);
    }
    if (m->n_fields)
        buf_add_char(out, '}');
    for (size_t i = 0; i < m->n_fields; i++) {
        if (!(m->fields[i].flags & FIELD_REQUIRED))
            continue;
        buf_addz(out, required ? "," : ",\"required\":[");
        json_encode_string(out, m->fields[i].name);
        required = true;
    }
    buf_addz(out, required ? "]" : "");
    if (m->gvks && m->gvks->kind) {
        buf_addz(out, ",\"x-kubernetes-group-version-kind\":[");
        for (const struct schema_gvk *g = m->gvks; g->kind; g++) {
            if (g != m->gvks)
                buf_add_char(out, ',');
            add_gvk(out, g->group, g->version, g->kind);
        }
        buf_add_char(out, ']');
    }
    buf_add_char(out, '}');
}

static void add_scalars(struct buf *out, bool v2)
{
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        if (message_index(str_from(scalars[i].name)) >= 0)
            continue;
        const char *text = scalars[i].text;
        if (v2 && str_ends(str_from(scalars[i].name), STR("Quantity")))
            text = v2_quantity;
        if (v2 && str_ends(str_from(scalars[i].name), STR("IntOrString")))
            text = v2_int_or_string;
        buf_printf(out, ",\"%s\":%s", scalars[i].name, text);
    }
}

/* ---- paths ---- */

struct operation {
    const char *method, *action;
    uint16_t verb;
    bool on_name, takes_body;
};
static const struct operation operations[] = {
    {"get", "list", VERB_LIST, false, false},
    {"post", "post", VERB_CREATE, false, true},
    {"delete", "deletecollection", VERB_DELETE_COLLECTION, false, false},
    {"get", "get", VERB_GET, true, false},
    {"put", "put", VERB_UPDATE, true, true},
    {"patch", "patch", VERB_PATCH, true, true},
    {"delete", "delete", VERB_DELETE, true, false},
};

struct target { /* what stands behind one path */
    struct str group, version;
    const char *kind_group, *kind_version, *kind;
    const struct schema_message *message;
    bool is_list;
};

static void add_query(struct buf *out, const struct document_writer *w, const char *names)
{
    struct str rest = str_from(names), name;
    bool comma = false;
    buf_addz(out, "\"parameters\":[");
    while (str_split(&rest, ' ', &name)) {
        bool flag = str_eqz(name, "force") || str_eqz(name, "watch");
        buf_printf(out, "%s{\"name\":\"" STR_FMT "\",\"in\":\"query\",", comma ? "," : "", STR_ARG(name));
        buf_printf(out,
                   w->kind == KIND_V2 ? "\"type\":\"%s\",\"uniqueItems\":true}"
                                      : "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}",
                   flag ? "boolean" : "string");
        comma = true;
    }
    buf_add_char(out, ']');
}

static void add_body(struct buf *out, const struct document_writer *w, const struct operation *op, struct str message)
{
    static const char *const patches[] = {"application/json-patch+json", "application/merge-patch+json",
                                          "application/strategic-merge-patch+json", "application/apply-patch+yaml"};
    bool patch = op->verb == VERB_PATCH;
    struct str schema = patch ? STR(META "Patch") : message;
    if (w->kind == KIND_V2) {
        out->len--; /* into the parameters */
        buf_addz(out, ",{\"name\":\"body\",\"in\":\"body\",\"required\":true,\"schema\":");
        add_ref(out, w, schema);
        buf_addz(out, "}]");
        if (!patch)
            return;
        buf_addz(out, ",\"consumes\":[");
        for (size_t i = 0; i < 4; i++)
            buf_printf(out, "%s\"%s\"", i ? "," : "", patches[i]);
        buf_add_char(out, ']');
        return;
    }
    buf_addz(out, ",\"requestBody\":{\"content\":{");
    for (size_t i = 0; i < (patch ? 4 : 1); i++) {
        buf_printf(out, "%s\"%s\":{\"schema\":", i ? "," : "", patch ? patches[i] : "application/json");
        add_ref(out, w, schema);
        buf_add_char(out, '}');
    }
    buf_addz(out, "},\"required\":true}");
}

static void add_operation(struct buf *out, const struct document_writer *w, const struct operation *op,
                          const struct target *t)
{
    char list[200];
    struct str message = t->message ? t->message->name : STR(META "Status");
    struct str answer = message;
    if (op->verb == VERB_LIST && t->message) {
        list_name(list, sizeof list, t->message);
        answer = schema_message_find(str_from(list)) ? str_from(list) : message;
    } else if (op->verb == VERB_DELETE || op->verb == VERB_DELETE_COLLECTION) {
        answer = STR(META "Status");
    }
    buf_printf(out, "\"%s\":{", op->method);
    add_query(out, w,
              op->verb == VERB_LIST    ? "pretty fieldSelector labelSelector limit continue resourceVersion watch"
              : op->verb == VERB_GET   ? "pretty"
              : op->verb == VERB_PATCH ? "pretty dryRun fieldManager fieldValidation force"
              : op->takes_body         ? "pretty dryRun fieldManager fieldValidation"
                                       : "pretty dryRun gracePeriodSeconds propagationPolicy");
    if (op->takes_body)
        add_body(out, w, op, message);
    buf_addz(out, ",\"responses\":{\"200\":{\"description\":\"OK\",");
    buf_addz(out, w->kind == KIND_V2 ? "\"schema\":" : "\"content\":{\"application/json\":{\"schema\":");
    add_ref(out, w, answer);
    buf_addz(out, w->kind == KIND_V2 ? "}}" : "}}}}");
    buf_printf(out, ",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":", op->action);
    add_gvk(out, t->kind_group, t->kind_version, t->kind);
    buf_add_char(out, '}');
}

static void add_path(struct document_writer *w, struct buf *out, const struct resource *r, const char *tail,
                     const struct target *t, uint16_t verbs, bool on_name)
{
    bool any = false;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        const struct operation *op = &operations[i];
        bool create_below = on_name && *tail && op->verb == VERB_CREATE; /* POST to a subresource */
        if (!(verbs & op->verb) || (op->on_name != on_name && !create_below))
            continue;
        if (!any) {
            buf_printf(out, "%s\"%s" STR_FMT "%s" STR_FMT "/%s" STR_FMT "%s%s\":{", w->comma ? "," : "",
                       t->group.len ? "/apis/" : "/api", STR_ARG(t->group), "/", STR_ARG(t->version),
                       r->namespaced ? "namespaces/{namespace}/" : "", STR_ARG(r->name), on_name ? "/{name}" : "",
                       tail);
            w->comma = true;
        } else {
            buf_add_char(out, ',');
        }
        any = true;
        add_operation(out, w, op, t);
    }
    if (!any)
        return;
    static const char *const names[] = {"name", "namespace"};
    const char *comma = "";
    buf_addz(out, ",\"parameters\":[");
    for (size_t i = 0; i < 2; i++) {
        if (i == 0 ? !on_name : !r->namespaced)
            continue;
        buf_printf(out, "%s{\"name\":\"%s\",\"in\":\"path\",\"required\":true,%s}", comma, names[i],
                   w->kind == KIND_V2 ? "\"type\":\"string\"" : "\"schema\":{\"type\":\"string\"}");
        comma = ",";
    }
    buf_addz(out, "]}");
}

static void add_resource(struct document_writer *w, struct buf *out, const struct resource *r,
                         const struct resource_version *v)
{
    char version[64], group[128], kind[128], tail[80];
    snprintf(version, sizeof version, STR_FMT, STR_ARG(v->version));
    snprintf(group, sizeof group, STR_FMT, STR_ARG(r->group));
    snprintf(kind, sizeof kind, STR_FMT, STR_ARG(r->kind));
    struct target t = {r->group, v->version, group, version, kind, v->message, false};
    add_path(w, out, r, "", &t, v->verbs, false);
    add_path(w, out, r, "", &t, v->verbs, true);
    for (const struct subresource *s = v->subresources; s && s->name.p; s++) {
        if (!s->kind)
            continue;
        struct target st = {
            r->group,   v->version, s->group ? s->group : group, s->version ? s->version : version, s->kind,
            s->message, false};
        snprintf(tail, sizeof tail, "/" STR_FMT, STR_ARG(s->name));
        add_path(w, out, r, tail, &st, s->verbs, true);
    }
}

/* ---- the walk ---- */

static void add_head(struct document_writer *w, struct buf *out)
{
    buf_printf(out, "{\"%s\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{",
               w->kind == KIND_V2 ? "swagger\":\"2.0" : "openapi\":\"3.0.0");
}

static void add_tail(struct document_writer *w, struct buf *out)
{
    add_scalars(out, w->kind == KIND_V2);
    if (w->kind == KIND_V2)
        buf_addz(out,
                 "},\"securityDefinitions\":{\"BearerToken\":{\"description\":\"Bearer Token authentication\",\"type\":"
                 "\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}},\"security\":[{\"BearerToken\":[]}]}\n");
    else
        buf_addz(out, "},\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"description\":\"Bearer Token "
                      "authentication\",\"name\":\"authorization\",\"in\":\"header\"}}}}\n");
}

bool document_next(struct document_writer *w, struct buf *out)
{
    size_t n = 0;
    const struct resource *const *resources = resources_builtin(&n);
    switch (w->phase) {
    case PHASE_HEAD:
        add_head(w, out);
        w->phase = PHASE_PATHS;
        return true;
    case PHASE_PATHS:
        while (w->at < n && !served(w, resources[w->at]))
            w->at++;
        if (w->at < n) {
            add_resource(w, out, resources[w->at], served(w, resources[w->at]));
            w->at++;
            return true;
        }
        buf_addz(out, w->kind == KIND_V2 ? "},\"definitions\":{" : "},\"components\":{\"schemas\":{");
        w->phase = PHASE_SCHEMAS;
        w->at = 0;
        w->comma = false;
        return true;
    case PHASE_SCHEMAS: {
        const struct schema_message *const *messages = schema_messages(&n);
        while (w->at < n && !is_needed(w, w->at))
            w->at++;
        if (w->at < n) {
            buf_addz(out, w->comma ? "," : "");
            w->comma = true;
            add_schema(out, w, messages[w->at++]);
            return true;
        }
        add_tail(w, out);
        w->phase = PHASE_DONE;
        return true;
    }
    default:
        return false;
    }
}

bool document_v3_init(struct document_writer *w, struct str group, struct str version)
{
    *w = (struct document_writer){.group = group, .version = version, .kind = KIND_V3};
    return need_resources(w);
}

void document_v2_init(struct document_writer *w)
{
    *w = (struct document_writer){.kind = KIND_V2};
    need_resources(w);
}

void document_v3_write(struct buf *out, struct document_writer *w)
{
    while (document_next(w, out))
        continue;
}

/* ---- the index ---- */

static uint64_t schema_hash;
static pthread_once_t schema_hash_once = PTHREAD_ONCE_INIT;

static uint64_t fnv(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3ULL;
    return (h ^ 0xff) * 0x100000001b3ULL;
}

static void schema_hash_make(void)
{
    size_t n = 0;
    const struct schema_message *const *all = schema_messages(&n);
    schema_hash = fnv(0xcbf29ce484222325ULL, STR(SKIFF_VERSION));
    for (size_t i = 0; i < n; i++) {
        schema_hash = fnv(schema_hash, all[i]->name);
        for (size_t f = 0; f < all[i]->n_fields; f++) {
            schema_hash = fnv(schema_hash, all[i]->fields[f].name);
            schema_hash = fnv(schema_hash, str_from(all[i]->fields[f].description));
        }
    }
}

static void group_hash(struct str group, struct str version, char out[DOCUMENT_HASH_LEN + 1])
{
    pthread_once(&schema_hash_once, schema_hash_make);
    uint64_t h = fnv(fnv(schema_hash, group), version);
    for (int i = 0; i < 4; i++) {
        snprintf(out + i * 16, 17, "%016llX", (unsigned long long)h);
        h = fnv(h, STR("next"));
    }
}

bool document_v3_hash(struct str group, struct str version, char out[DOCUMENT_HASH_LEN + 1])
{
    struct document_writer w = {.group = group, .version = version};
    size_t n = 0;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++) {
        if (served(&w, all[i])) {
            group_hash(group, version, out);
            return true;
        }
    }
    return false;
}

static bool listed_before(const struct resource *const *all, size_t i, struct str version)
{
    for (size_t j = 0; j < i; j++) {
        if (str_eq(all[j]->group, all[i]->group) && resource_version_find(all[j], version))
            return true;
    }
    return false;
}

void document_v3_index(struct buf *out)
{
    size_t n = 0;
    const struct resource *const *all = resources_builtin(&n);
    bool comma = false;
    buf_addz(out, "{\"paths\":{");
    for (size_t i = 0; i < n; i++) {
        for (const struct resource_version *v = all[i]->versions; v->version.p; v++) {
            char hash[DOCUMENT_HASH_LEN + 1], path[200];
            if (listed_before(all, i, v->version))
                continue;
            group_hash(all[i]->group, v->version, hash);
            snprintf(path, sizeof path, "%s" STR_FMT "/" STR_FMT, all[i]->group.len ? "apis/" : "api",
                     STR_ARG(all[i]->group), STR_ARG(v->version));
            buf_printf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}", comma ? "," : "", path, path,
                       hash);
            comma = true;
        }
    }
    buf_addz(out, "}}\n");
}
