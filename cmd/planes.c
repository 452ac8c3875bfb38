#include "cmd/planes.h"

#include "api/pki_signer.h"
#include "controllers/runtime/controller.h"
#include "scheduler/scheduler.h"

#include <pthread.h>
#include <stdlib.h>

struct planes {
    struct api_server *server;
    struct loop *loop;
    struct pki_signer *signer;
    struct controllers_settings settings;
    struct controllers *controllers;
    struct scheduler *scheduler;
    bool with_controllers, with_scheduler;
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

static void start(void *arg)
{
    struct planes *p = arg;
    if (p->with_controllers) {
        p->rc = pki_signer_start(p->server, p->loop, &p->signer, p->err);
        if (p->rc == 0)
            p->rc = controllers_start(p->server, p->loop, &p->settings, controllers_all(), &p->controllers, p->err);
    }
    if (p->rc == 0 && p->with_scheduler)
        p->rc = scheduler_start(p->server, p->loop, &p->scheduler, p->err);
    finished(p);
}

static void stop(void *arg)
{
    struct planes *p = arg;
    if (p->scheduler)
        scheduler_stop(p->scheduler);
    if (p->controllers)
        controllers_stop(p->controllers);
    pki_signer_stop(p->signer);
    finished(p);
}

int planes_start(struct api_server *server, bool controllers, bool scheduler, struct planes **ret, struct err *err)
{
    struct planes *p = calloc(1, sizeof *p);
    *p = (struct planes){.server = server, .with_controllers = controllers, .with_scheduler = scheduler, .err = err};
    p->settings = (struct controllers_settings){.ca_pem = server->ca_pem, .pod_cidr = server->options.pod_cidr};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    p->loop = loop_create("planes");
    loop_start(p->loop);
    run_on_loop(p, start);
    int rc = p->rc;
    p->err = NULL;
    if (rc < 0) {
        planes_stop(p);
        *ret = p; /* the caller destroys it once the server has stopped */
        return rc;
    }
    *ret = p;
    return 0;
}

void planes_stop(struct planes *p)
{
    if (!p)
        return;
    run_on_loop(p, stop);
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
