#include "storage/serve_etcd/backend.h"

#include "base/map.h"
#include "base/mem.h"
#include "storage/crypt/crypt.h"
#include "storage/kv/etcd/rpc.pb-c.h"

#include <pthread.h>
#include <stdlib.h>

#define FROM STR("\0")
#define TO STR("\xff\xff\xff\xff\xff\xff\xff\xff")

enum { REVISION_KEY = 17, OPEN_TRIES = 5 };

struct state { /* a key as the compaction left it */
    struct str key;
    int64_t mod_revision;
    int64_t sub;
};

struct backend {
    struct kv *kv;
    const struct crypt *crypt;
    struct kv_hold *hold;
    int64_t revision, compacted;
    struct arena *arena;
    struct state *states; /* by mod_revision */
    size_t n_states, cap_states;
    struct buf sealed, packed;
};

/* ---- open and close ---- */

static bool take_state(void *arg, const struct kv_pair *p)
{
    struct backend *b = arg;

    ARENA_PUSH(b->arena, b->states, b->n_states, b->cap_states,
               (struct state){.key = arena_str(b->arena, p->key), .mod_revision = p->mod_revision});
    return true;
}

static int by_revision(const void *x, const void *y)
{
    const struct state *a = x, *b = y;

    if (a->mod_revision != b->mod_revision)
        return a->mod_revision < b->mod_revision ? -1 : 1;
    return str_cmp(a->key, b->key);
}

static int hold(struct backend *b, struct err *err)
{
    int rc = ERR_EXPIRED;

    for (int i = 0; i < OPEN_TRIES && rc == ERR_EXPIRED; i++) { /* a compaction may come in between */
        b->compacted = kv_compacted_revision(b->kv);
        rc = kv_hold(b->kv, b->compacted, &b->hold, err);
    }
    return rc;
}

int backend_open(struct kv *kv, const struct crypt *crypt, int64_t revision, struct backend **ret, struct err *err)
{
    struct backend *b = MEM_NEW(struct backend);

    *b = (struct backend){.kv = kv, .crypt = crypt, .arena = arena_create(0)};
    int rc = hold(b, err);
    b->revision = revision ? revision : kv_revision(kv);
    if (rc == 0 && b->revision > kv_revision(kv))
        rc = err_set(err, ERR_BAD_REQUEST, "required revision is a future revision");
    if (rc == 0 && revision && revision <= b->compacted)
        rc = err_set(err, ERR_EXPIRED, "required revision has been compacted");
    if (rc == 0 && b->compacted)
        rc = kv_range(kv, FROM, TO, b->compacted, 0, take_state, b, NULL, err);
    if (rc < 0) {
        backend_close(b);
        return rc;
    }
    if (b->n_states)
        qsort(b->states, b->n_states, sizeof *b->states, by_revision);
    for (size_t i = 1; i < b->n_states; i++)
        if (b->states[i].mod_revision == b->states[i - 1].mod_revision)
            b->states[i].sub = b->states[i - 1].sub + 1;
    *ret = b;
    return 0;
}

void backend_close(struct backend *b)
{
    if (!b)
        return;
    kv_hold_end(b->kv, b->hold);
    arena_destroy(b->arena);
    buf_free(&b->sealed);
    buf_free(&b->packed);
    free(b);
}

int64_t backend_revision(const struct backend *b)
{
    return b->revision;
}

int64_t backend_compacted(const struct backend *b)
{
    return b->compacted;
}

/* ---- walking ---- */

struct walk {
    struct backend *b;
    struct backend_place *at;
    size_t bytes, done;
    backend_fn *fn;
    void *arg;
    struct err *err;
    int64_t revision, sub; /* of the event last handed on */
    int rc;
    bool paused;
};

static ProtobufCBinaryData bytes_of(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.p};
}

static int hand_on(struct walk *w, const struct kv_pair *p, int64_t sub, bool deletion)
{
    struct backend *b = w->b;
    Etcdserverpb__KeyValue kv = ETCDSERVERPB__KEY_VALUE__INIT;
    char key[REVISION_KEY + 1];

    for (int i = 0; i < 8; i++) {
        key[i] = (char)(p->mod_revision >> (56 - 8 * i));
        key[9 + i] = (char)(sub >> (56 - 8 * i));
    }
    key[8] = '_';
    key[REVISION_KEY] = 't';
    kv.key = bytes_of(p->key);
    if (!deletion) {
        struct str value = p->value;

        if (b->crypt) {
            b->sealed.len = 0;
            int plain = crypt_seal(b->crypt, p->key, p->value, &b->sealed, w->err);
            if (plain < 0)
                return plain;
            if (!plain)
                value = buf_str(&b->sealed);
        }
        kv.value = bytes_of(value);
        kv.create_revision = p->create_revision;
        kv.mod_revision = p->mod_revision;
        kv.version = p->version;
        kv.lease = p->lease;
    }
    size_t len = protobuf_c_message_get_packed_size(&kv.base);
    b->packed.len = 0;
    buf_reserve(&b->packed, len);
    b->packed.len = protobuf_c_message_pack(&kv.base, (uint8_t *)b->packed.p);
    w->done += len;
    return w->fn(w->arg, (struct str){key, deletion ? REVISION_KEY + 1 : REVISION_KEY}, buf_str(&b->packed), w->err);
}

