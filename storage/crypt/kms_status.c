/* Looking after a key management service: is it well, what is its key, and a new seed when that has changed. */
#include "storage/crypt/kms_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SERVICE "/v2.KeyManagementService/"

/* ---- figures ---- */

static struct metric *latency, *key_changes;
static pthread_once_t figures_once = PTHREAD_ONCE_INIT;

static void register_figures(void)
{
    static const double buckets[] = {0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064,
                                     0.0128, 0.0256, 0.0512, 0.1024, 0.2048, 0.4096, 0.8192,
                                     1.6384, 3.2768, 6.5536, 13.1,   26.2,   52.4,   -1};
    latency = metric_register(METRIC_HISTOGRAM, "apiserver_envelope_encryption_kms_operations_latency_seconds",
                              "How long calls to a key management service took.",
                              "provider_name,method_name,grpc_status_code", buckets);
    key_changes = metric_register(METRIC_GAUGE, "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds",
                                  "When a service's key came into use.", "provider_name,key_id_hash", NULL);
}

static const char *status_name(const struct err *err)
{
    switch (err ? err->code : ERR_OK) {
    case ERR_OK:
        return "OK";
    case ERR_UNAVAILABLE:
        return "Unavailable";
    case ERR_TIMEOUT:
        return "DeadlineExceeded";
    case ERR_METHOD_NOT_ALLOWED:
        return "Unimplemented";
    case ERR_BAD_REQUEST:
        return "InvalidArgument";
    case ERR_NOT_FOUND:
        return "NotFound";
    case ERR_FORBIDDEN:
        return "PermissionDenied";
    default:
        return "Unknown";
    }
}

void kms_measure(struct kms *k, const char *method, int64_t started_ms, const struct err *err)
{
    char labels[256];
    pthread_once(&figures_once, register_figures);
    snprintf(labels, sizeof labels, "%s,%s,%s", k->name, method, status_name(err));
    metric_observe(latency, labels, (double)(clock_mono_ms() - started_ms) / 1000);
}

