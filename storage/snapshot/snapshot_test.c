#include "storage/snapshot/file.h"
#include "storage/snapshot/restore.h"
#include "storage/snapshot/schedule.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char dir[64];
static struct kv *kv;
static struct crypt *keys;
static struct arena *arena;

static const char *in_dir(const char *name)
{
    return arena_printf(arena, "%s/%s", dir, name).p;
}

static int set_up(void **state)
{
    struct err err = ERR_INIT;
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
    kv_close(kv);
    crypt_destroy(keys);
    int rc = nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    arena_destroy(arena);
    return rc;
}

static void put(struct str key, struct str value, int64_t ttl_s)
{
    struct err err = ERR_INIT;
    struct kv_op op = {.kind = KV_PUT, .key = key, .value = value, .ttl_s = ttl_s};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    assert_int_equal(kv_txn_wait(kv, arena, &txn, &result, &err), 0);
}

static void put_samples(int n)
{
    put(STR("/registry/secrets/a/one"), STR("{\"metadata\":{\"name\":\"one\"},\"data\":\"correct-horse\"}"), 0);
    put(STR("/registry/deployments/a/d"), STR("{}"), 0);
    put(STR("/registry/events/a/e"), STR("{}"), 3600);
    put(STR("/registry/ranges/serviceips"), STR("bits"), 0);
    put(STR("/registry/zoo.example/pandas/a/p"), STR("{}"), 0);
    for (int i = 0; i < n; i++)
        put(arena_printf(arena, "/registry/configmaps/a/c%05d", i),
            arena_printf(arena, "{\"n\":%d,\"pad\":\"%0300d\"}", i, i), 0);
}

