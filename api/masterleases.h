/* masterleases: which servers of a cluster live, as stock API servers tell each other: each renews a key with a time to
 * live, /registry/masterleases/ADDRESS, and lists the others'. All serve on the same port.
 *
 * Every call waits for the store: not on a loop's thread.
 */
#ifndef SKIFF_API_MASTERLEASES_H
#define SKIFF_API_MASTERLEASES_H

#include "storage/kv/kv.h"

#define MASTERLEASES_PREFIX "/registry/masterleases/"
#define MASTERLEASES_TTL_S 15

int masterleases_renew(struct kv *kv, struct str address, struct err *err);
int masterleases_drop(struct kv *kv, struct str address, struct err *err);
/* In order of their text, in the arena. */
int masterleases_list(struct kv *kv, struct arena *a, struct str **ret, size_t *ret_n, struct err *err);

#endif
