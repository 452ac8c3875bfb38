/* serve_etcd: etcd's v3 API over a kv store, for stock clients: KV, Watch, Lease, Maintenance; Cluster and Auth as far
 * as one member without users has them.
 *
 * It runs on a thread of its own, where reads of the store may block; writes go to the store's committer. Watches are
 * fed from the store's history: a listener of the store only wakes the thread, so a watch has no gap, no duplicate,
 * and a slow one holds nothing but the revision it has come to.
 *
 * Writes to keys under /registry are refused while `guard_registry` is set: the objects there are the API server's.
 */
#ifndef SKIFF_STORAGE_SERVE_ETCD_SERVE_H
#define SKIFF_STORAGE_SERVE_ETCD_SERVE_H

#include "base/err.h"

#include <stdbool.h>

struct crypt;
struct kv;
struct tls_context;
struct serve_etcd;

struct serve_etcd_options {
    struct kv *kv;             /* one that lists its leases: not an etcd cluster */
    const char *listen;        /* "127.0.0.1:2379", as http.h's */
    struct tls_context *tls;   /* NULL: clear text; taken over, also on failure */
    const char *organization;  /* with tls: the client's certificate must name it; NULL: any that verifies */
    const struct crypt *crypt; /* values are shown as it seals them: as a stock API server would have stored them. NULL:
                                  as they were written */
    const char *store_dir;     /* whose size is told as the database's; NULL: none; copied */
    bool guard_registry;
};
int serve_etcd_start(const struct serve_etcd_options *opt, struct serve_etcd **ret, struct err *err);
int serve_etcd_port(const struct serve_etcd *s);
void serve_etcd_stop(struct serve_etcd *s); /* the caller's thread waits; before the store closes; NULL is fine */
/* Whether clear text may be served there: addresses of this machine alone ("127.0.0.1:2379", "[::1]:0", "localhost:1").
 */
bool serve_etcd_is_loopback(const char *listen);

#endif
