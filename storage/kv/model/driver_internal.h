/* What the driver's two halves share: driver.c asks and compares answers, driver_check.c reads, follows leases and
 * finds out what a crash left. */
#ifndef SKIFF_STORAGE_KV_MODEL_DRIVER_INTERNAL_H
#define SKIFF_STORAGE_KV_MODEL_DRIVER_INTERNAL_H

#include "storage/kv/model/driver.h"

enum { DRIVER_KEYS = 12 };
extern const struct str driver_keys[DRIVER_KEYS];
extern const struct str driver_first_key, driver_last_key;

bool driver_is_trouble(int rc); /* an error that leaves the outcome open */
bool driver_said_pair(void *buf, const struct kv_pair *p);
bool driver_said_event(void *buf, const struct kv_event *e);
void driver_on_publish(void *driver, const struct kv_event *events, size_t n, int64_t revision);
struct driver_lease *driver_lease_of(struct driver *d, int64_t id);
/* The transaction with the leases that its timed puts got, as told by events[0..n); does not fit when it cannot have
 * got them: another length, or joined too late. */
struct kv_txn driver_with_leases(struct driver *d, const struct kv_txn *t, const struct driver_event *events, size_t n,
                                 bool *ret_fits);
int driver_on_model(struct driver *d, const struct kv_txn *t, struct buf *text);
void driver_compare_heard(struct driver *d, int64_t revision);
/* Whether the model's changes after `revision` are events[0..n). */
bool driver_changes_are(struct driver *d, int64_t revision, const struct driver_event *events, size_t n);

#endif
