/* relist: the agent's picture of the runtime: every pod sandbox and container that the kubelet's labels mark as a
 * pod's.
 *
 * Lists once a second, and at once after relist_now(); a container or sandbox whose listed state changed is asked for
 * its status before the change is reported, so observers see exit codes and addresses together with the state. All on
 * the loop.
 */
#ifndef SKIFF_NODE_RUNTIME_RELIST_H
#define SKIFF_NODE_RUNTIME_RELIST_H

#include "base/loop.h"
#include "node/cri/cri.h"
#include "node/pod/observed.h"

struct relist;
struct relist_options {
    struct loop *loop;
    struct cri *cri;
    /* A pod's picture changed, or its last sandbox and container went (gone: the entry is freed when it returns). */
    void (*on_change)(void *arg, const struct observed_pod *pod, bool gone);
    /* After every complete pass; ok false when the runtime did not answer. */
    void (*on_pass)(void *arg, bool ok, const char *error);
    void *arg;
};
struct relist *relist_create(const struct relist_options *opt);
void relist_destroy(struct relist *r);

void relist_now(struct relist *r);
int64_t relist_passes_started(const struct relist *r);
/* Have all passes up to the one that began after this moment's state been seen? Ticket in, answer later. */
int64_t relist_ticket(struct relist *r); /* asks for a pass; the ticket is done once passes_completed reaches it */
int64_t relist_completed(const struct relist *r);
bool relist_synced(const struct relist *r); /* at least one pass succeeded */
const struct observed_pod *relist_find(const struct relist *r, struct str uid);
void relist_each(struct relist *r, void (*fn)(void *arg, const struct observed_pod *pod), void *arg);

#endif
