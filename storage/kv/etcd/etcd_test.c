/* What only an etcd cluster brings: writers elsewhere, a server that dies and comes back, a prefix. The contract all
 * stores share is in kv_test.c. */
#include "storage/kv/etcd/store_for_test.h"

static void two_writers(void **state)
{
    (void)state;
    static struct text one = {.lock = PTHREAD_MUTEX_INITIALIZER}, two = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct kv *a = open_store(""), *b = open_store("");

    one.len = two.len = 0;
    one.revision = two.revision = 0;
    kv_set_publish(a, publish, &one);
    kv_set_publish(b, publish, &two);
    put(a, "k", "1", "!");
    put(b, "k", "2", "?");
    put(a, "l", "3", NULL);
    assert_int_equal(etcdctl("", "del k"), 0);
    wait_published(&one, 5);
    wait_published(&two, 5);
    assert_string_equal(one.p, "put k=1@2<-! put k=2@3<1 put l=3@4<- del k=@5<2 ");
    assert_string_equal(two.p, "put k=1@2<- put k=2@3<1? put l=3@4<- del k=@5<2 ");
    kv_close(a);
    kv_close(b);
}

static void behind_a_prefix(void **state)
{
    (void)state;
    static struct text seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct kv *bare = open_store(""), *kv = open_store(";prefix=/here");

    seen.len = 0;
    seen.revision = 0;
    kv_set_publish(kv, publish, &seen);
    put(kv, "/a", "1", NULL);
    put(bare, "/a", "2", NULL);
    put(bare, "/here/b", "3", NULL);
    wait_published(&seen, 4);
    assert_string_equal(range(kv, "/", "0"), "/a=1 /b=3 ");
    assert_string_equal(range(bare, "/", "0"), "/a=2 /here/a=1 /here/b=3 ");
    assert_non_null(strstr(seen.p, "put /a=1@2<- "));
    assert_non_null(strstr(seen.p, "put /b=3@4<- "));
    assert_null(strstr(seen.p, "=2@3"));
    kv_close(kv);
    kv_close(bare);
}

enum { VALUE = 3000 };
static bool count(void *arg, const struct kv_pair *p)
{
    int64_t *n = arg;
    char want[16];
    snprintf(want, sizeof want, "/k/%05lld", (long long)(*n)++);
    assert_true(str_eqz(p->key, want));
    assert_int_equal(p->value.len, VALUE);
    return true;
}

static void many_pages(void **state)
{
    (void)state;
    struct kv *kv = open_store("");
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op ops[100];
    static char value[VALUE];
    int64_t n = 0;

    memset(value, 'x', sizeof value);
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 100; j++)
            ops[j] = (struct kv_op){
                .kind = KV_PUT, .key = arena_printf(a, "/k/%05d", i * 100 + j), .value = {value, sizeof value}};
        struct kv_txn txn = {.success = ops, .n_success = 100};
        assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), 0);
    }
    assert_int_equal(kv_range(kv, STR("/k/"), STR("/k0"), 0, 0, count, &n, NULL, &err), 0);
    assert_int_equal(n, 2000);
    n = 0;
    assert_int_equal(kv_range(kv, STR("/k/"), STR("/k0"), 0, 700, count, &n, NULL, &err), 0);
    assert_int_equal(n, 700);
    arena_destroy(a);
    kv_close(kv);
}

/* ---- an etcd that dies ---- */

struct follow {
    int64_t last, n, gaps;
};
static void follow(void *arg, const struct kv_event *events, size_t n, int64_t revision)
{
    struct follow *f = arg;
    for (size_t i = 0; i < n; i++) { /* every transaction here writes one key: revisions have no holes */
        f->gaps += events[i].pair.mod_revision != f->last + 1;
        f->last = events[i].pair.mod_revision;
        f->n++;
    }
    f->gaps += revision != f->last;
}