char *kms_make_uid(char ret[KMS_UID_MAX])
{
    uint8_t b[16] = {0};
    RAND_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(ret, KMS_UID_MAX, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
             b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return ret;
}

/* ---- a look ---- */

static void on_timer(void *arg)
{
    kms_check(arg);
}

/* why NULL: all is well. */
static void finish(struct kms *k, const char *why, bool absent)
{
    OPENSSL_cleanse(k->next_seed, sizeof k->next_seed);
    free(k->next_key_id);
    k->next_key_id = NULL;
    k->checking = false;
    pthread_mutex_lock(&k->lock);
    bool news = !k->checked || k->healthy != !why, first = !k->checked;
    k->checked = true;
    k->healthy = !why;
    k->absent = absent;
    k->asked_to_check = false;
    k->checked_ms = clock_mono_ms();
    snprintf(k->trouble, sizeof k->trouble, "%s", why ? why : "");
    if (!why)
        k->seal_until_ms = k->until_ms;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    if (news && why)
        log_warn("storage", "%s", why);
    else if (news && !first)
        log_info("storage", "KMS provider %s is well again", k->name);
    timer_start(&k->timer, k->loop, why ? k->retry_ms : k->poll_ms, on_timer, k);
}

static void take_sealer(struct kms *k, struct kms_sealer *s)
{
    char hash[KMS_HASH_MAX], labels[256];
    uint8_t digest[ENVELOPE_DIGEST_LEN];
    envelope_digest(s->head, digest);
    kms_remember(k, digest, (struct str){(const char *)s->seed, sizeof s->seed});
    pthread_mutex_lock(&k->lock);
    struct kms_sealer *former = k->sealer;
    k->sealer = s;
    pthread_mutex_unlock(&k->lock);
    kms_hash(s->head->key_id, hash);
    snprintf(labels, sizeof labels, "%s,%s", k->name, hash);
    metric_set(key_changes, labels, (double)clock_wall_ms() / 1000);
    log_info("storage", "KMS provider %s: values are sealed under key %s from now on", k->name, hash);
    if (former)
        ref_put(&former->ref);
}

static void tell_change(struct kms *k)
{
    pthread_mutex_lock(&k->change_lock);
    if (k->on_change)
        k->on_change(k->on_change_arg);
    pthread_mutex_unlock(&k->change_lock);
}

/* A copy that outlives the answer: packed and unpacked again. */
static Kms__EncryptedObject *copy_head(const Kms__EncryptedObject *o)
{
    size_t len = kms__encrypted_object__get_packed_size(o);
    uint8_t *bytes = mem_alloc(len + 1);
    kms__encrypted_object__pack(o, bytes);
    Kms__EncryptedObject *copy = kms__encrypted_object__unpack(NULL, len, bytes);
    free(bytes);
    return copy;
}

static void rotation_failed(struct kms *k, const char *why)
{
    char text[600];
    snprintf(text, sizeof text, "kmsv2 Provider %s is not healthy, error: failed to rotate DEK: %s", k->name, why);
    finish(k, text, false);
}

static void on_encrypted(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct kms *k = arg;
    const Kms__EncryptResponse *r = (const Kms__EncryptResponse *)response;
    Kms__EncryptedObject head = KMS__ENCRYPTED_OBJECT__INIT;
    struct err own;
    kms_measure(k, "Encrypt", k->started_ms, err);
    if (err) {
        err_set(&own, err->code, "failed to encrypt DEK, error: %s", err->message);
        rotation_failed(k, own.message);
        return;
    }
    head.key_id = r->key_id;
    head.encrypted_dek_source = r->ciphertext;
    head.n_annotations = r->n_annotations;
    head.annotations = r->annotations;
    head.encrypted_dek_source_type = ENVELOPE_SEED;
    if (envelope_check(&head, false, &own) < 0) {
        rotation_failed(k, own.message);
        return;
    }
    if (strcmp(r->key_id, k->next_key_id) != 0) { /* two keys at once: which one is not known until they agree */
        char status[KMS_HASH_MAX], encrypt[KMS_HASH_MAX];
        kms_hash(k->next_key_id, status);
        kms_hash(r->key_id, encrypt);
        err_set(&own, ERR_UNAVAILABLE, "statusKeyIDHash=\"%s\", encryptKeyIDHash=\"%s\"", status, encrypt);
        rotation_failed(k, own.message);
        return;
    }
    struct kms_sealer *s = MEM_NEW(struct kms_sealer);
    ref_init(&s->ref, kms_sealer_free);
    s->head = copy_head(&head);
    memcpy(s->seed, k->next_seed, sizeof s->seed);
    take_sealer(k, s);
    tell_change(k);
    finish(k, NULL, false);
}

static void rotate(struct kms *k, const char *key_id)
{
    Kms__EncryptRequest request = KMS__ENCRYPT_REQUEST__INIT;
    char uid[KMS_UID_MAX];
    if (RAND_bytes(k->next_seed, sizeof k->next_seed) != 1) {
        rotation_failed(k, "no randomness for a seed");
        return;
    }
    k->next_key_id = mem_strdup(key_id);
    request.plaintext = (ProtobufCBinaryData){sizeof k->next_seed, k->next_seed};
    request.uid = kms_make_uid(uid);
    k->started_ms = clock_mono_ms();
    grpc_unary(k->channel, SERVICE "Encrypt", &request.base, &kms__encrypt_response__descriptor, k->timeout_ms,
               on_encrypted, k);
}

/* What upstream demands of a status. */
static bool is_well(const Kms__StatusResponse *r, struct err *err)
{
    struct err key_id;
    if (strcmp(r->healthz, "ok") != 0)
        err_set(err, ERR_UNAVAILABLE, "got unexpected healthz status: %.200s", r->healthz);
    else if (strcmp(r->version, "v2") != 0 && strcmp(r->version, "v2beta1") != 0)
        err_set(err, ERR_UNAVAILABLE, "expected KMSv2 API version v2, got %.100s", r->version);
    else if (envelope_check_key_id(r->key_id, &key_id) < 0)
        err_set(err, ERR_UNAVAILABLE, "got invalid KMSv2 KeyID hash: %s", key_id.message);
    else
        return true;
    return false;
}

static void on_status(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct kms *k = arg;
    const Kms__StatusResponse *r = (const Kms__StatusResponse *)response;
    char text[600];
    struct err own;
    kms_measure(k, "Status", k->started_ms, err);
    if (err) {
        snprintf(text, sizeof text,
                 "failed to perform status section of the healthz check for KMS Provider %s, error: %.400s", k->name,
                 err->message);
        finish(k, text, true);
        return;
    }
    if (!is_well(r, &own)) {
        snprintf(text, sizeof text, "kmsv2 Provider %s is not healthy, error: %.400s", k->name, own.message);
        finish(k, text, false);
        return;
    }
    if (k->sealer && strcmp(k->sealer->head->key_id, r->key_id) == 0)
        finish(k, NULL, false);
    else
        rotate(k, r->key_id);
}

void kms_check(struct kms *k)
{
    Kms__StatusRequest request = KMS__STATUS_REQUEST__INIT;
    if (k->checking)
        return;
    k->checking = true;
    timer_stop(&k->timer);
    k->started_ms = clock_mono_ms();
    k->until_ms = k->started_ms + k->write_ms;
    grpc_unary(k->channel, SERVICE "Status", &request.base, &kms__status_response__descriptor, k->timeout_ms, on_status,
               k);
}

/* ---- from other threads ---- */

void kms_wait_checked(struct kms *k)
{
    pthread_mutex_lock(&k->lock);
    while (!k->checked)
        pthread_cond_wait(&k->changed, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

static void check_now(void *arg)
{
    struct kms *k = arg;
    kms_check(k);
}

/* Looks again twice a second rather than at the next round: somebody waits. */
bool kms_wait_healthy(struct kms *k, int64_t timeout_ms)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    bool healthy = false;
    for (;;) {
        struct timespec slice;
        clock_gettime(CLOCK_MONOTONIC, &slice);
        slice.tv_nsec += 500 * 1000000;
        slice.tv_sec += slice.tv_nsec / 1000000000;
        slice.tv_nsec %= 1000000000;
        pthread_mutex_lock(&k->lock);
        while (!k->healthy && pthread_cond_timedwait(&k->changed, &k->lock, &slice) == 0)
            ;
        healthy = k->healthy;
        pthread_mutex_unlock(&k->lock);
        if (healthy || clock_mono_ms() >= until_ms)
            return healthy;
        loop_post(k->loop, check_now, k);
    }
}

const char *kms_trouble(struct kms *k)
{
    static _Thread_local char text[sizeof k->trouble];
    pthread_mutex_lock(&k->lock);
    int64_t age_ms = clock_mono_ms() - k->checked_ms;
    bool stale = k->checked && !k->asked_to_check && age_ms > (k->healthy ? KMS_FRESH_MS : KMS_FRESH_BAD_MS);
    bool healthy = k->healthy;
    if (stale)
        k->asked_to_check = true;
    snprintf(text, sizeof text, "%s", k->trouble[0] ? k->trouble : "the service has not answered yet");
    pthread_mutex_unlock(&k->lock);
    if (stale)
        loop_post(k->loop, check_now, k);
    return healthy ? NULL : text;
}
