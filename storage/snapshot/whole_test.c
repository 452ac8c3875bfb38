/* A cluster in one file: what a slow reader is owed while history is compacted, what is left of leases, identities, and
 * a file of format 1 that was written once and for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/snapshot/file.h"
#include "storage/snapshot/restore.h"
#include "storage/snapshot/schedule.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE "storage/snapshot/format-1.snapshot"

static char dir[64];
static struct kv *kv;
static struct crypt *keys;
static struct arena *arena;
static struct err err;

static const char *in_dir(const char *name)
{
    return arena_printf(arena, "%s/%s", dir, name).p;
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/snapshot-test-XXXXXX");
    arena = arena_create(0);
    if (!mkdtemp(dir) || kv_open_memory(&kv, &err) < 0 || crypt_open(dir, NULL, true, &keys, &err) < 0)
        return -1;
    crypt_install(keys, kv);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    kv_close(kv);
    crypt_destroy(keys);
    int rc = nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    arena_destroy(arena);
    return rc;
}

static void run(struct kv_op op)
{
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    if (kv_txn_wait(kv, arena, &txn, &result, &err) < 0)
        fail_msg("%s", err.message);
}

static void put(const char *key, struct str value, int64_t lease)
{
    run((struct kv_op){.kind = KV_PUT, .key = str_from(key), .value = value, .lease = lease});
}

/* ---- a slow reader ---- */

struct source {
    struct str bytes;
};

static int64_t take(void *arg, void *p, size_t n, struct err *e)
{
    struct source *s = arg;
    (void)e;
    if (n > s->bytes.len)
        n = s->bytes.len;
    memcpy(p, s->bytes.p, n);
    s->bytes = str_sub(s->bytes, n, s->bytes.len);
    return (int64_t)n;
}

static void test_compaction_waits(void **state)
{
    (void)state;
    enum { N = 400 };
    static char pad[4000];
    struct buf out = {0};
    struct snapshot_entry e;
    struct snapshot_head head;
    memset(pad, 'x', sizeof pad);
    for (int i = 0; i < N; i++)
        put(arena_printf(arena, "/registry/configmaps/a/%04d", i).p, (struct str){pad, sizeof pad}, 0);
    int64_t revision = kv_revision(kv);
    struct snapshot_writer *w = snapshot_writer_create(kv, keys);
    assert_int_equal(snapshot_writer_next(w, &out, &err), 0);
    memset(pad, 'y', sizeof pad);
    for (int i = 0; i < N; i++)
        put(arena_printf(arena, "/registry/configmaps/a/%04d", i).p, (struct str){pad, sizeof pad}, 0);
    run((struct kv_op){.kind = KV_DELETE, .key = STR("/registry/"), .end = STR("/registry0")});
    assert_int_equal(kv_compact(kv, kv_revision(kv), &err), 0);
    usleep(200000);
    int rc;
    while ((rc = snapshot_writer_next(w, &out, &err)) == 0)
        usleep(1000);
    assert_int_equal(rc, 1);
    snapshot_writer_destroy(w);
    kv_compact_wait(kv); /* goes on now */
    assert_int_equal(kv_range(kv, STR("/"), STR("0"), revision, 0, NULL, NULL, NULL, &err), ERR_EXPIRED);

    struct source source = {buf_str(&out)};
    struct snapshot_reader *r = snapshot_reader_create(take, &source);
    int n = 0;
    assert_int_equal(snapshot_reader_head(r, &head, &err), 0);
    assert_int_equal(head.revision, revision);
    while ((rc = snapshot_reader_next(r, &e, &err)) == 0) {
        assert_int_equal(e.value.len, sizeof pad);
        assert_int_equal(e.value.p[0], 'x');
        n++;
    }
    assert_int_equal(rc, 1);
    assert_int_equal(n, N);
    snapshot_reader_destroy(r);
    buf_free(&out);
}

/* ---- leases ---- */