static bool hand_on_state(void *arg, const struct kv_pair *p)
{
    struct walk *w = arg;

    w->rc = hand_on(w, p, w->b->states[w->at->compacted].sub, false);
    return false;
}

static bool hand_on_event(void *arg, const struct kv_event *e)
{
    struct walk *w = arg;
    int64_t revision = e->pair.mod_revision;

    if (revision > w->b->revision)
        return false;
    if (revision != w->revision) { /* a walk pauses between revisions only */
        if (w->revision)
            w->at->revision = w->revision;
        w->paused = w->bytes && w->done >= w->bytes;
        if (w->paused)
            return false;
        w->sub = -1;
    }
    w->revision = revision;
    w->rc = hand_on(w, &e->pair, ++w->sub, e->kind == KV_EVENT_DELETE);
    return w->rc == 0;
}

int backend_walk(struct backend *b, struct backend_place *at, size_t bytes, backend_fn *fn, void *arg, struct err *err)
{
    struct walk w = {.b = b, .at = at, .bytes = bytes, .fn = fn, .arg = arg, .err = err};

    for (; at->compacted < b->n_states; at->compacted++) {
        if (bytes && w.done >= bytes)
            return 0;
        w.rc = err_set(err, ERR_CORRUPT, "key \"" STR_FMT "\" is not there any more",
                       STR_ARG(b->states[at->compacted].key));
        int rc = kv_range(b->kv, b->states[at->compacted].key, STR_NULL, b->compacted, 1, hand_on_state, &w, NULL, err);
        if (rc < 0 || w.rc < 0)
            return rc < 0 ? rc : w.rc;
    }
    if (at->revision < b->compacted)
        at->revision = b->compacted;
    w.rc = 0;
    int rc = kv_history(b->kv, FROM, TO, at->revision, hand_on_event, &w, err);
    if (rc < 0 || w.rc < 0)
        return rc < 0 ? rc : w.rc;
    return !w.paused;
}

/* ---- HashKV ---- */

static uint32_t crc_table[256];

static void fill_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        crc = crc_table[(crc ^ p[i]) & 0xff] ^ crc >> 8;
    return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_by_machine(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t wide = crc, word;

    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n; n--, p++)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
#endif

static uint32_t crc32c(uint32_t crc, struct str s)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_by_machine(~crc, (const uint8_t *)s.p, s.len);
#endif
    return ~crc_by_table(~crc, (const uint8_t *)s.p, s.len);
}

enum { CHANGED_ALIVE = 1, CHANGED_DEAD };

struct hashing {
    struct backend *b;
    struct map keys; /* how each stands at the revision */
    size_t n_living;
    uint32_t crc;
    int64_t compacted;
};

static bool look(void *arg, const struct kv_event *e)
{
    struct hashing *h = arg;

    if (e->pair.mod_revision > h->b->revision)
        return false;
    map_put(&h->keys, e->pair.key, (void *)(uintptr_t)(e->kind == KV_EVENT_PUT ? CHANGED_ALIVE : CHANGED_DEAD));
    return true;
}

static int add_to_hash(void *arg, struct str key, struct str value, struct err *err)
{
    struct hashing *h = arg;
    int64_t revision = 0;

    (void)err;
    for (int i = 0; i < 8; i++)
        revision = revision << 8 | (uint8_t)key.p[i];
    if (revision <= h->compacted && h->n_living) { /* what was superseded since would go with the next compaction */
        Etcdserverpb__KeyValue *kv = etcdserverpb__key_value__unpack(NULL, value.len, (const uint8_t *)value.p);
        bool superseded = kv && map_get(&h->keys, (struct str){(char *)kv->key.data, kv->key.len});

        if (kv)
            etcdserverpb__key_value__free_unpacked(kv, NULL);
        if (superseded)
            return 0;
    }
    h->crc = crc32c(crc32c(h->crc, key), value);
    return 0;
}

int backend_hash(struct backend *b, uint32_t *ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill_crc_table);
    struct hashing h = {.b = b, .crc = crc32c(0, STR("key")), .compacted = b->compacted};
    struct backend_place at = {0};
    struct map_iter it;
    struct str key;
    void *how;
    int rc = b->n_states ? kv_history(b->kv, FROM, TO, b->compacted, look, &h, err) : 0;

    for (size_t i = 0; i < b->n_states; i++)
        h.n_living += !map_get(&h.keys, b->states[i].key);
    map_iter_init(&it, &h.keys);
    while (map_iter_next(&it, &key, &how))
        h.n_living += (uintptr_t)how == CHANGED_ALIVE;
    const struct crypt *crypt = b->crypt;
    b->crypt = NULL;
    if (rc == 0)
        rc = backend_walk(b, &at, 0, add_to_hash, &h, err);
    b->crypt = crypt;
    map_finish(&h.keys);
    *ret = h.crc;
    return rc < 0 ? rc : 0;
}
