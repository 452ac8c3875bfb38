#include "storage/crypt/configuration.h"
#include "storage/crypt/crypt.h"
#include "storage/crypt/kms_plugin_for_test.h"
#include "storage/crypt/reload.h"
#include "storage/crypt/reseal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define KEY_B "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
#define HEAD "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
#define GCM_A "  - aesgcm: {keys: [{name: a, secret: " KEY_A "}]}\n"
#define GCM_B "  - aesgcm: {keys: [{name: b, secret: " KEY_B "}]}\n"
#define GCM_BA "  - aesgcm: {keys: [{name: b, secret: " KEY_B "}, {name: a, secret: " KEY_A "}]}\n"
#define IDENTITY "  - identity: {}\n"
#define KMS "  - kms: {apiVersion: v2, name: vault, endpoint: unix:///x, timeout: 5s}\n"
#define SECRETS "- resources: [secrets]\n  providers:\n"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/crypt-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static const char *sought;

static int look_into(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (kind != FTW_F)
        return 0;
    struct buf b = {0};
    char block[4096];
    FILE *f = fopen(path, "r");
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&b, block, n);
    fclose(f);
    bool found = str_contains(buf_str(&b), str_from(sought));
    buf_free(&b);
    return found;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *write_config(const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    chmod(path, 0600);
    return path;
}

static struct crypt *open_with(const char *text)
{
    struct crypt *c;
    struct err err = ERR_INIT;
    if (crypt_open(dir, write_config(text), true, &c, &err) < 0)
        fail_msg("%s", err.message);
    return c;
}

