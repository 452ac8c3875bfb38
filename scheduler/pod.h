/* pod: what scheduling knows of one pod: decoded once when it appears, and small enough to keep for every pod of a
 * large cluster. A pod waits in the queue, is assumed on a node while its binding is under way, or is placed there.
 *
 * The object is held by reference for names and labels. Whatever else is needed is copied out of it, so that updates
 * that leave the spec alone (status reports, mostly) only exchange the reference. Pods with constraints keep an arena
 * of their own.
 */
#ifndef SKIFF_SCHEDULER_POD_H
#define SKIFF_SCHEDULER_POD_H

#include "base/arena.h"
#include "openapi/meta/selector.h"
#include "openapi/object/object.h"
#include "openapi/views.h"
#include "scheduler/owners.h"
#include "scheduler/resources.h"

struct sched_node;

enum taint_effect { EFFECT_ANY, EFFECT_NO_SCHEDULE, EFFECT_PREFER_NO_SCHEDULE, EFFECT_NO_EXECUTE };

struct toleration {
    struct str key, value;
    enum taint_effect effect;
    bool exists; /* any value */
};

struct host_port {
    int32_t port;
    struct str protocol, ip; /* "TCP"; ip "" = all addresses */
};

struct affinity_term {
    struct label_selector selector;
    struct str topology_key;
    const struct str *namespaces;
    size_t n_namespaces;
    bool all_namespaces; /* an empty namespaceSelector */
    struct label_selector namespace_selector;
    int64_t weight; /* preferred terms */
};

struct affinity_terms {
    struct affinity_term *items;
    size_t len;
};

struct spread_constraint {
    struct label_selector selector;
    struct str topology_key;
    int32_t max_skew, min_domains;
    bool hard; /* DoNotSchedule */
    bool honor_affinity, honor_taints;
};

struct pod_claim { /* a PersistentVolumeClaim it uses */
    struct str name;
    bool ephemeral; /* made for this pod */
};

/* What only few pods say; in the pod's arena. */
struct pod_constraints {
    struct str_entry_array node_selector;
    const struct core_v1_node_affinity *node_affinity;
    struct affinity_terms affinity, anti_affinity, preferred_affinity, preferred_anti_affinity;
    const struct spread_constraint *spread;
    size_t n_spread;
    const struct host_port *ports;
    size_t n_ports;
    struct str node_name; /* spec.nodeName of a pod that is not placed: only in tests */
    const struct pod_claim *claims;
    size_t n_claims;
};

enum pod_state {
    POD_IDLE, /* in no queue: being decided on, or not ours */
    POD_ACTIVE,
    POD_BACKOFF,
    POD_UNSCHEDULABLE, /* until something happens that may help */
    POD_GATED,         /* has scheduling gates */
    POD_BINDING,       /* assumed on `node` */
    POD_PLACED,        /* on `node`, as the API says */
};

struct sched_pod {
    const struct object *object;
    struct arena *arena;                       /* NULL unless there are constraints */
    const struct pod_constraints *constraints; /* NULL = none */
    struct requests requests;
    const struct toleration *tolerations; /* in one block with their strings; freed once placed */
    size_t n_tolerations;
    const struct str *images; /* of its containers, as nodes name them; likewise */
    size_t n_images;
    struct owner_pods *owner; /* replicas of the same owner; NULL = not replicated */
    int32_t priority;
    bool never_preempts;
    bool has_affinity;      /* any required or preferred term about other pods */
    bool has_anti_affinity; /* a required one */

    struct sched_node *node; /* where it is placed or assumed */
    size_t at_node;          /* its position there */

    /* the queue's */
    enum pod_state state;
    bool after_error; /* backs off after a failure that was not the pod's */
    uint16_t attempts;
    uint32_t refused_by; /* bit per plugin */
    size_t at;           /* in its heap or list */
    uint64_t sequence;
    int64_t queued_us; /* order among pods of one priority */
    int64_t failed_ms, backoff_until_ms;

    struct str nominated; /* node freed for it by preemption; on the heap */
};

struct snapshot;
/* Decode. The snapshot numbers extended resources and knows the owners. */
struct sched_pod *sched_pod_create(const struct object *o, struct snapshot *s);
void sched_pod_destroy(struct sched_pod *p, struct snapshot *s); /* NULL is fine; must be off its node */
/* The object has changed. True when what scheduling knows has changed with it: then the pod must have been taken off
 * its node before (requests count there), else nothing but the reference is exchanged. */
bool sched_pod_must_decode(const struct sched_pod *p, const struct object *now);
void sched_pod_update(struct sched_pod *p, const struct object *now, struct snapshot *s);
/* Placed pods need neither tolerations nor images. */
void sched_pod_slim(struct sched_pod *p);

bool tolerated(const struct toleration *t, size_t n, struct str key, struct str value, enum taint_effect effect);
enum taint_effect taint_effect_from(struct str s);

#endif
