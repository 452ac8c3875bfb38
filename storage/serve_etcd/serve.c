#include "storage/serve_etcd/serve_internal.h"

#include "base/mem.h"
#include "storage/crypt/crypt.h"

#include <stdio.h>
#include <stdlib.h>

#define STOP_GRACE_MS 500

/* ---- shared ---- */

struct str serve_end(ProtobufCBinaryData range_end)
{
    static const char last[64] = {[0 ... 63] = (char)0xff}; /* above every key that makes sense */

    if (!range_end.len)
        return STR_NULL;
    if (range_end.len == 1 && !range_end.data[0])
        return (struct str){last, sizeof last};
    return serve_str(range_end);
}

Etcdserverpb__ResponseHeader *serve_header(struct serve_etcd *s, struct arena *a, int64_t revision)
{
    Etcdserverpb__ResponseHeader *h = arena_alloc(a, sizeof *h);

    (void)s;
    etcdserverpb__response_header__init(h);
    h->cluster_id = SERVE_CLUSTER_ID;
    h->member_id = SERVE_MEMBER_ID;
    h->revision = revision;
    h->raft_term = 1;
    return h;
}

/* A value that cannot be sealed now (its key service does not answer) is shown empty, never open. */
static struct str shown(struct serve_etcd *s, struct arena *a, const struct kv_pair *p)
{
    struct buf sealed = {0};
    struct err err = ERR_INIT;
    struct str value = p->value;
    int rc = s->opt.crypt ? crypt_seal(s->opt.crypt, p->key, p->value, &sealed, &err) : 1;

    if (rc <= 0)
        value = rc < 0 ? STR("") : buf_str(&sealed);
    value = arena_str(a, value);
    buf_free(&sealed);
    return value;
}

Etcdserverpb__KeyValue *serve_pair(struct serve_etcd *s, struct arena *a, const struct kv_pair *p, bool keys_only)
{
    Etcdserverpb__KeyValue *out = arena_alloc(a, sizeof *out);

    etcdserverpb__key_value__init(out);
    out->key = serve_bytes(arena_str(a, p->key));
    if (!keys_only && p->value.len)
        out->value = serve_bytes(shown(s, a, p));
    out->create_revision = p->create_revision;
    out->mod_revision = p->mod_revision;
    out->version = p->version;
    out->lease = p->lease;
    return out;
}

