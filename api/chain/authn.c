#include "api/chain/authn.h"

#include "api/chain/bootstrap_token.h"
#include "api/chain/identity.h"
#include "api/chain/rbac.h"
#include "api/chain/static_token.h"
#include "api/chain/token.h"
#include "base/clock.h"
#include "base/map.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>

#define CACHED_TOKENS_MAX 8192

struct authenticator {
    struct api_server *server;
    const struct resource *service_accounts, *pods, *secrets, *nodes;
    struct identity *anonymous;
    struct map *fixed;    /* token of the file → struct identity */
    pthread_mutex_t lock; /* over `tokens` */
    struct map tokens;    /* verified service-account token → struct identity */
};

int authenticator_create(struct api_server *server, struct authenticator **ret, struct err *err)
{
    struct authenticator *a = calloc(1, sizeof *a);
    static const struct str unauthenticated = {"system:unauthenticated", 22};
    a->server = server;
    pthread_mutex_init(&a->lock, NULL);
    a->service_accounts = resource_find(STR(""), STR("serviceaccounts"));
    a->pods = resource_find(STR(""), STR("pods"));
    a->secrets = resource_find(STR(""), STR("secrets"));
    a->nodes = resource_find(STR(""), STR("nodes"));
    a->anonymous = identity_create();
    identity_set(a->anonymous, STR("system:anonymous"), STR_NULL, &unauthenticated, 1);
    if (server->options.token_auth_file) {
        int rc = static_tokens_load(server->options.token_auth_file, &a->fixed, err);
        if (rc < 0) {
            authenticator_destroy(a);
            return rc;
        }
    }
    *ret = a;
    return 0;
}

static void forget_all(struct map *m)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, m);
    while (map_iter_next(&it, &key, &value))
        identity_put(value);
    map_finish(m);
    *m = (struct map){0};
}

void authenticator_destroy(struct authenticator *a)
{
    if (!a)
        return;
    forget_all(&a->tokens);
    if (a->fixed)
        forget_all(a->fixed);
    free(a->fixed);
    identity_put(a->anonymous);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- client certificates ---- */

static void connection_free(void *user)
{
    identity_put(user);
}

static struct identity *of_certificate(struct http_peer *peer)
{
    if (peer->user)
        return peer->user;
    size_t n = 0;
    while (peer->cert_orgs && peer->cert_orgs[n].p)
        n++;
    struct identity *id = identity_create();
    identity_set(id, peer->cert_cn, STR_NULL, peer->cert_orgs, n);
    unsigned char sum[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)peer->cert_der.p, peer->cert_der.len, sum);
    char text[16 + 2 * SHA256_DIGEST_LENGTH] = "X509SHA256=";
    for (size_t i = 0; i < sizeof sum; i++) {
        text[11 + 2 * i] = "0123456789abcdef"[sum[i] >> 4];
        text[12 + 2 * i] = "0123456789abcdef"[sum[i] & 15];
    }
    identity_add_extra(id, "authentication.kubernetes.io/credential-id", str_from(text));
    peer->user = id;
    peer->user_free = connection_free;
    return id;
}

/* ---- service-account tokens ---- */

static bool alive(struct authenticator *a, const struct resource *r, struct str ns, const struct token_object *what)
{
    if (!what->name.len)
        return true;
    const struct object *o = cache_find(a->server->cache, r, ns, what->name);
    bool ok = o && str_eq(o->uid, what->uid);
    object_put(o);
    return ok;
}

/* The objects a token stands on must exist with the same uid. Upstream lets a token of a pod go on while the pod is
 * being deleted, so mere existence is the rule. */
static int still_bound(struct authenticator *a, struct identity *id, struct err *err)
{
    const struct token_claims *c = &id->claims;
    int64_t revision = cache_revision(a->server->cache);
    if (clock_wall_ms() / 1000 > c->expires_s + 10)
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, service account token has expired");
    if (atomic_load_explicit(&id->checked_revision, memory_order_acquire) == revision)
        return 0;
    if (!c->service_account.name.len || !alive(a, a->service_accounts, c->namespace_, &c->service_account))
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, serviceaccounts \"" STR_FMT "\" not found",
                       STR_ARG(c->service_account.name));
    if (!alive(a, a->pods, c->namespace_, &c->pod) || !alive(a, a->secrets, c->namespace_, &c->secret))
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, service account token has been invalidated");
    if (!c->pod.name.len && !alive(a, a->nodes, STR_NULL, &c->node))
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, service account token has been invalidated");
    atomic_store_explicit(&id->checked_revision, revision, memory_order_release);
    return 0;
}