struct writer {
    struct kv *kv;
    int n;
    _Atomic int acked;
    bool stored[20000];
    _Atomic bool stop;
};
static void *write_all(void *arg)
{
    struct writer *w = arg;
    struct arena *a = arena_create(0);
    for (; w->n < 20000 && !w->stop; w->n++) {
        struct kv_txn_result result;
        struct err own;
        struct kv_op op = {.kind = KV_PUT, .key = arena_printf(a, "/w/%05d", w->n), .value = STR("v"), .cookie = w};
        struct kv_compare absent = {.key = op.key, .target = KV_TARGET_MOD};
        struct kv_txn txn = {&absent, 1, &op, 1, NULL, 0};
        int rc = kv_txn_wait(w->kv, a, &txn, &result, &own);
        assert_true(rc == 0 || rc == ERR_UNAVAILABLE || rc == ERR_TIMEOUT);
        w->stored[w->n] = rc == 0 && result.succeeded;
        w->acked += w->stored[w->n];
        arena_reset(a);
    }
    arena_destroy(a);
    return NULL;
}

static void killed_and_restarted(void **state)
{
    (void)state;
    static struct follow f;
    static struct writer w;
    struct kv *kv = open_store("");
    pthread_t thread;

    memset(&w, 0, sizeof w);
    f = (struct follow){.last = 1};
    kv_set_publish(kv, follow, &f);
    w.kv = kv;
    assert_int_equal(pthread_create(&thread, NULL, write_all, &w), 0);
    for (int round = 0; round < 2; round++) {
        usleep(400000);
        etcd_server_kill(&server, SIGKILL);
        usleep(200000 * round);
        etcd_server_start(&server);
        for (int i = 0; i < 1000 && kv_trouble(kv); i++)
            usleep(10000);
        assert_null(kv_trouble(kv));
    }
    usleep(300000);
    w.stop = true;
    pthread_join(thread, NULL);
    assert_true(w.acked > 100);
    wait_revision(kv, 1 + w.acked);
    kv_set_publish(kv, NULL, NULL);
    assert_int_equal(f.gaps, 0);
    assert_int_equal(f.n, kv_revision(kv) - 1);
    assert_true(w.n - f.n >= 0); /* nothing twice */
    for (int i = 0; i < w.n; i++) {
        char key[32];
        snprintf(key, sizeof key, "/w/%05d", i);
        if (w.stored[i])
            assert_string_not_equal(range(kv, key, NULL), "");
    }
    print_message("%d of %d writes acknowledged, %lld stored\n", w.acked, w.n, (long long)f.n);
    kv_close(kv);
}

static int leader_of(struct etcd_server members[3])
{
    for (int i = 0; i < 3; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "ETCDCTL_API=3 %setcdctl --endpoints=%s endpoint status -w fields 2>/dev/null | "
                 "awk -F': ' '/\"MemberID\"/ {m = $2} /\"Leader\"/ {l = $2} END {exit m != l}'",
                 etcd_programs, strstr(members[i].url, "://") + 3);
        if (system(command) == 0)
            return i;
    }
    return 0;
}

/* Each way a member can go, to the one that leads: writes go on through the others, and every event comes by once. */
static void three_members(void **state)
{
    (void)state;
    static struct etcd_server members[3];
    static struct follow f;
    static struct writer w;
    char text[512] = "";
    struct kv *kv;
    pthread_t thread;

    memset(&w, 0, sizeof w);
    f = (struct follow){.last = 1};
    prepare_three(members);
    for (int i = 0; i < 3; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? "," : "", members[i].url);
        etcd_server_start(&members[i]);
    }
    if (kv_open_etcd_text(text, &kv, &err) < 0)
        fail_msg("%s", err.message);
    kv_set_publish(kv, follow, &f);
    w.kv = kv;
    assert_int_equal(pthread_create(&thread, NULL, write_all, &w), 0);
    for (int round = 0; round < 2; round++) {
        usleep(500000);
        int at = leader_of(members), before = w.acked;
        if (round % 2)
            kill(members[at].pid, SIGSTOP);
        else
            etcd_server_kill(&members[at], SIGKILL);
        for (int i = 0; i < 2000 && w.acked < before + 20; i++)
            usleep(10000);
        assert_true(w.acked >= before + 20); /* without the one */
        if (round % 2)
            kill(members[at].pid, SIGCONT);
        else
            etcd_server_start(&members[at]);
    }
    w.stop = true;
    pthread_join(thread, NULL);
    wait_revision(kv, 1 + w.acked);
    kv_set_publish(kv, NULL, NULL);
    assert_int_equal(f.gaps, 0);
    assert_int_equal(f.n, kv_revision(kv) - 1);
    assert_true(f.n <= w.n && f.n >= w.acked);
    print_message("%d of %d writes acknowledged, %lld stored\n", w.acked, w.n, (long long)f.n);
    kv_close(kv);
    for (int i = 0; i < 3; i++)
        etcd_server_remove(&members[i]);
}

