#include "api/chain/rbac.h"

#include "api/chain/rbac_rules.h"
#include "base/map.h"
#include "storage/cache/cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMO_MAX 16384

enum decision { DECISION_DENY = 1, DECISION_ALLOW, DECISION_BY_NAME };

struct rbac {
    struct cache *cache;
    const struct resource *resources[RBAC_KINDS];
    pthread_mutex_t lock; /* over everything below */
    struct rbac_rules *rules;
    struct object_tree *trees[RBAC_KINDS]; /* what `rules` was compiled from */
    int64_t revision;                      /* of the cache when the trees were last looked at */
    struct map memo;
};

bool api_user_in_group(const struct api_user *user, struct str group)
{
    for (size_t i = 0; i < user->n_groups; i++)
        if (str_eq(user->groups[i], group))
            return true;
    return false;
}

struct api_attributes api_request_attributes(const struct api_request *req)
{
    struct api_attributes at = {
        .verb = str_from(verb_name(req->verb)),
        .group = req->resource->group,
        .resource = req->resource->name,
        .namespace_ = req->namespace_,
        .name = req->name,
    };
    if (req->subresource)
        at.subresource = req->subresource->name;
    /* A namespace counts as lying in itself, so that a Role may speak of it. */
    if (at.group.len == 0 && str_eq(at.resource, STR("namespaces")) && at.name.len)
        at.namespace_ = at.name;
    return at;
}

/* A tree's content is told apart by its size and its newest revision: every create and update leaves an object newer
 * than all before, and a deletion leaves fewer. */
static void tree_mark(const struct object_tree *t, size_t *ret_len, int64_t *ret_newest)
{
    struct object_tree_iter it;
    int64_t newest = 0;
    object_tree_iter_init(&it, t, STR_NULL);
    for (const struct object *o; (o = object_tree_next(&it));)
        if (o->revision > newest)
            newest = o->revision;
    *ret_len = object_tree_len(t);
    *ret_newest = newest;
}

static bool same_content(const struct object_tree *a, const struct object_tree *b)
{
    if (a == b)
        return true;
    size_t len_a, len_b;
    int64_t newest_a, newest_b;
    if (object_tree_len(a) != object_tree_len(b))
        return false;
    tree_mark(a, &len_a, &newest_a);
    tree_mark(b, &len_b, &newest_b);
    return len_a == len_b && newest_a == newest_b;
}

/* With the lock held: the rules are those of everything published so far. */
static void refresh(struct rbac *r)
{
    int64_t revision = cache_revision(r->cache);
    if (r->rules && revision == r->revision)
        return;
    struct object_tree *trees[RBAC_KINDS];
    bool same = r->rules != NULL;
    for (int i = 0; i < RBAC_KINDS; i++) {
        trees[i] = cache_snapshot(r->cache, r->resources[i]);
        same = same && same_content(r->trees[i], trees[i]);
    }
    r->revision = revision;
    for (int i = 0; i < RBAC_KINDS; i++) {
        object_tree_put(r->trees[i]);
        r->trees[i] = trees[i];
    }
    if (same)
        return;
    rbac_rules_destroy(r->rules);
    r->rules = rbac_rules_compile(r->trees);
    map_finish(&r->memo);
    r->memo = (struct map){0};
}

int rbac_create(struct cache *cache, struct rbac **ret, struct err *err)
{
    static const char *const names[RBAC_KINDS] = {"roles", "clusterroles", "rolebindings", "clusterrolebindings"};
    struct rbac *r = calloc(1, sizeof *r);
    r->cache = cache;
    pthread_mutex_init(&r->lock, NULL);
    for (int i = 0; i < RBAC_KINDS; i++) {
        r->resources[i] = resource_find(STR("rbac.authorization.k8s.io"), str_from(names[i]));
        if (!r->resources[i]) {
            rbac_destroy(r);
            return err_set(err, ERR_INTERNAL, "no schema for %s.rbac.authorization.k8s.io", names[i]);
        }
    }
    *ret = r;
    return 0;
}