static void refusals(void **state)
{
    static const struct {
        const char *given, *want;
    } rows[] = {
        {"kind: Pod\napiVersion: v1\n", "this is no EncryptionConfiguration of apiserver.config.k8s.io/v1"},
        {HEAD "  []\n", "resources: at least one rule is required"},
        {HEAD "- resources: []\n  providers:\n" GCM_A, "resources[0]: resources: name at least one"},
        {HEAD "- resources: [secrets]\n", "resources[0]: providers: name at least one"},
        {HEAD "- resources: [sekrets]\n  providers:\n" GCM_A, "resources[0]: resource \"sekrets\" is not known"},
        {HEAD SECRETS "  - rot13: {name: x}\n",
         "resources[0]: provider rot13 is not known: use aesgcm, aescbc, secretbox, kms or identity"},
        {HEAD SECRETS "  - kms: {name: x, endpoint: unix:///x}\n",
         "resources[0]: kms x: KMS v1 is deprecated and not supported: use a plugin of KMS v2 and say apiVersion: v2"},
        {HEAD SECRETS "  - kms: {apiVersion: v3, name: x, endpoint: unix:///x}\n",
         "resources[0]: kms x: unsupported apiVersion v3 for KMS provider"},
        {HEAD SECRETS "  - kms: {apiVersion: v2, name: x}\n", "resources[0]: kms x: endpoint is a required field"},
        {HEAD SECRETS "  - kms: {apiVersion: v2, name: 'x:y', endpoint: unix:///x}\n",
         "resources[0]: kms: a provider needs a name without colons"},
        {HEAD SECRETS "  - kms: {apiVersion: v2, name: x, endpoint: tcp://x}\n",
         "resources[0]: kms x: endpoint \"tcp://x\": only unix:///PATH is supported"},
        {HEAD SECRETS "  - kms: {apiVersion: v2, name: x, endpoint: unix:///x, timeout: 0s}\n",
         "resources[0]: kms x: timeout should be a positive value"},
        {HEAD SECRETS "  - kms: {apiVersion: v2, name: x, endpoint: unix:///x, cachesize: 5}\n",
         "resources[0]: kms x: cachesize is not supported in v2"},
        {HEAD SECRETS KMS "- resources: [configmaps]\n  providers:\n" KMS,
         "resources[1]: kms: duplicate KMS provider name vault, names must be unique"},
        {HEAD SECRETS "  - aesgcm: {keys: [{name: a, secret: QUJD}]}\n",
         "resources[0]: aesgcm: key a: secret is not of the expected length, got 3, expected one of 16, 24 or 32"},
        {HEAD SECRETS "  - secretbox: {keys: [{name: a, secret: MDEyMzQ1Njc4OTAxMjM0NQ==}]}\n",
         "resources[0]: secretbox: key a: secret is not of the expected length, got 16, expected one of 32"},
        {HEAD SECRETS "  - aesgcm: {keys: [{name: a, secret: '***'}]}\n",
         "resources[0]: aesgcm: key a: secret must be base64 encoded"},
        {HEAD SECRETS "  - aesgcm: {keys: [{name: a, secret: " KEY_A "}, {name: a, secret: " KEY_B "}]}\n",
         "resources[0]: aesgcm: key names must be unique: a"},
        {HEAD SECRETS "  - aesgcm: {keys: []}\n", "resources[0]: aesgcm: keys: at least one key is required"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct encryption_configuration got;
        struct err err = ERR_INIT;
        assert_true(encryption_configuration_parse(a, str_from(rows[i].given), &got, &err) < 0);
        assert_string_equal(err.message, rows[i].want);
        arena_destroy(a);
    }
}

static void which_keys(void **state)
{
    static const struct {
        const char *resources, *key;
        bool want;
    } rows[] = {
        {"secrets", "/registry/secrets/a/b", true},
        {"secrets", "/registry/configmaps/a/b", false},
        {"secrets, configmaps", "/registry/configmaps/a/b", true},
        {"deployments.apps", "/registry/deployments/a/b", true},
        {"services", "/registry/services/specs/a/b", true},
        {"'*.apps'", "/registry/statefulsets/a/b", true},
        {"'*.apps'", "/registry/secrets/a/b", false},
        {"'*.'", "/registry/secrets/a/b", true},
        {"'*.'", "/registry/deployments/a/b", false},
        {"pandas.zoo.example", "/registry/zoo.example/pandas/a/b", true},
        {"'*.zoo.example'", "/registry/zoo.example/pandas/a/b", true},
        {"'*.*'", "/registry/zoo.example/pandas/a/b", true},
        {"'*.*'", "/skiff/x", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "- resources: [%s]\n  providers:\n" GCM_A, rows[i].resources);
        struct crypt *c = open_with(text);
        assert_int_equal(crypt_wants(c, str_from(rows[i].key)), rows[i].want);
        crypt_destroy(c);
    }
}

static void made_at_first_start(void **state)
{
    struct crypt *c, *again;
    struct err err = ERR_INIT;
    struct stat st;
    char path[128];
    struct buf sealed = {0}, opened = {0};
    struct str key = STR("/registry/secrets/a/b");
    (void)state;
    assert_int_equal(crypt_open(dir, NULL, false, &c, &err), 0); /* none, and none made */
    assert_int_equal(crypt_seal(c, key, STR("x"), &sealed, &err), 1);
    crypt_destroy(c);
    assert_int_equal(crypt_open(dir, NULL, true, &c, &err), 0);
    snprintf(path, sizeof path, "%s/" CRYPT_FILE, dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(crypt_seal(c, key, STR("hunter2"), &sealed, &err), 0);
    assert_true(crypt_is_sealed(buf_str(&sealed)));
    assert_true(str_starts(buf_str(&sealed), STR("k8s:enc:aesgcm:v1:key-")));
    assert_true(crypt_has_key(c, crypt_key_id(buf_str(&sealed))));
    assert_int_equal(crypt_open(dir, NULL, true, &again, &err), 0); /* the same key */
    assert_int_equal(crypt_unseal(again, key, buf_str(&sealed), &opened, &err), 0);
    assert_true(str_eqz(buf_str(&opened), "hunter2"));
    struct crypt *other = open_with(HEAD SECRETS GCM_A); /* another file leads; this one's key still opens */
    opened.len = 0;
    assert_int_equal(crypt_unseal(other, key, buf_str(&sealed), &opened, &err), 0);
    assert_true(str_eqz(buf_str(&opened), "hunter2"));
    crypt_destroy(other), crypt_destroy(again), crypt_destroy(c);
    buf_free(&sealed), buf_free(&opened);
}

static void unknown_key(void **state)
{
    struct crypt *c = open_with(HEAD SECRETS GCM_A);
    struct err err = ERR_INIT;
    struct buf out = {0};
    (void)state;
    assert_int_equal(crypt_unseal(c, STR("/registry/secrets/a/b"), STR("k8s:enc:aesgcm:v1:zzz:0123456789"), &out, &err),
                     ERR_CORRUPT);
    assert_non_null(strstr(err.message, "sealed with key aesgcm:zzz, which is not in "));
    assert_int_equal(crypt_unseal(c, STR("/registry/secrets/a/b"), STR("k8s:enc:"), &out, &err), ERR_CORRUPT);
    assert_false(crypt_has_key(c, STR("aesgcm:zzz")));
    crypt_destroy(c);
    buf_free(&out);
}

/* ---- in a store ---- */

static void put(struct kv *kv, const char *key, const char *value)
{
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct kv_op op = {.kind = KV_PUT, .key = str_from(key), .value = str_from(value)};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), 0);
    arena_destroy(a);
}

