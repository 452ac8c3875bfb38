#include "storage/crypt/kms_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SERVICE "/v2.KeyManagementService/"

/* ---- the key that seals ---- */

void kms_sealer_free(struct ref *r)
{
    struct kms_sealer *s = (struct kms_sealer *)r;
    if (s->head)
        kms__encrypted_object__free_unpacked(s->head, NULL);
    OPENSSL_cleanse(s->seed, sizeof s->seed);
    free(s);
}

/* The caller's reference; NULL when there is none yet. */
static struct kms_sealer *sealer_get(struct kms *k, int64_t *ret_until_ms)
{
    pthread_mutex_lock(&k->lock);
    struct kms_sealer *s = k->sealer;
    if (s)
        ref_get(&s->ref);
    if (ret_until_ms)
        *ret_until_ms = k->seal_until_ms;
    pthread_mutex_unlock(&k->lock);
    return s;
}

void kms_hash(const char *key_id, char ret[KMS_HASH_MAX])
{
    uint8_t digest[32];
    int n = snprintf(ret, KMS_HASH_MAX, "sha256:");
    EVP_Digest(key_id, strlen(key_id), digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof digest; i++)
        n += snprintf(ret + n, KMS_HASH_MAX - (size_t)n, "%02x", digest[i]);
}

static void write_time(int64_t wall_ms, char ret[32])
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static int no_key(struct kms *k, struct err *err)
{
    pthread_mutex_lock(&k->lock);
    int rc = err_set(err, ERR_INTERNAL, "KMS provider %s has given no key yet: %s", k->name,
                     k->trouble[0] ? k->trouble : "it has not answered");
    pthread_mutex_unlock(&k->lock);
    return rc;
}

static int expired(const struct kms_sealer *s, int64_t until_ms, struct err *err)
{
    char hash[KMS_HASH_MAX], then[32], now[32];
    int64_t wall_ms = clock_wall_ms();
    kms_hash(s->head->key_id, hash);
    write_time(wall_ms - (clock_mono_ms() - until_ms), then);
    write_time(wall_ms, now);
    return err_set(err, ERR_INTERNAL, "encryptedDEKSource with keyID hash \"%s\" expired at %s (current time is %s)",
                   hash, then, now);
}

static int can_seal(struct kms *k, int64_t grace_ms, struct kms_sealer **ret, struct err *err)
{
    int64_t until_ms;
    struct kms_sealer *s = sealer_get(k, &until_ms);
    if (!s)
        return no_key(k, err);
    if (clock_mono_ms() > until_ms + grace_ms) {
        int rc = expired(s, until_ms, err);
        ref_put(&s->ref);
        return rc;
    }
    *ret = s;
    return 0;
}

int kms_can_seal(struct kms *k, struct err *err)
{
    struct kms_sealer *s;
    int rc = can_seal(k, 0, &s, err);
    if (rc == 0)
        ref_put(&s->ref);
    return rc;
}

int kms_seal(struct kms *k, struct str about, struct str plain, struct buf *out, struct err *err)
{
    struct kms_sealer *s;
    struct buf data = {0};
    int rc = can_seal(k, KMS_GRACE_MS, &s, err); /* who asked kms_can_seal just now is not let down */
    if (rc < 0)
        return rc;
    rc = envelope_seal((struct str){(const char *)s->seed, sizeof s->seed}, about, plain, &data, err);
    if (rc == 0)
        rc = envelope_write(s->head, buf_str(&data), out, err);
    buf_free(&data);
    ref_put(&s->ref);
    return rc;
}

struct str kms_key_hash(struct kms *k, struct arena *a)
{
    char hash[KMS_HASH_MAX];
    struct kms_sealer *s = sealer_get(k, NULL);
    if (!s)
        return STR_NULL;
    kms_hash(s->head->key_id, hash);
    ref_put(&s->ref);
    return arena_str(a, str_from(hash));
}

/* ---- seeds that were decrypted ---- */

