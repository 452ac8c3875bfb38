#include "controllers/runtime/leader.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "openapi/meta/identity.h"
#include "openapi/meta/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define JITTER 1.2
#define RESIGN_MS 2000
#define CONFLICT_MS 50 /* the newer record is about to be seen */

struct leader {
    struct client *client;
    struct leader_options opt;
    char identity[256 + UUID_TEXT_LEN + 2];
    struct informer *informer;
    bool synced;
    const struct object *record; /* as last seen; NULL = there is none */
    int64_t observed_ms;         /* when it came to be seen */
    int64_t term;                /* the revision that began it; 0 = follower */
    char *acquired;              /* the acquireTime that goes with the term */
    bool pending;                /* a write of the lease */
    int64_t sent_ms, renewed_ms; /* of that write; of the last one that succeeded */
    struct timer next, deadline; /* attempt or renewal; when the term ends without one */
    void (*resigned)(void *arg);
    void *resigned_arg;
};

static struct metric *master_status;

const char *leader_times_objection(const struct leader_times *t)
{
    if (t->lease_duration_ms <= 0)
        return "lease duration must be greater than zero";
    if (t->renew_deadline_ms <= 0)
        return "renew deadline must be greater than zero";
    if (t->retry_period_ms <= 0)
        return "retry period must be greater than zero";
    if (t->lease_duration_ms < 1000)
        return "lease duration must be at least one second, which is what a Lease can say";
    if (t->lease_duration_ms <= t->renew_deadline_ms)
        return "lease duration must be greater than renew deadline";
    if ((double)t->renew_deadline_ms <= JITTER * (double)t->retry_period_ms)
        return "renew deadline must be greater than retry period times 1.2";
    return NULL;
}

static int64_t jittered(int64_t ms)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, 0) < 0)
        r = (uint32_t)clock_mono_us();
    return ms + (int64_t)((double)ms * JITTER * (double)r / 4294967296.0);
}

/* ---- the record ---- */

static bool holds(const struct leader *l, struct str holder)
{
    return str_eqz(holder, l->identity);
}

/* How long the record keeps us from trying. */
static int64_t left_ms(struct leader *l)
{
    if (!l->record)
        return 0;
    struct arena *a = arena_create(0);
    const struct value *v = object_value(a, l->record);
    struct str holder = value_path_str(v, "spec.holderIdentity");
    int64_t until_ms = l->observed_ms + value_path_int(v, "spec.leaseDurationSeconds", 0) * 1000 - clock_mono_ms();
    bool open = !holder.len || holds(l, holder) || until_ms < 0;
    arena_destroy(a);
    return open ? 0 : until_ms;
}

static void set_record(struct leader *l, const struct object *o)
{
    if (o && l->record && o->revision <= l->record->revision && str_eq(o->uid, l->record->uid))
        return;
    object_put(l->record);
    l->record = o ? object_get(o) : NULL;
    l->observed_ms = clock_mono_ms();
}

/* A term's own record says the holder and since when: the fence moves with both. */
static bool still_ours(struct leader *l)
{
    if (!l->record)
        return false;
    struct arena *a = arena_create(0);
    const struct value *v = object_value(a, l->record);
    bool ours = holds(l, value_path_str(v, "spec.holderIdentity")) &&
                str_eqz(value_path_str(v, "spec.acquireTime"), l->acquired);
    arena_destroy(a);
    return ours;
}

enum step { ACQUIRE, RENEW, RELEASE };

/* The lease as it shall be; the rest of the record's metadata stays. */
static struct value *next_record(struct leader *l, struct arena *a, enum step step)
{
    struct value *v = l->record ? object_value(a, l->record) : value_map(a), *spec = value_map(a);
    struct str now = time_format_micro(a, clock_wall_us());
    int64_t transitions = value_path_int(v, "spec.leaseTransitions", 0);
    if (!l->record) {
        value_set_path(a, v, "metadata.name", value_stringz(a, l->opt.lease));
        value_set_path(a, v, "metadata.namespace", value_stringz(a, "kube-system"));
    } else {
        value_set_path(a, v, "metadata.resourceVersion",
                       value_string(a, arena_printf(a, "%lld", (long long)l->record->revision)));
        transitions += step == ACQUIRE;
    }
    value_setz(a, spec, "holderIdentity", value_stringz(a, step == RELEASE ? "" : l->identity));
    value_setz(a, spec, "leaseDurationSeconds",
               value_int(a, step == RELEASE ? 1 : l->opt.times.lease_duration_ms / 1000));
    value_setz(a, spec, "acquireTime", value_string(a, step == RENEW ? arena_str(a, str_from(l->acquired)) : now));
    value_setz(a, spec, "renewTime", value_string(a, now));
    value_setz(a, spec, "leaseTransitions", value_int(a, transitions));
    value_setz(a, v, "spec", spec);
    return v;
}