static bool keep_value(void *arg, const struct kv_pair *p)
{
    buf_add_str(arg, p->value);
    return true;
}

static void check_value(struct kv *kv, const char *key, const char *want, enum crypt_seen seen)
{
    struct buf out = {0};
    struct err err = ERR_INIT;
    crypt_seen_reset();
    if (kv_range(kv, str_from(key), STR_NULL, 0, 0, keep_value, &out, NULL, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(str_eqz(buf_str(&out), want));
    assert_int_equal(crypt_seen(), seen);
    buf_free(&out);
}

static struct kv *open_store(struct crypt *c)
{
    char path[128];
    struct kv *kv;
    struct err err = ERR_INIT;
    snprintf(path, sizeof path, "%s/store", dir);
    assert_int_equal(kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = path}, &kv, &err), 0);
    if (c)
        crypt_install(c, kv);
    return kv;
}

static bool found_on_disk(const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    sought = text;
    return nftw(path, look_into, 16, FTW_PHYS) == 1;
}

static void sealed_on_disk(void **state)
{
    struct crypt *c = open_with(HEAD SECRETS GCM_A);
    struct kv *kv = open_store(c);
    (void)state;
    put(kv, "/registry/secrets/a/b", "correct-horse-battery");
    put(kv, "/registry/configmaps/a/b", "plain-as-day");
    check_value(kv, "/registry/secrets/a/b", "correct-horse-battery", CRYPT_SEEN_CURRENT);
    kv_close(kv);
    assert_false(found_on_disk("correct-horse-battery"));
    assert_true(found_on_disk("plain-as-day"));
    assert_true(found_on_disk("k8s:enc:aesgcm:v1:a:"));
    crypt_destroy(c);
}

static void run_reseal(struct crypt *c, struct kv *kv, int want_rc, int64_t want_written)
{
    struct reseal_counts counts;
    struct err err = ERR_INIT;
    atomic_bool stop = false;
    assert_int_equal(reseal_run(c, kv, &stop, &counts, &err), want_rc);
    assert_int_equal(counts.written, want_written);
}

