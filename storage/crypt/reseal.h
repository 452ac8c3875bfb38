/* reseal: when the keys or rules have changed, what is stored is brought to them in the background: values of another
 * key are sealed with the first one, plain ones that should not be are sealed, sealed ones that need not be become
 * plain. Each is written as it is with a compare on its revision, so that a change in between is never lost. A mark in
 * the store says what it was last brought to; while that holds nothing is read.
 */
#ifndef SKIFF_STORAGE_CRYPT_RESEAL_H
#define SKIFF_STORAGE_CRYPT_RESEAL_H

#include "storage/crypt/crypt.h"

#include <stdatomic.h>

struct reseal;

/* On a thread of its own; progress and the end go to the log. */
struct reseal *reseal_start(struct crypt *c, struct kv *kv);
void reseal_stop(struct reseal *r); /* waits; what is left is done at the next start. NULL is fine */

struct reseal_counts {
    int64_t seen, written;
};
/* The same on the calling thread, until done or `stop`. 1 = nothing was to be done. */
int reseal_run(struct crypt *c, struct kv *kv, atomic_bool *stop, struct reseal_counts *ret, struct err *err);

#endif
