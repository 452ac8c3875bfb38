/* Reads the schema source. */
#include "openapi/generator/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* ---- YAML documents ---- */

struct source {
    const char *path;
    yaml_document_t document;
};

static struct source *source_load(const char *path)
{
    struct source *s = allocate(sizeof *s);
    yaml_parser_t parser;
    FILE *in = fopen(path, "rb");
    if (!in)
        fail("cannot open %s", path);
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_file(&parser, in);
    if (!yaml_parser_load(&parser, &s->document))
        fail("%s:%zu: %s", path, parser.problem_mark.line + 1, parser.problem ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    fclose(in);
    s->path = path;
    return s;
}

static yaml_node_t *node_at(struct source *s, int index)
{
    return yaml_document_get_node(&s->document, index);
}

static char *text(struct source *s, const yaml_node_t *n)
{
    if (n->type != YAML_SCALAR_NODE)
        fail("%s:%zu: a text is wanted here", s->path, n->start_mark.line + 1);
    return (char *)n->data.scalar.value;
}

static yaml_node_t *get(struct source *s, yaml_node_t *map, const char *key)
{
    if (!map)
        return NULL;
    if (map->type != YAML_MAPPING_NODE)
        fail("%s:%zu: a map is wanted here", s->path, map->start_mark.line + 1);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++)
        if (strcmp(text(s, node_at(s, p->key)), key) == 0)
            return node_at(s, p->value);
    return NULL;
}

static char *get_text(struct source *s, yaml_node_t *map, const char *key)
{
    yaml_node_t *n = get(s, map, key);
    return n ? text(s, n) : NULL;
}

static bool get_bool(struct source *s, yaml_node_t *map, const char *key)
{
    const char *t = get_text(s, map, key);
    return t && strcmp(t, "true") == 0;
}

static struct texts get_texts(struct source *s, yaml_node_t *map, const char *key)
{
    struct texts out = {0};
    yaml_node_t *n = get(s, map, key);
    if (!n)
        return out;
    if (n->type != YAML_SEQUENCE_NODE)
        fail("%s:%zu: %s is a list", s->path, n->start_mark.line + 1, key);
    size_t len = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    out.items = allocate(len * sizeof *out.items);
    for (; out.len < len; out.len++)
        out.items[out.len] = text(s, node_at(s, n->data.sequence.items.start[out.len]));
    return out;
}

/* Every key of a map must be one of `known` (space-separated) and stand once. */
static void check_keys(struct source *s, yaml_node_t *map, const char *known)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return;
    yaml_node_pair_t *start = map->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *key = node_at(s, p->key);
        char *word = format(" %s ", text(s, key));
        if (known && !strstr(known, word))
            fail("%s:%zu: unknown key%s", s->path, key->start_mark.line + 1, word);
        for (yaml_node_pair_t *q = start; q < p; q++)
            if (strcmp(text(s, node_at(s, q->key)), text(s, key)) == 0)
                fail("%s:%zu: repeated key%s", s->path, key->start_mark.line + 1, word);
        free(word);
    }
}

static size_t map_len(const yaml_node_t *map)
{
    return map ? (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start) : 0;
}

/* ---- words ---- */

struct word {
    const char *name;
    unsigned value;
};

