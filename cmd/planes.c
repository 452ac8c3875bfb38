#include "cmd/planes.h"

#include "api/pki_signer.h"
#include "base/log.h"
#include "base/mem.h"
#include "controllers/runtime/controller.h"
#include "scheduler/scheduler.h"

#include <pthread.h>
#include <stdlib.h>

#define ASK_AGAIN_MS 1000

/* One that is elected, or just runs. */
struct plane {
    struct planes *all;
    bool wanted;
    const char *lease, *component, *user;
    int (*start)(struct planes *p, const struct client_fence *fence, struct err *err);
    void (*stop)(struct planes *p);
    struct leader *leader;
    struct client *asker; /* for what is newest */
    struct client_fence fence;
    char fence_key[64];
    int64_t term, asked; /* 0 = follower; the term for which it is being asked what is newest, 0 = none */
    struct timer again;
    bool running;
};

enum { CONTROLLERS, SCHEDULER, N_PLANES };

struct planes {
    struct api_server *server;
    struct planes_options opt;
    struct loop *loop;
    struct pki_signer *signer;
    struct controllers_settings settings;
    struct controllers *controllers;
    struct scheduler *scheduler;
    struct plane planes[N_PLANES];
    bool stopping;
    size_t n_leaving; /* leases being given back */
    struct err *err;
    int rc;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
};

