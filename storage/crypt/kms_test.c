/* Values under a key management service: its stored form by vectors made elsewhere, and the service in all its moods.
 */
#include "storage/crypt/kms.h"
#include "storage/crypt/kms_plugin_for_test.h"

#include "base/clock.h"
#include "storage/crypt/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <time.h>

#include <cmocka.h>

static char dir[64];
static struct kms_plugin plugin;
static atomic_int n_changes;

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/kms-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    plugin = (struct kms_plugin){.key = 1};
    kms_plugin_start(&plugin, dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kms_plugin_stop(&plugin);
    return rmdir(dir);
}

static void on_change(void *arg)
{
    (void)arg;
    n_changes++;
}

static struct kms *create(void)
{
    struct kms *k;
    struct err err;
    struct kms_options opt = {.name = STR("vault"),
                              .endpoint = str_from(plugin.endpoint),
                              .timeout_ms = 300,
                              .poll_ms = 20,
                              .retry_ms = 20,
                              .write_ms = 60 * 1000,
                              .on_change = on_change};
    n_changes = 0;
    assert_int_equal(kms_create(&opt, &k, &err), 0);
    kms_wait_checked(k);
    return k;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void check_seal(struct kms *k, const char *text, struct buf *sealed)
{
    struct err err = ERR_INIT;
    sealed->len = 0;
    if (kms_seal(k, STR("/registry/secrets/a/b"), str_from(text), sealed, &err) < 0)
        fail_msg("%s", err.message);
    assert_false(str_contains(buf_str(sealed), str_from(text)));
}

static void check_open(struct kms *k, struct str sealed, const char *want, bool want_current)
{
    struct err err = ERR_INIT;
    struct buf out = {0};
    bool current = !want_current;
    if (kms_open(k, STR("/registry/secrets/a/b"), sealed, &out, &current, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(str_eqz(buf_str(&out), want));
    assert_int_equal(current, want_current);
    buf_free(&out);
}

static int open_err(struct kms *k, struct str sealed, struct err *err)
{
    struct buf out = {0};
    bool current;
    int rc = kms_open(k, STR("/registry/secrets/a/b"), sealed, &out, &current, err);
    buf_free(&out);
    return rc;
}

/* ---- the stored form ---- */

/* Made with Python's hmac and the AESGCM of its cryptography package:
 *   seed = bytes(range(32)); info = bytes(range(100, 132)); nonce = bytes(range(200, 212))
 *   key = hmac.new(seed, info + b"\x01", "sha256").digest()
 *   info + nonce + AESGCM(key).encrypt(nonce, b"correct horse", b"/registry/secrets/default/pony")
 * and the key's own bytes for a source that is a key. */
static void vectors(void **state)
{
    static const uint8_t seed[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    static const uint8_t sealed[] = {0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70,
                                     0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x7b, 0x7c, 0x7d,
                                     0x7e, 0x7f, 0x80, 0x81, 0x82, 0x83, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce,
                                     0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0x0e, 0x09, 0x17, 0x03, 0x41, 0x2b, 0x92, 0x22,
                                     0x1f, 0x7f, 0x39, 0x6f, 0x2b, 0x2f, 0xb2, 0xdb, 0x98, 0xb6, 0x5b, 0x7b, 0xdd,
                                     0x5e, 0x84, 0xa2, 0xb7, 0xaf, 0x63, 0x3e, 0x66};
    static const uint8_t by_key[] = {0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0x72, 0x17,
                                     0x13, 0xa9, 0xe3, 0xaf, 0x8f, 0x00, 0x1c, 0x53, 0x6d, 0xcd, 0x7b, 0x97, 0x15, 0xfd,
                                     0x4e, 0xc8, 0xa2, 0xa9, 0x7f, 0x37, 0xcb, 0x37, 0x4f, 0xa0, 0xbe, 0x88, 0x5c};
    struct str about = STR("/registry/secrets/default/pony"), source = {(const char *)seed, sizeof seed};
    struct buf out = {0}, again = {0};
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(
        envelope_open(ENVELOPE_SEED, source, about, (struct str){(const char *)sealed, sizeof sealed}, &out, &err), 0);
    assert_true(str_eqz(buf_str(&out), "correct horse"));
    out.len = 0;
    assert_int_equal(
        envelope_open(ENVELOPE_KEY, source, about, (struct str){(const char *)by_key, sizeof by_key}, &out, &err), 0);
    assert_true(str_eqz(buf_str(&out), "correct horse"));
    out.len = 0;
    assert_int_equal(envelope_open(ENVELOPE_SEED, source, STR("/registry/secrets/default/cow"),
                                   (struct str){(const char *)sealed, sizeof sealed}, &out, &err),
                     ERR_CORRUPT);
    /* what is written now: the same form with other random bytes */
    assert_int_equal(envelope_seal(source, about, STR("correct horse"), &out, &err), 0);
    assert_int_equal(out.len, sizeof sealed);
    assert_int_equal(envelope_open(ENVELOPE_SEED, source, about, buf_str(&out), &again, &err), 0);
    assert_true(str_eqz(buf_str(&again), "correct horse"));
    buf_free(&out), buf_free(&again);
}

/* The message around it, byte for byte. */
static void message(void **state)
{
    Kms__EncryptedObject head = KMS__ENCRYPTED_OBJECT__INIT;
    Kms__Annotation a = KMS__ANNOTATION__INIT, *list[] = {&a};
    struct buf out = {0};
    struct err err = ERR_INIT;
    static const char want[] = "\x0a\x02xy\x12\x01k\x1a\x03src\x22\x08\x0a\x03"
                               "a.b\x12\x01v\x28\x01";
    (void)state;
    head.key_id = "k";
    head.encrypted_dek_source = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "src"};
    head.encrypted_dek_source_type = ENVELOPE_SEED;
    a.key = "a.b";
    a.value = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "v"};
    head.n_annotations = 1;
    head.annotations = list;
    assert_int_equal(envelope_write(&head, STR("xy"), &out, &err), 0);
    assert_int_equal(out.len, sizeof want - 1);
    assert_memory_equal(out.p, want, out.len);
    head.encrypted_dek_source_type = 0; /* as proto3 has it: a zero is not there */
    out.len = 0;
    assert_int_equal(envelope_write(&head, STR("xy"), &out, &err), 0);
    assert_int_equal(out.len, sizeof want - 3);
    head.encrypted_dek_source_type = 2;
    assert_int_equal(envelope_write(&head, STR("xy"), &out, &err), ERR_CORRUPT);
    assert_string_equal(err.message, "unknown encryptedDEKSourceType: 2");
    buf_free(&out);
}

/* ---- with a service ---- */

static void round_trip(void **state)
{
    struct buf one = {0}, two = {0};
    struct err err;
    (void)state;
    struct kms *k = create();
    assert_null(kms_trouble(k));
    check_seal(k, "hunter2", &one);
    check_seal(k, "hunter3", &two);
    check_open(k, buf_str(&one), "hunter2", true);
    check_open(k, buf_str(&two), "hunter3", true);
    assert_int_equal(plugin.n_encrypt, 1); /* one seed for both */
    assert_int_equal(plugin.n_decrypt, 0); /* and it is known */
    two.p[50] ^= 1;                        /* in the data, which comes first */
    assert_int_equal(open_err(k, buf_str(&two), &err), ERR_CORRUPT);
    assert_int_equal(open_err(k, STR("\xff\xff"), &err), ERR_CORRUPT);
    kms_release(k);
    k = create(); /* another server: asks once */
    check_open(k, buf_str(&one), "hunter2", true);
    check_open(k, buf_str(&one), "hunter2", true);
    assert_int_equal(plugin.n_decrypt, 1);
    kms_release(k);
    buf_free(&one), buf_free(&two);
}

static void rotation(void **state)
{
    struct buf one = {0}, two = {0};
    (void)state;
    struct kms *k = create();
    check_seal(k, "hunter2", &one);
    check_open(k, buf_str(&one), "hunter2", true);
    int before = n_changes;
    plugin.key = 2;
    for (int i = 0; i < 200 && n_changes == before; i++)
        sleep_ms(10);
    assert_int_equal(n_changes, before + 1);
    check_open(k, buf_str(&one), "hunter2", false); /* stale, but it opens */
    check_seal(k, "hunter3", &two);
    check_open(k, buf_str(&two), "hunter3", true);
    assert_int_equal(plugin.n_encrypt, 2);
    kms_release(k);
    buf_free(&one), buf_free(&two);
}

static void moods(void **state)
{
    static const struct {
        enum plugin_mood mood;
        const char *want;
    } rows[] = {
        {PLUGIN_ILL, "kmsv2 Provider vault is not healthy, error: got unexpected healthz status: the vault is sealed"},
        {PLUGIN_OLD, "kmsv2 Provider vault is not healthy, error: expected KMSv2 API version v2, got v1beta1"},
        {PLUGIN_NO_KEY, "kmsv2 Provider vault is not healthy, error: got invalid KMSv2 KeyID hash: keyID is empty"},
        {PLUGIN_LONG_KEY, "keyID is 2048 bytes, which exceeds the max size of 1024"},
        {PLUGIN_HANGS, "failed to perform status section of the healthz check for KMS Provider vault, error: "},
        {PLUGIN_TWO_KEYS, "failed to rotate DEK: statusKeyIDHash=\"sha256:"},
        {PLUGIN_OVERSIZED, "encrypted DEK source is 2048 bytes, which exceeds the max size of 1024"},
        {PLUGIN_HUGE, "failed to encrypt DEK, error: "},
        {PLUGIN_EMPTY, "encrypted DEK source is empty"},
        {PLUGIN_BAD_ANNOTATION, "should be a domain with at least two segments separated by dots"},
        {PLUGIN_REFUSES, "failed to encrypt DEK, error: not today"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = {0};
        struct err err;
        plugin.mood = rows[i].mood;
        struct kms *k = create();
        const char *why = kms_trouble(k);
        if (!why || !strstr(why, rows[i].want))
            fail_msg("%zu: %s", i, why ? why : "well");
        assert_int_equal(kms_can_seal(k, &err), ERR_INTERNAL);
        assert_int_equal(kms_seal(k, STR("/k"), STR("x"), &out, &err), ERR_INTERNAL);
        assert_non_null(strstr(err.message, "KMS provider vault has given no key yet: "));
        assert_int_equal(out.len, 0);
        plugin.mood = PLUGIN_WELL; /* and it recovers by itself */
        assert_true(kms_wait_healthy(k, 5000));
        assert_null(kms_trouble(k));
        assert_int_equal(kms_can_seal(k, &err), 0);
        kms_release(k);
        buf_free(&out);
    }
}

/* Opening what is not known yet, while the service does not help. */
static void no_answer(void **state)
{
    static const struct {
        enum plugin_mood mood;
        enum err_code code;
        const char *want;
    } rows[] = {
        {PLUGIN_REFUSES, ERR_INTERNAL, "failed to decrypt DEK, error: no such key"},
        {PLUGIN_WRONG_SEED, ERR_CORRUPT, "invalid seed length 1 used for key generation"},
        {PLUGIN_GARBLES, ERR_CORRUPT, "does not open"},
        {PLUGIN_HANGS, ERR_TIMEOUT, "failed to decrypt DEK, error: "},
    };
    struct buf sealed = {0};
    (void)state;
    struct kms *k = create();
    check_seal(k, "hunter2", &sealed);
    kms_release(k);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = ERR_INIT;
        k = create();
        plugin.mood = rows[i].mood;
        int asked = plugin.n_decrypt;
        int64_t started_ms = clock_mono_ms();
        assert_int_equal(open_err(k, buf_str(&sealed), &err), rows[i].code);
        if (!strstr(err.message, rows[i].want))
            fail_msg("%s", err.message);
        assert_true(clock_mono_ms() - started_ms < 3000);
        assert_int_equal(open_err(k, buf_str(&sealed), &err), rows[i].code); /* from memory */
        assert_int_equal(plugin.n_decrypt, asked + 1);
        plugin.mood = PLUGIN_WELL;
        kms_release(k);
    }
    buf_free(&sealed);
}

/* The service goes and comes back; what is known goes on working. */
static void down_and_up(void **state)
{
    struct buf one = {0}, two = {0};
    struct err err;
    (void)state;
    struct kms *k = create();
    check_seal(k, "hunter2", &one);
    kms_plugin_stop(&plugin);
    for (int i = 0; i < 300 && !kms_trouble(k); i++)
        sleep_ms(10);
    assert_non_null(kms_trouble(k));
    check_seal(k, "hunter3", &two); /* for three minutes */
    check_open(k, buf_str(&one), "hunter2", true);
    struct kms *other = create(); /* a server that starts meanwhile */
    assert_int_equal(open_err(other, buf_str(&one), &err), ERR_UNAVAILABLE);
    kms_plugin_start(&plugin, dir);
    assert_true(kms_wait_healthy(k, 5000));
    assert_true(kms_wait_healthy(other, 5000));
    sleep_ms(1100);
    check_open(other, buf_str(&two), "hunter3", true);
    kms_release(k), kms_release(other);
    buf_free(&one), buf_free(&two);
}

/* Writes and what is known never wait for a service that hangs. */
static void hangs(void **state)
{
    struct buf sealed = {0};
    (void)state;
    struct kms *k = create();
    check_seal(k, "hunter2", &sealed);
    plugin.mood = PLUGIN_HANGS;
    int64_t started_ms = clock_mono_ms();
    for (int i = 0; i < 300; i++) { /* a minute and a half, if each cost a time-out */
        check_seal(k, "hunter2", &sealed);
        check_open(k, buf_str(&sealed), "hunter2", true);
        if (i % 100 == 99)
            sleep_ms(200); /* looks at the service end badly meanwhile */
    }
    assert_true(clock_mono_ms() - started_ms < 10000);
    kms_release(k);
    buf_free(&sealed);
}

static void expiry(void **state)
{
    struct kms *k;
    struct err err;
    struct buf out = {0};
    struct kms_options opt = {.name = STR("vault"),
                              .endpoint = str_from(plugin.endpoint),
                              .timeout_ms = 300,
                              .poll_ms = 10,
                              .retry_ms = 10,
                              .write_ms = 200};
    (void)state;
    assert_int_equal(kms_create(&opt, &k, &err), 0);
    assert_true(kms_wait_healthy(k, 5000));
    assert_int_equal(kms_can_seal(k, &err), 0);
    plugin.mood = PLUGIN_ILL;
    for (int i = 0; i < 300 && kms_can_seal(k, &err) == 0; i++)
        sleep_ms(10);
    assert_int_equal(kms_can_seal(k, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.message, "encryptedDEKSource with keyID hash \"sha256:"));
    assert_non_null(strstr(err.message, "expired at 2"));
    plugin.mood = PLUGIN_WELL; /* the same key is good again: no new seed */
    for (int i = 0; i < 300 && kms_can_seal(k, &err) < 0; i++)
        sleep_ms(10);
    assert_int_equal(kms_can_seal(k, &err), 0);
    assert_int_equal(plugin.n_encrypt, 1);
    kms_release(k);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(message),
        cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(moods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(down_and_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expiry, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
