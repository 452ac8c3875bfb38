#include "base/base64.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static struct str encode(struct arena *a, struct str in, const char alphabet[64], bool pad)
{
    char *out = arena_alloc(a, (in.len + 2) / 3 * 4 + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t bits = (uint32_t)(unsigned char)in.p[i] << 16;
        bits |= left > 1 ? (uint32_t)(unsigned char)in.p[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(unsigned char)in.p[i + 2] : 0;
        out[n++] = alphabet[bits >> 18];
        out[n++] = alphabet[bits >> 12 & 63];
        if (left > 1 || pad)
            out[n++] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        if (left > 2 || pad)
            out[n++] = left > 2 ? alphabet[bits & 63] : '=';
    }
    out[n] = 0;
    return (struct str){out, n};
}

struct str base64_encode(struct arena *a, struct str plain)
{
    return encode(a, plain, LETTERS "+/", true);
}

struct str base64url_encode(struct arena *a, struct str plain)
{
    return encode(a, plain, LETTERS "-_", false);
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool base64_decode(struct arena *a, struct str text, struct str *ret)
{
    if (text.len % 4 == 0) {
        for (int i = 0; i < 2 && text.len && text.p[text.len - 1] == '='; i++)
            text.len--;
    }
    if (text.len % 4 == 1)
        return false;
    char *out = arena_alloc(a, text.len / 4 * 3 + 3);
    size_t n = 0;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < text.len; i++) {
        int d = digit(text.p[i]);
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 255);
        }
    }
    out[n] = 0;
    *ret = (struct str){out, n};
    return true;
}
