/* The cache where others write too: two of them over one etcd, values as a stock API server stores them, and a cluster
 * that has forgotten what happened. Left out, with a message, where etcd is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "storage/cache/cache.h"
#include "storage/kv/etcd/server_for_test.h"

#include <pthread.h>

static struct etcd_server server;
static struct loop *loop;
static struct err err;

struct side { /* one server's */
    struct kv *kv;
    struct cache *cache;
};

static const struct resource *maps(void)
{
    return resource_find(STR(""), STR("configmaps"));
}

static struct side side_open(void)
{
    const struct resource *one[] = {maps()};
    struct side s;

    if (kv_open_etcd_text(server.url, &s.kv, &err) < 0 || cache_create(s.kv, one, 1, &s.cache, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static void side_close(struct side *s)
{
    cache_destroy(s->cache);
    kv_close(s->kv);
}

/* ---- waiting for what is called back ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;
static bool over;
static int answer_rc;
static int64_t answer_revision;

static void finish(int rc, int64_t revision)
{
    pthread_mutex_lock(&lock);
    over = true;
    answer_rc = rc;
    answer_revision = revision;
    pthread_cond_signal(&ready);
    pthread_mutex_unlock(&lock);
}
static int await(void)
{
    pthread_mutex_lock(&lock);
    while (!over)
        pthread_cond_wait(&ready, &lock);
    over = false;
    pthread_mutex_unlock(&lock);
    return answer_rc;
}

static void committed(void *arg, int rc, int64_t revision, const struct object *const *objects, const struct err *e)
{
    (void)arg;
    (void)e;
    if (rc == 0)
        assert_int_equal(objects[0]->revision, revision);
    finish(rc, revision);
}
static int store(struct side *s, const char *name, const char *data, const struct object *old)
{
    struct arena *a = arena_create(0);
    struct str text = arena_printf(
        a, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u\"},\"data\":{\"k\":\"%s\"}}", name,
        data);
    struct cache_write w = {.kind = old ? CACHE_UPDATE : CACHE_CREATE, .old = old};

    assert_int_equal(object_from_stored(a, maps(), text, 0, 0, &w.object, &err), 0);
    arena_destroy(a);
    cache_commit(s->cache, &w, 1, NULL, 0, NULL, 0, loop, committed, NULL);
    return await();
}

static void newest(void *arg, int rc, const struct err *e)
{
    (void)arg;
    assert_int_equal(rc < 0, e != NULL);
    finish(rc, 0);
}
static int wait_newest(struct side *s)
{
    cache_wait_newest(s->cache, 3000, loop, newest, NULL);
    return await();
}

static const struct object *find(struct side *s, const char *name)
{
    return cache_find(s->cache, maps(), STR("default"), str_from(name));
}
static bool holds(struct side *s, const char *name, const char *data)
{
    const struct object *o = find(s, name);
    bool yes = o && str_contains(o->body, str_from(data));
    object_put(o);
    return yes;
}

/* ---- reads see what another server has acknowledged ---- */

static void reads_are_consistent(void **state)
{
    (void)state;
    struct side sides[2] = {side_open(), side_open()};
    char name[16];

    assert_false(cache_always_newest(sides[0].cache));
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "m%d", i);
        assert_int_equal(store(&sides[i % 2], name, "1", NULL), 0);
        assert_true(holds(&sides[i % 2], name, "\"1\"")); /* where it was written, at once */
        assert_int_equal(wait_newest(&sides[!(i % 2)]), 0);
        assert_true(holds(&sides[!(i % 2)], name, "\"1\""));
    }
    /* who lost a race has what it lost to when it hears of it */
    for (int i = 0; i < 50; i++) {
        const struct object *old = find(&sides[1], "m0");
        char data[16];

        snprintf(data, sizeof data, "w%d", i);
        assert_int_equal(store(&sides[0], "m0", data, old), 0);
        int rc = store(&sides[1], "m0", "late", old);
        object_put(old);
        assert_int_equal(rc, ERR_CONFLICT);
        snprintf(data, sizeof data, "\"w%d\"", i);
        assert_true(holds(&sides[1], "m0", data));
    }
    side_close(&sides[0]);
    side_close(&sides[1]);
}

/* ---- values as a stock API server stores them ---- */

static void field(struct buf *out, int number, const void *p, size_t n)
{
    buf_add_char(out, (char)(number << 3 | 2));
    for (size_t left = n;; left >>= 7) {
        buf_add_char(out, (char)((left & 127) | (left > 127 ? 128 : 0)));
        if (left <= 127)
            break;
    }
    buf_add_str(out, (struct str){p, n});
}
static void text_field(struct buf *out, int number, const char *text)
{
    field(out, number, text, strlen(text));
}
static void nested(struct buf *out, int number, struct buf *in)
{
    field(out, number, in->p, in->len);
    buf_free(in);
}

static void envelope(struct buf *out, const char *api_version, const char *kind, struct buf *raw)
{
    struct buf type = {0}, unknown = {0};

    text_field(&type, 1, api_version);
    text_field(&type, 2, kind);
    nested(&unknown, 1, &type);
    nested(&unknown, 2, raw);
    text_field(&unknown, 3, "");
    text_field(&unknown, 4, "");
    buf_add_str(out, (struct str){"k8s\0", 4});
    buf_add_str(out, buf_str(&unknown));
    buf_free(&unknown);
}

static void put_raw(struct side *s, const char *key, struct str value)
{
    struct kv_op op = {.kind = KV_PUT, .key = str_from(key), .value = value};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    struct arena *a = arena_create(0);

    assert_int_equal(kv_txn_wait(s->kv, a, &txn, &result, &err), 0);
    arena_destroy(a);
}

static void put_protobuf(struct side *s, const char *name, const char *data)
{
    struct buf meta = {0}, entry = {0}, map = {0}, value = {0};
    char key[64];

    text_field(&meta, 1, name);
    text_field(&meta, 3, "default");
    text_field(&meta, 5, "u-1");
    text_field(&entry, 1, "k");
    text_field(&entry, 2, data);
    nested(&map, 1, &meta);
    nested(&map, 2, &entry);
    envelope(&value, "v1", "ConfigMap", &map);
    snprintf(key, sizeof key, "/registry/configmaps/default/%s", name);
    put_raw(s, key, buf_str(&value));
    buf_free(&value);
}

static bool take_value(void *arg, const struct kv_pair *p)
{
    buf_add_str(arg, p->value);
    return true;
}

static void protobuf_is_read(void **state)
{
    (void)state;
    struct side a = side_open(), b;
    struct buf stored = {0};

    put_protobuf(&a, "before", "one");
    put_raw(&a, "/registry/configmaps/default/broken", (struct str){"k8s\0\xff\xff", 6});
    put_raw(&a, "/registry/configmaps/default/broken",
            STR("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":"
                "{\"name\":\"broken\",\"namespace\":\"default\"}}"));
    b = side_open(); /* reads it at the start; the other has seen it come */
    assert_true(holds(&a, "before", "{\"k\":\"one\"}"));
    assert_true(holds(&b, "before", "{\"k\":\"one\"}"));
    assert_true(holds(&a, "broken", "broken"));
    put_protobuf(&a, "before", "two");
    assert_int_equal(wait_newest(&b), 0);
    assert_true(holds(&b, "before", "{\"k\":\"two\"}"));
    /* an update leaves JSON behind */
    const struct object *old = find(&b, "before");
    assert_int_equal(store(&b, "before", "three", old), 0);
    object_put(old);
    assert_int_equal(
        kv_range(b.kv, STR("/registry/configmaps/default/before"), STR_NULL, 0, 0, take_value, &stored, NULL, &err), 0);
    assert_true(str_starts(buf_str(&stored), STR("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":")));
    /* the past: as it was written then */
    struct object_tree *t;
    assert_int_equal(cache_snapshot_at(b.cache, maps(), 2, &t, &err), 0);
    const struct object *o = object_tree_find(t, STR("default"), STR("before"));
    assert_non_null(o);
    assert_true(str_contains(o->body, STR("{\"k\":\"one\"}")));
    object_tree_put(t);
    buf_free(&stored);
    side_close(&a);
    side_close(&b);
}

/* ---- a cluster that has forgotten ---- */

struct seen {
    struct watch *watch;
    _Atomic int n, ended;
    enum err_code code;
};
static void on_watch(void *arg, const struct watch_delivery *d, size_t n)
{
    struct seen *s = arg;
    for (size_t i = 0; i < n; i++) {
        s->n += d[i].type != WATCH_ERROR;
        if (d[i].type == WATCH_ERROR) {
            s->code = d[i].err->code;
            s->ended = 1;
        }
    }
}
static void stop_watch(void *arg)
{
    watch_stop(((struct seen *)arg)->watch);
    finish(0, 0);
}
static void start_seeing(struct side *s, struct seen *seen, int64_t revision)
{
    struct watch_filter f = {.resource = maps(), .namespace_ = STR(""), .name = STR_NULL, .field = -1};
    assert_int_equal(watch_start(s->cache, &f, revision, loop, on_watch, seen, &seen->watch, &err), 0);
}

static void etcdctl(const char *arguments)
{
    char command[512];
    snprintf(command, sizeof command, "ETCDCTL_API=3 %setcdctl --endpoints=%s %s >/dev/null 2>&1", etcd_programs,
             strstr(server.url, "://") + 3, arguments);
    for (int i = 0; i < 200 && system(command) != 0; i++)
        usleep(20000);
}

static void starts_over(void **state)
{
    (void)state;
    struct side s = side_open();
    static struct seen old, new;
    char url[sizeof server.url];

    old = new = (struct seen){0};
    assert_int_equal(store(&s, "stays", "1", NULL), 0);
    assert_int_equal(store(&s, "goes", "1", NULL), 0);
    assert_int_equal(store(&s, "changes", "1", NULL), 0);
    const struct object *stays = find(&s, "stays");
    start_seeing(&s, &old, cache_revision(s.cache));
    assert_int_equal(cache_add_keys(s.cache, STR("/ports/"), &err), 0);
    put_raw(&s, "/ports/1", STR("x"));
    assert_true(cache_has_key(s.cache, STR("/ports/1")));
    etcd_server_kill(&server, SIGTERM);
    memcpy(url, server.url, sizeof url);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", etcd_free_port()); /* where it does not look */
    etcd_server_start(&server);
    etcdctl("del /registry/configmaps/default/goes");
    etcdctl("del /ports/1");
    etcdctl("put /ports/2 x");
    etcdctl("put /registry/configmaps/default/changes "
            "'{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"changes\",\"namespace\":"
            "\"default\"},\"data\":{\"k\":\"2\"}}'");
    etcdctl("compact 9");
    etcd_server_kill(&server, SIGTERM);
    memcpy(server.url, url, sizeof url);
    etcd_server_start(&server);
    for (int i = 0; i < 20 && wait_newest(&s) != 0; i++)
        ;
    assert_true(cache_revision(s.cache) >= 9);
    assert_null(find(&s, "goes"));
    assert_true(holds(&s, "changes", "\"2\""));
    const struct object *still = find(&s, "stays");
    assert_ptr_equal(still, stays);
    object_put(still);
    object_put(stays);
    assert_false(cache_has_key(s.cache, STR("/ports/1")));
    assert_true(cache_has_key(s.cache, STR("/ports/2")));
    for (int i = 0; i < 500 && !old.ended; i++)
        usleep(10000);
    assert_true(old.ended);
    assert_int_equal(old.code, ERR_EXPIRED);
    struct watch *w;
    struct watch_filter f = {.resource = maps(), .namespace_ = STR(""), .name = STR_NULL, .field = -1};
    assert_int_equal(watch_start(s.cache, &f, 5, loop, on_watch, &new, &w, &err), ERR_EXPIRED);
    start_seeing(&s, &new, cache_revision(s.cache));
    assert_int_equal(store(&s, "next", "1", NULL), 0);
    for (int i = 0; i < 500 && !new.n; i++)
        usleep(10000);
    assert_int_equal(new.n, 1);
    loop_post(loop, stop_watch, &old);
    await();
    loop_post(loop, stop_watch, &new);
    await();
    side_close(&s);
}

static int fresh(void **state)
{
    (void)state;
    etcd_server_remove(&server);
    etcd_server_start(&server);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_create("test");
    loop_start(loop);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    loop_stop(loop);
    loop_join(loop);
    loop_destroy(loop);
    etcd_server_remove(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_are_consistent, fresh),
        cmocka_unit_test_setup(protobuf_is_read, fresh),
        cmocka_unit_test_setup(starts_over, fresh),
    };
    int failed = 0, n = 0;

    for (char name[64]; etcd_next(); n++) {
        snprintf(name, sizeof name, "etcd %s", etcd_version);
        failed += cmocka_run_group_tests_name(name, tests, setup, teardown);
    }
    if (!n)
        print_message("etcd is not installed: nothing to test against\n");
    return failed;
}