/* ---- compacted while it could not be reached ---- */

struct anew {
    pthread_mutex_t lock;
    struct text text;
    int n_begun;
    int64_t revision; /* 0: not yet */
};
static void anew(void *arg, enum kv_restart step, const struct kv_pair *pairs, size_t n, int64_t revision)
{
    struct anew *r = arg;
    pthread_mutex_lock(&r->lock);
    if (step == KV_RESTART_BEGIN) {
        r->n_begun++;
        r->text.len = 0;
    }
    for (size_t i = 0; i < n; i++)
        if (!str_starts(pairs[i].key, STR("/pad/")))
            add(&r->text, STR_FMT "=" STR_FMT "@%lld ", STR_ARG(pairs[i].key), STR_ARG(pairs[i].value),
                (long long)pairs[i].mod_revision);
    if (step == KV_RESTART_END)
        r->revision = revision;
    pthread_mutex_unlock(&r->lock);
}

/* Behind its back: the same cluster where it does not look, for a moment. */
static void elsewhere(const char *const *commands)
{
    char url[sizeof server.url];

    memcpy(url, server.url, sizeof url);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", etcd_free_port());
    etcd_server_start(&server);
    for (int i = 0; i < 200 && etcdctl("", "endpoint health") != 0; i++)
        usleep(20000);
    for (; *commands; commands++)
        assert_int_equal(etcdctl("", *commands), 0);
    etcd_server_kill(&server, SIGTERM);
    memcpy(server.url, url, sizeof url);
}

static void starts_over(void **state)
{
    (void)state;
    static struct anew r;
    static struct text seen;
    static char value[2000];
    struct kv *kv = open_store("");

    r = (struct anew){.lock = PTHREAD_MUTEX_INITIALIZER};
    seen = (struct text){.lock = PTHREAD_MUTEX_INITIALIZER};
    kv_set_publish(kv, publish, &seen);
    kv_set_restart(kv, anew, &r);
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 1200; i++) { /* more than a page */
        char key[32];
        snprintf(key, sizeof key, "/pad/%04d", i);
        put(kv, key, value, NULL);
    }
    put(kv, "stays", "1", NULL);
    put(kv, "goes", "1", NULL);
    put(kv, "changes", "1", NULL);
    assert_int_equal(kv_revision(kv), 1204);
    etcd_server_kill(&server, SIGTERM);
    elsewhere((const char *const[]){"del goes", "put changes 2", "put comes 3", "compact 1207", NULL});
    etcd_server_start(&server);
    put(kv, "stays", "2", NULL); /* waits for the new beginning, and is in it or after it */
    pthread_mutex_lock(&r.lock);
    assert_int_equal(r.n_begun, 1);
    assert_true(r.revision == 1207 || r.revision == 1208);
    r.text.p[r.text.len] = 0;
    assert_string_equal(r.text.p, r.revision == 1207 ? "changes=2@1206 comes=3@1207 stays=1@1202 "
                                                     : "changes=2@1206 comes=3@1207 stays=2@1208 ");
    pthread_mutex_unlock(&r.lock);
    put(kv, "after", "4", NULL);
    wait_published(&seen, 1209);
    assert_null(kv_trouble(kv));
    seen.p[seen.len] = 0;
    assert_non_null(strstr(seen.p, "put after=4@1209<- "));
    assert_null(strstr(seen.p, "comes"));
    assert_int_equal(kv_compacted_revision(kv), 1207);
    kv_close(kv);
}

