#include "api/discovery.h"

#include "api/chain/accept.h"
#include "api/server.h"
#include "base/vec.h"
#include "openapi/json.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>

#define GROUPS_MAX 256

/* ---- groups, versions and resources in order ---- */

struct groups {
    struct str names[GROUPS_MAX];
    size_t len;
};

static void groups_read(struct groups *g)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    g->len = 0;
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < g->len; k++)
            known = known || str_eq(g->names[k], all[i]->group);
        if (!known && g->len < GROUPS_MAX)
            g->names[g->len++] = all[i]->group;
    }
}

/* Versions of a group, preferred first. */
static size_t versions_read(struct str group, struct str ret[8])
{
    size_t n, len = 0;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(all[i]->group, group))
            continue;
        for (const struct resource_version *v = all[i]->versions; v->version.p; v++) {
            bool known = false;
            for (size_t k = 0; k < len; k++)
                known = known || str_eq(ret[k], v->version);
            if (!known && len < 8)
                ret[len++] = v->version;
        }
    }
    return len;
}

struct entry {
    const struct resource *resource;
    const struct resource_version *version;
    const struct subresource *sub;
};

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = str_cmp(x->resource->name, y->resource->name);
    if (order || !x->sub || !y->sub)
        return order ? order : (x->sub != NULL) - (y->sub != NULL);
    return str_cmp(x->sub->name, y->sub->name);
}

struct entries {
    struct entry *items;
    size_t len, cap;
};

/* Every resource and subresource of a version, by name. The caller frees items. */
static struct entries entries_read(struct str group, struct str version)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    struct entries list = {0};
    for (size_t i = 0; i < n; i++) {
        const struct resource_version *v = str_eq(all[i]->group, group) ? resource_version_find(all[i], version) : NULL;
        if (!v)
            continue;
        vec_push(&list, (struct entry){all[i], v, NULL});
        for (const struct subresource *s = v->subresources; s && s->name.p; s++)
            vec_push(&list, (struct entry){all[i], v, s});
    }
    if (list.len)
        qsort(list.items, list.len, sizeof *list.items, entry_order);
    return list;
}

/* ---- pieces ---- */

static void add_string(struct buf *out, const char *name, struct str s)
{
    buf_printf(out, "\"%s\":", name);
    json_encode_string(out, s);
}

static void add_verbs(struct buf *out, uint16_t verbs)
{
    static const enum verb order[] = {VERB_CREATE, VERB_DELETE, VERB_DELETE_COLLECTION, VERB_GET, VERB_LIST, VERB_PATCH,
                                      VERB_UPDATE, VERB_WATCH};
    bool comma = false;
    buf_addz(out, "\"verbs\":[");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!(verbs & order[i]))
            continue;
        buf_printf(out, "%s\"%s\"", comma ? "," : "", verb_name(order[i]));
        comma = true;
    }
    buf_addz(out, "]");
}

static void add_names(struct buf *out, const char *name, const char *const *list)
{
    if (!list || !*list)
        return;
    buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; list[i]; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", list[i]);
    buf_addz(out, "]");
}

static void add_group_version(struct buf *out, struct str group, struct str version)
{
    buf_printf(out, "{\"groupVersion\":\"" STR_FMT "/" STR_FMT "\",\"version\":\"" STR_FMT "\"}", STR_ARG(group),
               STR_ARG(version), STR_ARG(version));
}

static void add_group(struct buf *out, struct str group)
{
    struct str versions[8];
    size_t n = versions_read(group, versions);
    add_string(out, "name", group);
    buf_addz(out, ",\"versions\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_addz(out, ",");
        add_group_version(out, group, versions[i]);
    }
    buf_addz(out, "],\"preferredVersion\":");
    add_group_version(out, group, versions[0]);
}

/* Upstream's: the first eight bytes of SHA-256 of group/version/kind of the stored form, in base64. */
static void add_storage_hash(struct buf *out, const struct resource *r)
{
    struct buf text = {0};
    unsigned char sum[SHA256_DIGEST_LENGTH], base64[16];
    const struct resource *stored = r->stored_as ? r->stored_as : r;
    buf_printf(&text, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(stored->storage_group), STR_ARG(stored->storage_version),
               STR_ARG(stored->kind));
    SHA256((unsigned char *)text.p, text.len, sum);
    EVP_EncodeBlock(base64, sum, 8);
    buf_printf(out, ",\"storageVersionHash\":\"%s\"", (char *)base64);
    buf_free(&text);
}

