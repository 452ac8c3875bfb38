/* bench store: durable writes through kv, with so many in flight, beside RocksDB's own synced batches of the same
 * values (the same options, one put a value, a batch as large as what is in flight) or, with --etcd, beside nothing:
 * what the same client gets from a cluster. Rounds of both alternate, so that what else the machine does meets both. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"
#include "storage/kv/kv_engine.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_MS = 500, IN_FLIGHT_MAX = 4096, SAMPLES_MAX = 1 << 20 };

struct store_load {
    int64_t bytes, in_flight, seconds, updates;
    bool alone;
    struct kv *kv;
    struct peer {
        const char *name;
        struct kv_engine *tuned;
        rocksdb_t *plain;
        uint32_t next;
        int64_t done, took_us;
    } peers[2];
    char *value;
    uint32_t next; /* under lock */
    int64_t deadline_us;
    pthread_mutex_t lock;
    pthread_cond_t over;
    int64_t busy, done;
    int64_t *times;
    size_t n_times;
};

struct writer { /* one write in flight at a time */
    struct store_load *l;
    char key[64];
    int64_t began_us;
    struct kv_compare compare;
    struct kv_op op;
    struct kv_txn txn;
};

/* Spread over the key space, as names are; with updates, over so many keys again and again. */
static struct str make_key(const struct store_load *l, uint32_t n, char key[static 64])
{
    uint32_t spread = (l->updates ? n % (uint32_t)l->updates : n) * 2654435761u;
    return (struct str){key, (size_t)snprintf(key, 64, "/registry/pods/default/pod-%010u", spread)};
}

static void write_next(struct writer *w);

static void on_done(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    struct writer *w = arg;
    struct store_load *l = w->l;
    int64_t now_us = clock_mono_us();
    if (err)
        die("%s", err->message);
    if (!result->succeeded)
        die("a key was there before it was made");
    pthread_mutex_lock(&l->lock);
    l->done++;
    if (l->n_times < SAMPLES_MAX)
        l->times[l->n_times++] = now_us - w->began_us;
    bool more = now_us < l->deadline_us;
    if (!more && --l->busy == 0)
        pthread_cond_signal(&l->over);
    pthread_mutex_unlock(&l->lock);
    if (more)
        write_next(w);
}

static void write_next(struct writer *w)
{
    struct store_load *l = w->l;
    pthread_mutex_lock(&l->lock);
    uint32_t n = l->next++;
    pthread_mutex_unlock(&l->lock);
    w->compare = (struct kv_compare){.key = make_key(l, n, w->key), .target = KV_TARGET_MOD};
    w->op = (struct kv_op){.kind = KV_PUT, .key = w->compare.key, .value = {l->value, (size_t)l->bytes}, .cookie = w};
    w->txn = (struct kv_txn){&w->compare, l->updates ? 0 : 1, &w->op, 1, NULL, 0};
    w->began_us = clock_mono_us();
    kv_txn(l->kv, &w->txn, on_done, w);
}

