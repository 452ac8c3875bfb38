/* record: the recording client: writers and watchers on one loop, over connections of their own (private to this
 * folder). Everything a client learns goes through its lines in the log; see history.h for what they say.
 */
#ifndef SKIFF_CONFORMANCE_HISTORY_RECORD_H
#define SKIFF_CONFORMANCE_HISTORY_RECORD_H

#include "base/arena.h"
#include "base/loop.h"
#include "base/net/http_client.h"
#include "conformance/history/history.h"
#include "openapi/value.h"

#include <stdio.h>

enum object_kind { OBJECT_CONFIGMAP, OBJECT_LEASE, OBJECT_KINDS };

struct server {
    const char *url, *server_name, *token;
    struct tls_context *tls;
};

struct connections { /* of one client, one to each server */
    struct http_client **clients;
    size_t n, current;
};

struct recorder {
    struct loop *loop;
    FILE *log;
    struct server *servers;
    size_t n_servers;
    const char *namespace_;
    int64_t n_keys, n_writers, n_watchers, think_ms, timeout_ms, settle_ms;
    uint64_t random;
    struct writer *writers;
    struct watcher *watchers;
    struct key *keys;
    bool stopping, finishing, simulated_pods;
    int n_watching;
    int n_busy; /* writers with a request under way */
    int64_t counts[OP_KINDS][OUTCOMES], events, sessions, relists;
    int64_t first_acknowledged_us, last_acknowledged_us, longest_pause_us;
    struct timer settle, duration;
};

struct key {
    enum object_kind object_kind;
    char name[32], text[48]; /* k1, configmaps/k1 */
    int64_t final_revision;  /* acknowledged last */
};

uint64_t recorder_random(struct recorder *r, uint64_t below);
void recorder_log(struct recorder *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void recorder_connect(struct recorder *r, struct connections *ret, const char *user_agent, int64_t ping_interval_ms);
void recorder_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* NULL: somebody else's object, such as the ConfigMap that every namespace is given. */
const struct key *recorder_key(const struct recorder *r, enum object_kind object_kind, struct str name);

/* Objects on the wire. A whole object holds its value in two places and a padding that follows from it. */
const char *resource_name(enum object_kind object_kind);
void resource_path(const struct recorder *r, enum object_kind object_kind, const char *name, struct buf *out);
/* expect 0: without a resourceVersion. whole: with kind and name, for POST and PUT; otherwise a merge patch. */
void object_write(const struct key *key, int64_t value, int64_t expect, bool whole, struct buf *out);
struct object_read {
    struct str name, uid;
    int64_t revision, value;
    char value_text[96]; /* for the log: the value, or !what is wrong */
};
void object_read(const struct value *object, struct object_read *ret);
/* "item …" lines of a list's answer; answers its revision. */
int64_t object_log_items(struct recorder *r, enum object_kind object_kind, const char *only, const struct value *list);

/* A "held …" line: what the object holds alone. */
void object_log_held(struct recorder *r, const char *type, const char *kind, const struct value *object,
                     int64_t revision);

/* A writer works until the recorder is stopping, then calls recorder_idle. */
void writers_start(struct recorder *r);
/* Last: one write for each key that is acknowledged, and a list from every server; then recorder_written. */
void writers_finish(struct recorder *r);
void recorder_idle(struct recorder *r);
void recorder_written(struct recorder *r);

/* leases_of: a namespace, whose leases are watched too, or NULL. inventory: Services, pods, nodes and ReplicaSets, too.
 */
void watchers_start(struct recorder *r, const char *leases_of, bool inventory);
bool watchers_have_seen(const struct recorder *r); /* the last writes */

int record_main(int argc, char **argv);
int check_main(int argc, char **argv);

#endif