static void add_classic(struct buf *out, const struct entry *e)
{
    const struct resource *r = e->resource;
    buf_printf(out, "{\"name\":\"" STR_FMT "%s" STR_FMT "\",", STR_ARG(r->name), e->sub ? "/" : "",
               STR_ARG(e->sub ? e->sub->name : STR_NULL));
    add_string(out, "singularName", e->sub ? STR("") : r->singular);
    buf_printf(out, ",\"namespaced\":%s,", r->namespaced ? "true" : "false");
    if (e->sub && (!str_eqz(r->group, e->sub->group) || !str_eqz(e->version->version, e->sub->version))) {
        if (*e->sub->group)
            buf_printf(out, "\"group\":\"%s\",", e->sub->group);
        buf_printf(out, "\"version\":\"%s\",", e->sub->version);
    }
    add_string(out, "kind", e->sub ? str_from(e->sub->kind) : r->kind);
    buf_addz(out, ",");
    add_verbs(out, e->sub ? e->sub->verbs : e->version->verbs);
    if (!e->sub) {
        add_names(out, "shortNames", r->short_names);
        add_names(out, "categories", r->categories);
        if (r->storage_prefix.len)
            add_storage_hash(out, r);
    }
    buf_addz(out, "}");
}

static void add_response_kind(struct buf *out, struct str group, struct str version, struct str kind)
{
    buf_printf(out, "\"responseKind\":{\"group\":\"" STR_FMT "\",\"version\":\"" STR_FMT "\",\"kind\":\"" STR_FMT "\"}",
               STR_ARG(group), STR_ARG(version), STR_ARG(kind));
}

static void add_aggregated(struct buf *out, const struct entry *e, size_t n)
{
    const struct resource *r = e->resource;
    buf_addz(out, "{");
    add_string(out, "resource", r->name);
    buf_addz(out, ",");
    add_response_kind(out, r->group, e->version->version, r->kind);
    buf_printf(out, ",\"scope\":\"%s\",", r->namespaced ? "Namespaced" : "Cluster");
    add_string(out, "singularResource", r->singular);
    buf_addz(out, ",");
    add_verbs(out, e->version->verbs);
    add_names(out, "shortNames", r->short_names);
    add_names(out, "categories", r->categories);
    for (size_t i = 1; i < n; i++) {
        const struct subresource *s = e[i].sub;
        buf_addz(out, i == 1 ? ",\"subresources\":[{" : ",{");
        add_string(out, "subresource", s->name);
        buf_addz(out, ",");
        add_response_kind(out, str_from(s->group), str_from(s->version), str_from(s->kind));
        buf_addz(out, ",");
        add_verbs(out, s->verbs);
        buf_addz(out, "}");
    }
    buf_addz(out, n > 1 ? "]}" : "}");
}

/* ---- documents ---- */

void discovery_api_versions(struct buf *out, struct str server_address)
{
    buf_addz(out, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                  "\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\",");
    add_string(out, "serverAddress", server_address);
    buf_addz(out, "}]}");
}

void discovery_group_list(struct buf *out)
{
    struct groups g;
    bool comma = false;
    groups_read(&g);
    buf_addz(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; i < g.len; i++) {
        if (!g.names[i].len)
            continue;
        buf_addz(out, comma ? ",{" : "{");
        add_group(out, g.names[i]);
        buf_addz(out, "}");
        comma = true;
    }
    buf_addz(out, "]}");
}

