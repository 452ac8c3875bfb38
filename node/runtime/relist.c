/* One pass: list sandboxes, list containers, compare with what is known, ask the status of what is new or changed, then
 * rebuild the touched pods and report them. Passes never overlap; a request during one starts another right behind it.
 */
#include "node/runtime/relist.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "node/cri/api.pb-c.h"
#include "node/pod/labels.h"

#include <stdio.h>
#include <stdlib.h>

#define RUNTIME_SERVICE "runtime.v1.RuntimeService"
#define CALL_TIMEOUT_MS 120000
#define PASS_EVERY_MS 1000
#define EVENTS_RETRY_MS 2000

struct entry_container {
    struct observed_container o; /* first: handed out as such */
    char *pod_uid;
    bool filled, need_status; /* filled: its status has been seen at least once */
    enum observed_state listed;
    int64_t pass;
};

struct entry_sandbox {
    struct observed_sandbox o;
    char *pod_uid;
    bool filled, need_status, listed_ready;
    int64_t pass;
};

struct entry_pod {
    struct observed_pod o;
    bool dirty;
};

struct relist {
    struct relist_options opt;
    struct map pods, sandboxes, containers; /* by uid, id, id */
    struct timer timer, events_timer;
    int64_t started, completed;
    int pending; /* calls of the pass under way */
    bool running, again, failed, synced, dead;
    char error[512];
};

struct status_call {
    struct relist *r;
    int64_t pass;
    char *id;
};

static char *dup_or_empty(const char *s)
{
    return strdup(s ? s : "");
}

static const char *kv(size_t n, Runtime__V1__KeyValue **items, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(items[i]->key, key) == 0)
            return items[i]->value;
    }
    return NULL;
}

static void free_container(struct entry_container *c)
{
    struct observed_container *o = &c->o;
    char *all[] = {o->id,      o->sandbox_id,       o->name,   o->image, o->image_id, o->log_path, o->reason,
                   o->message, o->termination_path, c->pod_uid};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(c);
}

static void free_sandbox(struct entry_sandbox *s)
{
    free(s->o.id);
    free(s->o.ips[0]);
    free(s->o.ips[1]);
    free(s->pod_uid);
    free(s);
}

static void free_pod(struct entry_pod *p)
{
    free(p->o.uid);
    free(p->o.namespace_);
    free(p->o.name);
    vec_free(&p->o.sandboxes);
    vec_free(&p->o.containers);
    free(p);
}

static struct entry_pod *pod_entry(struct relist *r, const char *uid, const char *ns, const char *name)
{
    struct entry_pod *p = map_get(&r->pods, str_from(uid));
    if (!p) {
        p = calloc(1, sizeof *p);
        p->o.uid = strdup(uid);
        p->o.namespace_ = dup_or_empty(ns);
        p->o.name = dup_or_empty(name);
        map_put(&r->pods, str_from(uid), p);
    }
    p->dirty = true;
    return p;
}

static void mark(struct relist *r, const char *uid)
{
    struct entry_pod *p = map_get(&r->pods, str_from(uid));
    if (p)
        p->dirty = true;
}

static void set_text(char **at, const char *to)
{
    free(*at);
    *at = dup_or_empty(to);
}

static int newest_sandbox_first(const void *a, const void *b)
{
    const struct observed_sandbox *x = *(struct observed_sandbox *const *)a, *y = *(struct observed_sandbox *const *)b;
    return (x->created_ns < y->created_ns) - (x->created_ns > y->created_ns);
}

static int newest_container_first(const void *a, const void *b)
{
    const struct observed_container *x = *(struct observed_container *const *)a;
    const struct observed_container *y = *(struct observed_container *const *)b;
    return (x->created_ns < y->created_ns) - (x->created_ns > y->created_ns);
}

/* Also right after something went, since nobody may find a freed entry in a pod. */
static void rebuild(struct relist *r)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &r->pods);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_pod *p = v;
        p->o.sandboxes.len = p->dirty ? 0 : p->o.sandboxes.len;
        p->o.containers.len = p->dirty ? 0 : p->o.containers.len;
    }
    map_iter_init(&it, &r->sandboxes);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_sandbox *s = v;
        struct entry_pod *p = map_get(&r->pods, str_from(s->pod_uid));
        if (p && p->dirty && s->filled)
            vec_push(&p->o.sandboxes, &s->o);
    }
    map_iter_init(&it, &r->containers);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_container *c = v;
        struct entry_pod *p = map_get(&r->pods, str_from(c->pod_uid));
        if (p && p->dirty && c->filled)
            vec_push(&p->o.containers, &c->o);
    }
    map_iter_init(&it, &r->pods);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_pod *p = v;
        if (p->dirty && p->o.sandboxes.len)
            qsort(p->o.sandboxes.items, p->o.sandboxes.len, sizeof(void *), newest_sandbox_first);
        if (p->dirty && p->o.containers.len)
            qsort(p->o.containers.items, p->o.containers.len, sizeof(void *), newest_container_first);
    }
}

