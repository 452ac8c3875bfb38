#include "storage/kv/wal_internal.h"

#include "storage/kv/rocksdb_crc32c.h"

uint64_t wal_little(const char *p, int bytes)
{
    uint64_t n = 0;

    for (int i = bytes - 1; i >= 0; i--)
        n = n << 8 | (uint8_t)p[i];
    return n;
}

/* Whether a whole physical record begins here; its payload. */
bool wal_record_at(struct str text, size_t at, int *ret_type, struct str *ret)
{
    size_t room = WAL_BLOCK - at % WAL_BLOCK;

    if (room > text.len - at)
        room = text.len - at;
    if (room < WAL_HEADER)
        return false;
    const char *p = text.p + at;
    size_t len = wal_little(p + 4, 2);
    if (len > room - WAL_HEADER || p[6] < WAL_FULL || p[6] > WAL_LAST)
        return false;
    uint32_t masked = (uint32_t)wal_little(p, 4) - 0xa282ead8u;
    if (rocksdb_crc32c(0, p + 6, len + 1) != (masked >> 17 | masked << 15))
        return false;
    *ret_type = (unsigned char)p[6];
    *ret = (struct str){p + WAL_HEADER, len};
    return true;
}

static bool all_zero(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i])
            return false;
    return true;
}

/* The next payload; 0 = the end (zeros count as that), -1 = something else stands at r->begin. */
int wal_next(struct wal_reader *r, struct str *ret)
{
    struct str piece;
    bool inside = false;
    int type;

    r->pieces.len = 0;
    for (r->begin = r->at;;) {
        size_t left = WAL_BLOCK - r->at % WAL_BLOCK;

        if (left < WAL_HEADER && r->at + left <= r->text.len) {
            r->at += left; /* the rest of a block that no header fits into */
            if (!inside)
                r->begin = r->at;
            continue;
        }
        if (r->at >= r->text.len)
            return inside ? -1 : 0;
        if (!wal_record_at(r->text, r->at, &type, &piece))
            return !inside && all_zero(str_sub(r->text, r->at, r->text.len)) ? 0 : -1;
        if (inside != (type == WAL_MIDDLE || type == WAL_LAST))
            return -1;
        r->at += WAL_HEADER + piece.len;
        if (type == WAL_FULL) {
            *ret = piece;
            return 1;
        }
        inside = true;
        buf_add_str(&r->pieces, piece);
        if (type == WAL_LAST) {
            *ret = buf_str(&r->pieces);
            return 1;
        }
    }
}

bool wal_take_varint(struct str *s, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
        uint8_t c = (uint8_t)*s->p;

        *s = str_sub(*s, 1, s->len);
        *ret |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return true;
    }
    return false;
}

bool wal_take_string(struct str *s, struct str *ret)
{
    uint64_t len;

    if (!wal_take_varint(s, &len) || len > s->len)
        return false;
    *ret = str_sub(*s, 0, len);
    *s = str_sub(*s, len, s->len);
    return true;
}