void rbac_destroy(struct rbac *r)
{
    if (!r)
        return;
    for (int i = 0; i < RBAC_KINDS; i++)
        if (r->trees[i])
            object_tree_put(r->trees[i]);
    rbac_rules_destroy(r->rules);
    map_finish(&r->memo);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* user, groups, verb, group, resource, subresource and namespace, each closed by a zero byte. */
static bool memo_key(const struct api_user *user, const struct api_attributes *at, char *key, size_t cap,
                     size_t *ret_len)
{
    size_t len = 0;
    const struct str parts[] = {user->name, at->verb, at->group, at->resource, at->subresource, at->namespace_};
    for (size_t i = 0; i < sizeof parts / sizeof *parts + user->n_groups; i++) {
        size_t n = sizeof parts / sizeof *parts;
        struct str s = i < n ? parts[i] : user->groups[i - n];
        if (len + s.len + 1 > cap)
            return false;
        if (s.len)
            memcpy(key + len, s.p, s.len);
        len += s.len;
        key[len++] = 0;
    }
    *ret_len = len;
    return true;
}

static enum decision decide(const struct rbac_rules *rules, const struct api_user *user,
                            const struct api_attributes *at)
{
    bool by_name = false;
    struct api_attributes any = *at;
    any.name = STR_NULL;
    if (rbac_rules_allow(rules, user, &any, &by_name))
        return DECISION_ALLOW;
    return by_name ? DECISION_BY_NAME : DECISION_DENY;
}

int rbac_authorize(struct rbac *r, const struct api_user *user, const struct api_attributes *at)
{
    if (api_user_in_group(user, STR("system:masters")))
        return 0;
    char key[1024];
    size_t len = 0;
    enum decision d = 0;
    bool remember = !at->non_resource && memo_key(user, at, key, sizeof key, &len);
    struct str k = {key, len};

    pthread_mutex_lock(&r->lock);
    refresh(r);
    if (remember)
        d = (enum decision)(uintptr_t)map_get(&r->memo, k);
    if (!d) {
        d = decide(r->rules, user, at);
        if (remember) {
            if (r->memo.len >= MEMO_MAX) {
                map_finish(&r->memo);
                r->memo = (struct map){0};
            }
            map_put(&r->memo, k, (void *)(uintptr_t)d);
        }
    }
    if (d == DECISION_BY_NAME)
        d = at->name.len && rbac_rules_allow(r->rules, user, at, &(bool){false}) ? DECISION_ALLOW : DECISION_DENY;
    pthread_mutex_unlock(&r->lock);
    return d == DECISION_ALLOW ? 0 : 1;
}

int rbac_forbid(const struct api_user *user, const struct api_attributes *at, struct err *err)
{
    if (at->non_resource)
        return err_set(err, ERR_FORBIDDEN, "forbidden: User \"" STR_FMT "\" cannot " STR_FMT " path \"" STR_FMT "\"",
                       STR_ARG(user->name), STR_ARG(at->verb), STR_ARG(at->path));
    char who[512], what[256], where[128];
    if (at->name.len)
        snprintf(who, sizeof who, STR_FMT "%s" STR_FMT " \"" STR_FMT "\"", STR_ARG(at->resource),
                 at->group.len ? "." : "", STR_ARG(at->group), STR_ARG(at->name));
    else
        snprintf(who, sizeof who, STR_FMT "%s" STR_FMT, STR_ARG(at->resource), at->group.len ? "." : "",
                 STR_ARG(at->group));
    snprintf(what, sizeof what, STR_FMT "%s" STR_FMT, STR_ARG(at->resource), at->subresource.len ? "/" : "",
             STR_ARG(at->subresource));
    if (at->namespace_.len)
        snprintf(where, sizeof where, "in the namespace \"" STR_FMT "\"", STR_ARG(at->namespace_));
    else
        snprintf(where, sizeof where, "at the cluster scope");
    return err_set(err, ERR_FORBIDDEN,
                   "%s is forbidden: User \"" STR_FMT "\" cannot " STR_FMT " resource \"%s\" in API group \"" STR_FMT
                   "\" %s",
                   who, STR_ARG(user->name), STR_ARG(at->verb), what, STR_ARG(at->group), where);
}

struct str rbac_reason(struct rbac *r, struct arena *a, const struct api_user *user, const struct api_attributes *at)
{
    pthread_mutex_lock(&r->lock);
    refresh(r);
    struct str reason = rbac_rules_missing(r->rules, a, user, at->namespace_);
    pthread_mutex_unlock(&r->lock);
    return reason;
}

struct value *rbac_rules_review(struct rbac *r, struct arena *a, const struct api_user *user, struct str namespace_)
{
    pthread_mutex_lock(&r->lock);
    refresh(r);
    struct value *v = rbac_rules_list(r->rules, a, user, namespace_);
    pthread_mutex_unlock(&r->lock);
    return v;
}

int rbac_covers(struct rbac *r, struct arena *a, const struct api_user *user, struct str namespace_,
                const struct value *rules, struct str *ret_missing)
{
    pthread_mutex_lock(&r->lock);
    refresh(r);
    int rc = rbac_rules_cover(r->rules, a, user, namespace_, rules, ret_missing);
    pthread_mutex_unlock(&r->lock);
    return rc;
}