static const struct failure {
    enum err_code code;
    const char *starts; /* of the store's message */
    enum grpc_status status;
    const char *message; /* etcd's; NULL: "etcdserver: " and the store's */
} failures[] = {
    {ERR_EXPIRED, "", GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"},
    {ERR_TIMEOUT, "Too large", GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"},
    {ERR_BAD_REQUEST, "required revision", GRPC_OUT_OF_RANGE,
     "etcdserver: mvcc: required revision is a future revision"},
    {ERR_BAD_REQUEST, "too large lease", GRPC_OUT_OF_RANGE, "etcdserver: too large lease TTL"},
    {ERR_BAD_REQUEST, "", GRPC_INVALID_ARGUMENT, NULL},
    {ERR_NOT_FOUND, "", GRPC_NOT_FOUND, "etcdserver: requested lease not found"},
    {ERR_ALREADY_EXISTS, "", GRPC_FAILED_PRECONDITION, "etcdserver: lease already exists"},
    {ERR_TOO_LARGE, "", GRPC_INVALID_ARGUMENT, "etcdserver: request is too large"},
    {ERR_NO_SPACE, "", GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"},
    {ERR_FORBIDDEN, "", GRPC_PERMISSION_DENIED, NULL},
    {ERR_METHOD_NOT_ALLOWED, "", GRPC_UNIMPLEMENTED, NULL},
    {ERR_UNAVAILABLE, "", GRPC_UNAVAILABLE, NULL},
    {ERR_CORRUPT, "", GRPC_DATA_LOSS, NULL},
    {ERR_OK, "", GRPC_INTERNAL, NULL},
};

void serve_fail(struct grpc_incoming *c, const struct err *err)
{
    const struct failure *f = failures;
    char text[ERR_MESSAGE_MAX + 16];

    while (f->code && (f->code != err->code || strncmp(err->message, f->starts, strlen(f->starts)) != 0))
        f++;
    snprintf(text, sizeof text, "etcdserver: %s", err->message);
    grpc_end(c, f->status, f->message ? f->message : text);
}

static void maybe_over(struct serve_etcd *s)
{
    if (!s->stopping || s->n_pending)
        return;
    pthread_mutex_lock(&s->lock);
    s->over = true;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
}

void serve_begin(struct grpc_incoming *c)
{
    grpc_hold(c);
    serve_of(c)->n_pending++;
}

void serve_finished(struct grpc_incoming *c)
{
    struct serve_etcd *s = serve_of(c);

    grpc_release(c);
    s->n_pending--;
    maybe_over(s);
}

const char *serve_guard(const struct serve_etcd *s, struct str key, struct str end)
{
    static const char why[] = "etcdserver: keys under /registry hold Skiff's objects and are written through its "
                              "Kubernetes API only: use kubectl";
    struct str root = STR("/registry"), first = STR("/registry/"), last = STR("/registry0");

    if (!s->opt.guard_registry)
        return NULL;
    if (!end.p)
        return str_eq(key, root) || str_starts(key, first) ? why : NULL;
    bool covers_root = str_cmp(key, root) <= 0 && str_cmp(root, end) < 0;
    bool meets = str_cmp(key, last) < 0 && str_cmp(first, end) < 0;
    return covers_root || meets ? why : NULL;
}

/* ---- Cluster, Auth ---- */

static void serve_member_list(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    Etcdserverpb__MemberListResponse out = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT, *members[] = {&member};
    struct serve_etcd *s = serve_of(c);
    struct str host = str_from(s->opt.listen);

    (void)request;
    for (size_t i = host.len; i > 0; i--)
        if (host.p[i - 1] == ':') {
            host.len = i - 1;
            break;
        }
    char *url = (char *)(uintptr_t)arena_printf(c->arena, "%s://" STR_FMT ":%d", s->opt.tls ? "https" : "http",
                                                STR_ARG(host), serve_etcd_port(s))
                    .p;
    member.id = SERVE_MEMBER_ID;
    member.name = (char *)(uintptr_t) "skiff";
    member.clienturls = member.peerurls = &url;
    member.n_clienturls = member.n_peerurls = 1;
    out.header = serve_header(s, c->arena, kv_revision(s->kv));
    out.members = members;
    out.n_members = 1;
    grpc_answer(c, &out.base);
}

static void refuse_cluster(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    (void)request;
    grpc_end(c, GRPC_UNIMPLEMENTED, "etcdserver: the store has one member, Skiff itself, and takes no others");
}

static void refuse_auth(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    (void)request;
    grpc_end(c, GRPC_FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
}

static void refuse_auth_enable(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    (void)request;
    grpc_end(c, GRPC_FAILED_PRECONDITION, "etcdserver: root user does not exist");
}

static void serve_auth_status(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    Etcdserverpb__AuthStatusResponse out = ETCDSERVERPB__AUTH_STATUS_RESPONSE__INIT;

    (void)request;
    out.header = serve_header(serve_of(c), c->arena, kv_revision(serve_of(c)->kv));
    out.authrevision = 1;
    grpc_answer(c, &out.base);
}

/* ---- methods ---- */

#define METHOD(service, name, message, fn)                                                                         \
    {                                                                                                              \
        .path = "/etcdserverpb." service "/" name, .request = &etcdserverpb__##message##__descriptor, .handle = fn \
    }
#define STREAM(service, name, message, fn)                                                                          \
    {                                                                                                               \
        .path = "/etcdserverpb." service "/" name, .request = &etcdserverpb__##message##__descriptor, .handle = fn, \
        .stream = true                                                                                              \
    }

static const struct grpc_method methods[] = {
    METHOD("KV", "Range", range_request, serve_range),
    METHOD("KV", "Put", put_request, serve_put),
    METHOD("KV", "DeleteRange", delete_range_request, serve_delete_range),
    {.path = "/etcdserverpb.KV/Txn",
     .request = &etcdserverpb__txn_request__descriptor,
     .handle = serve_txn,
     .fits = serve_txn_fits},
    METHOD("KV", "Compact", compaction_request, serve_compact),
    STREAM("Watch", "Watch", watch_request, serve_watch),
    METHOD("Lease", "LeaseGrant", lease_grant_request, serve_lease_grant),
    METHOD("Lease", "LeaseRevoke", lease_revoke_request, serve_lease_revoke),
    STREAM("Lease", "LeaseKeepAlive", lease_keep_alive_request, serve_lease_keep_alive),
    METHOD("Lease", "LeaseTimeToLive", lease_time_to_live_request, serve_lease_time_to_live),
    METHOD("Lease", "LeaseLeases", lease_leases_request, serve_lease_leases),
    METHOD("Maintenance", "Status", status_request, serve_status),
    METHOD("Maintenance", "Alarm", alarm_request, serve_alarm),
    METHOD("Maintenance", "Defragment", defragment_request, serve_defragment),
    METHOD("Maintenance", "Hash", hash_request, serve_hash),
    METHOD("Maintenance", "HashKV", hash_kvrequest, serve_hash_kv),
    METHOD("Maintenance", "Snapshot", snapshot_request, serve_snapshot),
    {.path = "/etcdserverpb.Maintenance/MoveLeader", .handle = serve_move_leader},
    METHOD("Cluster", "MemberList", member_list_request, serve_member_list),
    {.path = "/etcdserverpb.Cluster/", .handle = refuse_cluster},
    {.path = "/etcdserverpb.Auth/AuthStatus", .handle = serve_auth_status},
    {.path = "/etcdserverpb.Auth/AuthEnable", .handle = refuse_auth_enable},
    {.path = "/etcdserverpb.Auth/", .handle = refuse_auth},
    {0},
};

/* What etcd says on the same port in plain HTTP. */
static void serve_http(void *arg, struct http_exchange *ex)
{
    static const struct http_header json[] = {{{"content-type", 12}, {"application/json", 16}}};
    struct serve_etcd *s = arg;
    struct str text = STR("");
    int status = 200;

    if (str_eqz(ex->path, "/version"))
        text = STR("{\"etcdserver\":\"" SERVE_VERSION "\",\"etcdcluster\":\"3.5.0\"}");
    else if (str_eqz(ex->path, "/health") && !kv_trouble(s->kv))
        text = STR("{\"health\":\"true\",\"reason\":\"\"}");
    else if (str_eqz(ex->path, "/health"))
        status = 503, text = STR("{\"health\":\"false\",\"reason\":\"the store does not take writes\"}");
    else
        status = 404;
    struct slice slice = {text.p, text.len, NULL};
    http_respond(ex, status, json, 1, &slice, 1);
}

static const char *permit(void *arg, const struct http_peer *peer)
{
    const struct serve_etcd *s = arg;

    if (!s->opt.tls)
        return NULL;
    if (!peer->cert_der.len)
        return "etcdserver: a client certificate is needed";
    for (const struct str *o = peer->cert_orgs; s->opt.organization && o && o->p; o++)
        if (str_eqz(*o, s->opt.organization))
            return NULL;
    return s->opt.organization ? "etcdserver: permission denied: the certificate is not an administrator's" : NULL;
}

/* ---- start and stop ---- */

bool serve_etcd_is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
           strncmp(listen, "localhost:", 10) == 0 || strncmp(listen, "unix:", 5) == 0;
}

int serve_etcd_start(const struct serve_etcd_options *opt, struct serve_etcd **ret, struct err *err)
{
    struct serve_etcd *s = MEM_NEW(struct serve_etcd);

    s->opt = *opt;
    s->kv = opt->kv;
    s->opt.listen = mem_strdup(opt->listen);
    s->opt.store_dir = opt->store_dir ? mem_strdup(opt->store_dir) : NULL;
    s->grpc = (struct grpc_server_options){
        .methods = methods, .max_message = SERVE_MAX_REQUEST, .arg = s, .permit = permit, .other = serve_http};
    TAILQ_INIT(&s->streams);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ended, NULL);
    s->loop = loop_create("etcd");
    struct http_server_options http = {.listen = opt->listen,
                                       .tls = opt->tls,
                                       .loops = &s->loop,
                                       .n_loops = 1,
                                       .max_body = SERVE_MAX_REQUEST,
                                       .streaming = true,
                                       .handler = grpc_server_handle,
                                       .arg = &s->grpc};
    loop_start(s->loop);
    serve_watch_start(s);
    if (http_server_create(&http, &s->http, err) < 0) {
        serve_etcd_stop(s);
        return err_context(err, "--serve-etcd");
    }
    *ret = s;
    return 0;
}

int serve_etcd_port(const struct serve_etcd *s)
{
    return http_server_port(s->http);
}

static void on_http_stopped(void *arg)
{
    struct serve_etcd *s = arg;

    serve_watch_stop(s);
    s->stopping = true;
    maybe_over(s);
}

void serve_etcd_stop(struct serve_etcd *s)
{
    if (!s)
        return;
    if (s->http)
        http_server_stop(s->http, STOP_GRACE_MS, on_http_stopped, s);
    else
        loop_post(s->loop, on_http_stopped, s);
    pthread_mutex_lock(&s->lock);
    while (!s->over)
        pthread_cond_wait(&s->ended, &s->lock);
    pthread_mutex_unlock(&s->lock);
    loop_stop(s->loop);
    loop_join(s->loop);
    if (s->http)
        http_server_destroy(s->http);
    loop_destroy(s->loop);
    serve_pages_finish(s);
    tls_context_destroy(s->opt.tls);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->ended);
    free((char *)(uintptr_t)s->opt.listen);
    free((char *)(uintptr_t)s->opt.store_dir);
    free(s);
}