static void rotation(void **state)
{
    char key[64];
    struct kv *kv = open_store(NULL);
    (void)state;
    for (int i = 0; i < 150; i++) {
        snprintf(key, sizeof key, "/registry/secrets/a/s%03d", i);
        put(kv, key, "old-and-plain");
    }
    put(kv, "/registry/configmaps/a/c", "never");
    kv_close(kv);
    static const struct {
        const char *config;
        int rc;
        int64_t written;
        enum crypt_seen seen;
    } steps[] = {
        {HEAD SECRETS GCM_A IDENTITY, 0, 150, CRYPT_SEEN_CURRENT},
        {HEAD SECRETS GCM_A IDENTITY, 1, 0, CRYPT_SEEN_CURRENT}, /* the mark stands */
        {HEAD SECRETS GCM_BA, 0, 150, CRYPT_SEEN_CURRENT},
        {HEAD SECRETS IDENTITY GCM_BA, 0, 150, CRYPT_SEEN_PLAIN},
        {HEAD SECRETS "  - aescbc: {keys: [{name: a, secret: " KEY_A "}]}\n", 0, 150, CRYPT_SEEN_CURRENT},
        {HEAD SECRETS "  - secretbox: {keys: [{name: a, secret: " KEY_A
                      "}]}\n  - aescbc: {keys: [{name: a, secret: " KEY_A "}]}\n",
         0, 150, CRYPT_SEEN_CURRENT},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct crypt *c = open_with(steps[i].config);
        kv = open_store(c);
        run_reseal(c, kv, steps[i].rc, steps[i].written);
        check_value(kv, "/registry/secrets/a/s000", "old-and-plain", steps[i].seen);
        check_value(kv, "/registry/secrets/a/s149", "old-and-plain", steps[i].seen);
        check_value(kv, "/registry/configmaps/a/c", "never", CRYPT_SEEN_PLAIN);
        kv_close(kv);
        crypt_destroy(c);
    }
}

static bool is_noted(struct kv *kv)
{
    struct buf out = {0};
    struct err err;
    kv_range(kv, STR("/skiff/encryption/unclean/"), STR("/skiff/encryption/unclean0"), 0, 0, keep_value, &out, NULL,
             &err);
    bool noted = out.len > 0;
    buf_free(&out);
    return noted;
}

/* A plain store is brought to keys; when its history is compacted the files tell nothing any more. */
static void plain_leaves_the_disk(void **state)
{
    char key[64], value[128];
    struct err err;
    struct arena *a = arena_create(0);
    struct kv *kv = open_store(NULL);
    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "/registry/secrets/a/s%03d", i);
        snprintf(value, sizeof value, "correct-horse-battery-%03d and so on", i);
        put(kv, key, value);
    }
    char *large = memset(arena_zalloc(a, 60001), 'x', 60000); /* values of this size lie in files of their own */
    memcpy(large + 30000, "correct-horse-battery", 21);
    put(kv, "/registry/secrets/a/large", large);
    kv_close(kv);
    assert_true(found_on_disk("correct-horse-battery"));
    struct crypt *c = open_with(HEAD SECRETS GCM_A IDENTITY);
    kv = open_store(c);
    run_reseal(c, kv, 0, 301);
    assert_int_equal(kv_compact(kv, kv_revision(kv), &err), 0);
    kv_compact_wait(kv);
    assert_true(is_noted(kv));
    struct reseal *after = reseal_start(c, kv); /* the next process: nothing to seal, but files to clean */
    for (int i = 0; i < 200 && (is_noted(kv) || found_on_disk("correct-horse-battery")); i++)
        usleep(50 * 1000); /* files are removed in the background */
    assert_false(is_noted(kv));
    reseal_stop(after);
    assert_false(found_on_disk("correct-horse-battery")); /* while it runs: log and tables alike */
    check_value(kv, "/registry/secrets/a/s299", "correct-horse-battery-299 and so on", CRYPT_SEEN_CURRENT);
    check_value(kv, "/registry/secrets/a/large", large, CRYPT_SEEN_CURRENT);
    kv_close(kv);
    assert_false(found_on_disk("correct-horse-battery"));
    crypt_destroy(c);
    arena_destroy(a);
}

