/* bench fill: a large cluster's objects written straight into a data directory, for the figures of loading and of size.
 *
 * The directory has been served before and holds at least one pod and one node, made by `bench create` and `bench
 * seed`: they are the pattern. Every copy has a name and a uid of its own; pods are bound to the nodes in turn. */
#include "base/arena.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"
#include "storage/kv/kv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 512 };

struct fill {
    struct kv *kv;
    struct arena *arena;
    struct kv_op ops[BATCH];
    size_t n;
    int64_t bytes;
};

static bool take_first(void *arg, const struct kv_pair *pair)
{
    struct buf *out = arg;
    buf_add_str(out, pair->value);
    return false;
}

/* One stored value under the prefix. */
static struct str pattern(struct fill *f, const char *prefix, struct buf *out)
{
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct str key = str_from(prefix);
    if (kv_range(f->kv, key, kv_prefix_end(a, key), 0, 1, take_first, out, NULL, &err) < 0)
        die("%s: %s", prefix, err.message);
    arena_destroy(a);
    if (!out->len)
        die("%s: nothing is stored there that could be copied", prefix);
    return buf_str(out);
}

/* The value of the first string member `name`, or STR_NULL. */
static struct str member(struct str text, const char *name)
{
    struct buf quoted = {0};
    size_t end;
    buf_printf(&quoted, "\"%s\":\"", name);
    const char *at = memmem(text.p, text.len, quoted.p, quoted.len);
    struct str rest = STR_NULL;
    if (at) {
        size_t from = (size_t)(at - text.p) + quoted.len;
        rest = str_sub(text, from, text.len);
        rest = str_index(rest, '"', &end) ? str_sub(rest, 0, end) : STR_NULL;
    }
    buf_free(&quoted);
    return rest;
}

/* `from` with `a` in the place of the string `was`, which lies in it. */
static void add_until(struct buf *out, const char **at, struct str was, const char *now)
{
    buf_add(out, *at, (size_t)(was.p - *at));
    buf_addz(out, now);
    *at = was.p + was.len;
}

static void flush(struct fill *f)
{
    struct kv_txn txn = {.success = f->ops, .n_success = f->n};
    struct kv_txn_result result;
    struct err err = ERR_INIT;
    if (f->n && kv_txn_wait(f->kv, f->arena, &txn, &result, &err) < 0)
        die("%s", err.message);
    f->n = 0;
    arena_reset(f->arena);
}

static void put(struct fill *f, struct str key, struct str value)
{
    if (f->n == BATCH || f->n == kv_txn_max(f->kv))
        flush(f);
    f->ops[f->n++] =
        (struct kv_op){.kind = KV_PUT, .key = arena_str(f->arena, key), .value = arena_str(f->arena, value)};
    f->bytes += (int64_t)value.len;
}

/* name stands before uid, and a pod's spec behind both. */
static void copies(struct fill *f, const char *prefix, const char *stem, int64_t count, int64_t n_nodes)
{
    struct buf from = {0}, value = {0};
    struct str text = pattern(f, prefix, &from), name = member(text, "name"), uid = member(text, "uid");
    const char *spec = n_nodes ? memmem(text.p, text.len, "\"spec\":{", 8) : NULL;
    if (!name.p || !uid.p || uid.p < name.p || (n_nodes && (!spec || spec < uid.p)))
        die("%s: what is stored there has another form", prefix);
    for (int64_t i = 0; i < count; i++) {
        char key[256], text_name[64], text_uid[64], text_node[128];
        const char *at = text.p;
        snprintf(text_name, sizeof text_name, "%s-%lld", stem, (long long)i);
        snprintf(text_uid, sizeof text_uid, "%08llx-0000-4000-8000-%012llx", (long long)(n_nodes ? 1 : 2),
                 (long long)i);
        snprintf(key, sizeof key, "%s%s", prefix, text_name);
        value.len = 0;
        add_until(&value, &at, name, text_name);
        add_until(&value, &at, uid, text_uid);
        if (spec) {
            snprintf(text_node, sizeof text_node, "\"nodeName\":\"filled-%lld\",", (long long)(i % n_nodes));
            add_until(&value, &at, (struct str){spec + 8, 0}, text_node);
        }
        buf_add(&value, at, (size_t)(text.p + text.len - at));
        put(f, str_from(key), buf_str(&value));
    }
    flush(f);
    buf_free(&from);
    buf_free(&value);
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    int64_t pods = 150000, nodes = 5000;
    int n, exit_code;
    struct err err = ERR_INIT;
    const struct option_spec specs[] = {
        {"data-dir", OPTION_STRING, &dir, "DIR", "that a server has used and left", .required = true},
        {"pods", OPTION_INT, &pods, "N", "copies of a stored pod (150000)", .min = 0, .max = 10000000},
        {"nodes", OPTION_INT, &nodes, "N", "copies of a stored node (5000)", .min = 1, .max = 1000000},
        {0},
    };
    if (options_parse(&bench_fill, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    char store[512];
    snprintf(store, sizeof store, "%s/store", dir);
    struct kv_rocksdb_options opt = {.dir = store};
    struct fill *f = MEM_NEW(struct fill);
    f->arena = arena_create(0);
    if (kv_open_rocksdb(&opt, &f->kv, &err) < 0)
        die("%s", err.message);
    copies(f, "/registry/minions/", "filled", nodes, 0);
    copies(f, "/registry/pods/default/", "filled", pods, nodes);
    kv_close(f->kv);
    printf("objects %lld\nbytes %lld\n", (long long)(pods + nodes), (long long)f->bytes);
    arena_destroy(f->arena);
    free(f);
    return 0;
}

const struct command bench_fill = {"fill", "--data-dir DIR [--pods N] [--nodes N]",
                                   "a large cluster's objects straight into a store", run};