/* Answers how long it took. */
static int64_t round_of_ours(struct store_load *l, struct writer *writers)
{
    int64_t began_us = clock_mono_us();
    l->deadline_us = began_us + ROUND_MS * 1000;
    l->busy = l->in_flight;
    for (int64_t i = 0; i < l->in_flight; i++)
        write_next(&writers[i]);
    pthread_mutex_lock(&l->lock);
    while (l->busy)
        pthread_cond_wait(&l->over, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return clock_mono_us() - began_us;
}

static void write_plain(rocksdb_t *db, const struct kv_write *writes, size_t n)
{
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    char *text = NULL;
    rocksdb_writeoptions_set_sync(options, 1);
    for (size_t i = 0; i < n; i++)
        rocksdb_writebatch_put(batch, writes[i].key.p, writes[i].key.len, writes[i].body.p, writes[i].body.len);
    rocksdb_write(db, options, batch, &text);
    if (text)
        die("%s", text);
    rocksdb_writebatch_destroy(batch);
    rocksdb_writeoptions_destroy(options);
}

static void round_of_peer(struct store_load *l, struct peer *p)
{
    struct kv_write *writes = MEM_ARRAY(struct kv_write, (size_t)l->in_flight);
    char(*keys)[64] = mem_alloc((size_t)l->in_flight * sizeof *keys);
    int64_t began_us = clock_mono_us(), now_us;
    struct err err;
    do {
        for (int64_t i = 0; i < l->in_flight; i++)
            writes[i] = (struct kv_write){.space = KV_SPACE_VERSIONS,
                                          .key = make_key(l, p->next++, keys[i]),
                                          .body = {l->value, (size_t)l->bytes}};
        if (p->plain)
            write_plain(p->plain, writes, (size_t)l->in_flight);
        else if (p->tuned->ops->write(p->tuned, writes, (size_t)l->in_flight, true, &err) < 0)
            die("%s", err.message);
        p->done += l->in_flight;
        now_us = clock_mono_us();
    } while (now_us < began_us + ROUND_MS * 1000);
    p->took_us += now_us - began_us;
    free(writes);
    free(keys);
}

static void open_both(struct store_load *l, const char *dir, const char *etcd)
{
    char path[4096];
    struct err err;
    struct kv_rocksdb_options opt = {.dir = path};
    snprintf(path, sizeof path, "%s/kv", dir);
    if ((etcd ? kv_open_etcd_text(etcd, &l->kv, &err) : kv_open_rocksdb(&opt, &l->kv, &err)) < 0)
        die("%s", err.message);
    if (etcd || l->alone)
        return;
    char *text = NULL;
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    snprintf(path, sizeof path, "%s/plain", dir);
    l->peers[0] = (struct peer){.name = "rocksdb", .plain = rocksdb_open(options, path, &text)};
    if (text)
        die("%s", text);
    rocksdb_options_destroy(options);
    snprintf(path, sizeof path, "%s/tuned", dir);
    l->peers[1].name = "tuned";
    if (kv_engine_rocksdb(path, &l->peers[1].tuned, &err) < 0)
        die("%s", err.message);
}

static void close_both(struct store_load *l)
{
    if (l->peers[0].name) {
        rocksdb_close(l->peers[0].plain);
        l->peers[1].tuned->ops->close(l->peers[1].tuned);
    }
    kv_close(l->kv);
}

static void measure(struct store_load *l)
{
    struct writer *writers = MEM_ARRAY(struct writer, (size_t)l->in_flight);
    int64_t ours_us = 0, until_us = clock_mono_us() + l->seconds * 1000000;
    for (int64_t i = 0; i < l->in_flight; i++)
        writers[i].l = l;
    for (int turn = 0; clock_mono_us() < until_us; turn++) {
        ours_us += round_of_ours(l, writers);
        for (struct peer *p = l->peers; p < l->peers + 2 && p->name; p++)
            round_of_peer(l, p);
        if (turn == 0) { /* everyone is warm now */
            ours_us = l->done = l->peers[0].done = l->peers[0].took_us = l->peers[1].done = l->peers[1].took_us = 0;
            l->n_times = 0;
        }
    }
    double ours = (double)l->done * 1e6 / (double)(ours_us ? ours_us : 1);
    printf("writes_per_s %.0f\n", ours);
    printf("p50_ms %.2f\n", (double)percentile(l->times, l->n_times, 50) / 1000);
    printf("p99_ms %.2f\n", (double)percentile(l->times, l->n_times, 99) / 1000);
    printf("worst_ms %.2f\n", (double)percentile(l->times, l->n_times, 100) / 1000);
    for (struct peer *p = l->peers; p < l->peers + 2 && p->name; p++) {
        double theirs = (double)p->done * 1e6 / (double)(p->took_us ? p->took_us : 1);
        printf("%s_per_s %.0f\n%s_ratio %.2f\n", p->name, theirs, p->name, ours / theirs);
    }
    free(writers);
}

static int run(int argc, char **argv)
{
    struct store_load l = {.bytes = 4096, .in_flight = 256, .seconds = 5};
    const char *dir = NULL, *etcd = NULL;
    int n, exit_code;
    const struct option_spec specs[] = {
        {"dir", OPTION_STRING, &dir, "DIR", "an empty directory; the disk it is on counts", .required = true},
        {"etcd", OPTION_STRING, &etcd, "URL,…", "write to this etcd instead"},
        {"alone", OPTION_BOOL, &l.alone, NULL, "without the peer"},
        {"bytes", OPTION_INT, &l.bytes, "N", "of a value (4096)", .min = 1, .max = 1000000},
        {"updates", OPTION_INT, &l.updates, "N", "change so many keys over and over (0: new keys)", .max = 100000000},
        {"in-flight", OPTION_INT, &l.in_flight, "N", "writers (256)", .min = 1, .max = IN_FLIGHT_MAX},
        {"seconds", OPTION_INT, &l.seconds, "N", "how long (5)", .min = 1, .max = 600},
        {0},
    };
    if (options_parse(&bench_store, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.over, NULL);
    l.value = mem_alloc((size_t)l.bytes);
    for (int64_t i = 0; i < l.bytes; i++)
        l.value[i] = (char)(' ' + (i * i + i / 7) % 90);
    l.times = MEM_ARRAY(int64_t, SAMPLES_MAX);
    open_both(&l, dir, etcd);
    measure(&l);
    close_both(&l);
    free(l.times);
    free(l.value);
    return 0;
}

const struct command bench_store = {"store", "--dir DIR [--bytes N] [--in-flight N] [--seconds N] [--etcd URL,…]",
                                    "durable writes through kv", run};
