#include "api/bootstrap.h"

#include "api/bootstrap/plan.h"
#include "api/bootstrap/tables.h"
#include "api/masterleases.h"
#include "base/clock.h"
#include "base/log.h"
#include "openapi/defaults.h"
#include "openapi/json.h"
#include "openapi/meta/identity.h"
#include "openapi/meta/time.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP_INTERVAL_S 10
#define NEWEST_MS 10000
#define ATTEMPTS 16 /* several servers begin at once */

int bootstrap_cidr_address(const char *cidr, unsigned n, char *ret, size_t cap, struct err *err)
{
    char text[64];
    struct in_addr a4;
    struct in6_addr a6;
    snprintf(text, sizeof text, "%s", cidr);
    char *slash = strchr(text, '/');
    if (slash)
        *slash = 0;
    if (slash && inet_pton(AF_INET, text, &a4) == 1) {
        a4.s_addr = htonl(ntohl(a4.s_addr) + n);
        inet_ntop(AF_INET, &a4, ret, (socklen_t)cap);
        return 0;
    }
    if (slash && inet_pton(AF_INET6, text, &a6) == 1) {
        for (int i = 15; i >= 0 && n; i--) {
            n += a6.s6_addr[i];
            a6.s6_addr[i] = (uint8_t)n;
            n >>= 8;
        }
        inet_ntop(AF_INET6, &a6, ret, (socklen_t)cap);
        return 0;
    }
    return err_set(err, ERR_BAD_REQUEST, "%s is no range of addresses such as 10.96.0.0/16", cidr);
}

/* ---- one object ---- */

static struct value *metadata_fill(struct bootstrap_plan *p, struct value *v, struct str ns, struct str name)
{
    struct arena *a = p->scratch;
    struct value *given = value_getz(v, "metadata"), *metadata = value_map(a), *whole = value_map(a);
    value_setz(a, metadata, "name", value_string(a, name));
    if (ns.len)
        value_setz(a, metadata, "namespace", value_string(a, ns));
    value_setz(a, metadata, "uid", value_string(a, uuid_new(a)));
    value_setz(a, metadata, "creationTimestamp", value_string(a, p->now));
    for (size_t i = 0; given && i < given->map.len; i++)
        value_set(a, metadata, given->map.members[i].key, given->map.members[i].value);
    value_setz(a, whole, "metadata", metadata);
    for (size_t i = 0; i < v->map.len; i++)
        if (!str_eq(v->map.members[i].key, STR("metadata")))
            value_set(a, whole, v->map.members[i].key, v->map.members[i].value);
    return whole;
}

void bootstrap_plan_create(struct bootstrap_plan *p, struct str group, struct str resource, struct str ns,
                           struct str name, struct value *v)
{
    const struct resource *r = resource_find(group, resource);
    if (!r || p->rc < 0)
        return;
    const struct object *there = cache_find(p->server->cache, r, ns, name);
    if (there) {
        object_put(there);
        return;
    }
    struct arena *a = p->scratch;
    struct value *whole = metadata_fill(p, v, ns, name);
    defaults_apply(a, r, r->storage_version, whole);
    struct object *o;
    p->rc = object_from_value(a, r, whole, 0, 0, &o, p->err);
    if (p->rc == 0)
        ARENA_PUSH(p->arena, p->writes, p->len, p->cap, (struct cache_write){.kind = CACHE_CREATE, .object = o});
    else
        err_context(p->err, "object " STR_FMT "/" STR_FMT, STR_ARG(resource), STR_ARG(name));
}

/* Replace the members named (up to a NULL) of an existing object where they are not what they should be; else create.
 */
static void plan_keep(struct bootstrap_plan *p, struct str group, struct str resource, struct str ns, struct str name,
                      struct value *v, const char *const *members)
{
    const struct resource *r = resource_find(group, resource);
    const struct object *there = r ? cache_find(p->server->cache, r, ns, name) : NULL;
    if (!there) {
        bootstrap_plan_create(p, group, resource, ns, name, v);
        return;
    }
    struct arena *a = p->scratch;
    struct value *old = object_value(a, there);
    struct object *o;
    bool changed = false;
    for (; *members; members++) {
        if (value_semantic_equal(value_getz(old, *members), value_getz(v, *members)))
            continue;
        if (value_getz(v, *members))
            value_setz(a, old, *members, value_getz(v, *members));
        else
            value_removez(old, *members);
        changed = true;
    }
    if (changed && p->rc == 0) {
        defaults_apply(a, r, r->storage_version, old);
        p->rc = object_from_value(a, r, old, 0, there->create_revision, &o, p->err);
    }
    if (changed && p->rc == 0)
        ARENA_PUSH(p->arena, p->writes, p->len, p->cap,
                   (struct cache_write){.kind = CACHE_UPDATE, .object = o, .old = there});
    else
        object_put(there);
}

