/* pod control: what every controller that owns pods needs to know about them: which count, which are ready and
 * available, which go first, and how a template becomes a pod. Pure.
 */
#ifndef SKIFF_CONTROLLERS_PODS_POD_CONTROL_H
#define SKIFF_CONTROLLERS_PODS_POD_CONTROL_H

#include "controllers/runtime/controller.h"
#include "openapi/meta/selector.h"
#include "openapi/views.h"

struct pod_state { /* one pod, read once */
    const struct object *object;
    const struct core_v1_pod *pod;
    bool finished; /* Succeeded or Failed */
    bool active;   /* neither finished nor being deleted */
    bool ready;
    bool available;        /* ready for at least min_ready_s */
    int64_t ready_since_s; /* Unix seconds, 0 = not ready */
};

void pod_state_read(struct arena *a, const struct object *o, int64_t min_ready_s, int64_t now_ms,
                    struct pod_state *ret);

/* The pods of `owner` among the view's pods (watch number `pods`), after the rules of controller references: pods that
 * match but have no controller are adopted, pods that no longer match are released (both as writes in `out`). Deleted
 * owners adopt nothing. Adopted pods are part of the answer, released ones are not. */
size_t pods_claim(const struct view *v, int pods, const struct object *owner, const struct label_selector *selector,
                  int64_t min_ready_s, int64_t now_ms, struct outcome *out, struct pod_state **ret);

/* Which pods go first when there are too many (upstream's ActivePodsWithRanks): unassigned, pending, not ready, doubled
 * up on a node, ready for a shorter time, restarted more, younger. Sorts in place. */
void pods_rank_for_deletion(struct arena *a, struct pod_state *pods, size_t n);

/* A pod of `owner` from a template (a value tree with metadata and spec): the name is prefix plus five characters drawn
 * from `random` and `nth`. */
struct value *pod_from_template(struct arena *a, const struct value *template, const struct object *owner,
                                struct str prefix, uint64_t random, size_t nth);

/* metadata.ownerReferences entry that makes `owner` the controller. */
struct value *controller_reference(struct arena *a, const struct object *owner);

/* Keys for a watch on pods: the controller of `kind` that old and now point to. */
void keys_of_controller(const char *kind, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg);

#endif
