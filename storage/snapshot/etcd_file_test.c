/* Over files that a real etcd wrote; left out, with a message, where it is not installed. */
#include "storage/snapshot/etcd_file.h"

#include "storage/kv/etcd/server_for_test.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include <cmocka.h>

#define CONFIG_MAP                                                                                              \
    "k8s\0\n\017\n\002v1\022\tConfigMap\022)\n\020\n\005proto\032\004shop*\001u\022\025\n\006medium\022\013in " \
    "protobuf"

static struct etcd_server server;
static struct arena *arena;
static char path[128], bad[128];
static struct buf file;

static void etcdctl(const char *what, struct str input)
{
    struct str command =
        arena_printf(arena, "ETCDCTL_API=3 etcdctl --endpoints %s %s >/dev/null 2>&1", server.url, what);
    FILE *p = popen(command.p, "w");
    assert_non_null(p);
    fwrite(input.p, 1, input.len, p);
    if (pclose(p) != 0)
        fail_msg("%s failed", command.p);
}

static void write_bad(struct str bytes)
{
    FILE *f = fopen(bad, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.len, f), bytes.len);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(0);
    etcd_server_start(&server);
    for (int i = 0; i < 100; i++) {
        if (system(arena_printf(arena, "ETCDCTL_API=3 etcdctl --endpoints %s get / >/dev/null 2>&1", server.url).p) ==
            0)
            break;
        usleep(100000);
    }
    for (int i = 0; i < 150; i++)
        etcdctl(
            arena_printf(arena, "put /registry/configmaps/a/c%03d", i).p,
            arena_printf(arena,
                         "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%03d\",\"namespace\":"
                         "\"a\",\"uid\":\"u\"},\"data\":{\"pad\":\"%0500d\"}}",
                         i, i));
    etcdctl("put /registry/configmaps/shop/proto", STR(CONFIG_MAP));
    etcdctl("put /registry/configmaps/a/c000",
            STR("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c000\",\"namespace\":\"a\"},"
                "\"data\":{\"a\":\"newer\"}}"));
    etcdctl("del /registry/configmaps/a/c001", STR(""));
    etcdctl("put /registry/secrets/a/s", STR("k8s:enc:aesgcm:v1:gone:bytes"));
    etcdctl("put /registry/ranges/serviceips", STR("bits"));
    snprintf(path, sizeof path, "%s/saved", server.dir);
    snprintf(bad, sizeof bad, "%s/bad", server.dir);
    etcdctl(arena_printf(arena, "snapshot save %s", path).p, STR(""));
    FILE *f = fopen(path, "r");
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&file, block, n);
    fclose(f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    etcd_server_remove(&server);
    buf_free(&file);
    arena_destroy(arena);
    return 0;
}

struct seen {
    int64_t n, n_skipped;
    bool newest, deleted, protobuf;
    struct buf skipped;
};