static const struct word type_words[] = {
    {"bool", FIELD_BOOL},
    {"int32", FIELD_INT32},
    {"int64", FIELD_INT64},
    {"double", FIELD_DOUBLE},
    {"string", FIELD_STRING},
    {"bytes", FIELD_BYTES},
    {"time", FIELD_TIME},
    {"micro-time", FIELD_MICRO_TIME},
    {"duration", FIELD_DURATION},
    {"quantity", FIELD_QUANTITY},
    {"int-or-string", FIELD_INT_OR_STRING},
    {"any", FIELD_ANY},
    {0},
};
static const struct word list_words[] = {
    {"atomic", LIST_TYPE_ATOMIC},
    {"set", LIST_TYPE_SET},
    {"map", LIST_TYPE_MAP},
    {0},
};
static const struct word patch_words[] = {
    {"merge", PATCH_MERGE},
    {"replace", PATCH_REPLACE},
    {"retainKeys", PATCH_RETAIN_KEYS},
    {0},
};
static const struct word check_words[] = {
    {"required", FIELD_CHECK_REQUIRED},
    {"immutable", FIELD_IMMUTABLE},
    {0},
};
static const struct word format_words[] = {
    {"dns-1123-label", FORMAT_DNS1123_LABEL},
    {"dns-1123-subdomain", FORMAT_DNS1123_SUBDOMAIN},
    {"dns-1035-label", FORMAT_DNS1035_LABEL},
    {"qualified-name", FORMAT_QUALIFIED_NAME},
    {"label-key", FORMAT_LABEL_KEY},
    {"label-value", FORMAT_LABEL_VALUE},
    {"ip", FORMAT_IP},
    {"cidr", FORMAT_CIDR},
    {"port-name", FORMAT_PORT_NAME},
    {"config-key", FORMAT_CONFIG_KEY},
    {"env-name", FORMAT_ENV_NAME},
    {"path-segment", FORMAT_PATH_SEGMENT},
    {"absolute-path", FORMAT_ABSOLUTE_PATH},
    {0},
};
static const struct word verb_words[] = {
    {"get", VERB_GET},         {"list", VERB_LIST},
    {"watch", VERB_WATCH},     {"create", VERB_CREATE},
    {"update", VERB_UPDATE},   {"patch", VERB_PATCH},
    {"delete", VERB_DELETE},   {"deletecollection", VERB_DELETE_COLLECTION},
    {"connect", VERB_CONNECT}, {0},
};

static unsigned word_value(const struct word *words, const char *name, struct source *s, const yaml_node_t *near)
{
    for (; words->name; words++)
        if (strcmp(words->name, name) == 0)
            return words->value;
    fail("%s:%zu: unknown word %s", s->path, near->start_mark.line + 1, name);
}

static unsigned word_bits(const struct word *words, struct texts names, struct source *s, const yaml_node_t *near)
{
    unsigned bits = 0;
    for (size_t i = 0; i < names.len; i++)
        bits |= word_value(words, names.items[i], s, near);
    return bits;
}

/* ---- types ---- */

static bool take_prefix(const char **t, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*t, prefix, n) != 0)
        return false;
    *t += n;
    return true;
}

static void read_field_type(struct model_field *f, const char *t)
{
    if (take_prefix(&t, "map of ")) {
        f->shape = SHAPE_MAP;
        if (take_prefix(&t, "list of "))
            f->flags |= FIELD_MAP_OF_LISTS;
    } else if (take_prefix(&t, "list of ")) {
        f->shape = SHAPE_LIST;
    }
    for (const struct word *w = type_words; w->name; w++)
        if (strcmp(w->name, t) == 0) {
            f->type = w->value;
            return;
        }
    f->type = FIELD_MESSAGE;
    f->message_name = format("%s", t);
}

static void read_number(struct source *s, yaml_node_t *map, const char *key, int64_t *ret, unsigned flag,
                        unsigned *flags)
{
    const char *t = get_text(s, map, key);
    if (!t)
        return;
    *ret = strtoll(t, NULL, 10);
    *flags |= flag;
}

/* In Go structs and what is made of them are pointers unless they are always on the wire; scalars are values. The rest
 * says so. */
static bool is_pointer(struct source *s, yaml_node_t *n, const struct model_field *f)
{
    if (f->shape != SHAPE_SINGLE)
        return false;
    const char *said = get_text(s, n, "pointer");
    return said ? strcmp(said, "true") == 0 : f->type > FIELD_BYTES && !(f->flags & FIELD_ALWAYS);
}