static struct snapshot_summary save(const char *path)
{
    struct snapshot_summary s;
    struct err err = ERR_INIT;
    if (snapshot_save(kv, keys, STR_NULL, path, NULL, NULL, NULL, arena, &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static struct buf slurp(const char *path)
{
    struct buf b = {0};
    char block[4096];
    FILE *f = fopen(path, "r");
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&b, block, n);
    fclose(f);
    return b;
}

static void spill(const char *path, struct str bytes)
{
    FILE *f = fopen(path, "w");
    fwrite(bytes.p, 1, bytes.len, f);
    fclose(f);
}

static int64_t count_of(const struct snapshot_summary *s, const char *name)
{
    for (size_t i = 0; i < s->n_counts; i++)
        if (str_eqz(s->counts[i].name, name))
            return s->counts[i].n;
    return 0;
}

/* ---- what is in it ---- */

static void saved_and_counted(void **state)
{
    (void)state;
    put_samples(2000);
    const char *path = in_dir("f");
    struct snapshot_summary s = save(path);
    assert_int_equal(s.head.revision, kv_revision(kv));
    assert_int_equal(s.n_entries, 2005);
    assert_int_equal(s.n_sealed, 1);
    assert_int_equal(s.n_keys, 1);
    assert_int_equal(count_of(&s, "secrets"), 1);
    assert_int_equal(count_of(&s, "configmaps"), 2000);
    assert_int_equal(count_of(&s, "deployments.apps"), 1);
    assert_int_equal(count_of(&s, "pandas.zoo.example"), 1);
    assert_int_equal(count_of(&s, "/registry/ranges"), 1);
    struct buf bytes = slurp(path);
    assert_int_equal(bytes.len, s.size);
    assert_false(str_contains(buf_str(&bytes), STR("correct-horse")));
    assert_true(str_contains(buf_str(&bytes), STR("k8s:enc:aesgcm:v1:key-")));
    buf_free(&bytes);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_not_equal(stat(in_dir("f.partial"), &st), 0);
}

static void one_revision(void **state)
{
    struct err err = ERR_INIT;
    struct buf out = {0};
    (void)state;
    put_samples(2000);
    struct snapshot_writer *w = snapshot_writer_create(kv, keys);
    int rc = 0;
    for (int i = 0; rc == 0; i++) { /* changes while it is written are not in it */
        rc = snapshot_writer_next(w, &out, &err);
        put(arena_printf(arena, "/registry/configmaps/a/c%05d", 1999 - i), STR("changed"), 0);
        put(arena_printf(arena, "/registry/configmaps/a/new%05d", i), STR("changed"), 0);
    }
    assert_int_equal(rc, 1);
    assert_int_equal(snapshot_writer_revision(w),
                     kv_revision(kv) - 2 * ((int64_t)(out.len / SNAPSHOT_CHUNK_TARGET) + 2));
    assert_false(str_contains(buf_str(&out), STR("changed")));
    snapshot_writer_destroy(w);
    buf_free(&out);
}

static void empty_store(void **state)
{
    (void)state;
    struct snapshot_summary s = save(in_dir("f"));
    assert_int_equal(s.n_entries, 0);
}

/* ---- damage ---- */

static int check(struct str bytes, struct err *err)
{
    struct snapshot_summary s;
    spill(in_dir("bad"), bytes);
    return snapshot_summarize(arena, in_dir("bad"), NULL, NULL, &s, err);
}

/* Every byte of a small file, each in turn, and every length short of the whole. */
static void every_byte(void **state)
{
    (void)state;
    put_samples(1);
    save(in_dir("f"));
    struct buf b = slurp(in_dir("f"));
    for (size_t i = 0; i < b.len; i++) {
        struct err err = ERR_INIT;
        b.p[i] ^= 0x20;
        assert_int_equal(check(buf_str(&b), &err), ERR_CORRUPT);
        assert_true(strstr(err.message, i < 8 ? "byte 0" : "chunk ") != NULL);
        b.p[i] ^= 0x20;
    }
    for (size_t len = 0; len < b.len; len++) {
        struct err err = ERR_INIT;
        assert_int_equal(check((struct str){b.p, len}, &err), ERR_CORRUPT);
        if (len > 8)
            assert_non_null(strstr(err.message, "truncated"));
    }
    struct err err = ERR_INIT;
    assert_int_equal(check(buf_str(&b), &err), 0);
    buf_add_char(&b, 0);
    assert_int_equal(check(buf_str(&b), &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "has ended, yet more follows"));
    buf_free(&b);
}

/* Offsets of the chunks of a file. */
static size_t chunks_of(const struct buf *b, size_t at[64])
{
    size_t n = 0;
    for (size_t p = 8; p < b->len; p += SNAPSHOT_CHUNK_HEAD + snapshot_get32(b->p + p + 8) + 4)
        at[n++] = p;
    at[n] = b->len;
    return n;
}

static void renumber(struct buf *b)
{
    size_t at[64], n = chunks_of(b, at);
    for (size_t i = 0; i < n; i++) {
        struct buf fixed = {0};
        snapshot_add32(&fixed, (uint32_t)i);
        memcpy(b->p + at[i] + 4, fixed.p, 4);
        fixed.len = 0;
        size_t len = at[i + 1] - at[i] - 4;
        snapshot_add32(&fixed, (uint32_t)crc32(0, (const Bytef *)b->p + at[i], (uInt)len));
        memcpy(b->p + at[i] + len, fixed.p, 4);
        buf_free(&fixed);
    }
}

static void whole_chunks(void **state)
{
    (void)state;
    put_samples(2000);
    save(in_dir("f"));
    struct buf b = slurp(in_dir("f")), missing = {0}, swapped = {0};
    size_t at[64], n = chunks_of(&b, at);
    struct err err = ERR_INIT;
    assert_true(n >= 5);
    buf_add(&missing, b.p, at[2]);
    buf_add(&missing, b.p + at[3], b.len - at[3]);
    assert_int_equal(check(buf_str(&missing), &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "chunk 2 at byte "));
    assert_non_null(strstr(err.message, "chunks are missing"));
    renumber(&missing); /* made to look whole: the count and digest of the whole tell */
    assert_int_equal(check(buf_str(&missing), &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "entries"));
    buf_add(&swapped, b.p, at[1]);
    buf_add(&swapped, b.p + at[2], at[3] - at[2]);
    buf_add(&swapped, b.p + at[1], at[2] - at[1]);
    buf_add(&swapped, b.p + at[3], b.len - at[3]);
    renumber(&swapped);
    assert_int_equal(check(buf_str(&swapped), &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "out of order"));
    b.p[at[1] + SNAPSHOT_CHUNK_HEAD + SNAPSHOT_ENTRY_HEAD + 40] ^= 1; /* one letter, with its checksum put right */
    renumber(&b);
    assert_int_equal(check(buf_str(&b), &err), ERR_CORRUPT);
    buf_free(&b), buf_free(&missing), buf_free(&swapped);
}

static void newer_format(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    save(in_dir("f"));
    struct buf b = slurp(in_dir("f"));
    char *p = memmem(b.p, b.len, "\"format\":1", 10);
    p[9] = '2';
    renumber(&b);
    assert_int_equal(check(buf_str(&b), &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "written by a newer version (format 2, this one reads 1)"));
    buf_free(&b);
}

/* ---- restoring ---- */

struct seen {
    struct buf text;
    bool leases;
};

static bool see(void *arg, const struct kv_pair *p)
{
    struct seen *s = arg;
    buf_add_str(&s->text, p->key);
    buf_add_char(&s->text, '=');
    buf_add_str(&s->text, p->value);
    buf_add_char(&s->text, '\n');
    s->leases |= p->lease != 0;
    return true;
}

static struct seen everything(struct kv *store)
{
    struct seen s = {0};
    struct err err = ERR_INIT;
    assert_int_equal(kv_range(store, STR("/"), STR("0"), 0, 0, see, &s, NULL, &err), 0);
    return s;
}

static int restore_to(const char *name, const char *config, bool without_sealed, int64_t *left_out, struct err *err)
{
    struct snapshot_summary s;
    struct snapshot_restore opt = {
        .file = in_dir("f"), .data_dir = in_dir(name), .encryption_config = config, .without_sealed = without_sealed};
    *left_out = 0;
    return snapshot_restore(&opt, arena, &s, left_out, err);
}

static bool ignore_event(void *arg, const struct kv_event *e)
{
    (void)arg, (void)e;
    return true;
}

static void restored(void **state)
{
    struct err err = ERR_INIT;
    int64_t left_out, old = 0;
    struct kv *back;
    struct crypt *again;
    (void)state;
    put_samples(500);
    save(in_dir("f"));
    old = kv_revision(kv);
    assert_int_equal(restore_to("new", in_dir(CRYPT_FILE), false, &left_out, &err), 0);
    assert_int_equal(restore_to("new", NULL, false, &left_out, &err), ERR_ALREADY_EXISTS);
    assert_int_equal(crypt_open(in_dir("new"), NULL, false, &again, &err), 0);
    assert_int_equal(kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = in_dir("new/store")}, &back, &err), 0);
    crypt_install(again, back);
    struct seen want = everything(kv), got = everything(back);
    assert_true(str_eq(buf_str(&want.text), buf_str(&got.text)));
    assert_true(got.leases); /* the event's */
    assert_true(kv_revision(back) > old + SNAPSHOT_REVISION_BUMP);
    for (int64_t revision = 1; revision <= old + 1000; revision += 100) /* whatever a client still holds */
        assert_int_equal(kv_history(back, STR("/"), STR("0"), revision, ignore_event, NULL, &err), ERR_EXPIRED);
    assert_int_equal(kv_history(back, STR("/"), STR("0"), kv_revision(back), ignore_event, NULL, &err), 0);
    kv_close(back);
    crypt_destroy(again);
    buf_free(&want.text), buf_free(&got.text);
    sought = "correct-horse";
    assert_int_equal(nftw(in_dir("new"), look_into, 16, FTW_PHYS), 0);
}