/* A status that could not be had yet: the pod is still there. */
static bool unfilled(struct relist *r, const char *uid)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &r->sandboxes);
    while (map_iter_next(&it, &key, &v)) {
        if (strcmp(((struct entry_sandbox *)v)->pod_uid, uid) == 0)
            return true;
    }
    map_iter_init(&it, &r->containers);
    while (map_iter_next(&it, &key, &v)) {
        if (strcmp(((struct entry_container *)v)->pod_uid, uid) == 0)
            return true;
    }
    return false;
}

static void report(struct relist *r)
{
    VEC(struct entry_pod *) dirty = {0};
    struct map_iter it;
    struct str key;
    void *v;
    rebuild(r);
    map_iter_init(&it, &r->pods);
    while (map_iter_next(&it, &key, &v)) {
        if (((struct entry_pod *)v)->dirty)
            vec_push(&dirty, (struct entry_pod *)v);
    }
    for (size_t i = 0; i < dirty.len; i++) {
        struct entry_pod *p = dirty.items[i];
        bool gone = !p->o.sandboxes.len && !p->o.containers.len && !unfilled(r, p->o.uid);
        p->dirty = false;
        if (gone)
            map_remove(&r->pods, str_from(p->o.uid));
        r->opt.on_change(r->opt.arg, &p->o, gone);
        if (gone)
            free_pod(p);
    }
    vec_free(&dirty);
}

static void begin(void *arg);

static void settle(struct relist *r)
{
    if (--r->pending > 0)
        return;
    r->running = false;
    r->completed = r->started;
    if (!r->failed) {
        r->synced = true;
        report(r);
    }
    r->opt.on_pass(r->opt.arg, !r->failed, r->error);
    if (r->again)
        begin(r);
    else
        timer_start(&r->timer, r->opt.loop, PASS_EVERY_MS, begin, r);
}

static void fail(struct relist *r, const struct err *err)
{
    r->failed = true;
    snprintf(r->error, sizeof r->error, "%s", err ? err->message : "no answer");
}

/* ---- statuses ---- */

static const char *termination_path(const Runtime__V1__ContainerStatus *st)
{
    const char *inside = kv(st->n_annotations, st->annotations, ANNOTATION_TERMINATION_PATH);
    for (size_t i = 0; inside && i < st->n_mounts; i++) {
        if (strcmp(st->mounts[i]->container_path, inside) == 0)
            return st->mounts[i]->host_path;
    }
    return "";
}

static void fill_container(struct entry_container *c, const Runtime__V1__ContainerStatus *st)
{
    const char *text;
    c->o.state = (enum observed_state)st->state;
    c->o.created_ns = st->created_at;
    c->o.started_ns = st->started_at;
    c->o.finished_ns = st->finished_at;
    c->o.exit_code = st->exit_code;
    set_text(&c->o.reason, st->reason);
    set_text(&c->o.message, st->message);
    set_text(&c->o.log_path, st->log_path);
    if (st->image && st->image->image && st->image->image[0])
        set_text(&c->o.image, st->image->image);
    set_text(&c->o.image_id, st->image_id && st->image_id[0] ? st->image_id : st->image_ref);
    if (st->image_ref && st->image_ref[0])
        set_text(&c->o.image_id, st->image_ref);
    text = kv(st->n_annotations, st->annotations, ANNOTATION_RESTART_COUNT);
    c->o.restart_count = text ? atoi(text) : 0;
    text = kv(st->n_annotations, st->annotations, ANNOTATION_HASH);
    c->o.hash = text ? strtoull(text, NULL, 16) : 0;
    text = kv(st->n_annotations, st->annotations, ANNOTATION_GRACE);
    c->o.grace_s = text ? atoll(text) : -1;
    text = kv(st->n_annotations, st->annotations, ANNOTATION_TERMINATION_POLICY);
    c->o.fallback_to_logs = text && strcmp(text, "FallbackToLogsOnError") == 0;
    set_text(&c->o.termination_path, termination_path(st));
}

static void container_status_done(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct status_call *call = arg;
    struct relist *r = call->r;
    struct entry_container *c = map_get(&r->containers, str_from(call->id));
    const Runtime__V1__ContainerStatusResponse *answer = (const void *)response;
    if (answer && answer->status && c) {
        fill_container(c, answer->status);
        c->need_status = false;
        c->filled = true;
        mark(r, c->pod_uid);
    } else if (!answer && err->code != ERR_NOT_FOUND) {
        fail(r, err);
    }
    free(call->id);
    free(call);
    settle(r);
}

