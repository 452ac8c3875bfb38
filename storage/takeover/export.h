/* export: this cluster's objects into an etcd that has none, as a stock API server can read them: JSON with kind and
 * apiVersion under the same keys. Values that are sealed here are sealed there, with the same key, or with `plain` not.
 * What has a lease gets an hour. */
#ifndef SKIFF_STORAGE_TAKEOVER_EXPORT_H
#define SKIFF_STORAGE_TAKEOVER_EXPORT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct takeover_export {
    const char *data_dir;
    const char *encryption_config; /* NULL = DIR/pki/encryption.yaml */
    const char *to;                /* as kv_open_etcd_text takes it */
    bool plain;
};

/* ERR_ALREADY_EXISTS: there is something under /registry; ERR_BUSY: a server runs on the data directory. */
int takeover_export(const struct takeover_export *opt, int64_t *ret_n, int64_t *ret_n_sealed, struct err *err);

#endif