static int see(void *arg, const struct snapshot_entry *e, struct err *err)
{
    struct seen *s = arg;
    (void)err;
    s->n++;
    s->newest = s->newest || (str_eqz(e->key, "/registry/configmaps/a/c000") && str_contains(e->value, STR("newer")) &&
                              e->version == 2 && e->mod_revision > e->create_revision);
    s->deleted = s->deleted || str_eqz(e->key, "/registry/configmaps/a/c001");
    s->protobuf = s->protobuf || (str_eqz(e->key, "/registry/configmaps/shop/proto") &&
                                  str_starts(e->value, STR("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",")) &&
                                  str_contains(e->value, STR("\"data\":{\"medium\":\"in protobuf\"}")));
    return 0;
}

static void leave_out(void *arg, struct str what)
{
    struct seen *s = arg;
    s->n_skipped++;
    buf_printf(&s->skipped, "[" STR_FMT "]", STR_ARG(what));
}

static void newest_of_each_key(void **state)
{
    struct etcd_file *f;
    struct err err = ERR_INIT;
    struct seen s = {0};
    struct crypt *none;
    (void)state;
    assert_int_equal(crypt_open(server.dir, NULL, false, &none, &err), 0);
    if (etcd_file_open(path, &f, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(etcd_file_keys(f), 152); /* 150 - 1 deleted + protobuf, Secret, bitmap */
    assert_int_equal(etcd_file_revision(f), 1 + 150 + 5);
    assert_int_equal(etcd_file_sealed(f), 1);
    assert_int_equal(etcd_file_check_keys(f, none, "FILE", &err), ERR_BAD_REQUEST);
    assert_non_null(
        strstr(err.message, "1 values are encrypted with keys that are not in FILE (secrets with aesgcm:gone)"));
    assert_true(etcd_file_entries(f, none, false, see, leave_out, &s, &err) < 0);
    assert_non_null(strstr(err.message, "/registry/secrets/a/s"));
    buf_free(&s.skipped);
    s = (struct seen){0};
    assert_int_equal(etcd_file_entries(f, none, true, see, leave_out, &s, &err), 0);
    assert_int_equal(s.n, 150);
    assert_int_equal(s.n_skipped, 2);
    assert_true(str_contains(buf_str(&s.skipped), STR("[/registry/ranges]")));
    assert_true(str_contains(buf_str(&s.skipped), STR("[secrets (encrypted, the key is not there)]")));
    assert_true(s.newest && s.protobuf && !s.deleted);
    buf_free(&s.skipped);
    etcd_file_close(f);
    crypt_destroy(none);
}

static void damage(void **state)
{
    size_t len = file.len;
    const struct {
        size_t keep, flip; /* flip 0: none */
        const char *want;
    } rows[] = {
        {len, 9000, "the digest of the whole does not match"},
        {len, len - 1, "the digest of the whole does not match"},
        {len, 17, "the digest of the whole does not match"},
        {0, 0, "the file is empty"},
        {50, 0, "this is no database of etcd"},
        {100, 0, "beyond the file"},
        {4096, 0, "beyond the file"},
        {12288, 0, "beyond the file"},
        {len / 1024 * 512 + 32, 0, "the digest of the whole does not match"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct etcd_file *f = NULL;
        struct err err = ERR_INIT;
        struct str bytes = arena_str(arena, str_sub(buf_str(&file), 0, rows[i].keep));
        if (rows[i].flip)
            ((char *)(uintptr_t)bytes.p)[rows[i].flip] ^= 0x55;
        write_bad(bytes);
        assert_int_equal(etcd_file_open(bad, &f, &err), ERR_CORRUPT);
        if (!strstr(err.message, rows[i].want))
            fail_msg("row %zu: %s", i, err.message);
    }
}

/* Behind a digest that is right, every page in turn is wrong: refused or read, never beyond the file. */
static void damage_behind_a_digest(void **state)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;
    int refused = 0;
    (void)state;
    for (size_t at = 0; at + 32 < file.len; at += 509) {
        struct etcd_file *f = NULL;
        struct err err = ERR_INIT;
        struct arena *a = arena_create(0);
        struct str bytes = arena_str(a, buf_str(&file));
        ((char *)(uintptr_t)bytes.p)[at] = (char)0xff;
        EVP_Digest(bytes.p, bytes.len - 32, digest, &n, EVP_sha256(), NULL);
        memcpy((char *)(uintptr_t)bytes.p + bytes.len - 32, digest, 32);
        write_bad(bytes);
        int rc = etcd_file_open(bad, &f, &err);
        assert_true(rc == 0 || rc == ERR_CORRUPT || rc == ERR_NOT_FOUND);
        refused += rc < 0;
        etcd_file_close(f);
        arena_destroy(a);
    }
    assert_true(refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_of_each_key),
        cmocka_unit_test(damage),
        cmocka_unit_test(damage_behind_a_digest),
    };
    if (!etcd_installed() || system("command -v etcdctl >/dev/null 2>&1") != 0) {
        puts("etcd is not installed: left out");
        return 0;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
