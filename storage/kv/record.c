#include "storage/kv/record.h"

void record_put64(char *p, int64_t n)
{
    for (int i = 7; i >= 0; i--) {
        p[i] = (char)(n & 0xff);
        n = (int64_t)((uint64_t)n >> 8);
    }
}

int64_t record_get64(const char *p)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | (uint8_t)p[i];
    return (int64_t)n;
}

static size_t escaped_len(struct str key)
{
    size_t n = key.len + 2;

    for (size_t i = 0; i < key.len; i++)
        n += key.p[i] == 0;
    return n;
}

static char *escape(char *to, struct str key)
{
    for (size_t i = 0; i < key.len; i++) {
        *to++ = key.p[i];
        if (key.p[i] == 0)
            *to++ = (char)0xff;
    }
    *to++ = 0;
    *to++ = 0;
    return to;
}

struct str record_version_key(struct arena *a, struct str key, int64_t revision)
{
    size_t n = escaped_len(key) + 8;
    char *p = arena_alloc(a, n);

    record_put64(escape(p, key), ~revision);
    return (struct str){p, n};
}

void record_version_start(struct buf *out, struct str key, int64_t revision)
{
    size_t n = escaped_len(key) + 8;

    out->len = 0;
    buf_reserve(out, n);
    record_put64(escape(out->p, key), ~revision);
    out->len = n;
}

void record_version_end(struct buf *out, struct str key)
{
    size_t n = escaped_len(key);

    out->len = 0;
    buf_reserve(out, n);
    escape(out->p, key);
    out->p[n - 1] = 1; /* behind the terminator 00 00, before any key that goes on */
    out->len = n;
}

bool record_parse_version_key(struct str entry, struct buf *scratch, struct str *ret_key, int64_t *ret_revision)
{
    if (entry.len < 10)
        return false;
    size_t n = entry.len - 10;

    *ret_revision = ~record_get64(entry.p + entry.len - 8);
    *ret_key = (struct str){entry.p, n};
    if (!memchr(entry.p, 0, n))
        return true;
    scratch->len = 0;
    for (size_t i = 0; i < n; i++) {
        buf_add_char(scratch, entry.p[i]);
        i += entry.p[i] == 0;
    }
    *ret_key = buf_str(scratch);
    return true;
}

struct str record_version_head(struct arena *a, const struct version_head *h)
{
    char *p = arena_alloc(a, RECORD_HEAD);

    p[0] = (char)h->flags;
    record_put64(p + 1, h->create_revision);
    record_put64(p + 9, h->version);
    record_put64(p + 17, h->lease);
    p[25] = (char)h->transform;
    return (struct str){p, RECORD_HEAD};
}

bool record_parse_version(struct str value, struct version_head *ret, struct str *ret_payload)
{
    if (value.len < RECORD_HEAD)
        return false;
    *ret = (struct version_head){
        .flags = (uint8_t)value.p[0],
        .transform = (uint8_t)value.p[25],
        .create_revision = record_get64(value.p + 1),
        .version = record_get64(value.p + 9),
        .lease = record_get64(value.p + 17),
    };
    *ret_payload = (struct str){value.p + RECORD_HEAD, value.len - RECORD_HEAD};
    return true;
}

struct str record_log_key(struct arena *a, int64_t revision, uint32_t index)
{
    char *p = arena_alloc(a, 12);

    record_put64(p + 4, index);
    record_put64(p, revision);
    return (struct str){p, 12};
}

struct str record_log_value(struct arena *a, const struct log_entry *e)
{
    char *p = arena_alloc(a, 9 + e->key.len);

    p[0] = (char)e->kind;
    record_put64(p + 1, e->prev_mod_revision);
    memcpy(p + 9, e->key.p, e->key.len);
    return (struct str){p, 9 + e->key.len};
}

bool record_parse_log(struct str key, struct str value, struct log_entry *ret)
{
    if (key.len != 12 || value.len < 9)
        return false;
    *ret = (struct log_entry){
        .revision = record_get64(key.p),
        .kind = value.p[0] ? KV_EVENT_DELETE : KV_EVENT_PUT,
        .prev_mod_revision = record_get64(value.p + 1),
        .key = {value.p + 9, value.len - 9},
    };
    return true;
}

struct str record_meta_key(struct arena *a, char kind, struct str rest)
{
    char *p = arena_alloc(a, rest.len + 1);

    p[0] = kind;
    if (rest.len)
        memcpy(p + 1, rest.p, rest.len);
    return (struct str){p, rest.len + 1};
}

struct str record_lease_key(struct arena *a, char kind, int64_t lease, struct str key)
{
    char *p = arena_alloc(a, 9 + key.len);

    p[0] = kind;
    record_put64(p + 1, lease);
    if (key.len)
        memcpy(p + 9, key.p, key.len);
    return (struct str){p, 9 + key.len};
}

struct str record_state(struct arena *a, const struct key_state *s)
{
    char *p = arena_alloc(a, 36);

    for (int i = 0; i < 4; i++)
        p[32 + i] = (char)(s->size >> (24 - 8 * i) & 0xff);
    record_put64(p, s->create_revision);
    record_put64(p + 8, s->mod_revision);
    record_put64(p + 16, s->version);
    record_put64(p + 24, s->lease);
    return (struct str){p, 36};
}

bool record_parse_state(struct str value, struct key_state *ret)
{
    if (value.len != 32 && value.len != 36)
        return false;
    *ret = (struct key_state){record_get64(value.p), record_get64(value.p + 8), record_get64(value.p + 16),
                              record_get64(value.p + 24), 0};
    for (size_t i = 32; i < value.len; i++)
        ret->size = ret->size << 8 | (uint8_t)value.p[i];
    return true;
}

struct str record_number(struct arena *a, int64_t n)
{
    char *p = arena_alloc(a, 8);

    record_put64(p, n);
    return (struct str){p, 8};
}