static void read_field(struct source *s, struct model_field *f, const char *name, yaml_node_t *n)
{
    check_keys(s, n,
               " id type go required always list structure keys patch mergeKey default values known format min max"
               " check union doc pointer ");
    f->name = format("%s", name);
    f->member = snake_case(name);
    const char *t = get_text(s, n, "type"), *id = get_text(s, n, "id");
    if (!t)
        fail("%s:%zu: %s has no type", s->path, n->start_mark.line + 1, name);
    read_field_type(f, t);
    for (const char *p = id; p && *p && f->id_len < 3; p += strspn(p, ".")) {
        char *end;
        f->id[f->id_len++] = (uint16_t)strtoul(p, &end, 10);
        p = end;
    }
    f->flags |= get_bool(s, n, "required") ? FIELD_REQUIRED : 0;
    f->flags |= get_bool(s, n, "always") ? FIELD_ALWAYS : 0;
    f->flags |= get_bool(s, n, "union") ? FIELD_UNION : 0;
    f->flags |= word_bits(check_words, get_texts(s, n, "check"), s, n);
    f->flags |= is_pointer(s, n, f) ? FIELD_POINTER : 0;
    f->keys = get_texts(s, n, "keys");
    f->values = get_texts(s, n, "values");
    f->known = get_texts(s, n, "known");
    f->patch = word_bits(patch_words, get_texts(s, n, "patch"), s, n);
    f->merge_key = get_text(s, n, "mergeKey");
    f->default_json = get_text(s, n, "default");
    f->doc = get_text(s, n, "doc");
    f->go_type = get_text(s, n, "go");
    read_number(s, n, "min", &f->min, FIELD_HAS_MIN, &f->flags);
    read_number(s, n, "max", &f->max, FIELD_HAS_MAX, &f->flags);
    const char *list = get_text(s, n, "list"), *form = get_text(s, n, "format");
    if (list)
        f->list_type = word_value(list_words, list, s, n);
    if (form)
        f->format = word_value(format_words, form, s, n);
}

static struct model_field *add_field(struct type *t, const char *name, const char *type, unsigned id, unsigned flags,
                                     const char *doc)
{
    struct model_field *f = &t->fields[t->n_fields++];
    f->name = format("%s", name);
    f->member = snake_case(name);
    read_field_type(f, type);
    f->flags |= flags;
    f->id[0] = (uint16_t)id;
    f->id_len = id ? 1 : 0;
    f->doc = format("%s", doc);
    return f;
}

static void add_kind_fields(struct type *t)
{
    add_field(t, "kind", "string", 0, FIELD_EMBEDDED_TYPE, "The kind of this object, in CamelCase.");
    add_field(t, "apiVersion", "string", 0, FIELD_EMBEDDED_TYPE,
              "The API group and version this object is written in.");
}

static int by_id(const void *a, const void *b)
{
    const struct model_field *x = a, *y = b;
    for (int i = 0; i < 3; i++)
        if (x->id[i] != y->id[i])
            return x->id[i] < y->id[i] ? -1 : 1;
    return 0;
}

static struct type *read_type(struct source *s, struct file *file, const char *name, yaml_node_t *n)
{
    struct type *t = allocate(sizeof *t);
    const char *item = get_text(s, n, "list"), *kind = get_text(s, n, "kind");
    yaml_node_t *fields = get(s, n, "fields");
    check_keys(s, n, " kind doc fields list ");
    t->file = file;
    t->name = format("%s", name);
    t->full_name = format("%s.%s", file->package, name);
    t->cname = format("%s_%s_%s", file->folder, file->version, snake_case(name));
    t->doc = get_text(s, n, "doc");
    t->is_kind = kind || item;
    t->everywhere = kind && strcmp(kind, "everywhere") == 0;
    t->fields = allocate((map_len(fields) + 4) * sizeof *t->fields);
    if (item) {
        add_kind_fields(t);
        add_field(t, "metadata", "meta.v1.ListMeta", 1, FIELD_ALWAYS, "Revision and paging of the list.");
        add_field(t, "items", format("list of %s", item), 2, FIELD_REQUIRED | FIELD_ALWAYS, "The objects.");
        if (!t->doc)
            t->doc = format("A list of %s objects.", item);
        return t;
    }
    if (t->is_kind)
        add_kind_fields(t);
    check_keys(s, fields, NULL);
    size_t fixed = t->n_fields;
    for (size_t i = 0; i < map_len(fields); i++) {
        yaml_node_pair_t *p = &fields->data.mapping.pairs.start[i];
        read_field(s, &t->fields[t->n_fields++], text(s, node_at(s, p->key)), node_at(s, p->value));
    }
    qsort(t->fields + fixed, t->n_fields - fixed, sizeof *t->fields, by_id);
    for (size_t i = fixed + 1; i < t->n_fields; i++)
        if (t->fields[i].id_len && by_id(&t->fields[i - 1], &t->fields[i]) == 0)
            fail("%s: %s: %s and %s have the same id", s->path, name, t->fields[i - 1].name, t->fields[i].name);
    return t;
}

/* ---- resources ---- */