static void sandbox_status_done(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct status_call *call = arg;
    struct relist *r = call->r;
    struct entry_sandbox *s = map_get(&r->sandboxes, str_from(call->id));
    const Runtime__V1__PodSandboxStatusResponse *answer = (const void *)response;
    if (answer && answer->status && s) {
        const Runtime__V1__PodSandboxNetworkStatus *net = answer->status->network;
        s->o.ready = answer->status->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
        set_text(&s->o.ips[0], net ? net->ip : "");
        set_text(&s->o.ips[1], net && net->n_additional_ips ? net->additional_ips[0]->ip : "");
        s->need_status = false;
        s->filled = true;
        mark(r, s->pod_uid);
    } else if (!answer && err->code != ERR_NOT_FOUND) {
        fail(r, err);
    }
    free(call->id);
    free(call);
    settle(r);
}

static void ask_statuses(struct relist *r)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &r->sandboxes);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_sandbox *s = v;
        Runtime__V1__PodSandboxStatusRequest req = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
        struct status_call *call;
        if (!s->need_status)
            continue;
        call = calloc(1, sizeof *call);
        *call = (struct status_call){.r = r, .id = strdup(s->o.id)};
        req.pod_sandbox_id = s->o.id;
        r->pending++;
        cri_call(r->opt.cri, RUNTIME_SERVICE, "PodSandboxStatus", &req.base,
                 &runtime__v1__pod_sandbox_status_response__descriptor, CALL_TIMEOUT_MS, sandbox_status_done, call);
    }
    map_iter_init(&it, &r->containers);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_container *c = v;
        Runtime__V1__ContainerStatusRequest req = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
        struct status_call *call;
        if (!c->need_status)
            continue;
        call = calloc(1, sizeof *call);
        *call = (struct status_call){.r = r, .id = strdup(c->o.id)};
        req.container_id = c->o.id;
        r->pending++;
        cri_call(r->opt.cri, RUNTIME_SERVICE, "ContainerStatus", &req.base,
                 &runtime__v1__container_status_response__descriptor, CALL_TIMEOUT_MS, container_status_done, call);
    }
}

/* ---- lists ---- */

static void see_container(struct relist *r, const Runtime__V1__Container *in)
{
    const char *uid = kv(in->n_labels, in->labels, LABEL_POD_UID);
    const char *name = kv(in->n_labels, in->labels, LABEL_CONTAINER_NAME);
    struct entry_container *c;
    if (!uid || !name)
        return;
    c = map_get(&r->containers, str_from(in->id));
    if (!c) {
        c = calloc(1, sizeof *c);
        c->o.id = dup_or_empty(in->id);
        c->o.sandbox_id = dup_or_empty(in->pod_sandbox_id);
        c->o.name = strdup(name);
        c->o.image = dup_or_empty(in->image ? in->image->image : "");
        c->o.image_id = dup_or_empty(in->image_ref);
        c->o.log_path = strdup("");
        c->o.reason = strdup("");
        c->o.message = strdup("");
        c->o.termination_path = strdup("");
        c->o.created_ns = in->created_at;
        c->o.grace_s = -1;
        c->pod_uid = strdup(uid);
        c->need_status = true;
        map_put(&r->containers, str_from(in->id), c);
        pod_entry(r, uid, kv(in->n_labels, in->labels, LABEL_POD_NAMESPACE),
                  kv(in->n_labels, in->labels, LABEL_POD_NAME));
    } else if (c->listed != (enum observed_state)in->state) {
        c->need_status = true;
    }
    c->listed = (enum observed_state)in->state;
    c->pass = r->started;
}

static void see_sandbox(struct relist *r, const Runtime__V1__PodSandbox *in)
{
    bool ready = in->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
    const char *uid = in->metadata ? in->metadata->uid : NULL;
    struct entry_sandbox *s;
    if (!uid || !kv(in->n_labels, in->labels, LABEL_POD_UID))
        return;
    s = map_get(&r->sandboxes, str_from(in->id));
    if (!s) {
        s = calloc(1, sizeof *s);
        s->o.id = dup_or_empty(in->id);
        s->o.ips[0] = strdup("");
        s->o.ips[1] = strdup("");
        s->o.created_ns = in->created_at;
        s->o.attempt = in->metadata->attempt;
        s->pod_uid = strdup(uid);
        s->need_status = true;
        map_put(&r->sandboxes, str_from(in->id), s);
        pod_entry(r, uid, in->metadata->namespace_, in->metadata->name);
    } else if (s->listed_ready != ready) {
        s->need_status = true;
    }
    s->listed_ready = ready;
    s->pass = r->started;
}

