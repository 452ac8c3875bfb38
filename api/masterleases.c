#include "api/masterleases.h"

static struct str key_of(struct arena *a, struct str address)
{
    return arena_printf(a, MASTERLEASES_PREFIX STR_FMT, STR_ARG(address));
}

static int change(struct kv *kv, struct arena *a, const struct kv_op *op, struct err *err)
{
    struct kv_txn txn = {.success = op, .n_success = 1};
    struct kv_txn_result result;
    return kv_txn_wait(kv, a, &txn, &result, err);
}

int masterleases_renew(struct kv *kv, struct str address, struct err *err)
{
    struct arena *a = arena_create(0);
    struct str value = arena_printf(a,
                                    "{\"kind\":\"Endpoints\",\"apiVersion\":\"v1\",\"metadata\":{\"generation\":1},"
                                    "\"subsets\":[{\"addresses\":[{\"ip\":\"" STR_FMT "\"}]}]}\n",
                                    STR_ARG(address));
    struct kv_op put = {.kind = KV_PUT, .key = key_of(a, address), .value = value, .ttl_s = MASTERLEASES_TTL_S};
    int rc = change(kv, a, &put, err);
    arena_destroy(a);
    return rc;
}

int masterleases_drop(struct kv *kv, struct str address, struct err *err)
{
    struct arena *a = arena_create(0);
    struct kv_op drop = {.kind = KV_DELETE, .key = key_of(a, address)};
    int rc = change(kv, a, &drop, err);
    arena_destroy(a);
    return rc;
}

struct listing {
    struct arena *arena;
    struct str *items;
    size_t len, cap;
};

/* The key says it all: values may be in any encoding. */
static bool add(void *arg, const struct kv_pair *pair)
{
    struct listing *l = arg;
    struct str address = str_sub(pair->key, sizeof MASTERLEASES_PREFIX - 1, pair->key.len);
    if (address.len)
        ARENA_PUSH(l->arena, l->items, l->len, l->cap, arena_str(l->arena, address));
    return true;
}

int masterleases_list(struct kv *kv, struct arena *a, struct str **ret, size_t *ret_n, struct err *err)
{
    struct listing l = {.arena = a};
    int64_t revision;
    struct str prefix = STR(MASTERLEASES_PREFIX);
    int rc = kv_range(kv, prefix, kv_prefix_end(a, prefix), 0, 0, add, &l, &revision, err);
    *ret = l.items;
    *ret_n = l.len;
    return rc;
}