static void key_is_missing(void **state)
{
    struct err err = ERR_INIT;
    struct stat st;
    int64_t left_out;
    (void)state;
    put_samples(0);
    save(in_dir("f"));
    assert_int_equal(restore_to("new", NULL, false, &left_out, &err), ERR_BAD_REQUEST);
    assert_non_null(strstr(err.message, "1 values are sealed with key aesgcm:key-"));
    assert_int_not_equal(stat(in_dir("new/store"), &st), 0);
    assert_int_equal(restore_to("new", NULL, true, &left_out, &err), 0);
    assert_int_equal(left_out, 1);
}

static void damaged_is_not_restored(void **state)
{
    struct err err = ERR_INIT;
    struct stat st;
    int64_t left_out;
    (void)state;
    put_samples(2000);
    save(in_dir("f"));
    struct buf b = slurp(in_dir("f"));
    b.p[b.len / 2] ^= 1;
    spill(in_dir("f"), buf_str(&b));
    buf_free(&b);
    assert_int_equal(restore_to("new", in_dir(CRYPT_FILE), false, &left_out, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "its checksum does not match"));
    assert_int_not_equal(stat(in_dir("new/store"), &st), 0);
    assert_int_not_equal(stat(in_dir("new/store.partial"), &st), 0);
}

/* ---- by itself ---- */

static int n_snapshots(void)
{
    struct dirent **list;
    int ours = 0, n = scandir(in_dir("kept"), &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        ours += str_ends(str_from(list[i]->d_name), STR(".snapshot"));
        free(list[i]);
    }
    free(list);
    return ours;
}

static void scheduled(void **state)
{
    struct err err = ERR_INIT;
    struct snapshot_schedule *s;
    struct snapshot_schedule_options opt = {.kv = kv, .crypt = keys, .dir = in_dir("kept"), .every_ms = 20, .keep = 3};
    (void)state;
    put_samples(1);
    assert_int_equal(snapshot_schedule_start(&opt, &s, &err), 0);
    spill(in_dir("kept/other.snapshot"), STR("not ours"));
    int64_t until = clock_mono_ms() + 5000;
    for (int i = 0; clock_mono_ms() < until && n_snapshots() < 4; i++) {
        put(arena_printf(arena, "/registry/configmaps/a/x%d", i), STR("{}"), 0); /* names hold the revision */
        usleep(20000);
    }
    usleep(200000);
    snapshot_schedule_stop(s);
    assert_int_equal(n_snapshots(), 3 + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(saved_and_counted), TEST(one_revision),   TEST(empty_store),
        TEST(every_byte),        TEST(whole_chunks),   TEST(newer_format),
        TEST(restored),          TEST(key_is_missing), TEST(damaged_is_not_restored),
        TEST(scheduled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
