/* XSalsa20 and Poly1305 as NaCl's secretbox joins them: HSalsa20 turns the secret and the nonce's first 16 bytes into a
 * subkey; Salsa20 under it and the other 8 bytes makes a stream, whose first 32 bytes are the key of Poly1305 over the
 * ciphertext and whose rest is what the text is xored with. OpenSSL has Poly1305; Salsa20 is here. */
#include "storage/crypt/cipher.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t rotate(uint32_t v, int by)
{
    return v << by | v >> (32 - by);
}

static void quarter(uint32_t x[16], int a, int b, int c, int d)
{
    x[b] ^= rotate(x[a] + x[d], 7);
    x[c] ^= rotate(x[b] + x[a], 9);
    x[d] ^= rotate(x[c] + x[b], 13);
    x[a] ^= rotate(x[d] + x[c], 18);
}

static void set_up(uint32_t x[16], const uint8_t *key, const uint8_t *input)
{
    static const uint8_t sigma[] = "expand 32-byte k";
    for (int i = 0; i < 4; i++) {
        x[i * 5] = load32(sigma + 4 * i);
        x[1 + i] = load32(key + 4 * i);
        x[6 + i] = load32(input + 4 * i);
        x[11 + i] = load32(key + 16 + 4 * i);
    }
}

static void twenty_rounds(uint32_t x[16])
{
    for (int i = 0; i < 10; i++) {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 5, 9, 13, 1);
        quarter(x, 10, 14, 2, 6);
        quarter(x, 15, 3, 7, 11);
        quarter(x, 0, 1, 2, 3);
        quarter(x, 5, 6, 7, 4);
        quarter(x, 10, 11, 8, 9);
        quarter(x, 15, 12, 13, 14);
    }
}

static void hsalsa20(uint8_t out[32], const uint8_t *key, const uint8_t *input)
{
    uint32_t x[16];
    set_up(x, key, input);
    twenty_rounds(x);
    for (int i = 0; i < 4; i++) {
        store32(out + 4 * i, x[i * 5]);
        store32(out + 16 + 4 * i, x[6 + i]);
    }
    OPENSSL_cleanse(x, sizeof x);
}

static void salsa20_block(uint8_t out[64], const uint8_t *key, const uint8_t *nonce, uint64_t counter)
{
    uint32_t x[16], start[16];
    uint8_t input[16];
    memcpy(input, nonce, 8);
    for (int i = 0; i < 8; i++)
        input[8 + i] = (uint8_t)(counter >> 8 * i);
    set_up(start, key, input);
    memcpy(x, start, sizeof x);
    twenty_rounds(x);
    for (int i = 0; i < 16; i++)
        store32(out + 4 * i, x[i] + start[i]);
}

struct box {
    uint8_t subkey[32], block[64];
    const uint8_t *nonce; /* its last 8 bytes */
};

static void box_begin(struct box *b, const uint8_t *secret, const uint8_t *nonce)
{
    hsalsa20(b->subkey, secret, nonce);
    b->nonce = nonce + 16;
    salsa20_block(b->block, b->subkey, b->nonce, 0);
}

static void box_end(struct box *b)
{
    OPENSSL_cleanse(b, sizeof *b);
}

/* The text starts 32 bytes into the stream. b->block stays the first one. */
static void box_xor(const struct box *b, const uint8_t *in, uint8_t *out, size_t len)
{
    uint8_t block[64];
    memcpy(block, b->block, sizeof block);
    for (size_t i = 0; i < len; i++) {
        size_t at = i + 32;
        if (at % 64 == 0)
            salsa20_block(block, b->subkey, b->nonce, at / 64);
        out[i] = in[i] ^ block[at % 64];
    }
    OPENSSL_cleanse(block, sizeof block);
}

static int box_tag(const struct box *b, const uint8_t *text, size_t len, uint8_t ret[SECRETBOX_TAG], struct err *err)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    EVP_MAC_CTX *c = mac ? EVP_MAC_CTX_new(mac) : NULL;
    size_t n = 0;
    bool done = c && EVP_MAC_init(c, b->block, 32, NULL) == 1 && EVP_MAC_update(c, text, len) == 1 &&
                EVP_MAC_final(c, ret, &n, SECRETBOX_TAG) == 1 && n == SECRETBOX_TAG;
    EVP_MAC_CTX_free(c);
    EVP_MAC_free(mac);
    return done ? 0 : err_set(err, ERR_INTERNAL, "Poly1305 cannot be used");
}

int secretbox_seal(const uint8_t *secret, const uint8_t *nonce, struct str plain, struct buf *out, struct err *err)
{
    struct box b;
    buf_reserve(out, SECRETBOX_TAG + plain.len);
    uint8_t *tag = (uint8_t *)out->p + out->len, *text = tag + SECRETBOX_TAG;
    box_begin(&b, secret, nonce);
    box_xor(&b, (const uint8_t *)plain.p, text, plain.len);
    int rc = box_tag(&b, text, plain.len, tag, err);
    box_end(&b);
    if (rc == 0)
        out->len += SECRETBOX_TAG + plain.len;
    return rc;
}

int secretbox_open(const uint8_t *secret, const uint8_t *nonce, struct str sealed, struct buf *out, struct err *err)
{
    struct box b;
    uint8_t tag[SECRETBOX_TAG];
    if (sealed.len < SECRETBOX_TAG)
        return err_set(err, ERR_CORRUPT, "the sealed value is too short");
    const uint8_t *text = (const uint8_t *)sealed.p + SECRETBOX_TAG;
    size_t len = sealed.len - SECRETBOX_TAG;
    box_begin(&b, secret, nonce);
    int rc = box_tag(&b, text, len, tag, err);
    if (rc == 0 && CRYPTO_memcmp(tag, sealed.p, SECRETBOX_TAG) != 0)
        rc = err_set(err, ERR_CORRUPT, "the sealed value does not open");
    if (rc == 0) {
        buf_reserve(out, len + 1);
        box_xor(&b, text, (uint8_t *)out->p + out->len, len);
        out->len += len;
    }
    box_end(&b);
    return rc;
}
