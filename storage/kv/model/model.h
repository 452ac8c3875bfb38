/* model: what a kv store is, said as plainly as possible: sorted keys, each with all versions it ever had, and the list
 * of all changes. Nothing here is fast, shared with the engines, or forgotten: compaction only moves a mark.
 *
 * `kv_open_model` gives it as a store, so that the contract of kv runs on it too. A test that drives another store
 * beside it uses the rest: it says itself which leases end and when, may take back the newest revisions (an attempt
 * whose outcome it is still finding out), and where history begins.
 */
#ifndef SKIFF_STORAGE_KV_MODEL_MODEL_H
#define SKIFF_STORAGE_KV_MODEL_MODEL_H

#include "storage/kv/kv.h"

int kv_open_model(struct kv **ret, struct err *err);

/* From now on leases end by model_expire only. */
void model_leases_by_hand(struct kv *model);
/* All keys of the leases go, in one revision when there are any. */
void model_expire(struct kv *model, const int64_t *leases, size_t n);
void model_add_lease(struct kv *model, int64_t id, int64_t ttl_s); /* fine when it is there */
void model_undo(struct kv *model, int64_t revision);               /* back to it; leases stay as they are */
void model_set_compacted(struct kv *model, int64_t revision);

#endif