static void test_leases_keep_what_is_left(void **state)
{
    (void)state;
    static const struct row {
        int64_t ttl_s;
        int64_t least, most;
    } rows[] = {{5000, 4990, 5000}, {7, 5, 7}, {100000000, 99999990, 100000000}};
    struct snapshot_summary s;
    struct snapshot_entry e;
    struct snapshot_head head;
    for (size_t i = 0; i < 3; i++) {
        int64_t id;
        assert_int_equal(kv_lease_grant(kv, 0, rows[i].ttl_s, &id, &err), 0);
        put(arena_printf(arena, "/registry/events/a/%zu", i).p, STR("{}"), id);
    }
    put("/registry/pods/a/p", STR("{}"), 0);
    assert_int_equal(snapshot_save(kv, keys, STR_NULL, in_dir("f"), NULL, NULL, NULL, arena, &s, &err), 0);
    int fd = open(in_dir("f"), O_RDONLY);
    struct snapshot_reader *r = snapshot_reader_create(snapshot_read_fd, &fd);
    assert_int_equal(snapshot_reader_head(r, &head, &err), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(snapshot_reader_next(r, &e, &err), 0);
        assert_in_range(e.ttl_s, rows[i].least, rows[i].most);
    }
    assert_int_equal(snapshot_reader_next(r, &e, &err), 0);
    assert_int_equal(e.ttl_s, 0);
    snapshot_reader_destroy(r);
    close(fd);
}

/* ---- identities ---- */