/* Two servers on one store change keys one after the other: what the second wrote meanwhile is found. */
static void two_servers(void **state)
{
    struct err err;
    struct kv *kv;
    struct crypt *first, *second;
    char other_dir[80], path[128];
    (void)state;
    snprintf(other_dir, sizeof other_dir, "%s/other", dir);
    mkdir(other_dir, 0700);
    assert_int_equal(kv_open_memory(&kv, &err), 0);
    assert_int_equal(crypt_open(other_dir, write_config(HEAD SECRETS GCM_A GCM_B), false, &second, &err), 0);
    crypt_install(second, kv);
    put(kv, "/registry/secrets/a/x", "one");
    run_reseal(second, kv, 0, 0);
    first = open_with(HEAD SECRETS GCM_BA);
    crypt_install(first, kv);
    run_reseal(first, kv, 0, 1);
    crypt_install(second, kv);
    put(kv, "/registry/secrets/a/y", "two"); /* still under the former key */
    crypt_install(first, kv);
    run_reseal(first, kv, 1, 0);
    snprintf(path, sizeof path, "%s", write_config(HEAD SECRETS GCM_BA));
    crypt_destroy(second);
    assert_int_equal(crypt_open(other_dir, path, false, &second, &err), 0);
    crypt_install(second, kv);
    run_reseal(second, kv, 0, 1);
    check_value(kv, "/registry/secrets/a/y", "two", CRYPT_SEEN_CURRENT);
    run_reseal(second, kv, 1, 0);
    kv_close(kv);
    crypt_destroy(first), crypt_destroy(second);
}

static bool eventually(struct crypt *c, struct kv *kv, const char *starts)
{
    for (int i = 0; i < 300; i++) {
        struct buf out = {0};
        struct err err;
        crypt_seen_reset();
        int rc = kv_range(kv, STR("/registry/secrets/a/b"), STR_NULL, 0, 0, keep_value, &out, NULL, &err);
        bool opened = rc == 0 && str_eqz(buf_str(&out), "hunter2"), current = crypt_seen() == CRYPT_SEEN_CURRENT;
        out.len = 0;
        rc = crypt_seal(c, STR("/registry/secrets/a/b"), STR("x"), &out, &err);
        bool fits = rc == 0 && str_starts(buf_str(&out), str_from(starts));
        buf_free(&out);
        if (opened && current && fits)
            return true;
        usleep(20 * 1000);
    }
    return false;
}

/* Other keys come into force while the server runs, and what is stored follows. */
static void reloaded(void **state)
{
    struct crypt *c = open_with(HEAD SECRETS GCM_A);
    struct kv *kv = open_store(c);
    struct err err;
    (void)state;
    put(kv, "/registry/secrets/a/b", "hunter2");
    assert_int_equal(crypt_reload(c, &err), 1);
    struct reseal *reseal = reseal_start(c, kv);
    struct reload *reload = reload_start(c);
    assert_true(eventually(c, kv, "k8s:enc:aesgcm:v1:a:"));
    write_config(HEAD SECRETS GCM_BA);
    assert_true(eventually(c, kv, "k8s:enc:aesgcm:v1:b:"));
    write_config("nonsense: [");
    usleep(200 * 1000);
    assert_true(eventually(c, kv, "k8s:enc:aesgcm:v1:b:"));
    assert_true(crypt_reload(c, &err) < 0);
    write_config(HEAD SECRETS "  - kms: {apiVersion: v2, name: v, endpoint: unix:///nowhere, timeout: 1s}\n" GCM_BA);
    assert_int_equal(crypt_reload(c, &err), ERR_UNAVAILABLE); /* it would seal nothing */
    assert_non_null(strstr(err.message, "KMS Provider v"));
    assert_true(eventually(c, kv, "k8s:enc:aesgcm:v1:b:"));
    reload_stop(reload);
    reseal_stop(reseal);
    kv_close(kv);
    crypt_destroy(c);
}