static struct value *text_value(struct bootstrap_plan *p, const char *json)
{
    struct json_options plain = {0};
    struct value *v;
    int rc = json_decode(p->scratch, str_from(json), &plain, &v, p->err);
    assert(rc == 0);
    return v;
}

/* ---- the rest ---- */

static void put_now(struct bootstrap_plan *p, struct value *v)
{
    struct value *conditions = value_path(v, "status.conditions");
    for (size_t i = 0; i < value_len(conditions); i++)
        value_setz(p->scratch, value_at(conditions, i), "lastTransitionTime", value_string(p->scratch, p->now));
}

static void plan_objects(struct bootstrap_plan *p)
{
    for (const struct bootstrap_object *o = bootstrap_objects; o->name; o++) {
        struct value *v = text_value(p, o->json);
        put_now(p, v);
        bootstrap_plan_create(p, str_from(o->group), str_from(o->resource), str_from(o->namespace_), str_from(o->name),
                              v);
        arena_reset(p->scratch);
    }
}

static void plan_config_maps(struct bootstrap_plan *p)
{
    struct arena *a = p->scratch;
    struct value *v = value_map(a);
    value_setz(a, value_ensure_map(a, v, "data"), "client-ca-file", value_string(a, str_from(p->server->ca_pem)));
    plan_keep(p, STR(""), STR("configmaps"), STR("kube-system"), STR("extension-apiserver-authentication"), v,
              (const char *const[]){"data", NULL});
    v = value_map(a);
    value_setz(a, value_ensure_map(a, v, "data"), "since", value_string(a, str_sub(p->now, 0, 10)));
    bootstrap_plan_create(p, STR(""), STR("configmaps"), STR("kube-system"),
                          STR("kube-apiserver-legacy-service-account-token-tracking"), v);
    arena_reset(a);
}

/* ---- what speaks of this server ---- */

static void plan_service(struct bootstrap_plan *p, struct str ip, bool v6)
{
    struct arena *a = p->scratch;
    const char *family = v6 ? "IPv6" : "IPv4";
    struct str text =
        arena_printf(a,
                     "{\"metadata\":{\"labels\":{\"component\":\"apiserver\",\"provider\":\"kubernetes\"}},"
                     "\"spec\":{\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":443,"
                     "\"targetPort\":%d}],\"clusterIP\":\"" STR_FMT "\",\"clusterIPs\":[\"" STR_FMT "\"],"
                     "\"type\":\"ClusterIP\",\"sessionAffinity\":\"None\",\"ipFamilies\":[\"%s\"],"
                     "\"ipFamilyPolicy\":\"SingleStack\",\"internalTrafficPolicy\":\"Cluster\"},"
                     "\"status\":{\"loadBalancer\":{}}}",
                     p->server->port, STR_ARG(ip), STR_ARG(ip), family);
    struct value *v = text_value(p, text.p);
    const struct resource *services = resource_find(STR(""), STR("services"));
    const struct object *there = cache_find(p->server->cache, services, STR("default"), STR("kubernetes"));
    if (there) { /* the port may have changed with --listen; the address stays as it was given */
        struct value *spec = value_getz(object_value(a, there), "spec");
        if (!kv_shared(p->server->kv))
            value_setz(a, spec, "ports", value_path(v, "spec.ports"));
        value_setz(a, v, "spec", spec);
        object_put(there);
    }
    plan_keep(p, STR(""), STR("services"), STR("default"), STR("kubernetes"), v, (const char *const[]){"spec", NULL});
    text = arena_printf(
        a,
        "{\"metadata\":{\"labels\":{\"ipaddress.kubernetes.io/ip-family\":\"%s\","
        "\"ipaddress.kubernetes.io/managed-by\":\"ipallocator.k8s.io\"}},"
        "\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"default\",\"name\":\"kubernetes\"}}}",
        family);
    bootstrap_plan_create(p, STR("networking.k8s.io"), STR("ipaddresses"), STR_NULL, ip, text_value(p, text.p));
    text = arena_printf(
        a,
        "{\"spec\":{\"cidrs\":[\"%s\"]},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
        "\"lastTransitionTime\":\"NOW\",\"reason\":\"\",\"message\":\"Kubernetes Service CIDR is ready\"}]}}",
        p->server->options.service_cidr);
    v = text_value(p, text.p);
    put_now(p, v);
    bootstrap_plan_create(p, STR("networking.k8s.io"), STR("servicecidrs"), STR_NULL, STR("kubernetes"), v);
    arena_reset(a);
}

