#include "api/route.h"

#include "base/net/http.h"

#define SEGMENTS_MAX 64

struct segments {
    struct str at[SEGMENTS_MAX];
    size_t len;
};

static void split(struct str path, struct segments *ret)
{
    struct str part;
    ret->len = 0;
    while (ret->len < SEGMENTS_MAX && str_split(&path, '/', &part))
        if (part.len || ret->len) /* a leading slash makes no segment; doubled ones do, and match nothing */
            ret->at[ret->len++] = part;
    while (ret->len && !ret->at[ret->len - 1].len)
        ret->len--;
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
    return (struct str){p, s.len};
}

static bool is_true(struct str s)
{
    return !str_eq(s, STR("0")) && !str_eq_nocase(s, STR("false"));
}

/* ?watch=1, and the name that fieldSelector=metadata.name=x demands: both decide what the request is called. */
static void read_query(struct arena *a, struct str query, bool *ret_watch, struct str *ret_name)
{
    struct str name, value;
    *ret_watch = false;
    while (http_query_next(a, &query, &name, &value)) {
        if (str_eq(name, STR("watch")))
            *ret_watch = is_true(value);
        else if (str_eq(name, STR("fieldSelector"))) {
            struct str one;
            while (str_split(&value, ',', &one)) {
                const struct str prefix = STR("metadata.name=");
                if (!str_starts(one, prefix))
                    continue;
                one = str_sub(one, prefix.len, one.len);
                *ret_name = str_starts(one, STR("=")) ? str_sub(one, 1, one.len) : one;
            }
        }
    }
}

static enum verb method_verb(struct str method, bool has_name)
{
    if (str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")))
        return has_name ? VERB_GET : VERB_LIST;
    if (str_eq(method, STR("POST")))
        return VERB_CREATE;
    if (str_eq(method, STR("PUT")))
        return VERB_UPDATE;
    if (str_eq(method, STR("PATCH")))
        return VERB_PATCH;
    if (str_eq(method, STR("DELETE")))
        return has_name ? VERB_DELETE : VERB_DELETE_COLLECTION;
    return 0;
}

static struct str from_segment(struct str path, struct str segment)
{
    size_t at = (size_t)(segment.p - path.p);
    return str_sub(path, at - 1, path.len);
}

static void read_resource(struct arena *a, struct segments *s, size_t i, struct str method, struct str query,
                          struct route *r)
{
    bool watch = false;
    struct str selected = STR_NULL;
    if (i < s->len && str_eq(s->at[i], STR("watch")) && i + 1 < s->len) {
        r->watch_path = true;
        i++;
    }
    if (i < s->len && str_eq(s->at[i], STR("namespaces")) && i + 1 < s->len) {
        r->namespace_ = s->at[i + 1];
        if (i + 2 < s->len && !str_eq(s->at[i + 2], STR("status")) && !str_eq(s->at[i + 2], STR("finalize"))) {
            r->namespaced = true;
            i += 2;
        }
    }
    if (i < s->len)
        r->resource = s->at[i];
    if (i + 1 < s->len)
        r->name = s->at[i + 1];
    if (i + 2 < s->len)
        r->subresource = s->at[i + 2];
    if (i + 3 < s->len)
        r->rest = from_segment(r->path, s->at[i + 3]);
    r->verb = method_verb(method, r->name.len > 0);
    if (r->verb == VERB_LIST && query.len)
        read_query(a, query, &watch, &selected);
    if (r->watch_path || (r->verb == VERB_LIST && watch))
        r->verb = VERB_WATCH;
    if (!r->name.len && selected.len)
        r->name = selected;
    r->action = r->verb ? str_from(verb_name(r->verb)) : lower(a, method);
}

bool route_parse(struct arena *a, struct str method, struct str raw_path, struct str raw_query, struct route *ret)
{
    struct segments s;
    *ret = (struct route){0};
    bool encoded = memchr(raw_path.p ? raw_path.p : "", '%', raw_path.len) != NULL;
    struct str path = encoded ? http_percent_decode(a, raw_path) : arena_str(a, raw_path);
    if (!path.p)
        return false;
    ret->path = path;
    split(path, &s);
    bool core = s.len && str_eq(s.at[0], STR("api")), grouped = s.len && str_eq(s.at[0], STR("apis"));
    if ((!core || s.len < 3) && (!grouped || s.len < 4)) {
        ret->action = lower(a, method);
        return true;
    }
    ret->is_resource = true;
    ret->group = core ? STR("") : s.at[1];
    ret->version = s.at[core ? 1 : 2];
    read_resource(a, &s, core ? 2 : 3, method, raw_query, ret);
    return true;
}
