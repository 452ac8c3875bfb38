/* The runtime of all controllers: observes, queues, calls the pure reconcile functions, executes what they want and
 * retries. One loop runs them all; a reconcile is a short computation, its writes are requests that end later.
 *
 * A key runs again only when the feeds have caught up with what its last run wrote: else a controller would act on its
 * own past (create the same pods twice). After a failure whose outcome is unknown the same rule holds for whatever is
 * newest in the store.
 */
#include "controllers/runtime/controller.h"

#include "base/clock.h"
#include "base/log.h"
#include "controllers/runtime/feed.h"
#include "controllers/runtime/queue.h"
#include "controllers/runtime/view.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define FACT_ROUNDS_MAX 3
#define ASK_AGAIN_MS 1000
#define RUNS_PER_TURN 64 /* then the loop gets its turn */

struct running {
    struct controllers *all;
    const struct controller *controller;
    struct client *client;
    struct view view;
    struct queue queue;
    struct watch_at { /* one per watch */
        struct feed_listener listener;
        struct running *running;
        int which;
    } * at;
    struct job *jobs; /* reconciles under way: writes not answered yet, or not seen by the feeds */
    bool turn_posted;
};

struct controllers {
    struct loop *loop;
    struct client *reader; /* whose informers the feeds are */
    struct map feeds;      /* "group/resource" -> struct feed */
    struct running *running;
    size_t n;
    bool stopped;
    const struct controllers_settings *settings;
    int64_t started_ms;
    size_t n_posted; /* posts under way that point here */
};

/* One reconcile, from the call until the feeds have seen its writes. */
struct job {
    struct running *running;
    struct queue_item *item;
    struct arena *arena;
    struct outcome outcome;
    struct facts facts;
    size_t pending; /* answers awaited */
    int fact_rounds;
    bool failed, waiting, unknown; /* unknown: a write may have been made, or not */
    struct timer again;
    int64_t *wait_revisions; /* by watch, 0 = none */
    struct job *next, **link;
};

struct expected_answer { /* of one write or live read */
    struct job *job;
    struct write *write;
    size_t fact;
};

static void run_job(struct job *job);
static void take_turn(struct running *r);

/* ---- the end of a job ---- */

static void end_job(struct job *job)
{
    struct running *r = job->running;
    const struct outcome *o = &job->outcome;
    struct queue_item *item = job->item;
    *job->link = job->next;
    if (job->next)
        job->next->link = job->link;
    int64_t after_ms = o->requeue_at_ms ? o->requeue_at_ms - clock_wall_ms() : 0;
    if (o->requeue_at_ms && !job->failed)
        queue_add_after(&r->queue, str_from(item->namespace_), str_from(item->name), after_ms > 1 ? after_ms : 1);
    queue_done(&r->queue, item, job->failed);
    arena_destroy(job->arena);
    free(job);
}

static bool caught_up(const struct job *job)
{
    for (int i = 0; i < job->running->view.n; i++) {
        if (job->wait_revisions[i] && feed_revision(job->running->view.feeds[i]) < job->wait_revisions[i])
            return false;
    }
    return true;
}

static void ask_newest(void *arg);
static void settle_job(struct job *job);

static void on_newest(void *arg, int rc)
{
    struct job *job = arg;
    if (rc < 0)
        timer_start(&job->again, job->running->all->loop, ASK_AGAIN_MS, ask_newest, job);
    else
        settle_job(job);
}

static void ask_newest(void *arg)
{
    struct job *job = arg;
    client_newest(job->running->client, on_newest, job);
}

static void settle_job(struct job *job)
{
    if (job->unknown) {
        job->unknown = false;
        ask_newest(job);
        return;
    }
    job->waiting = true;
    if (caught_up(job))
        end_job(job);
}

static void on_progress(void *arg)
{
    struct running *r = ((struct watch_at *)arg)->running;
    for (struct job *job = r->jobs, *next; job; job = next) {
        next = job->next;
        if (job->waiting)
            settle_job(job);
    }
    take_turn(r);
}

/* ---- writes ---- */