static struct kms_source **source_slot(struct kms *k, const uint8_t *digest)
{
    struct kms_source **slot = &k->sources[digest[0] % KMS_BUCKETS];
    while (*slot && memcmp((*slot)->digest, digest, ENVELOPE_DIGEST_LEN) != 0)
        slot = &(*slot)->next;
    return slot;
}

static void source_free(struct kms_source *s)
{
    OPENSSL_cleanse(s->secret, sizeof s->secret);
    free(s);
}

static void forget_oldest(struct kms *k)
{
    struct kms_source **oldest = NULL;
    for (size_t i = 0; i < KMS_BUCKETS; i++)
        for (struct kms_source **at = &k->sources[i]; *at; at = &(*at)->next)
            if (!oldest || (*at)->used_ms < (*oldest)->used_ms)
                oldest = at;
    struct kms_source *gone = *oldest;
    *oldest = gone->next;
    source_free(gone);
    k->n_sources--;
}

void kms_remember(struct kms *k, const uint8_t *digest, struct str secret)
{
    pthread_mutex_lock(&k->lock);
    struct kms_source **slot = source_slot(k, digest);
    if (!*slot && secret.len <= sizeof(*slot)->secret) {
        if (k->n_sources == KMS_SOURCES_MAX) {
            forget_oldest(k);
            slot = source_slot(k, digest);
        }
        *slot = MEM_NEW(struct kms_source);
        memcpy((*slot)->digest, digest, ENVELOPE_DIGEST_LEN);
        memcpy((*slot)->secret, secret.p, secret.len);
        (*slot)->secret_len = secret.len;
        (*slot)->used_ms = clock_mono_ms();
        k->n_sources++;
    }
    pthread_mutex_unlock(&k->lock);
}

static bool recall(struct kms *k, const uint8_t *digest, uint8_t *ret_secret, size_t *ret_len)
{
    pthread_mutex_lock(&k->lock);
    struct kms_source *s = *source_slot(k, digest);
    if (s) {
        memcpy(ret_secret, s->secret, s->secret_len);
        *ret_len = s->secret_len;
        s->used_ms = clock_mono_ms();
    }
    pthread_mutex_unlock(&k->lock);
    return s != NULL;
}

/* ---- opening ---- */

struct decryption { /* lives on the stack of who waits for it */
    struct kms *kms;
    const Kms__EncryptedObject *object;
    const uint8_t *digest;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
    int64_t started_ms;
    struct err *err;
    int rc;
};

static void decryption_end(struct decryption *d)
{
    pthread_mutex_lock(&d->lock);
    d->done = true;
    pthread_cond_signal(&d->ready);
    pthread_mutex_unlock(&d->lock);
}

static void on_decrypted(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct decryption *d = arg;
    const Kms__DecryptResponse *r = (const Kms__DecryptResponse *)response;
    kms_measure(d->kms, "Decrypt", d->started_ms, err);
    if (err) {
        bool absent = err->code == ERR_TIMEOUT || err->code == ERR_UNAVAILABLE;
        d->rc = err_set(d->err, absent ? err->code : ERR_INTERNAL, "failed to decrypt DEK, error: %s", err->message);
    } else {
        struct str secret = {(const char *)r->plaintext.data, r->plaintext.len};
        d->rc = envelope_check_source((enum envelope_type)d->object->encrypted_dek_source_type, secret, d->err);
        if (d->rc == 0)
            kms_remember(d->kms, d->digest, secret);
        OPENSSL_cleanse(r->plaintext.data, r->plaintext.len);
    }
    decryption_end(d);
}

static void start_decryption(void *arg)
{
    struct decryption *d = arg;
    Kms__DecryptRequest request = KMS__DECRYPT_REQUEST__INIT;
    char uid[KMS_UID_MAX];
    request.ciphertext = d->object->encrypted_dek_source;
    request.key_id = d->object->key_id;
    request.n_annotations = d->object->n_annotations;
    request.annotations = d->object->annotations;
    request.uid = kms_make_uid(uid);
    d->started_ms = clock_mono_ms();
    grpc_unary(d->kms->channel, SERVICE "Decrypt", &request.base, &kms__decrypt_response__descriptor,
               d->kms->timeout_ms, on_decrypted, d);
}