/* Everything on the loop is started and stopped on its thread; the caller waits. */
static void run_on_loop(struct planes *p, void (*fn)(void *arg))
{
    p->finished = false;
    loop_post(p->loop, fn, p);
    pthread_mutex_lock(&p->lock);
    while (!p->finished)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void finished(struct planes *p)
{
    pthread_mutex_lock(&p->lock);
    p->finished = true;
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
}

/* ---- what runs ---- */

static int start_controllers(struct planes *p, const struct client_fence *fence, struct err *err)
{
    p->settings.fence = fence;
    int rc = pki_signer_start(p->server, p->loop, fence, &p->signer, err);
    return rc < 0 ? rc : controllers_start(p->server, p->loop, &p->settings, controllers_all(), &p->controllers, err);
}

static void stop_controllers(struct planes *p)
{
    controllers_stop(p->controllers);
    pki_signer_stop(p->signer);
    p->controllers = NULL;
    p->signer = NULL;
}

static int start_scheduler(struct planes *p, const struct client_fence *fence, struct err *err)
{
    return scheduler_start(p->server, p->loop, fence, &p->scheduler, err);
}

static void stop_scheduler(struct planes *p)
{
    scheduler_stop(p->scheduler);
    p->scheduler = NULL;
}

/* ---- terms ---- */

static void plane_halt(struct plane *q)
{
    if (q->running)
        q->stop(q->all);
    q->running = false;
}

static void ask(void *arg);

static void left(struct planes *p)
{
    for (size_t i = 0; i < N_PLANES; i++)
        if (p->planes[i].asked)
            return;
    if (p->stopping && !p->n_leaving)
        finished(p);
}

/* What runs starts from snapshots taken now: they hold everything any leader before has been answered. */
static void on_newest(void *arg, int rc)
{
    struct plane *q = arg;
    struct err err = ERR_INIT;
    bool stale = q->asked != q->term;
    q->asked = 0;
    if (q->all->stopping) {
        left(q->all);
    } else if (!q->term || q->running) {
        return;
    } else if (stale) {
        ask(q);
    } else if (rc < 0) {
        log_warn("leader", "%s: what is newest cannot be told: %s", q->lease, err_code_name((enum err_code)rc));
        timer_start(&q->again, q->all->loop, ASK_AGAIN_MS, ask, q);
    } else {
        rc = q->start(q->all, &q->fence, &err);
        if (rc < 0)
            log_error("leader", "%s: %s", q->lease, err.message);
        q->running = true;
    }
}

static void ask(void *arg)
{
    struct plane *q = arg;
    if (q->asked || !q->term)
        return;
    q->asked = q->term;
    client_newest(q->asker, on_newest, q);
}

static void on_fenced(void *arg)
{
    struct plane *q = arg;
    if (q->leader)
        leader_fenced(q->leader);
}

static void on_began(void *arg, int64_t revision)
{
    struct plane *q = arg;
    q->term = revision;
    q->fence = (struct client_fence){.key = str_from(q->fence_key), .revision = revision, .lost = on_fenced, .arg = q};
    ask(q);
}

static void on_ended(void *arg)
{
    struct plane *q = arg;
    q->term = 0;
    timer_stop(&q->again);
    plane_halt(q);
}

static void on_left(void *arg)
{
    struct plane *q = arg;
    struct planes *p = q->all;
    leader_destroy(q->leader);
    client_destroy(q->asker);
    q->leader = NULL;
    p->n_leaving--;
    left(p);
}

static void plane_elect(struct plane *q)
{
    static const char *const groups[] = {"system:authenticated", NULL};
    struct planes *p = q->all;
    snprintf(q->fence_key, sizeof q->fence_key, CLIENT_FENCES "%s", q->lease);
    q->asker = client_create_local(p->server, p->loop, q->user, groups);
    q->leader = leader_start(client_create_local(p->server, p->loop, q->user, groups),
                             &(struct leader_options){.lease = q->lease,
                                                      .component = q->component,
                                                      .times = p->opt.times,
                                                      .began = on_began,
                                                      .ended = on_ended,
                                                      .arg = q});
}

/* ---- life ---- */

static void start(void *arg)
{
    struct planes *p = arg;
    for (size_t i = 0; i < N_PLANES && p->rc == 0; i++) {
        struct plane *q = &p->planes[i];
        if (!q->wanted)
            continue;
        if (p->opt.elect) {
            plane_elect(q);
        } else {
            q->running = true;
            p->rc = q->start(p, NULL, p->err);
        }
    }
    finished(p);
}

static void stop(void *arg)
{
    struct planes *p = arg;
    p->stopping = true;
    for (size_t i = N_PLANES; i-- > 0;) {
        p->planes[i].term = 0;
        timer_stop(&p->planes[i].again);
        plane_halt(&p->planes[i]);
        p->n_leaving += p->planes[i].leader != NULL;
    }
    if (!p->n_leaving)
        left(p);
    for (size_t i = 0; i < N_PLANES; i++)
        if (p->planes[i].leader)
            leader_resign(p->planes[i].leader, on_left, &p->planes[i]);
}

static void pass(void *arg)
{
    finished(arg);
}

int planes_start(struct api_server *server, const struct planes_options *opt, struct planes **ret, struct err *err)
{
    struct planes *p = MEM_NEW(struct planes);
    *p = (struct planes){.server = server, .opt = *opt, .err = err};
    p->settings = (struct controllers_settings){.ca_pem = server->ca_pem, .pod_cidr = server->options.pod_cidr};
    p->planes[CONTROLLERS] = (struct plane){.all = p,
                                            .wanted = opt->controllers,
                                            .lease = "kube-controller-manager",
                                            .component = "kube-controller-manager",
                                            .user = "system:kube-controller-manager",
                                            .start = start_controllers,
                                            .stop = stop_controllers};
    p->planes[SCHEDULER] = (struct plane){.all = p,
                                          .wanted = opt->scheduler,
                                          .lease = "kube-scheduler",
                                          .component = "default-scheduler",
                                          .user = "system:kube-scheduler",
                                          .start = start_scheduler,
                                          .stop = stop_scheduler};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    p->loop = loop_create("planes");
    loop_start(p->loop);
    run_on_loop(p, start);
    int rc = p->rc;
    p->err = NULL;
    *ret = p; /* also after a failure: the caller destroys it once the server has stopped */
    if (rc < 0)
        planes_stop(p);
    return rc;
}

void planes_stop(struct planes *p)
{
    if (!p)
        return;
    run_on_loop(p, stop);
    run_on_loop(p, pass); /* behind what the cache had sent before nobody watched any more */
}

void planes_destroy(struct planes *p)
{
    if (!p)
        return;
    loop_stop(p->loop);
    loop_join(p->loop);
    loop_destroy(p->loop);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
