/* kms_plugin_for_test: a key management service for tests, on a unix socket, as well or ill behaved as asked. */
#ifndef SKIFF_STORAGE_CRYPT_KMS_PLUGIN_FOR_TEST_H
#define SKIFF_STORAGE_CRYPT_KMS_PLUGIN_FOR_TEST_H

#include "base/loop.h"
#include "base/net/grpc_server.h"
#include "storage/crypt/kms.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum plugin_mood {
    PLUGIN_WELL,
    PLUGIN_ILL,       /* says so */
    PLUGIN_OLD,       /* another version of the API */
    PLUGIN_HANGS,     /* never answers */
    PLUGIN_TWO_KEYS,  /* encrypts with another key than its status names */
    PLUGIN_NO_KEY,    /* an empty key id */
    PLUGIN_LONG_KEY,  /* one of 2 kB */
    PLUGIN_OVERSIZED, /* encrypts to 2 kB */
    PLUGIN_HUGE,      /* answers with 70 MB */
    PLUGIN_EMPTY,     /* encrypts to nothing */
    PLUGIN_BAD_ANNOTATION,
    PLUGIN_WRONG_SEED, /* decrypts to a byte */
    PLUGIN_REFUSES,    /* to encrypt and decrypt */
    PLUGIN_GARBLES,    /* decrypts to another seed */
};

struct kms_plugin {
    char path[96], endpoint[112];
    struct loop *loop;
    struct http_server *http;
    struct grpc_server_options grpc;
    struct grpc_method methods[4];
    _Atomic int mood, key; /* key: the number in its id */
    atomic_int n_status, n_encrypt, n_decrypt;
    pthread_mutex_t lock;
    pthread_cond_t stopped_cond;
    bool stopped;
};

static void plugin_status(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    struct kms_plugin *p = c->server_arg;
    Kms__StatusResponse r = KMS__STATUS_RESPONSE__INIT;
    char key[32];
    (void)request;
    p->n_status++;
    if (p->mood == PLUGIN_HANGS)
        return;
    snprintf(key, sizeof key, "key-%d", p->key);
    r.version = p->mood == PLUGIN_OLD ? "v1beta1" : "v2";
    r.healthz = p->mood == PLUGIN_ILL ? "the vault is sealed" : "ok";
    r.key_id = p->mood == PLUGIN_NO_KEY ? "" : key;
    if (p->mood == PLUGIN_LONG_KEY) {
        r.key_id = memset(arena_zalloc(c->arena, 2049), 'k', 2048);
    }
    grpc_answer(c, &r.base);
}

/* The key's number in front, the rest under a pad. */
static void plugin_pad(uint8_t *to, const uint8_t *from, size_t len, int key)
{
    for (size_t i = 0; i < len; i++)
        to[i] = from[i] ^ (uint8_t)(0x5a + 7 * key + (int)i);
}

static void plugin_encrypt(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    struct kms_plugin *p = c->server_arg;
    const Kms__EncryptRequest *q = (const Kms__EncryptRequest *)request;
    Kms__EncryptResponse r = KMS__ENCRYPT_RESPONSE__INIT;
    Kms__Annotation a = KMS__ANNOTATION__INIT, *list[] = {&a};
    char id[32];
    int key = p->key;
    p->n_encrypt++;
    if (p->mood == PLUGIN_HANGS)
        return;
    if (p->mood == PLUGIN_REFUSES) {
        grpc_end(c, GRPC_FAILED_PRECONDITION, "not today");
        return;
    }
    size_t len = p->mood == PLUGIN_OVERSIZED ? 2048 : p->mood == PLUGIN_HUGE ? 70u << 20 : q->plaintext.len + 1;
    r.ciphertext = (ProtobufCBinaryData){len, arena_zalloc(c->arena, len)};
    r.ciphertext.data[0] = (uint8_t)key;
    plugin_pad(r.ciphertext.data + 1, q->plaintext.data, q->plaintext.len, key);
    if (p->mood == PLUGIN_EMPTY)
        r.ciphertext.len = 0;
    snprintf(id, sizeof id, "key-%d", p->mood == PLUGIN_TWO_KEYS ? key + 1 : key);
    r.key_id = id;
    a.key = p->mood == PLUGIN_BAD_ANNOTATION ? "Not a domain" : "version.kms.example.com";
    a.value = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "1"};
    r.n_annotations = 1;
    r.annotations = list;
    grpc_answer(c, &r.base);
}