static int ask(struct kms *k, const Kms__EncryptedObject *o, const uint8_t *digest, struct err *err)
{
    struct decryption d = {.kms = k, .object = o, .digest = digest, .err = err};
    pthread_mutex_init(&d.lock, NULL);
    pthread_cond_init(&d.ready, NULL);
    loop_post(k->loop, start_decryption, &d);
    pthread_mutex_lock(&d.lock);
    while (!d.done) /* the call has a deadline of its own */
        pthread_cond_wait(&d.ready, &d.lock);
    pthread_mutex_unlock(&d.lock);
    pthread_mutex_destroy(&d.lock);
    pthread_cond_destroy(&d.ready);
    return d.rc;
}

/* One that did not answer when it was last asked how it is costs nobody another time-out. */
static bool is_absent(struct kms *k, struct err *err)
{
    pthread_mutex_lock(&k->lock);
    bool absent = k->absent;
    if (absent)
        err_set(err, ERR_UNAVAILABLE, "failed to decrypt DEK, error: %s", k->trouble);
    pthread_mutex_unlock(&k->lock);
    if (absent)
        (void)kms_trouble(k); /* asks again, now and then */
    return absent;
}

/* One question at a time: the others mostly wait for the same answer, and a service that hangs costs all of them
 * together one time-out, not one each. */
static int fetch_source(struct kms *k, const Kms__EncryptedObject *o, const uint8_t *digest, uint8_t *ret_secret,
                        size_t *ret_len, struct err *err)
{
    pthread_mutex_lock(&k->ask_lock);
    int rc = 0;
    if (recall(k, digest, ret_secret, ret_len)) {
        pthread_mutex_unlock(&k->ask_lock);
        return 0;
    }
    if (k->failed_ms && clock_mono_ms() - k->failed_ms < KMS_FORBEAR_MS &&
        (k->failed.code == ERR_TIMEOUT || k->failed.code == ERR_UNAVAILABLE ||
         memcmp(k->failed_digest, digest, ENVELOPE_DIGEST_LEN) == 0)) {
        *err = k->failed;
        rc = err->code;
    } else if (is_absent(k, err)) {
        rc = err->code;
    } else {
        rc = ask(k, o, digest, err);
        k->failed_ms = rc < 0 ? clock_mono_ms() : 0;
        if (rc < 0) {
            k->failed = *err;
            memcpy(k->failed_digest, digest, ENVELOPE_DIGEST_LEN);
        }
    }
    pthread_mutex_unlock(&k->ask_lock);
    if (rc == 0 && !recall(k, digest, ret_secret, ret_len))
        rc = err_set(err, ERR_INTERNAL, "the seed was forgotten at once");
    return rc;
}

static bool is_current(struct kms *k, const Kms__EncryptedObject *o)
{
    struct kms_sealer *s = sealer_get(k, NULL);
    bool current = s && o->encrypted_dek_source_type == ENVELOPE_SEED && strcmp(s->head->key_id, o->key_id) == 0;
    if (s)
        ref_put(&s->ref);
    return current;
}

int kms_open(struct kms *k, struct str about, struct str sealed, struct buf *out, bool *ret_current, struct err *err)
{
    uint8_t digest[ENVELOPE_DIGEST_LEN], secret[ENVELOPE_SOURCE_MAX];
    size_t len = 0;
    Kms__EncryptedObject *o;
    int rc = envelope_parse(sealed, &o, err);
    if (rc < 0)
        return rc;
    envelope_digest(o, digest);
    if (!recall(k, digest, secret, &len))
        rc = fetch_source(k, o, digest, secret, &len, err);
    if (rc == 0)
        rc = envelope_open((enum envelope_type)o->encrypted_dek_source_type, (struct str){(const char *)secret, len},
                           about, (struct str){(const char *)o->encrypted_data.data, o->encrypted_data.len}, out, err);
    if (rc == 0)
        *ret_current = is_current(k, o);
    OPENSSL_cleanse(secret, len);
    kms__encrypted_object__free_unpacked(o, NULL);
    return rc;
}