static void not_there(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        const char *want;
    } rows[] = {
        {"http://127.0.0.1:1;color=red", "\"color=red\" is not known"},
        {"http://127.0.0.1:1;password-file=/nowhere", "open /nowhere"},
        {"https://127.0.0.1:1;ca=/nowhere", "open /nowhere"},
        {"http://127.0.0.1:1", "etcd at http://127.0.0.1:1"},
    };
    struct kv *kv;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(kv_open_etcd_text(rows[i].given, &kv, &err) < 0);
        assert_non_null(strstr(err.message, rows[i].want));
    }
}

/* ---- the newest revision, compaction by age ---- */

struct newest {
    _Atomic int64_t revision;
};
static void got_newest(void *arg, int64_t revision, const struct err *e)
{
    struct newest *n = arg;
    assert_null(e);
    n->revision = revision;
}
static void newest_and_compaction(void **state)
{
    (void)state;
    struct kv *a = open_store(""), *b;
    struct newest n[8] = {0};
    const char *const urls[] = {server.url, NULL};
    struct kv_etcd_options quick = {.endpoints = urls, .history_ms = 300};

    put(a, "k", "1", NULL);
    put(a, "k", "2", NULL);
    for (int i = 0; i < 8; i++)
        kv_newest(a, got_newest, &n[i]);
    for (int i = 0; i < 8; i++) {
        for (int tries = 0; tries < 500 && !n[i].revision; tries++)
            usleep(10000);
        assert_int_equal(n[i].revision, 3);
    }
    assert_int_equal(kv_open_etcd(&quick, &b, &err), 0);
    for (int i = 0; i < 500 && kv_compacted_revision(a) < 3; i++)
        usleep(10000);
    assert_true(kv_compacted_revision(b) >= 3);
    assert_true(kv_compacted_revision(a) >= 3); /* told by the compact key */
    assert_string_equal(range(a, "k", NULL), "k=2 ");
    assert_int_equal(kv_range(a, STR("k"), STR_NULL, 2, 0, list_pair, NULL, NULL, &err), ERR_EXPIRED);
    kv_close(a);
    kv_close(b);
}

/* ---- it hangs ---- */

static void hung(void **state)
{
    (void)state;
    struct kv *kv = open_store("");
    struct newest n = {0};

    put(kv, "k", "1", NULL);
    kill(server.pid, SIGSTOP);
    assert_int_equal(waitpid(server.pid, NULL, WUNTRACED), server.pid); /* every thread of it has stopped */
    kv_newest(kv, got_newest, &n);
    for (int i = 0; i < 1000 && !kv_trouble(kv); i++)
        usleep(10000);
    assert_non_null(strstr(kv_trouble(kv), "does not answer"));
    kill(server.pid, SIGCONT);
    for (int i = 0; i < 1000 && !n.revision; i++)
        usleep(10000);
    assert_int_equal(n.revision, 2);
    for (int i = 0; i < 500 && kv_trouble(kv); i++)
        usleep(10000);
    assert_null(kv_trouble(kv));
    kv_close(kv);
}

/* ---- replaced by another ---- */

static void newest_failed(void *arg, int64_t revision, const struct err *e)
{
    _Atomic int *code = arg;
    assert_int_equal(revision, 0);
    *code = e->code;
}

static void went_back(void **state)
{
    (void)state;
    struct kv *kv = open_store("");
    char command[128];
    _Atomic int code = 0;

    for (int i = 0; i < 10; i++)
        put(kv, "k", "1", NULL);
    etcd_server_kill(&server, SIGKILL);
    snprintf(command, sizeof command, "rm -rf '%s/member'", server.dir);
    assert_int_equal(system(command), 0);
    etcd_server_start(&server);
    for (int i = 0; i < 500 && etcdctl("", "endpoint health") != 0; i++)
        usleep(20000);
    kv_newest(kv, newest_failed, (void *)&code);
    for (int i = 0; i < 1000 && !code; i++)
        usleep(10000);
    assert_int_equal(code, ERR_CORRUPT);
    assert_non_null(strstr(kv_trouble(kv), "went back from revision 11 to 1"));
    kv_close(kv);
}

/* ---- full ---- */