/* A store under a service: another key of it makes what is stored follow; without it, writes of Secrets alone fail. */
static void with_a_service(void **state)
{
    struct kms_plugin plugin = {.key = 1};
    char text[512];
    struct err err;
    struct arena *a = arena_create(0);
    (void)state;
    kms_plugin_start(&plugin, dir);
    snprintf(text, sizeof text,
             HEAD SECRETS "  - kms: {apiVersion: v2, name: vault, endpoint: '%s', timeout: 1s}\n" GCM_A,
             plugin.endpoint);
    struct crypt *c = open_with(HEAD SECRETS GCM_A);
    struct kv *kv = open_store(c);
    put(kv, "/registry/secrets/a/b", "hunter2");
    kv_close(kv);
    crypt_destroy(c);

    c = open_with(text);
    assert_true(crypt_has_services(c));
    assert_null(crypt_trouble(c));
    kv = open_store(c);
    check_value(kv, "/registry/secrets/a/b", "hunter2", CRYPT_SEEN_STALE);
    struct reseal *reseal = reseal_start(c, kv);
    assert_true(eventually(c, kv, "k8s:enc:kms:v2:vault:"));
    struct buf sealed = {0};
    assert_int_equal(crypt_seal(c, STR("/registry/secrets/a/b"), STR("x"), &sealed, &err), 0);
    assert_true(str_eqz(crypt_key_id(buf_str(&sealed)), "kms:vault"));
    assert_true(crypt_has_key(c, STR("kms:vault")));
    buf_free(&sealed);
    reseal_stop(reseal);
    kv_close(kv);
    crypt_destroy(c);
    assert_false(found_on_disk("hunter2"));

    plugin.key = 2; /* while the server is away */
    c = open_with(text);
    kv = open_store(c);
    check_value(kv, "/registry/secrets/a/b", "hunter2", CRYPT_SEEN_STALE);
    run_reseal(c, kv, 0, 1);
    check_value(kv, "/registry/secrets/a/b", "hunter2", CRYPT_SEEN_CURRENT);
    kv_close(kv);
    crypt_destroy(c);

    kms_plugin_stop(&plugin);
    c = open_with(text);
    kv = open_store(c);
    assert_non_null(strstr(crypt_trouble(c), "KMS Provider vault"));
    struct buf out = {0};
    assert_true(kv_range(kv, STR("/registry/secrets/a/b"), STR_NULL, 0, 0, keep_value, &out, NULL, &err) < 0);
    assert_non_null(strstr(err.message, "failed to decrypt DEK"));
    struct kv_op op = {.kind = KV_PUT, .key = STR("/registry/secrets/a/c"), .value = STR("x")};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.message, "KMS provider vault has given no key yet"));
    put(kv, "/registry/configmaps/a/c", "fine");
    kms_plugin_start(&plugin, dir);
    crypt_wait_services(c, 15000);
    usleep(1100 * 1000);
    check_value(kv, "/registry/secrets/a/b", "hunter2", CRYPT_SEEN_CURRENT);
    put(kv, "/registry/secrets/a/c", "fine too");
    kv_close(kv);
    crypt_destroy(c);
    kms_plugin_stop(&plugin);
    buf_free(&out);
    arena_destroy(a);
}

static void open_to_others(void **state)
{
    struct crypt *c;
    struct err err;
    char path[128];
    (void)state;
    assert_int_equal(crypt_open(dir, NULL, true, &c, &err), 0);
    crypt_destroy(c);
    snprintf(path, sizeof path, "%s/" CRYPT_FILE, dir);
    chmod(path, 0640);
    assert_int_equal(crypt_open(dir, NULL, true, &c, &err), 0); /* a word in the log */
    crypt_destroy(c);
    chmod(path, 0644);
    assert_int_equal(crypt_open(dir, NULL, true, &c, &err), ERR_PERMISSION);
    assert_non_null(strstr(err.message, "is open to every user of this machine (mode 0644)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(which_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(made_at_first_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sealed_on_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_leaves_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_servers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reloaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(with_a_service, set_up, tear_down),
        cmocka_unit_test_setup_teardown(open_to_others, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