static void spill(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static int restore_to(const char *file, const char *name, struct snapshot_summary *s)
{
    int64_t left_out;
    struct snapshot_restore opt = {.file = file, .data_dir = in_dir(name)};
    return snapshot_restore(&opt, arena, s, &left_out, &err);
}

static void test_identities(void **state)
{
    (void)state;
    struct snapshot_identities ids, again;
    struct snapshot_summary s;
    struct stat st;
    struct buf packed = {0};
    spill(in_dir("pki/ca.key"), "the CA's");
    spill(in_dir("pki/.hidden"), "no");
    spill(in_dir("pki/ca.key.77.tmp"), "no");
    mkdir(in_dir("pki/folder"), 0700);
    put("/registry/secrets/a/s", STR("{\"word\":\"correct-horse\"}"), 0);
    assert_int_equal(identities_read(arena, dir, NULL, &ids, &err), 0);
    assert_int_equal(ids.n, 2);
    assert_true(str_eq(ids.items[0].name, STR("ca.key")));
    assert_true(str_eq(ids.items[1].name, STR("encryption.yaml")));
    identities_pack(&ids, &packed);
    assert_int_equal(identities_parse(arena, buf_str(&packed), &again, &err), 0);
    assert_int_equal(again.n, 2);
    for (size_t cut = 1; cut < packed.len; cut++) /* never beyond the end */
        identities_parse(arena, str_sub(buf_str(&packed), 0, cut), &again, &err);

    assert_int_equal(snapshot_save(kv, keys, buf_str(&packed), in_dir("f"), NULL, NULL, NULL, arena, &s, &err), 0);
    assert_int_equal(s.identities.n, 2);
    assert_int_equal(stat(in_dir("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(restore_to(in_dir("f"), "new", &s), 0); /* opens what is sealed with the key in it */
    assert_int_equal(stat(in_dir("new/pki/ca.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    mkdir(in_dir("other"), 0700);
    mkdir(in_dir("other/pki"), 0700);
    spill(in_dir("other/pki/encryption.yaml"), "another");
    assert_int_equal(restore_to(in_dir("f"), "other", &s), ERR_ALREADY_EXISTS);
    assert_non_null(strstr(err.message, "encryption.yaml is there already and another"));
    assert_int_not_equal(stat(in_dir("other/pki/ca.key"), &st), 0); /* nothing of it stays */
    assert_int_not_equal(stat(in_dir("other/store"), &st), 0);
    buf_free(&packed);
}

static void test_names_of_identities(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "../x", "a/b", ".x", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct snapshot_identity one = {str_from(bad[i]), STR("x")};
        struct snapshot_identities ids = {&one, 1, 1}, again;
        struct buf packed = {0};
        identities_pack(&ids, &packed);
        assert_int_equal(identities_parse(arena, buf_str(&packed), &again, &err), ERR_CORRUPT);
        buf_free(&packed);
    }
}

/* ---- the schedule ---- */

static bool there(const char *name)
{
    struct stat st;
    return stat(in_dir(name), &st) == 0;
}

/* A clock that was set back: what has the later time in its name is older by its revision, and goes first. */
static void test_schedule_after_a_clock_jump(void **state)
{
    (void)state;
    struct snapshot_schedule *s;
    struct snapshot_schedule_options opt = {.kv = kv, .crypt = keys, .dir = in_dir("kept"), .every_ms = 30, .keep = 2};
    mkdir(in_dir("kept"), 0700);
    for (int i = 0; i < 10; i++)
        put("/registry/configmaps/a/c", STR("{}"), 0);
    spill(in_dir("kept/skiff-20990101T000000Z-4.snapshot"), "old");
    spill(in_dir("kept/skiff-20200101T000000Z-5.snapshot"), "old, too");
    spill(in_dir("kept/skiff-20200101T000000Z-6.snapshot.partial"), "of a crash");
    assert_int_equal(snapshot_schedule_start(&opt, &s, &err), 0);
    assert_false(there("kept/skiff-20200101T000000Z-6.snapshot.partial"));
    for (int i = 0; i < 200 && there("kept/skiff-20990101T000000Z-4.snapshot"); i++)
        usleep(20000);
    put("/registry/configmaps/a/c", STR("{}"), 0);
    for (int i = 0; i < 200 && there("kept/skiff-20200101T000000Z-5.snapshot"); i++)
        usleep(20000);
    snapshot_schedule_stop(s);
    assert_false(there("kept/skiff-20990101T000000Z-4.snapshot"));
    assert_false(there("kept/skiff-20200101T000000Z-5.snapshot"));
}

/* ---- format 1 ---- */

static bool list(void *arg, const struct kv_pair *p)
{
    buf_printf(arg, STR_FMT " = " STR_FMT "%s\n", STR_ARG(p->key), STR_ARG(p->value), p->lease ? " (lease)" : "");
    return true;
}

/* The file was written by the first version of the format, with a key of its own among its identities. */
static void test_format_1(void **state)
{
    (void)state;
    struct snapshot_summary s;
    struct kv *back;
    struct crypt *of_file;
    struct buf text = {0};
    if (restore_to(FIXTURE, "new", &s) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(s.n_entries, 5);
    assert_int_equal(s.n_sealed, 1);
    assert_int_equal(s.head.revision, 7);
    assert_int_equal(s.identities.n, 2);
    assert_int_equal(crypt_open(in_dir("new"), NULL, false, &of_file, &err), 0);
    assert_int_equal(kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = in_dir("new/store")}, &back, &err), 0);
    crypt_install(of_file, back);
    assert_int_equal(kv_range(back, STR("/"), STR("0"), 0, 0, list, &text, NULL, &err), 0);
    assert_string_equal((buf_add_char(&text, 0), text.p),
                        "/registry/configmaps/shop/page = {\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
                        "\"name\":\"page\",\"namespace\":\"shop\",\"uid\":\"1\"},\"data\":{\"a\":\"2\"}}\n"
                        "/registry/events/shop/e = {\"kind\":\"Event\"} (lease)\n"
                        "/registry/secrets/shop/credentials = {\"kind\":\"Secret\",\"data\":{\"password\":"
                        "\"Y29ycmVjdC1ob3JzZQ==\"}}\n"
                        "/registry/zoo.example/pandas/a/p = {\"kind\":\"Panda\"}\n"
                        "/skiff/other = bytes \x01\x02\n");
    assert_true(kv_revision(back) >= 7 + SNAPSHOT_REVISION_BUMP);
    kv_close(back);
    crypt_destroy(of_file);
    buf_free(&text);
}

/* How that file came to be: this program with the argument "write". */
static int write_fixture(void)
{
    struct snapshot_identities ids;
    struct snapshot_summary s;
    struct buf packed = {0};
    int64_t id;
    if (set_up(NULL) < 0 || kv_lease_grant(kv, 0, 1000000000, &id, &err) < 0)
        return 1;
    put("/registry/configmaps/shop/page", STR("{}"), 0);
    put("/registry/secrets/shop/credentials",
        STR("{\"kind\":\"Secret\",\"data\":{\"password\":\"Y29ycmVjdC1ob3JzZQ==\"}}"), 0);
    put("/registry/events/shop/e", STR("{\"kind\":\"Event\"}"), id);
    put("/registry/zoo.example/pandas/a/p", STR("{\"kind\":\"Panda\"}"), 0);
    put("/skiff/other", STR("bytes \x01\x02"), 0);
    put("/registry/configmaps/shop/page",
        STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"page\",\"namespace\":\"shop\","
            "\"uid\":"
            "\"1\"},\"data\":{\"a\":\"2\"}}"),
        0);
    spill(in_dir("pki/ca.crt"), "no certificate\n");
    int rc = identities_read(arena, dir, NULL, &ids, &err);
    identities_pack(&ids, &packed);
    if (rc == 0)
        rc = snapshot_save(kv, keys, buf_str(&packed), FIXTURE, NULL, NULL, NULL, arena, &s, &err);
    buf_free(&packed);
    tear_down(NULL);
    return rc < 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_compaction_waits),    TEST(test_leases_keep_what_is_left),    TEST(test_identities),
        TEST(test_names_of_identities), TEST(test_schedule_after_a_clock_jump), TEST(test_format_1)};
    if (argc > 1 && strcmp(argv[1], "write") == 0)
        return write_fixture();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
