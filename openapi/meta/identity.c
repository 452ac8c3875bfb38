#include "openapi/meta/identity.h"

#include <assert.h>
#include <stdio.h>
#include <sys/random.h>

static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
#define ALPHABET_LEN (sizeof alphabet - 1)

/* A system call per name is dear when thousands of pods are made each second: take random bytes in batches. */
static void random_bytes(uint8_t *out, size_t n)
{
    static _Thread_local uint8_t pool[1024];
    static _Thread_local size_t left;
    assert(n <= sizeof pool);
    if (left < n) {
        for (left = 0; left < sizeof pool;) {
            ssize_t got = getrandom(pool + left, sizeof pool - left, 0);
            left += got > 0 ? (size_t)got : 0;
        }
    }
    left -= n;
    memcpy(out, pool + left, n);
    memset(pool + left, 0, n);
}

void uuid_write(char out[UUID_TEXT_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t b[16];
    random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof b; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex[b[i] >> 4];
        *out++ = hex[b[i] & 15];
    }
    *out = 0;
}

struct str uuid_new(struct arena *a)
{
    char *text = arena_alloc(a, UUID_TEXT_LEN + 1);
    uuid_write(text);
    return (struct str){text, UUID_TEXT_LEN};
}

struct str name_suffix_new(struct arena *a, size_t n)
{
    char *text = arena_alloc(a, n + 1);
    for (size_t i = 0; i < n;) {
        uint8_t r = 0;
        random_bytes(&r, 1);
        if (r < 256 / ALPHABET_LEN * ALPHABET_LEN) /* reject what would favour the first letters */
            text[i++] = alphabet[r % ALPHABET_LEN];
    }
    text[n] = 0;
    return (struct str){text, n};
}

struct str name_generate(struct arena *a, struct str base)
{
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(str_sub(base, 0, 58)), STR_ARG(name_suffix_new(a, 5)));
}

struct str name_safe_encode(struct arena *a, uint32_t hash)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%u", hash);
    for (int i = 0; i < n; i++)
        text[i] = alphabet[(unsigned char)text[i] % ALPHABET_LEN];
    return arena_str(a, (struct str){text, (size_t)n});
}