static void plugin_decrypt(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    struct kms_plugin *p = c->server_arg;
    const Kms__DecryptRequest *q = (const Kms__DecryptRequest *)request;
    Kms__DecryptResponse r = KMS__DECRYPT_RESPONSE__INIT;
    char id[32];
    p->n_decrypt++;
    if (p->mood == PLUGIN_HANGS)
        return;
    snprintf(id, sizeof id, "key-%d", q->ciphertext.len ? q->ciphertext.data[0] : 0);
    bool annotated = q->n_annotations == 1 && !strcmp(q->annotations[0]->key, "version.kms.example.com");
    if (p->mood == PLUGIN_REFUSES || strcmp(q->key_id, id) != 0 || !annotated) {
        grpc_end(c, GRPC_INVALID_ARGUMENT, "no such key");
        return;
    }
    size_t len = q->ciphertext.len - 1;
    r.plaintext = (ProtobufCBinaryData){len, arena_zalloc(c->arena, len)};
    plugin_pad(r.plaintext.data, q->ciphertext.data + 1, len, q->ciphertext.data[0]);
    if (p->mood == PLUGIN_WRONG_SEED)
        r.plaintext.len = 1;
    if (p->mood == PLUGIN_GARBLES)
        r.plaintext.data[0] ^= 1;
    grpc_answer(c, &r.base);
}

static void plugin_listen(void *arg)
{
    struct kms_plugin *p = arg;
    char listen[128];
    struct err err;
    snprintf(listen, sizeof listen, "unix:%s", p->path);
    struct http_server_options opt = {.listen = listen,
                                      .loops = &p->loop,
                                      .n_loops = 1,
                                      .max_body = 1 << 20,
                                      .streaming = true,
                                      .handler = grpc_server_handle,
                                      .arg = &p->grpc};
    if (http_server_create(&opt, &p->http, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    pthread_mutex_lock(&p->lock);
    p->stopped = false;
    pthread_cond_signal(&p->stopped_cond);
    pthread_mutex_unlock(&p->lock);
}

/* The path is made of `dir`. */
static inline void kms_plugin_start(struct kms_plugin *p, const char *dir)
{
    snprintf(p->path, sizeof p->path, "%s/kms.sock", dir);
    snprintf(p->endpoint, sizeof p->endpoint, "unix://%s", p->path);
    p->methods[0] = (struct grpc_method){.path = "/v2.KeyManagementService/Status",
                                         .request = &kms__status_request__descriptor,
                                         .handle = plugin_status};
    p->methods[1] = (struct grpc_method){.path = "/v2.KeyManagementService/Encrypt",
                                         .request = &kms__encrypt_request__descriptor,
                                         .handle = plugin_encrypt};
    p->methods[2] = (struct grpc_method){.path = "/v2.KeyManagementService/Decrypt",
                                         .request = &kms__decrypt_request__descriptor,
                                         .handle = plugin_decrypt};
    p->grpc = (struct grpc_server_options){.methods = p->methods, .max_message = 1 << 20, .arg = p};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->stopped_cond, NULL);
    p->stopped = true;
    p->loop = loop_create("plugin");
    loop_start(p->loop);
    loop_post(p->loop, plugin_listen, p);
    pthread_mutex_lock(&p->lock);
    while (p->stopped)
        pthread_cond_wait(&p->stopped_cond, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void plugin_gone(void *arg)
{
    struct kms_plugin *p = arg;
    loop_stop(p->loop);
}

static void plugin_close(void *arg)
{
    struct kms_plugin *p = arg;
    http_server_stop(p->http, 0, plugin_gone, p);
}

static inline void kms_plugin_stop(struct kms_plugin *p)
{
    loop_post(p->loop, plugin_close, p);
    loop_join(p->loop);
    http_server_destroy(p->http);
    loop_destroy(p->loop);
    unlink(p->path);
}

#endif