bool discovery_group(struct buf *out, struct str group)
{
    struct str versions[8];
    if (!group.len || !versions_read(group, versions))
        return false;
    buf_addz(out, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
    add_group(out, group);
    buf_addz(out, "}");
    return true;
}

bool discovery_resource_list(struct buf *out, struct str group, struct str version)
{
    struct entries list = entries_read(group, version);
    size_t n = list.len;
    if (n) {
        buf_addz(out, "{\"kind\":\"APIResourceList\",");
        if (group.len)
            buf_printf(out, "\"apiVersion\":\"v1\",\"groupVersion\":\"" STR_FMT "/", STR_ARG(group));
        else
            buf_addz(out, "\"groupVersion\":\"");
        buf_add_str(out, version);
        buf_addz(out, "\",\"resources\":[");
        for (size_t i = 0; i < n; i++) {
            if (i)
                buf_addz(out, ",");
            add_classic(out, &list.items[i]);
        }
        buf_addz(out, "]}");
    }
    free(list.items);
    return n > 0;
}

static void add_aggregated_version(struct buf *out, struct str group, struct str version)
{
    struct entries list = entries_read(group, version);
    size_t n = list.len;
    buf_addz(out, "{");
    add_string(out, "version", version);
    buf_addz(out, ",\"resources\":[");
    for (size_t i = 0, m; i < n; i += m) {
        for (m = 1; i + m < n && list.items[i + m].resource == list.items[i].resource;)
            m++;
        if (i)
            buf_addz(out, ",");
        add_aggregated(out, &list.items[i], m);
    }
    buf_addz(out, "],\"freshness\":\"Current\"}");
    free(list.items);
}

void discovery_aggregated(struct buf *out, bool core, const char *version)
{
    struct groups g;
    bool comma = false;
    groups_read(&g);
    buf_printf(
        out,
        "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/%s\",\"metadata\":{},\"items\":[",
        version);
    for (size_t i = 0; i < g.len; i++) {
        struct str versions[8];
        if (core != !g.names[i].len)
            continue;
        size_t n = versions_read(g.names[i], versions);
        buf_addz(out, comma ? ",{\"metadata\":{" : "{\"metadata\":{");
        if (g.names[i].len)
            add_string(out, "name", g.names[i]);
        buf_addz(out, "},\"versions\":[");
        for (size_t k = 0; k < n; k++) {
            if (k)
                buf_addz(out, ",");
            add_aggregated_version(out, g.names[i], versions[k]);
        }
        buf_addz(out, "]}");
        comma = true;
    }
    buf_addz(out, "]}");
}

/* ---- answers ---- */

static void answer_aggregated(struct chain_request *c, bool core, bool beta)
{
    struct arena *a = c->req.arena;
    struct buf out = {0};
    unsigned char sum[SHA256_DIGEST_LENGTH];
    char etag[2 * sizeof sum + 3] = "\"";
    discovery_aggregated(&out, core, beta ? "v2beta1" : "v2");
    SHA256((unsigned char *)out.p, out.len, sum);
    for (size_t i = 0; i < sizeof sum; i++) {
        etag[1 + 2 * i] = "0123456789ABCDEF"[sum[i] >> 4];
        etag[2 + 2 * i] = "0123456789ABCDEF"[sum[i] & 15];
    }
    etag[1 + 2 * sizeof sum] = '"';
    etag[2 + 2 * sizeof sum] = 0;
    const struct http_header headers[] = {{STR("etag"), arena_str(a, str_from(etag))}, {STR("vary"), STR("Accept")}};
    if (str_eqz(http_header_get(c->req.exchange, "if-none-match"), etag))
        chain_respond(c, 304, headers, 2, NULL, 0);
    else
        chain_answer_json(c, 200,
                          beta ? "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
                               : "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                          buf_str(&out), headers, 2);
    buf_free(&out);
}

/* The aggregated form, when the client names it before plain JSON. */
static bool wants_aggregated(struct chain_request *c, bool *ret_beta)
{
    struct media_range *ranges;
    size_t n = accept_parse(c->req.arena, http_header_get(c->req.exchange, "accept"), &ranges);
    for (size_t i = 0; i < n; i++) {
        const struct media_range *r = &ranges[i];
        if (!r->as.len && accept_allows(r, 1, STR("application/json")))
            return false;
        bool v2 = str_eq(r->version, STR("v2")), beta = str_eq(r->version, STR("v2beta1"));
        if (str_eq(r->as, STR("APIGroupDiscoveryList")) && str_eq(r->group, STR("apidiscovery.k8s.io")) &&
            (v2 || beta) && !r->profile.len) {
            *ret_beta = beta;
            return true;
        }
    }
    return false;
}

bool discovery_run(struct chain_request *c)
{
    struct str rest = c->route.path, parts[5];
    size_t n = 0;
    while (n < 5 && str_split(&rest, '/', &parts[n]))
        n += parts[n].len > 0 || n > 0;
    while (n && !parts[n - 1].len)
        n--;
    bool core = n && str_eq(parts[0], STR("api")), grouped = n && str_eq(parts[0], STR("apis")), beta = false,
         found = true;
    if (n > 3 || (!core && !grouped) || (core && n > 2))
        return false;
    if (n == 1 && wants_aggregated(c, &beta)) {
        answer_aggregated(c, core, beta);
        return true;
    }
    struct buf out = {0};
    if (core && n == 1)
        discovery_api_versions(&out, str_from(c->req.server->address));
    else if (core)
        found = discovery_resource_list(&out, STR(""), parts[1]);
    else if (n == 1)
        discovery_group_list(&out);
    else if (n == 2)
        found = discovery_group(&out, parts[1]);
    else
        found = discovery_resource_list(&out, parts[1], parts[2]);
    if (found) {
        const struct http_header vary = {STR("vary"), STR("Accept")};
        chain_answer_json(c, 200, "application/json", buf_str(&out), &vary, n == 1);
    } else {
        chain_answer_not_found(c);
    }
    buf_free(&out);
    return true;
}