static struct identity *of_claims(struct authenticator *a, struct str token, struct err *err, int *ret_rc)
{
    struct identity *id = identity_create();
    token = arena_str(id->arena, token);
    int rc = token_verify(a->server->signer, id->arena, token, &id->claims, err);
    if (rc == 0) {
        const struct token_claims *c = &id->claims;
        struct str name = arena_printf(id->arena, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(c->namespace_),
                                       STR_ARG(c->service_account.name));
        struct str groups[2] = {STR("system:serviceaccounts"),
                                arena_printf(id->arena, "system:serviceaccounts:" STR_FMT, STR_ARG(c->namespace_))};
        identity_set(id, name, c->service_account.uid, groups, 2);
        identity_add_extra(id, "authentication.kubernetes.io/credential-id",
                           arena_printf(id->arena, "JTI=" STR_FMT, STR_ARG(c->id)));
        if (c->node.name.len) {
            identity_add_extra(id, "authentication.kubernetes.io/node-name", c->node.name);
            identity_add_extra(id, "authentication.kubernetes.io/node-uid", c->node.uid);
        }
        if (c->pod.name.len) {
            identity_add_extra(id, "authentication.kubernetes.io/pod-name", c->pod.name);
            identity_add_extra(id, "authentication.kubernetes.io/pod-uid", c->pod.uid);
        }
        rc = still_bound(a, id, err);
    }
    *ret_rc = rc;
    if (rc == 0)
        return id;
    identity_put(id);
    return NULL;
}

static struct identity *remembered(struct authenticator *a, struct str token)
{
    pthread_mutex_lock(&a->lock);
    struct identity *id = map_get(&a->tokens, token);
    if (id)
        ref_get(&id->ref);
    pthread_mutex_unlock(&a->lock);
    return id;
}

static void remember(struct authenticator *a, struct str token, struct identity *id)
{
    ref_get(&id->ref);
    pthread_mutex_lock(&a->lock);
    if (a->tokens.len >= CACHED_TOKENS_MAX)
        forget_all(&a->tokens);
    identity_put(map_put(&a->tokens, token, id));
    pthread_mutex_unlock(&a->lock);
}

static void forget(struct authenticator *a, struct str token)
{
    pthread_mutex_lock(&a->lock);
    identity_put(map_remove(&a->tokens, token));
    pthread_mutex_unlock(&a->lock);
}

/* A reference is the caller's. 0; 1 = nobody's; ERR_UNAUTHORIZED. */
static int of_token(struct authenticator *a, struct str token, struct identity **ret, struct err *err)
{
    struct identity *id = a->fixed ? map_get(a->fixed, token) : NULL;
    if (id) {
        ref_get(&id->ref);
        *ret = id;
        return 0;
    }
    id = remembered(a, token);
    if (id) {
        int rc = still_bound(a, id, err);
        if (rc < 0) {
            forget(a, token);
            identity_put(id);
            return rc;
        }
        *ret = id;
        return 0;
    }
    int rc = bootstrap_token_identity(a->server->cache, a->secrets, token, ret, err);
    if (rc != 1)
        return rc;
    id = of_claims(a, token, err, &rc);
    if (rc == 0) {
        remember(a, token, id);
        *ret = id;
    }
    return rc;
}

/* The audiences of a token that are among those wanted (none wanted: the API server's own). */
static size_t audiences_match(const struct identity *id, struct arena *arena, const struct str *want, size_t n_want,
                              const struct str **ret)
{
    static const struct str own = {TOKEN_ISSUER, sizeof TOKEN_ISSUER - 1};
    if (!n_want) {
        want = &own;
        n_want = 1;
    }
    struct str *both = ARENA_ARRAY(arena, struct str, n_want);
    size_t n = 0;
    for (size_t i = 0; i < n_want; i++) {
        bool has = !id->claims.subject.p && str_eq(want[i], own); /* other tokens are meant for this server */
        for (size_t k = 0; k < id->claims.n_audiences; k++)
            has = has || str_eq(id->claims.audiences[k], want[i]);
        if (has)
            both[n++] = arena_str(arena, want[i]);
    }
    *ret = both;
    return n;
}

int authn_token(struct authenticator *a, struct arena *arena, struct str token, const struct str *audiences,
                size_t n_audiences, const struct api_user **ret, const struct str **ret_audiences,
                size_t *ret_n_audiences, struct err *err)
{
    struct identity *id;
    int rc = of_token(a, token, &id, err);
    if (rc)
        return rc;
    *ret_n_audiences = audiences_match(id, arena, audiences, n_audiences, ret_audiences);
    if (*ret_n_audiences)
        *ret = identity_hold(id, arena);
    else
        rc = err_set(err, ERR_UNAUTHORIZED, "token audiences do not match");
    identity_put(id);
    return rc;
}

static struct str bearer(const struct http_exchange *ex)
{
    struct str header = http_header_get(ex, "authorization"), word;
    if (!header.len || !str_split(&header, ' ', &word) || !str_eq_nocase(word, STR("bearer")))
        return STR_NULL;
    return str_trim(header);
}

int authn_request(struct authenticator *a, struct http_exchange *ex, struct arena *arena, const struct api_user **ret,
                  struct err *err)
{
    if (ex->peer->cert_der.len && ex->peer->cert_cn.len) {
        *ret = identity_hold(of_certificate(ex->peer), arena);
        return 0;
    }
    struct str token = bearer(ex);
    if (!token.len) {
        *ret = identity_hold(a->anonymous, arena);
        return 0;
    }
    const struct str *audiences;
    size_t n;
    if (authn_token(a, arena, token, NULL, 0, ret, &audiences, &n, err) == 0)
        return 0;
    return err_set(err, ERR_UNAUTHORIZED, "Unauthorized");
}