static void note_written(struct job *job, const struct resource *resource, int64_t revision)
{
    for (int i = 0; i < job->running->view.n; i++) {
        struct feed *f = job->running->view.feeds[i];
        if (feed_resource(f) != resource)
            continue;
        if (revision > job->wait_revisions[i])
            job->wait_revisions[i] = revision;
    }
}

static void record(struct running *r, const struct reconcile_event *e, const char *more)
{
    if (e->about)
        client_event(r->client, r->controller->component, "", e->about, e->type, e->reason, STR_FMT "%s",
                     STR_ARG(e->message), more);
}

static void on_written(void *arg, const struct client_answer *answer)
{
    struct expected_answer *expected = arg;
    struct job *job = expected->job;
    const struct client_call *call = &expected->write->call;
    record(job->running, answer->rc < 0 ? &expected->write->on_failure : &expected->write->on_success,
           answer->rc < 0 && answer->err ? answer->err->message : "");
    if (answer->rc == 0 && answer->object)
        note_written(job, answer->object->resource, answer->object->revision);
    job->unknown = job->unknown || answer->rc == ERR_UNAVAILABLE || answer->rc == ERR_TIMEOUT;
    if (answer->rc < 0 && !(expected->write->accept & 1u << -answer->rc)) {
        job->failed = true;
        if (answer->rc != ERR_CONFLICT && answer->err && !job->item->failure)
            job->item->failure = strdup(answer->err->message);
        /* a conflict means somebody else was faster: the next run sees what they did */
        if (answer->rc != ERR_CONFLICT)
            log_warn(job->running->controller->name, "%s/%s: %s " STR_FMT " " STR_FMT ": %s", job->item->namespace_,
                     job->item->name, verb_name(call->verb), STR_ARG(call->resource->name), STR_ARG(call->name),
                     answer->err ? answer->err->message : err_code_name(answer->rc));
    }
    if (--job->pending == 0)
        settle_job(job);
}

static void execute(struct job *job)
{
    struct running *r = job->running;
    struct outcome *o = &job->outcome;
    for (size_t i = 0; i < o->n_events; i++)
        record(r, &o->events[i], "");
    if (o->failed) {
        job->failed = true;
        log_warn(r->controller->name, "%s/%s: " STR_FMT, job->item->namespace_, job->item->name, STR_ARG(o->why));
    }
    job->pending = o->n_writes + 1; /* one of our own, so that an answer cannot end the job under us */
    for (size_t i = 0; i < o->n_writes; i++) {
        struct expected_answer *expected = ARENA_NEW(job->arena, struct expected_answer);
        *expected = (struct expected_answer){.job = job, .write = &o->writes[i]};
        client_send(r->client, &o->writes[i].call, on_written, expected);
    }
    if (--job->pending == 0)
        settle_job(job);
}

/* ---- facts ---- */

static void on_fact(void *arg, const struct client_answer *answer)
{
    struct expected_answer *expected = arg;
    struct job *job = expected->job;
    struct client_answer *slot = (struct client_answer *)&job->facts.live[expected->fact];
    slot->rc = answer->rc;
    slot->object = answer->rc == 0 ? object_get(answer->object) : NULL;
    if (slot->object)
        arena_defer(job->arena, (void (*)(void *))object_put, (void *)slot->object);
    if (--job->pending == 0)
        run_job(job);
}

static void fetch_facts(struct job *job)
{
    struct outcome *o = &job->outcome;
    size_t n = o->n_wanted;
    struct fact_wanted *wanted = o->wanted;
    job->facts.live = ARENA_ARRAY(job->arena, struct client_answer, n);
    job->facts.n_live = n;
    job->facts.wanted = wanted;
    job->pending = 0;
    for (size_t i = 0; i < n; i++)
        job->pending += wanted[i].kind == FACT_LIVE_GET;
    for (size_t i = 0; i < n; i++) {
        if (wanted[i].kind != FACT_LIVE_GET)
            continue;
        struct expected_answer *expected = ARENA_NEW(job->arena, struct expected_answer);
        *expected = (struct expected_answer){.job = job, .fact = i};
        struct client_call call = {.verb = VERB_GET,
                                   .resource = wanted[i].resource,
                                   .namespace_ = wanted[i].namespace_,
                                   .name = wanted[i].name,
                                   .grace_period_s = -1};
        client_send(job->running->client, &call, on_fact, expected);
    }
}

