#include "base/net/spdy_internal.h"

#include <stdlib.h>

void spdy_headers_init(struct spdy_session *s)
{
    /* A window of 2 KiB holds the dictionary; blocks are a few words. 10 KB instead of 256. */
    if (deflateInit2(&s->deflate, 6, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK ||
        inflateInit(&s->inflate) != Z_OK ||
        deflateSetDictionary(&s->deflate, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_LEN) != Z_OK)
        abort();
}

void spdy_headers_finish(struct spdy_session *s)
{
    deflateEnd(&s->deflate);
    inflateEnd(&s->inflate);
}

static void add_u32(struct buf *b, size_t v)
{
    const char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    buf_add(b, bytes, 4);
}

static uint32_t read_u32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static bool seen_before(const struct http_header *headers, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq_nocase(headers[j].name, headers[i].name))
            return true;
    return false;
}

/* Headers of one name become one entry, its values separated by NUL. */
void spdy_headers_write(struct spdy_session *s, struct buf *out, const struct http_header *headers, size_t n)
{
    struct buf plain = {0};
    size_t count = 0;
    add_u32(&plain, 0);
    for (size_t i = 0; i < n; i++) {
        if (seen_before(headers, i))
            continue;
        count++;
        add_u32(&plain, headers[i].name.len);
        for (size_t k = 0; k < headers[i].name.len; k++) {
            char c = headers[i].name.p[k];
            buf_add_char(&plain, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
        }
        size_t at = plain.len;
        add_u32(&plain, 0);
        for (size_t j = i; j < n; j++) {
            if (!str_eq_nocase(headers[j].name, headers[i].name))
                continue;
            if (j != i)
                buf_add_char(&plain, 0);
            buf_add_str(&plain, headers[j].value);
        }
        size_t len = plain.len - at - 4;
        for (int k = 0; k < 4; k++)
            plain.p[at + (size_t)k] = (char)(len >> (24 - 8 * k));
    }
    plain.p[3] = (char)count;
    plain.p[2] = (char)(count >> 8);
    s->deflate.next_in = (Bytef *)plain.p;
    s->deflate.avail_in = (uInt)plain.len;
    do {
        buf_reserve(out, 512);
        s->deflate.next_out = (Bytef *)out->p + out->len;
        s->deflate.avail_out = (uInt)(out->cap - out->len);
        if (deflate(&s->deflate, Z_SYNC_FLUSH) == Z_STREAM_ERROR)
            abort();
        out->len = out->cap - s->deflate.avail_out;
    } while (s->deflate.avail_out == 0);
    buf_free(&plain);
}

static int inflate_block(struct spdy_session *s, struct str block, struct buf *plain, struct err *err)
{
    z_stream *z = &s->inflate;
    z->next_in = (Bytef *)block.p;
    z->avail_in = (uInt)block.len;
    for (;;) {
        buf_reserve(plain, 1024);
        z->next_out = (Bytef *)plain->p + plain->len;
        z->avail_out = (uInt)(plain->cap - plain->len);
        int rc = inflate(z, Z_SYNC_FLUSH);
        plain->len = plain->cap - z->avail_out;
        if (rc == Z_NEED_DICT)
            rc = inflateSetDictionary(z, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_LEN);
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return err_set(err, ERR_BAD_REQUEST, "spdy: header block: %s", z->msg ? z->msg : "bad compression");
        if (plain->len > SPDY_MAX_HEADERS)
            return err_set(err, ERR_LIMIT, "spdy: header block is larger than %u bytes", SPDY_MAX_HEADERS);
        if (z->avail_in == 0 && z->avail_out > 0)
            return 0;
        if (rc == Z_BUF_ERROR && z->avail_out > 0)
            return err_set(err, ERR_BAD_REQUEST, "spdy: header block does not end");
    }
}

static bool take_string(struct str *rest, struct str *ret)
{
    if (rest->len < 4)
        return false;
    uint32_t len = read_u32(rest->p);
    if (len > rest->len - 4)
        return false;
    *ret = (struct str){rest->p + 4, len};
    *rest = (struct str){rest->p + 4 + len, rest->len - 4 - len};
    return true;
}

static int parse_pairs(struct arena *a, struct str rest, struct http_header **ret, size_t *ret_n, struct err *err)
{
    size_t cap = 0;
    *ret = NULL;
    *ret_n = 0;
    if (rest.len < 4)
        return err_set(err, ERR_BAD_REQUEST, "spdy: header block is too short");
    uint32_t count = read_u32(rest.p);
    rest = (struct str){rest.p + 4, rest.len - 4};
    for (; count; count--) {
        struct str name, values, value;
        if (!take_string(&rest, &name) || !take_string(&rest, &values) || !name.len)
            return err_set(err, ERR_BAD_REQUEST, "spdy: malformed header block");
        name = arena_str(a, name);
        for (size_t i = 0; i < name.len; i++)
            if (name.p[i] >= 'A' && name.p[i] <= 'Z')
                ((char *)name.p)[i] = (char)(name.p[i] | 0x20);
        while (str_split(&values, 0, &value)) {
            struct http_header h = {name, arena_str(a, value)};
            ARENA_PUSH(a, *ret, *ret_n, cap, h);
        }
    }
    return 0;
}

int spdy_headers_read(struct spdy_session *s, struct arena *a, struct str block, struct http_header **ret,
                      size_t *ret_n, struct err *err)
{
    struct buf plain = {0};
    int rc = inflate_block(s, block, &plain, err);
    if (rc == 0)
        rc = parse_pairs(a, buf_str(&plain), ret, ret_n, err);
    buf_free(&plain);
    return rc;
}