/* ---- start and end ---- */

struct opening {
    struct kms *kms;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
    struct err *err;
    int rc;
};

static void open_channel(void *arg)
{
    struct opening *o = arg;
    struct kms *k = o->kms;
    const char *endpoints[] = {k->endpoint, NULL};
    o->rc = grpc_channel_create(k->loop,
                                &(struct grpc_channel_options){.endpoints = endpoints,
                                                               .authority = "localhost",
                                                               .user_agent = "skiff",
                                                               .connect_timeout_ms = k->timeout_ms},
                                &k->channel, o->err);
    if (o->rc == 0)
        kms_check(k);
    pthread_mutex_lock(&o->lock);
    o->done = true;
    pthread_cond_signal(&o->ready);
    pthread_mutex_unlock(&o->lock);
}

static void close_channel(void *arg)
{
    struct kms *k = arg;
    timer_stop(&k->timer);
    grpc_channel_destroy(k->channel);
    loop_stop(k->loop);
}

static void kms_free(struct ref *r)
{
    struct kms *k = (struct kms *)r;
    loop_post(k->loop, close_channel, k);
    loop_join(k->loop);
    loop_destroy(k->loop);
    if (k->sealer)
        ref_put(&k->sealer->ref);
    for (size_t i = 0; i < KMS_BUCKETS; i++)
        for (struct kms_source *s = k->sources[i], *next; s; s = next) {
            next = s->next;
            source_free(s);
        }
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->ask_lock);
    pthread_mutex_destroy(&k->change_lock);
    pthread_cond_destroy(&k->changed);
    OPENSSL_cleanse(k->next_seed, sizeof k->next_seed);
    free(k->next_key_id);
    free(k->name);
    free(k->endpoint);
    free(k);
}

int kms_create(const struct kms_options *opt, struct kms **ret, struct err *err)
{
    struct kms *k = MEM_NEW(struct kms);
    pthread_condattr_t monotonic;
    ref_init(&k->ref, kms_free);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->ask_lock, NULL);
    pthread_mutex_init(&k->change_lock, NULL);
    k->name = mem_dup(opt->name.p, opt->name.len);
    k->endpoint = mem_dup(opt->endpoint.p, opt->endpoint.len);
    k->timeout_ms = opt->timeout_ms ? opt->timeout_ms : 3000;
    k->poll_ms = opt->poll_ms ? opt->poll_ms : 60 * 1000;
    k->retry_ms = opt->retry_ms ? opt->retry_ms : 10 * 1000;
    k->write_ms = opt->write_ms ? opt->write_ms : 3 * 60 * 1000;
    k->on_change = opt->on_change;
    k->on_change_arg = opt->arg;
    k->loop = loop_create("kms");
    loop_start(k->loop);
    struct opening o = {.kms = k, .lock = PTHREAD_MUTEX_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER, .err = err};
    loop_post(k->loop, open_channel, &o);
    pthread_mutex_lock(&o.lock);
    while (!o.done)
        pthread_cond_wait(&o.ready, &o.lock);
    pthread_mutex_unlock(&o.lock);
    if (o.rc < 0) {
        kms_release(k);
        return err_context(err, "KMS provider " STR_FMT, STR_ARG(opt->name));
    }
    *ret = k;
    return 0;
}

struct kms *kms_share(struct kms *k)
{
    ref_get(&k->ref);
    return k;
}

void kms_release(struct kms *k)
{
    if (k)
        ref_put(&k->ref);
}

void kms_detach(struct kms *k)
{
    pthread_mutex_lock(&k->change_lock);
    k->on_change = NULL;
    pthread_mutex_unlock(&k->change_lock);
}
