/* state: what the parts of the agent share. Private to node/ (network/ and cri/ excepted): the outside sees agent.h.
 *
 * Everything here lives on the agent's loop. A pod is freed only when nothing in flight refers to it
 * (pod_hold/pod_release).
 */
#ifndef SKIFF_NODE_STATE_H
#define SKIFF_NODE_STATE_H

#include "api/client/client.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/ref.h"
#include "base/vec.h"
#include "node/agent.h"
#include "node/cri/cri.h"
#include "node/pod/actions.h"
#include "node/runtime/relist.h"
#include "openapi/views.h"

struct agent_server;
struct network;
struct node_object;
struct recorder;
struct source;
struct sources;
struct images;
struct simulation;
struct log_rotation;

struct agent {
    struct loop *loop;
    struct arena *arena;      /* options and other things of its own lifetime */
    struct agent_options opt; /* defaults filled in */
    char node_ip[64];
    int64_t memory_capacity;
    int least_oom_score_adj; /* what the kernel lets us set */

    struct client *client;
    struct cri *cri;
    struct relist *relist;
    struct informer *pod_informer, *service_informer;
    struct map pods; /* uid → struct pod */
    struct recorder *recorder;
    struct sources *sources;
    struct images *images;
    struct node_object *node;
    struct log_rotation *rotation;
    struct agent_server *server;
    struct network *network;
    struct simulation *simulation;
    struct timer sweep;
    bool pods_synced, runtime_ok, stopping, swept;
    char runtime_error[512];
    char runtime_version[64]; /* "containerd://1.6.20" */
    char runtime_scheme[32];  /* "containerd" */
};

/* One decoded state of a pod object; operations under way keep the one they began with. */
struct pod_version {
    struct ref ref;
    const struct object *object;
    struct arena *arena;
    const struct core_v1_pod *pod;
};

struct kill_operation;
struct probe_set;
struct pod_volumes;

struct pod_container {
    struct pod *owner;
    char *name;
    bool init;
    size_t index;
    struct container_memory m;
    bool operating;                         /* a start or a kill is in flight */
    bool hook_running;                      /* its postStart hook is at work */
    int64_t settled_pass;                   /* the outcome of the last operation is seen once this pass completed */
    char *waiting_reason, *waiting_message; /* why it does not run; NULL = unknown */
    struct backoff pull_backoff;
    char *pull_error; /* of the last pull */
    int64_t next_backoff_event_ms;
    struct probe_set *probes;
};

enum pod_stage {
    POD_LIVE,
    POD_ENDING,
    POD_ENDED /* nothing runs */,
    POD_CLEAN /* volumes and control groups are gone */
};

struct pod {
    struct agent *agent;
    char *uid, *namespace_, *name;
    struct pod_version *version;      /* NULL: the API does not know it (any more) */
    struct pod_container *containers; /* init containers first */
    size_t n_init, n_main;
    enum pod_stage stage;
    int64_t grace_s;                /* while ending */
    char *end_reason, *end_message; /* DeadlineExceeded, Evicted …: the phase is Failed */
    bool deleted;                   /* the API has let it go */
    bool sandbox_operating, sandbox_stopped, cleaning;
    int64_t sandbox_settled_pass, sandbox_retry_at_ms;
    uint32_t next_attempt; /* past those that failed: the runtime may hold on to their names */
    bool cgroup_made;
    struct kill_operation *kills; /* under way */
    struct pod_volumes *volumes;
    VEC(struct source *) sources;
    struct timer timer;
    bool queued;
    int64_t start_time_us;
    int64_t first_seen_ms;

    char *status_sent; /* JSON of the status last accepted by the API */
    bool status_in_flight, delete_in_flight, final_status_sent;
    struct timer status_retry;
    unsigned holds;
    bool gone; /* freed with the last hold */
};

struct pod *pod_hold(struct pod *p);
void pod_release(struct pod *p);
struct pod_version *pod_version_get(struct pod_version *v);
void pod_version_put(struct pod_version *v);

/* Look at the pod again soon (coalesced). */
void pod_poke(struct pod *p);
struct pod *pod_find(struct agent *a, struct str uid);
struct pod *pod_find_name(struct agent *a, struct str namespace_, struct str name);
struct pod_container *pod_container_find(struct pod *p, struct str name);
const struct core_v1_container *pod_container_spec(const struct pod_version *v, const struct pod_container *c);
const struct observed_pod *pod_observed(const struct pod *p);

/* worker.c */
void agent_pod_changed(struct agent *a, const struct object *old, const struct object *now);
void agent_pods_synced(struct agent *a);
void agent_runtime_changed(void *arg, const struct observed_pod *o, bool gone);
void agent_runtime_pass(void *arg, bool ok, const char *error);
void agent_pods_finish(struct agent *a);
void pod_input_fill(struct pod *p, struct arena *a, struct pod_input *ret);
void container_set_waiting(struct pod_container *c, const char *reason, const char *message);
/* An operation on c is over: it counts as busy until the runtime has been looked at again. */
void container_settle(struct pod_container *c);

/* start.c, kill.c, sandbox.c, orphan.c: carry out one action each */
void container_start(struct pod_container *c, const struct pod_action *action);
void container_kill(struct pod *p, struct pod_container *c /* may be NULL */, const struct pod_action *action);
void containers_hurry(struct pod *p, int64_t grace_s);
void sandbox_create(struct pod *p, uint32_t attempt);
void sandbox_stop(struct pod *p, const char *id);
void sandbox_remove_all(struct pod *p);
void orphan_sync(struct pod *p);

/* report.c: status to the API, and the object's removal at the end */
void pod_report(struct pod *p);

/* paths under the root directory; the buffer is the caller's */
void pod_dir(const struct pod *p, char *out, size_t size);
void pod_log_dir(const struct pod *p, char *out, size_t size);
const char *pod_ip(const struct pod *p); /* "" when there is none yet */

#define RUNTIME_SERVICE "runtime.v1.RuntimeService"
#define IMAGE_SERVICE "runtime.v1.ImageService"
#define PULL_TIMEOUT_MS (60 * 60 * 1000)
#define RUNTIME_TIMEOUT_MS 120000

#endif