static void full_and_mended(void **state)
{
    (void)state;
    static const char *const small[] = {"--quota-backend-bytes", "4194304", NULL};
    static char value[200000];
    char compact[64];
    int rc = 0;

    etcd_server_kill(&server, SIGKILL);
    server.extra = small;
    etcd_server_start(&server);
    struct kv *kv = open_store("");
    struct arena *a = arena_create(0);
    memset(value, 'x', sizeof value);
    for (int i = 0; i < 100 && rc == 0; i++) {
        struct kv_txn_result result;
        struct kv_op op = {.kind = KV_PUT, .key = STR("k"), .value = {value, sizeof value}};
        struct kv_txn txn = {.success = &op, .n_success = 1};
        rc = kv_txn_wait(kv, a, &txn, &result, &err);
    }
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_non_null(strstr(kv_trouble(kv), "no space left"));
    assert_true(strlen(range(kv, "k", NULL)) > 0); /* reading goes on */
    snprintf(compact, sizeof compact, "compact %lld", (long long)kv_revision(kv));
    assert_int_equal(etcdctl("", compact), 0);
    assert_int_equal(etcdctl("", "defrag"), 0);
    assert_int_equal(etcdctl("", "alarm disarm"), 0);
    for (int i = 0; i < 1000 && kv_trouble(kv); i++)
        usleep(10000);
    assert_null(kv_trouble(kv));
    put(kv, "after", "1", NULL);
    arena_destroy(a);
    kv_close(kv);
}

/* ---- leases ---- */

static void leases_are_listed(void **state)
{
    (void)state;
    struct kv *kv = open_store("");
    struct arena *a = arena_create(0);
    const struct kv_lease_state *all;
    struct kv_txn_result result;
    int64_t id, sum = 0;
    size_t n;

    assert_int_equal(kv_leases(kv, a, &all, &n, &err), 0);
    assert_int_equal(n, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kv_lease_grant(kv, 0, 100 + i, &id, &err), 0);
        sum += 100 + i;
    }
    assert_int_equal(kv_leases(kv, a, &all, &n, &err), 0);
    assert_int_equal(n, 100);
    for (size_t i = 0; i < n; i++) {
        assert_in_range(all[i].left_s, 90, all[i].ttl_s);
        sum -= all[i].ttl_s;
    }
    assert_int_equal(sum, 0);
    /* keys with a time to live share one: upstream's minute more, a thousand keys each */
    for (int i = 0; i < 1200; i++) {
        struct kv_op op = {.kind = KV_PUT, .key = arena_printf(a, "/e/%d", i), .value = STR("v"), .ttl_s = 3600};
        struct kv_txn txn = {.success = &op, .n_success = 1};
        assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), 0);
    }
    assert_int_equal(kv_leases(kv, a, &all, &n, &err), 0);
    assert_int_equal(n, 102);
    for (size_t i = 0; i < n; i++)
        assert_true(all[i].ttl_s < 200 || all[i].ttl_s == 3660);
    /* and go by themselves */
    struct kv_op brief = {.kind = KV_PUT, .key = STR("/brief"), .value = STR("v"), .ttl_s = 1};
    struct kv_txn txn = {.success = &brief, .n_success = 1};
    assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), 0);
    wait_revision(kv, result.revision + 1);
    assert_string_equal(range(kv, "/brief", NULL), "");
    arena_destroy(a);
    kv_close(kv);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(two_writers, fresh),
        cmocka_unit_test_setup(behind_a_prefix, fresh),
        cmocka_unit_test_setup(many_pages, fresh),
        cmocka_unit_test_setup(killed_and_restarted, fresh),
        cmocka_unit_test_setup(newest_and_compaction, fresh),
        cmocka_unit_test_setup(starts_over, fresh),
        cmocka_unit_test_setup(leases_are_listed, fresh),
        cmocka_unit_test_setup(full_and_mended, fresh),
        cmocka_unit_test_setup(went_back, fresh),
        cmocka_unit_test_setup(hung, fresh),
        cmocka_unit_test(three_members),
        cmocka_unit_test(not_there),
    };
    return run_for_every_etcd(argc, argv, tests, sizeof tests / sizeof *tests);
}