static void run_job(struct job *job)
{
    struct key key = {str_from(job->item->namespace_), str_from(job->item->name)};
    job->outcome = (struct outcome){.arena = job->arena};
    if (getrandom(&job->facts.random, sizeof job->facts.random, 0) < 0)
        job->facts.random = (uint64_t)clock_mono_us();
    job->running->controller->reconcile(&job->running->view, key, clock_wall_ms(), &job->facts, &job->outcome);
    bool live = false;
    for (size_t i = 0; i < job->outcome.n_wanted; i++)
        live = live || job->outcome.wanted[i].kind == FACT_LIVE_GET;
    if (live && job->fact_rounds++ < FACT_ROUNDS_MAX)
        fetch_facts(job);
    else
        execute(job);
}

/* ---- taking turns ---- */

static bool all_synced(const struct running *r)
{
    for (int i = 0; i < r->view.n; i++) {
        if (!feed_synced(r->view.feeds[i]))
            return false;
    }
    return true;
}

static void controllers_release(struct controllers *c);

static void turn(void *arg)
{
    struct running *r = arg;
    struct controllers *all = r->all;
    all->n_posted--;
    if (all->stopped) {
        controllers_release(all);
        return;
    }
    r->turn_posted = false;
    size_t limit = (size_t)(r->controller->concurrency > 0 ? r->controller->concurrency : 5);
    for (int i = 0; i < RUNS_PER_TURN && r->queue.n_running < limit && all_synced(r); i++) {
        struct queue_item *item = queue_take(&r->queue);
        if (!item)
            return;
        struct job *job = calloc(1, sizeof *job);
        assert(job);
        job->running = r;
        job->item = item;
        job->arena = arena_create(0);
        job->facts.settings = all->settings;
        job->facts.since_ms = item->since_ms;
        job->facts.started_ms = all->started_ms;
        job->facts.failure = item->failure ? arena_str(job->arena, str_from(item->failure)) : STR_NULL;
        free(item->failure);
        item->failure = NULL;
        job->link = &r->jobs;
        job->next = r->jobs;
        if (job->next)
            job->next->link = &job->next;
        r->jobs = job;
        job->wait_revisions = ARENA_ARRAY(job->arena, int64_t, (size_t)r->view.n + 1);
        run_job(job);
    }
    take_turn(r);
}

static void take_turn(struct running *r)
{
    size_t limit = (size_t)(r->controller->concurrency > 0 ? r->controller->concurrency : 5);
    if (r->turn_posted || !r->queue.n_ready || r->queue.n_running >= limit || r->all->stopped || !all_synced(r))
        return;
    r->turn_posted = true;
    r->all->n_posted++;
    loop_post(r->all->loop, turn, r);
}

static void on_ready(void *arg)
{
    take_turn(arg);
}

static void add_key(void *arg, struct str namespace_, struct str name)
{
    queue_add(&((struct running *)arg)->queue, namespace_, name);
}

static void on_change(void *arg, const struct object *old, const struct object *now)
{
    struct watch_at *at = arg;
    struct running *r = at->running;
    const struct controller *c = r->controller;
    bool declared = at->which < WATCHES_MAX && c->watches[at->which].resource;
    void (*keys)(const struct view *, const struct object *, const struct object *,
                 void (*)(void *, struct str, struct str), void *) =
        declared ? c->watches[at->which].keys : c->keys_of_any;
    if (keys)
        keys(&r->view, old, now, add_key, r);
    else
        add_key(r, now ? now->namespace_ : old->namespace_, now ? now->name : old->name);
    on_progress(at);
}

/* ---- life ---- */

static struct feed *find_feed(struct controllers *c, const struct resource *resource)
{
    char name[256];
    int n = snprintf(name, sizeof name, STR_FMT "/" STR_FMT, STR_ARG(resource->group), STR_ARG(resource->name));
    struct str key = {name, (size_t)n};
    struct feed *f = map_get(&c->feeds, key);
    if (!f) {
        f = feed_create(c->reader, resource);
        map_put(&c->feeds, key, f);
    }
    return f;
}

