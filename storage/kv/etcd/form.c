/* Keys and values as they stand in etcd: what a stock API server would have there. Keys as they are (behind the store's
 * prefix, if it has one), plain values without any envelope. encrypted ones behind "k8s:enc:". What any other
 * transform sealed is marked by a byte no JSON, protobuf or upstream encryption begins with, and the transform's own; a
 * plain value that happens to begin in one of these ways is marked as plain. */
#include "storage/kv/etcd/etcd.h"

#include "base/log.h"

enum {
    MARK = 0xff,
    ENCRYPTED = 1, /* the transform whose values carry upstream's prefix by themselves */
};

static bool is_encrypted(struct str stored)
{
    return str_starts(stored, STR("k8s:enc:"));
}

static ProtobufCBinaryData bytes(struct str s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.p};
}

static ProtobufCBinaryData behind_prefix(const struct etcd *e, struct arena *a, struct str key)
{
    size_t n = strlen(e->prefix);

    if (!n)
        return bytes(key);
    char *p = arena_alloc(a, n + key.len);
    memcpy(p, e->prefix, n);
    if (key.len)
        memcpy(p + n, key.p, key.len);
    return bytes((struct str){p, n + key.len});
}

ProtobufCBinaryData etcd_key(const struct etcd *e, struct arena *a, struct str key)
{
    ProtobufCBinaryData k = behind_prefix(e, a, key);

    return k.len ? k : bytes(STR("\0"));
}

ProtobufCBinaryData etcd_end(const struct etcd *e, struct arena *a, struct str end)
{
    return end.p ? behind_prefix(e, a, end) : bytes(STR_NULL);
}

ProtobufCBinaryData etcd_end_of_all(void)
{
    return bytes(STR("\0"));
}

bool etcd_our_key(const struct etcd *e, ProtobufCBinaryData key, struct str *ret)
{
    struct str k = {(const char *)key.data, key.len}, prefix = str_from(e->prefix);

    if (!str_starts(k, prefix))
        return false;
    *ret = str_sub(k, prefix.len, k.len);
    return true;
}

int etcd_seal(struct etcd *e, struct arena *a, struct str key, struct str value, ProtobufCBinaryData *ret,
              struct err *err)
{
    const struct kv_transform *t = e->kv.choose ? e->kv.choose(e->kv.choose_arg, key) : NULL;
    struct buf out = {0};
    int rc = 0;

    if (!t && !is_encrypted(value) && !(value.len && (uint8_t)value.p[0] == MARK)) {
        *ret = bytes(value);
        return 0;
    }
    buf_add_char(&out, (char)MARK);
    if (t) {
        rc = t->seal(t->arg, key, value, &out, err);
    } else {
        buf_add_char(&out, 0);
        buf_add_str(&out, value);
    }
    struct str sealed = buf_str(&out), bare = str_sub(sealed, 2, sealed.len);
    if (t && t->id == ENCRYPTED && is_encrypted(bare))
        sealed = bare;
    *ret = bytes(arena_str(a, sealed));
    buf_free(&out);
    return rc;
}

int etcd_open(struct etcd *e, struct arena *a, struct str key, struct str stored, struct str *ret, struct err *err)
{
    struct buf out = {0};

    bool encrypted = is_encrypted(stored);
    if (!encrypted && (!stored.len || (uint8_t)stored.p[0] != MARK)) {
        *ret = stored;
        return 0;
    }
    if (stored.len < 2)
        return err_set(err, ERR_CORRUPT, "the value of key \"" STR_FMT "\" is damaged", STR_ARG(key));
    int rc = kv_open_value(&e->kv, key, encrypted ? ENCRYPTED : (uint8_t)stored.p[1],
                           encrypted ? stored : str_sub(stored, 2, stored.len), &out, err);
    if (rc == 0)
        *ret = arena_str(a, buf_str(&out));
    buf_free(&out);
    return rc;
}

struct kv_pair etcd_pair(struct etcd *e, struct arena *a, const Etcdserverpb__KeyValue *kv)
{
    struct kv_pair p = {.create_revision = kv->create_revision,
                        .mod_revision = kv->mod_revision,
                        .version = kv->version,
                        .lease = kv->lease};

    etcd_our_key(e, kv->key, &p.key);
    p.key = arena_str(a, p.key);
    p.value = arena_str(a, (struct str){(const char *)kv->value.data, kv->value.len});
    return p;
}

static struct kv_pair opened_pair(struct etcd *e, struct arena *a, const Etcdserverpb__KeyValue *kv)
{
    struct kv_pair p = etcd_pair(e, a, kv);
    struct err err;

    if (etcd_open(e, a, p.key, p.value, &p.value, &err) < 0) {
        log_error("storage", "%s", err.message);
        p.value = STR("");
    }
    return p;
}

bool etcd_event(struct etcd *e, struct arena *a, const Etcdserverpb__Event *from, struct kv_event *ret)
{
    struct str key;

    if (!from->kv || !etcd_our_key(e, from->kv->key, &key))
        return false;
    *ret = (struct kv_event){.kind = KV_EVENT_DELETE,
                             .pair = {.key = arena_str(a, key), .mod_revision = from->kv->mod_revision}};
    if (from->type == ETCDSERVERPB__EVENT__EVENT_TYPE__PUT) {
        ret->kind = KV_EVENT_PUT;
        ret->pair = opened_pair(e, a, from->kv);
    }
    if (from->prev_kv) {
        struct kv_pair prev = opened_pair(e, a, from->prev_kv);

        ret->prev = arena_memdup(a, &prev, sizeof prev);
    }
    return true;
}