/* Host and port apart, without brackets. */
static struct str own_address(const struct api_server *s)
{
    struct str host = str_from(s->address);
    size_t colon = host.len;
    while (colon && host.p[colon - 1] != ':')
        colon--;
    host = str_sub(host, 0, colon ? colon - 1 : 0);
    return str_starts(host, STR("[")) ? str_sub(host, 1, host.len - 1) : host;
}

static bool is_v6(struct str address)
{
    size_t ignored;
    return str_index(address, ':', &ignored);
}

static void plan_endpoints(struct bootstrap_plan *p)
{
    struct arena *a = p->scratch;
    struct buf subset = {0}, slice = {0};
    bool v6 = is_v6(own_address(p->server));
    for (size_t i = 0; i < p->n_addresses; i++) {
        struct str ip = p->addresses[i];
        if (is_v6(ip) != v6)
            continue;
        buf_printf(&subset, "%s{\"ip\":\"" STR_FMT "\"}", subset.len ? "," : "", STR_ARG(ip));
        buf_printf(&slice, "%s{\"addresses\":[\"" STR_FMT "\"],\"conditions\":{\"ready\":true}}", slice.len ? "," : "",
                   STR_ARG(ip));
    }
    struct str text = arena_printf(a,
                                   "{\"metadata\":{\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}},"
                                   "\"subsets\":[{\"addresses\":[" STR_FMT "],"
                                   "\"ports\":[{\"name\":\"https\",\"port\":%d,\"protocol\":\"TCP\"}]}]}",
                                   STR_ARG(buf_str(&subset)), p->server->port);
    if (!subset.len)
        text = STR("{\"metadata\":{\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}}}");
    plan_keep(p, STR(""), STR("endpoints"), STR("default"), STR("kubernetes"), text_value(p, text.p),
              (const char *const[]){"subsets", NULL});
    text = arena_printf(a,
                        "{\"metadata\":{\"generation\":1,\"labels\":{\"kubernetes.io/service-name\":\"kubernetes\"}},"
                        "\"addressType\":\"%s\",\"endpoints\":[" STR_FMT "],"
                        "\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":%d}]}",
                        v6 ? "IPv6" : "IPv4", STR_ARG(buf_str(&slice)), p->server->port);
    struct value *v = text_value(p, text.p);
    plan_keep(p, STR("discovery.k8s.io"), STR("endpointslices"), STR("default"), STR("kubernetes"), v,
              (const char *const[]){"endpoints", "ports", NULL});
    buf_free(&subset);
    buf_free(&slice);
    arena_reset(a);
}

/* ---- the commit ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
    int rc;
    struct err *err;
};

static void committed(void *arg, int rc, int64_t revision, const struct object *const *objects, const struct err *err)
{
    struct waiter *w = arg;
    (void)revision;
    (void)objects;
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    if (rc < 0 && err)
        *w->err = *err;
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

/* In as many transactions as the store needs: each object stands by itself. */
static int plan_commit(struct bootstrap_plan *p)
{
    size_t most = kv_txn_max(p->server->kv), n;
    int rc = 0;

    for (size_t at = 0; at < p->len && rc == 0; at += n) {
        struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .err = p->err};
        n = p->len - at < most ? p->len - at : most;
        cache_commit(p->server->cache, p->writes + at, n, NULL, 0, NULL, 0, p->server->loops[0], committed, &w);
        pthread_mutex_lock(&w.lock);
        while (!w.finished)
            pthread_cond_wait(&w.done, &w.lock);
        pthread_mutex_unlock(&w.lock);
        rc = w.rc;
    }
    return rc;
}

/* Who serves: this server; where others share the store, all that renew their key, with ours among them or without. */
static int find_servers(struct bootstrap_plan *p, bool leaving)
{
    struct api_server *s = p->server;
    struct str *own = ARENA_NEW(p->arena, struct str), *listed;
    *own = own_address(s);
    p->addresses = own;
    p->n_addresses = 1;
    if (!kv_shared(s->kv))
        return 0;
    int rc = leaving ? masterleases_drop(s->kv, *own, p->err) : masterleases_renew(s->kv, *own, p->err);
    if (rc == 0)
        rc = masterleases_list(s->kv, p->arena, &listed, &p->n_addresses, p->err);
    if (rc == 0)
        p->addresses = listed;
    return rc;
}

enum extent { EVERYTHING, OWN, LEAVING }; /* all objects; what speaks of this server; the same when it goes */