static void write_lease(struct leader *l, enum step step, client_done *done)
{
    struct arena *a = arena_create(0);
    struct value *v = next_record(l, a, step);
    struct client_call call = {.verb = l->record ? VERB_UPDATE : VERB_CREATE,
                               .resource = resource_find(STR("coordination.k8s.io"), STR("leases")),
                               .namespace_ = STR("kube-system"),
                               .name = str_from(l->opt.lease),
                               .body = v,
                               .grace_period_s = -1};
    if (step == ACQUIRE) {
        free(l->acquired);
        l->acquired = mem_dup(value_path_str(v, "spec.acquireTime").p, value_path_str(v, "spec.acquireTime").len);
    }
    l->pending = true;
    l->sent_ms = clock_mono_ms();
    client_send(l->client, &call, done, l);
    arena_destroy(a);
}

static void say(struct leader *l, const char *what)
{
    log_info("leader", "%s: %s %s", l->opt.lease, l->identity, what);
    if (l->record)
        client_event(l->client, l->opt.component, "", l->record, "Normal", "LeaderElection", "%s %s", l->identity,
                     what);
    metric_set(master_status, l->opt.lease, l->term != 0);
}

/* ---- resigning ---- */

static void resign_done(void *arg)
{
    struct leader *l = arg;
    void (*done)(void *) = l->resigned;
    timer_stop(&l->deadline);
    timer_stop(&l->next);
    l->resigned = NULL;
    l->term = 0;
    if (done)
        done(l->resigned_arg);
}

static void on_released(void *arg, const struct client_answer *answer)
{
    struct leader *l = arg;
    l->pending = false;
    if (answer->rc < 0)
        log_warn("leader", "%s: could not be given back: %s", l->opt.lease, answer->err->message);
    resign_done(l);
}

static void give_back(struct leader *l)
{
    if (l->term && still_ours(l))
        write_lease(l, RELEASE, on_released);
    else
        resign_done(l);
}

/* ---- terms ---- */

static void wake(void *arg);

static void later(struct leader *l, int64_t ms)
{
    timer_start(&l->next, client_loop(l->client), ms, wake, l);
}

static void lose(struct leader *l, const char *why)
{
    if (!l->term)
        return;
    l->term = 0;
    if (l->resigned)
        return;
    timer_stop(&l->deadline);
    timer_stop(&l->next);
    log_warn("leader", "%s: %s: the term is over", l->opt.lease, why);
    say(l, "stopped leading");
    l->opt.ended(l->opt.arg);
    if (!l->pending)
        later(l, jittered(l->opt.times.retry_period_ms));
}

static void too_late(void *arg)
{
    lose(arg, "it could not be renewed in time");
}

static void renewed(struct leader *l, const struct object *o)
{
    int64_t until_ms = l->sent_ms + l->opt.times.renew_deadline_ms - clock_mono_ms();
    l->renewed_ms = l->sent_ms;
    set_record(l, o);
    if (l->resigned)
        return;
    timer_start(&l->deadline, client_loop(l->client), until_ms > 0 ? until_ms : 0, too_late, l);
    later(l, l->opt.times.retry_period_ms);
}