static void containers_listed(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct relist *r = arg;
    const Runtime__V1__ListContainersResponse *answer = (const void *)response;
    struct map_iter it;
    struct str key;
    void *v;
    if (!answer) {
        fail(r, err);
        settle(r);
        return;
    }
    for (size_t i = 0; i < answer->n_containers; i++)
        see_container(r, answer->containers[i]);
    map_iter_init(&it, &r->containers);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_container *c = v;
        if (c->pass == r->started)
            continue;
        mark(r, c->pod_uid);
        map_remove(&r->containers, str_from(c->o.id));
        free_container(c);
    }
    rebuild(r);
    ask_statuses(r);
    settle(r);
}

static void sandboxes_listed(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct relist *r = arg;
    const Runtime__V1__ListPodSandboxResponse *answer = (const void *)response;
    Runtime__V1__ListContainersRequest req = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    struct map_iter it;
    struct str key;
    void *v;
    if (!answer) {
        fail(r, err);
        settle(r);
        return;
    }
    for (size_t i = 0; i < answer->n_items; i++)
        see_sandbox(r, answer->items[i]);
    map_iter_init(&it, &r->sandboxes);
    while (map_iter_next(&it, &key, &v)) {
        struct entry_sandbox *s = v;
        if (s->pass == r->started)
            continue;
        mark(r, s->pod_uid);
        map_remove(&r->sandboxes, str_from(s->o.id));
        free_sandbox(s);
    }
    rebuild(r);
    cri_call(r->opt.cri, RUNTIME_SERVICE, "ListContainers", &req.base,
             &runtime__v1__list_containers_response__descriptor, CALL_TIMEOUT_MS, containers_listed, r);
}

static void begin(void *arg)
{
    struct relist *r = arg;
    Runtime__V1__ListPodSandboxRequest req = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    if (r->running) {
        r->again = true;
        return;
    }
    timer_stop(&r->timer);
    r->running = true;
    r->again = r->failed = false;
    r->error[0] = 0;
    r->started++;
    r->pending = 1;
    cri_call(r->opt.cri, RUNTIME_SERVICE, "ListPodSandbox", &req.base,
             &runtime__v1__list_pod_sandbox_response__descriptor, CALL_TIMEOUT_MS, sandboxes_listed, r);
}

/* Runtimes that tell of changes make the picture fresh at once; the passes go on as a safety net. */
static void told(void *arg, const struct Runtime__V1__ContainerEventResponse *event)
{
    (void)event;
    relist_now(arg);
}

static void listen_again(void *arg);

static void told_no_more(void *arg, const struct err *err)
{
    struct relist *r = arg;
    if (!err || err->code != ERR_METHOD_NOT_ALLOWED)
        timer_start(&r->events_timer, r->opt.loop, EVENTS_RETRY_MS, listen_again, r);
}

static void listen_again(void *arg)
{
    struct relist *r = arg;
    cri_events(r->opt.cri, told, told_no_more, r);
}

struct relist *relist_create(const struct relist_options *opt)
{
    struct relist *r = calloc(1, sizeof *r);
    r->opt = *opt;
    timer_start(&r->timer, opt->loop, 0, begin, r);
    listen_again(r);
    return r;
}

void relist_destroy(struct relist *r)
{
    struct map_iter it;
    struct str key;
    void *v;
    if (!r)
        return;
    timer_stop(&r->timer);
    timer_stop(&r->events_timer);
    map_iter_init(&it, &r->containers);
    while (map_iter_next(&it, &key, &v))
        free_container(v);
    map_iter_init(&it, &r->sandboxes);
    while (map_iter_next(&it, &key, &v))
        free_sandbox(v);
    map_iter_init(&it, &r->pods);
    while (map_iter_next(&it, &key, &v))
        free_pod(v);
    map_finish(&r->containers);
    map_finish(&r->sandboxes);
    map_finish(&r->pods);
    free(r);
}

void relist_now(struct relist *r)
{
    if (r->running)
        r->again = true;
    else
        timer_start(&r->timer, r->opt.loop, 0, begin, r);
}

int64_t relist_ticket(struct relist *r)
{
    relist_now(r);
    return r->started + 1;
}

int64_t relist_passes_started(const struct relist *r)
{
    return r->started;
}

int64_t relist_completed(const struct relist *r)
{
    return r->completed;
}

bool relist_synced(const struct relist *r)
{
    return r->synced;
}

const struct observed_pod *relist_find(const struct relist *r, struct str uid)
{
    return map_get(&r->pods, uid);
}

void relist_each(struct relist *r, void (*fn)(void *arg, const struct observed_pod *pod), void *arg)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &r->pods);
    while (map_iter_next(&it, &key, &v))
        fn(arg, v);
}