static void read_subresource(struct source *s, struct file *file, struct model_subresource *sub, const char *name,
                             yaml_node_t *n)
{
    check_keys(s, n, " kind of verbs ");
    const char *of = get_text(s, n, "of");
    const char *slash = of ? strchr(of, '/') : NULL;
    sub->name = format("%s", name);
    sub->kind = get_text(s, n, "kind");
    sub->group = slash ? format("%.*s", (int)(slash - of), of) : of ? "" : file->group;
    sub->version = slash ? format("%s", slash + 1) : of ? format("%s", of) : file->version;
    sub->verbs = word_bits(verb_words, get_texts(s, n, "verbs"), s, n);
}

static void read_resource(struct source *s, struct file *file, struct model_resource *r, const char *name,
                          yaml_node_t *n)
{
    check_keys(s, n,
               " kind singular namespaced shortNames categories verbs deprecated storage storageVersion storedAs"
               " nameFormat selectable table subresources ");
    r->file = file;
    r->name = format("%s", name);
    r->kind = get_text(s, n, "kind");
    r->singular = get_text(s, n, "singular");
    if (!r->kind || !r->singular)
        fail("%s:%zu: %s needs kind and singular", s->path, n->start_mark.line + 1, name);
    r->namespaced = get_bool(s, n, "namespaced");
    r->deprecated = get_bool(s, n, "deprecated");
    r->short_names = get_texts(s, n, "shortNames");
    r->categories = get_texts(s, n, "categories");
    r->selectable = get_texts(s, n, "selectable");
    r->storage = get_text(s, n, "storage");
    r->storage_version = get_text(s, n, "storageVersion");
    r->stored_as = get_text(s, n, "storedAs");
    r->table = get_text(s, n, "table");
    yaml_node_t *verbs = get(s, n, "verbs");
    if (verbs && verbs->type == YAML_SCALAR_NODE && strcmp(text(s, verbs), "all") == 0)
        r->verbs = VERB_CONNECT - 1;
    else
        r->verbs = word_bits(verb_words, get_texts(s, n, "verbs"), s, n);
    const char *form = get_text(s, n, "nameFormat");
    r->name_format = form ? word_value(format_words, form, s, n) : FORMAT_DNS1123_SUBDOMAIN;
    yaml_node_t *subs = get(s, n, "subresources");
    check_keys(s, subs, NULL);
    r->n_subresources = map_len(subs);
    r->subresources = allocate(r->n_subresources * sizeof *r->subresources);
    for (size_t i = 0; i < r->n_subresources; i++) {
        yaml_node_pair_t *p = &subs->data.mapping.pairs.start[i];
        read_subresource(s, file, &r->subresources[i], text(s, node_at(s, p->key)), node_at(s, p->value));
    }
}

static struct file *read_file(const char *root, char *folder, char *version, bool served)
{
    struct file *f = allocate(sizeof *f);
    struct source *s = source_load(format("%s/%s/%s.yaml", root, folder, version));
    yaml_node_t *top = yaml_document_get_root_node(&s->document);
    check_keys(s, top, " group version package types resources ");
    *f = (struct file){.path = s->path,
                       .folder = folder,
                       .group = get_text(s, top, "group"),
                       .version = get_text(s, top, "version"),
                       .package = get_text(s, top, "package"),
                       .served = served};
    if (!f->group || !f->version || !f->package || strcmp(f->version, version) != 0)
        fail("%s: group, version and package must be given, and version be that of the file's name", s->path);
    yaml_node_t *types = get(s, top, "types"), *resources = get(s, top, "resources");
    check_keys(s, types, NULL);
    check_keys(s, resources, NULL);
    f->types = allocate(map_len(types) * sizeof *f->types);
    for (; f->n_types < map_len(types); f->n_types++) {
        yaml_node_pair_t *p = &types->data.mapping.pairs.start[f->n_types];
        f->types[f->n_types] = read_type(s, f, text(s, node_at(s, p->key)), node_at(s, p->value));
    }
    f->resources = allocate(map_len(resources) * sizeof *f->resources);
    for (; f->n_resources < map_len(resources); f->n_resources++) {
        yaml_node_pair_t *p = &resources->data.mapping.pairs.start[f->n_resources];
        read_resource(s, f, &f->resources[f->n_resources], text(s, node_at(s, p->key)), node_at(s, p->value));
    }
    return f;
}