static void on_acquired(void *arg, const struct client_answer *answer)
{
    struct leader *l = arg;
    bool late = clock_mono_ms() - l->sent_ms >= l->opt.times.renew_deadline_ms;
    l->pending = false;
    if (answer->rc == 0 && late && !l->resigned) { /* the store was away: a term that begins now has its full time */
        set_record(l, answer->object);
        later(l, 0);
        return;
    }
    if (answer->rc == 0) {
        l->term = answer->object->revision;
        renewed(l, answer->object);
    }
    if (l->resigned) {
        give_back(l);
    } else if (answer->rc < 0) {
        if (answer->rc != ERR_CONFLICT && answer->rc != ERR_ALREADY_EXISTS)
            log_warn("leader", "%s: %s", l->opt.lease, answer->err->message);
        later(l, jittered(l->opt.times.retry_period_ms));
    } else if (!still_ours(l)) { /* seen already: somebody was quick */
        lose(l, "somebody else has it");
    } else {
        say(l, "became leader");
        l->opt.began(l->opt.arg, l->term);
    }
}

static void on_renewed(void *arg, const struct client_answer *answer)
{
    struct leader *l = arg;
    l->pending = false;
    if (answer->rc == 0 && l->term) {
        renewed(l, answer->object);
    } else if (answer->rc == 0) { /* a late answer to a term that is over */
        set_record(l, answer->object);
    } else {
        log_warn("leader", "%s: renewal: %s", l->opt.lease, answer->err->message);
    }
    if (l->resigned)
        give_back(l);
    else if (answer->rc < 0 || !l->term)
        later(l, answer->rc == ERR_CONFLICT ? CONFLICT_MS : l->opt.times.retry_period_ms);
}

/* Whatever is due: a renewal, an attempt, or to wait on. */
static void wake(void *arg)
{
    struct leader *l = arg;
    int64_t wait_ms = l->term ? 0 : left_ms(l);
    if (l->pending || !l->synced || l->resigned)
        return;
    if (wait_ms > 0)
        later(l, wait_ms);
    else if (l->term)
        write_lease(l, RENEW, on_renewed);
    else
        write_lease(l, ACQUIRE, on_acquired);
}

void leader_fenced(struct leader *l)
{
    lose(l, "a write was refused by the fence");
}

/* ---- what is seen ---- */

static void on_change(void *arg, const struct object *old, const struct object *now)
{
    struct leader *l = arg;
    (void)old;
    set_record(l, now);
    if (l->term && !still_ours(l))
        lose(l, now ? "somebody else has it" : "the lease was deleted");
    if (!l->term)
        wake(l);
}

static void on_synced(void *arg)
{
    struct leader *l = arg;
    bool first = !l->synced;
    l->synced = true;
    if (first)
        wake(l);
}

/* ---- life ---- */

struct leader *leader_start(struct client *c, const struct leader_options *opt)
{
    struct leader *l = MEM_NEW(struct leader);
    char host[256] = "", id[UUID_TEXT_LEN + 1];
    if (!master_status)
        master_status = metric_register(METRIC_GAUGE, "leader_election_master_status",
                                        "Whether this process leads: 1, or stands by: 0.", "name", NULL);
    l->client = c;
    l->opt = *opt;
    gethostname(host, sizeof host - 1);
    uuid_write(id);
    snprintf(l->identity, sizeof l->identity, "%s_%s", host, id);
    metric_set(master_status, opt->lease, 0);
    struct informer_options watch = {.resource = resource_find(STR("coordination.k8s.io"), STR("leases")),
                                     .namespace_ = STR("kube-system"),
                                     .on_change = on_change,
                                     .on_synced = on_synced,
                                     .arg = l};
    char selector[128];
    snprintf(selector, sizeof selector, "metadata.name=%s", opt->lease);
    watch.field_selector = str_from(selector);
    l->informer = client_informer(c, &watch);
    return l;
}

const char *leader_identity(const struct leader *l)
{
    return l->identity;
}

void leader_resign(struct leader *l, void (*done)(void *arg), void *arg)
{
    l->resigned = done;
    l->resigned_arg = arg;
    timer_stop(&l->next);
    timer_start(&l->deadline, client_loop(l->client), RESIGN_MS, resign_done, l);
    if (!l->pending)
        give_back(l);
}

void leader_destroy(struct leader *l)
{
    if (!l)
        return;
    timer_stop(&l->next);
    timer_stop(&l->deadline);
    informer_destroy(l->informer);
    client_destroy(l->client);
    object_put(l->record);
    free(l->acquired);
    free(l);
}