static int run(struct api_server *s, enum extent extent, struct err *err)
{
    struct bootstrap_plan p = {.server = s, .arena = arena_create(0), .scratch = arena_create(0), .err = err};
    char ip[64];
    p.now = time_format(p.arena, clock_wall_ms() / 1000 * 1000000);
    p.rc = bootstrap_cidr_address(s->options.service_cidr, 1, ip, sizeof ip, err);
    if (p.rc == 0)
        p.rc = find_servers(&p, extent == LEAVING);
    if (p.rc == 0 && extent == EVERYTHING) {
        plan_objects(&p);
        bootstrap_plan_rbac(&p);
        plan_config_maps(&p);
    }
    if (p.rc == 0) {
        if (extent != LEAVING)
            plan_service(&p, arena_str(p.arena, str_from(ip)), strchr(ip, ':') != NULL);
        plan_endpoints(&p);
    }
    if (p.rc == 0 && p.len)
        p.rc = plan_commit(&p);
    for (size_t i = 0; i < p.len; i++)
        object_put(p.writes[i].old);
    arena_destroy(p.scratch);
    arena_destroy(p.arena);
    return p.rc;
}

static void newest_here(void *arg, int rc, const struct err *err)
{
    committed(arg, rc, 0, NULL, err);
}

/* What others have written meanwhile is seen before the next attempt. */
static int catch_up(struct api_server *s, struct err *err)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .err = err};
    cache_wait_newest(s->cache, NEWEST_MS, s->loops[0], newest_here, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.finished)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.rc;
}

static int run_until_done(struct api_server *s, enum extent extent, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < ATTEMPTS; i++) {
        rc = run(s, extent, err);
        if ((rc != ERR_ALREADY_EXISTS && rc != ERR_CONFLICT) || !kv_shared(s->kv))
            return rc;
        if (catch_up(s, err) < 0)
            return err->code;
    }
    return rc;
}

int bootstrap_run(struct api_server *s, struct err *err)
{
    int rc = run_until_done(s, EVERYTHING, err);
    if (rc < 0)
        return err_context(err, "the objects of a fresh cluster");
    s->bootstrapped = true;
    return 0;
}

/* ---- keeping ---- */

struct bootstrap_keeper {
    struct api_server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending, server_gone;
    struct kv_listener listener; /* where others share the store: for servers that are gone */
};

static void on_events(void *arg, const struct kv_event *events, size_t n, int64_t revision)
{
    struct bootstrap_keeper *k = arg;
    (void)revision;
    for (size_t i = 0; i < n; i++) {
        if (events[i].kind != KV_EVENT_DELETE || !str_starts(events[i].pair.key, STR(MASTERLEASES_PREFIX)))
            continue;
        pthread_mutex_lock(&k->lock);
        k->server_gone = true;
        pthread_cond_signal(&k->changed);
        pthread_mutex_unlock(&k->lock);
    }
}

static void *keep(void *arg)
{
    struct bootstrap_keeper *k = arg;
    pthread_mutex_lock(&k->lock);
    for (struct timespec until = {0}; !k->ending;) {
        if (!until.tv_sec) {
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += KEEP_INTERVAL_S;
        }
        int waited = k->server_gone ? 0 : pthread_cond_timedwait(&k->changed, &k->lock, &until);
        if (waited != ETIMEDOUT && !k->server_gone)
            continue;
        k->server_gone = false;
        until.tv_sec = 0;
        pthread_mutex_unlock(&k->lock);
        struct err err = ERR_INIT;
        if (run_until_done(k->server, OWN, &err) < 0 && err.code != ERR_CONFLICT)
            log_warn("bootstrap", "the kubernetes Service could not be put back: %s", err.message);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

struct bootstrap_keeper *bootstrap_keeper_start(struct api_server *s)
{
    struct bootstrap_keeper *k = calloc(1, sizeof *k);
    assert(k);
    k->server = s;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->changed, NULL);
    k->listener = (struct kv_listener){.fn = on_events, .arg = k};
    if (kv_shared(s->kv))
        kv_add_listener(s->kv, &k->listener);
    int rc = pthread_create(&k->thread, NULL, keep, k);
    assert(rc == 0);
    return k;
}

void bootstrap_keeper_stop(struct bootstrap_keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->ending = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    if (kv_shared(k->server->kv)) {
        struct err err = ERR_INIT;
        kv_remove_listener(k->server->kv, &k->listener);
        if (!kv_trouble(k->server->kv) && run_until_done(k->server, LEAVING, &err) < 0)
            log_warn("bootstrap", "this server's address is still listed: %s", err.message);
    }
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->changed);
    free(k);
}
