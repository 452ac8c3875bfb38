/* store_for_test: a store over an etcd for tests (server_for_test.h), and what tests ask of it: writing, reading,
 * what was published. */
#ifndef SKIFF_STORAGE_KV_ETCD_STORE_FOR_TEST_H
#define SKIFF_STORAGE_KV_ETCD_STORE_FOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/vec.h"
#include "storage/kv/etcd/server_for_test.h"
#include "storage/kv/kv.h"

#include <pthread.h>

static struct etcd_server server;
static struct err err;

static inline struct kv *open_store(const char *options)
{
    char text[512];
    struct kv *kv;

    snprintf(text, sizeof text, "%s%s", server.url, options);
    if (kv_open_etcd_text(text, &kv, &err) < 0)
        fail_msg("%s", err.message);
    return kv;
}

static inline int etcdctl(const char *options, const char *arguments)
{
    char command[768];
    const char *host = strstr(server.url, "://") + 3;

    snprintf(command, sizeof command, "ETCDCTL_API=3 %setcdctl --endpoints=%s %s %s >/dev/null 2>&1", etcd_programs,
             host, options, arguments);
    return system(command);
}

static inline void put(struct kv *kv, const char *key, const char *value, void *cookie)
{
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op op = {.kind = KV_PUT, .key = str_from(key), .value = str_from(value), .cookie = cookie};
    struct kv_txn txn = {.success = &op, .n_success = 1};

    if (kv_txn_wait(kv, a, &txn, &result, &err) < 0)
        fail_msg("%s", err.message);
    arena_destroy(a);
}

struct text {
    pthread_mutex_t lock;
    char p[4096];
    size_t len;
    int64_t revision;
};
static inline void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    t->len += (size_t)vsnprintf(t->p + t->len, sizeof t->p - t->len, fmt, ap);
    va_end(ap);
}
static inline void publish(void *arg, const struct kv_event *events, size_t n, int64_t revision)
{
    struct text *t = arg;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < n; i++) {
        const struct kv_event *e = &events[i];
        if (t->len + 200 > sizeof t->p)
            t->len = 0;
        add(t, "%s " STR_FMT "=" STR_FMT "@%lld<" STR_FMT "%s ", e->kind == KV_EVENT_PUT ? "put" : "del",
            STR_ARG(e->pair.key), STR_ARG(e->pair.value), (long long)e->pair.mod_revision,
            STR_ARG(e->prev ? e->prev->value : STR("-")), e->cookie ? (const char *)e->cookie : "");
    }
    t->revision = revision;
    pthread_mutex_unlock(&t->lock);
}
static inline void wait_revision(struct kv *kv, int64_t revision)
{
    for (int i = 0; i < 1000 && kv_revision(kv) < revision; i++)
        usleep(10000);
    assert_true(kv_revision(kv) >= revision);
}

static inline void wait_published(struct text *t, int64_t revision)
{
    bool there = false;
    for (int i = 0; i < 1000 && !there; i++) {
        pthread_mutex_lock(&t->lock);
        there = t->revision >= revision;
        pthread_mutex_unlock(&t->lock);
        usleep(there ? 0 : 10000);
    }
    assert_true(there);
}

static inline bool list_pair(void *arg, const struct kv_pair *p)
{
    add(arg, STR_FMT "=" STR_FMT " ", STR_ARG(p->key), STR_ARG(p->value));
    return true;
}
static const char *range(struct kv *kv, const char *key, const char *end)
{
    static struct text t;
    t.len = t.p[0] = 0;
    int rc = kv_range(kv, str_from(key), str_from(end), 0, 0, list_pair, &t, NULL, &err);
    if (rc < 0)
        snprintf(t.p, sizeof t.p, "%s", err_code_name(rc));
    return t.p;
}

static inline int fresh(void **state)
{
    (void)state;
    server.extra = NULL;
    etcd_server_remove(&server);
    etcd_server_start(&server);
    return 0;
}
static inline int over(void **state)
{
    (void)state;
    etcd_server_remove(&server);
    return 0;
}

static inline void prepare_three(struct etcd_server members[3])
{
    static const char *const names[] = {"one", "two", "three"};
    char cluster[256] = "";

    for (int i = 0; i < 3; i++) {
        etcd_server_prepare(&members[i], names[i]);
        snprintf(cluster + strlen(cluster), sizeof cluster - strlen(cluster), "%s%s=%s", i ? "," : "", names[i],
                 members[i].peer_url);
    }
    for (int i = 0; i < 3; i++)
        memcpy(members[i].cluster, cluster, sizeof cluster);
}

/* The tests against every etcd there is; those whose names match the command line's pattern. */
static inline int run_for_every_etcd(int argc, char **argv, const struct CMUnitTest *tests, size_t n_tests)
{
    int failed = 0, n = 0;

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    for (char name[64]; etcd_next(); n++) {
        snprintf(name, sizeof name, "etcd %s", etcd_version);
        failed += _cmocka_run_group_tests(name, tests, n_tests, NULL, over);
    }
    if (!n)
        print_message("etcd is not installed: nothing to test against\n");
    return failed;
}

#endif
