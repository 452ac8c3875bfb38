/* reseal: when the keys or rules have changed, what is stored is brought to them in the background: values of another
 * key are sealed with the first one, plain ones that should not be are sealed, sealed ones that need not be become
 * plain. Each is written as it is with a compare on its revision, so that a change in between is never lost.
 *
 * A mark in the store, one per server, says what that server has last brought it to; while it holds nothing is read.
 * One per server, because servers that share a store change their keys one after the other: what the last of them wrote
 * under the former key is found by its own run, which begins when it has changed. Two runs at once do no harm: whoever
 * writes second finds the revision changed.
 *
 * What was rewritten leaves the disk when history is compacted: then the files are cleaned once (kv_scrub).
 */
#ifndef SKIFF_STORAGE_CRYPT_RESEAL_H
#define SKIFF_STORAGE_CRYPT_RESEAL_H

#include "storage/crypt/crypt.h"

#include <stdatomic.h>

struct reseal;

/* On a thread of its own, at start and whenever the keys or rules change; progress and the end go to the log and the
 * metrics (skiff_encryption_reseal_…). */
struct reseal *reseal_start(struct crypt *c, struct kv *kv);
void reseal_stop(struct reseal *r); /* waits; what is left is done at the next start. NULL is fine */

struct reseal_counts {
    int64_t seen, written;
    bool changed; /* it had been brought to other keys or rules before */
};
/* The same on the calling thread, until done or `stop`. 1 = nothing was to be done. */
int reseal_run(struct crypt *c, struct kv *kv, atomic_bool *stop, struct reseal_counts *ret, struct err *err);

#endif