/* ---- the whole ---- */

static void read_groups(struct model *m, const char *root)
{
    struct source *s = source_load(format("%s/groups.yaml", root));
    yaml_node_t *groups = get(s, yaml_document_get_root_node(&s->document), "groups");
    if (!groups || groups->type != YAML_SEQUENCE_NODE)
        fail("%s: no list of groups", s->path);
    m->files = allocate(256 * sizeof *m->files);
    for (yaml_node_item_t *i = groups->data.sequence.items.start; i < groups->data.sequence.items.top; i++) {
        yaml_node_t *g = node_at(s, *i);
        check_keys(s, g, " folder group versions served ");
        struct texts versions = get_texts(s, g, "versions");
        const char *served = get_text(s, g, "served");
        for (size_t v = 0; v < versions.len; v++)
            m->files[m->n_files++] =
                read_file(root, get_text(s, g, "folder"), versions.items[v], !served || strcmp(served, "false") != 0);
    }
}

static void read_tables(struct model *m, const char *root)
{
    struct source *s = source_load(format("%s/tables.yaml", root));
    yaml_node_t *tables = get(s, yaml_document_get_root_node(&s->document), "tables");
    check_keys(s, tables, NULL);
    m->tables = allocate(map_len(tables) * sizeof *m->tables);
    for (; m->n_tables < map_len(tables); m->n_tables++) {
        yaml_node_pair_t *p = &tables->data.mapping.pairs.start[m->n_tables];
        struct table *t = &m->tables[m->n_tables];
        yaml_node_t *columns = node_at(s, p->value);
        t->name = text(s, node_at(s, p->key));
        t->columns = allocate((size_t)(columns->data.sequence.items.top - columns->data.sequence.items.start) *
                              sizeof *t->columns);
        for (yaml_node_item_t *i = columns->data.sequence.items.start; i < columns->data.sequence.items.top; i++) {
            yaml_node_t *c = node_at(s, *i);
            check_keys(s, c, " name type format priority doc ");
            const char *priority = get_text(s, c, "priority");
            t->columns[t->n_columns++] =
                (struct schema_column){get_text(s, c, "name"), get_text(s, c, "type"), get_text(s, c, "format"),
                                       get_text(s, c, "doc"), priority ? atoi(priority) : 0};
        }
    }
}

struct type *model_find(const struct model *m, const char *folder, const char *version, const char *name)
{
    for (size_t f = 0; f < m->n_files; f++) {
        if (strcmp(m->files[f]->folder, folder) != 0 || strcmp(m->files[f]->version, version) != 0)
            continue;
        for (size_t t = 0; t < m->files[f]->n_types; t++)
            if (strcmp(m->files[f]->types[t]->name, name) == 0)
                return m->files[f]->types[t];
    }
    return NULL;
}

static void resolve(const struct model *m, const struct type *t, struct model_field *f)
{
    if (!f->message_name)
        return;
    char folder[64], version[32], name[128];
    if (sscanf(f->message_name, "%63[^.].%31[^.].%127s", folder, version, name) == 3)
        f->message = model_find(m, folder, version, name);
    else
        f->message = model_find(m, t->file->folder, t->file->version, f->message_name);
    if (!f->message)
        fail("%s: %s.%s: no type %s", t->file->path, t->name, f->name, f->message_name);
}

static int by_full_name(const void *a, const void *b)
{
    return strcmp((*(struct type *const *)a)->full_name, (*(struct type *const *)b)->full_name);
}

struct model *model_load(const char *root)
{
    struct model *m = allocate(sizeof *m);
    read_groups(m, root);
    read_tables(m, root);
    for (size_t f = 0; f < m->n_files; f++)
        m->n_types += m->files[f]->n_types;
    m->types = allocate(m->n_types * sizeof *m->types);
    size_t n = 0;
    for (size_t f = 0; f < m->n_files; f++)
        for (size_t t = 0; t < m->files[f]->n_types; t++)
            m->types[n++] = m->files[f]->types[t];
    qsort(m->types, n, sizeof *m->types, by_full_name);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < m->types[t]->n_fields; i++)
            resolve(m, m->types[t], &m->types[t]->fields[i]);
    return m;
}