static bool watched_already(const struct running *r, const struct resource *resource)
{
    for (int i = 0; i < r->view.n; i++) {
        if (feed_resource(r->view.feeds[i]) == resource)
            return true;
    }
    return false;
}

static void watch_one(struct controllers *c, struct running *r, const struct resource *resource)
{
    int which = r->view.n++;
    r->view.feeds[which] = find_feed(c, resource);
    r->at[which] = (struct watch_at){.running = r, .which = which};
    r->at[which].listener =
        (struct feed_listener){.on_change = on_change, .on_progress = on_progress, .arg = &r->at[which]};
    feed_listen(r->view.feeds[which], &r->at[which].listener);
}

static void watch_rest(struct controllers *c, struct running *r)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++) {
        bool stored = all[i]->storage_prefix.len && (!all[i]->stored_as || all[i]->stored_as == all[i]);
        if (stored && resource_storage_version(all[i])->verbs & VERB_WATCH && !watched_already(r, all[i]))
            watch_one(c, r, all[i]);
    }
}

static int start_one(struct controllers *c, struct api_server *server, struct running *r,
                     const struct controller *controller, struct err *err)
{
    static const char *const groups[] = {"system:serviceaccounts", "system:serviceaccounts:kube-system",
                                         "system:authenticated", NULL};
    size_t most = WATCHES_MAX, n_builtin;
    resources_builtin(&n_builtin);
    most += controller->keys_of_any ? n_builtin : 0;
    r->all = c;
    r->controller = controller;
    r->client = client_create_local(server, c->loop, controller->user, groups);
    if (c->settings->fence)
        client_fence(r->client, c->settings->fence);
    r->view.feeds = calloc(most, sizeof *r->view.feeds);
    r->at = calloc(most, sizeof *r->at);
    assert(r->view.feeds && r->at);
    queue_init(&r->queue, c->loop, on_ready, r);
    for (int i = 0; i < WATCHES_MAX && controller->watches[i].resource; i++) {
        const struct controller_watch *watch = &controller->watches[i];
        const struct resource *resource = resource_find(str_from(watch->group), str_from(watch->resource));
        if (!resource)
            return err_set(err, ERR_INTERNAL, "controller %s: no resource %s in group %s", controller->name,
                           watch->resource, watch->group);
        watch_one(c, r, resource);
    }
    if (controller->keys_of_any)
        watch_rest(c, r);
    return 0;
}

int controllers_start(struct api_server *server, struct loop *loop, const struct controllers_settings *settings,
                      const struct controller *const *list, struct controllers **ret, struct err *err)
{
    static const char *const groups[] = {"system:masters", NULL};
    struct controllers *c = calloc(1, sizeof *c);
    assert(c);
    c->loop = loop;
    c->settings = settings;
    c->started_ms = clock_wall_ms();
    c->reader = client_create_local(server, loop, "system:kube-controller-manager", groups);
    size_t n = 0;
    while (list[n])
        n++;
    c->running = calloc(n + 1, sizeof *c->running);
    assert(c->running);
    for (c->n = 0; c->n < n;) {
        struct running *r = &c->running[c->n++];
        int rc = start_one(c, server, r, list[c->n - 1], err);
        if (rc < 0) {
            controllers_stop(c);
            return rc;
        }
    }
    *ret = c;
    return 0;
}

static void controllers_release(struct controllers *c)
{
    if (c->n_posted)
        return;
    for (size_t i = 0; i < c->n; i++) {
        free(c->running[i].view.feeds);
        free(c->running[i].at);
    }
    free(c->running);
    free(c);
}

void controllers_stop(struct controllers *c)
{
    if (!c || c->stopped)
        return;
    c->stopped = true;
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &c->feeds);
    while (map_iter_next(&it, &key, &value))
        feed_destroy(value);
    map_finish(&c->feeds);
    for (size_t i = 0; i < c->n; i++) {
        struct running *r = &c->running[i];
        client_destroy(r->client); /* answers that are still out do not come any more */
        for (struct job *job = r->jobs, *next; job; job = next) {
            next = job->next;
            timer_stop(&job->again);
            arena_destroy(job->arena);
            free(job);
        }
        queue_finish(&r->queue);
    }
    client_destroy(c->reader);
    controllers_release(c);
}
