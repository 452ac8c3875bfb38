/* Random writes with many watchers on two loops, each of which must see exactly the changes of what its filter selects,
 * in order; and the past: pages that stay, history beyond the ring. */
#include "storage/cache/cache_for_test.h"

struct read_past {
    struct object_tree *tree;
    int64_t revision;
};
static void past_read(void *arg, struct object_tree *tree, const struct err *e)
{
    struct read_past *p = arg;
    assert_true(loop_current() == loops[1]);
    p->tree = tree;
    finish(e ? e->code : 0, 0);
}
static void read_past(void *arg)
{
    struct read_past *p = arg;
    cache_snapshot_read(cache, &things, p->revision, loops[1], past_read, p);
}
static int snapshot_of(int64_t revision, struct object_tree **ret)
{
    struct read_past p = {.revision = revision};
    loop_post(loops[1], read_past, &p);
    int rc = await();
    *ret = p.tree;
    return rc;
}

/* ---- watchers with a memory of their own ---- */

enum { NAMES = 40, WATCHERS = 24 };

struct seer {
    struct watch_filter filter;
    struct loop *loop;
    struct watch *watch;
    bool pauses, stopped;
    struct timer timer;
    int64_t start, last;
    int64_t seen[4][NAMES]; /* revision of each object it believes to be there; 0 = none */
    unsigned n_events, n_bookmarks;
    int ended;
};

static bool even(void *arg, const struct object *o)
{
    (void)arg;
    return str_eqz(object_label(o, STR("even")), "yes");
}

static void wake(void *arg)
{
    struct seer *s = arg;
    if (!s->stopped)
        watch_resume(s->watch);
}

static void see(void *arg, const struct watch_delivery *d, size_t n)
{
    struct seer *s = arg;
    assert_true(loop_current() == s->loop);
    for (size_t i = 0; i < n; i++) {
        if (d[i].type == WATCH_ERROR) {
            s->ended = d[i].err->code;
            continue;
        }
        assert_true(d[i].revision >= s->last);
        s->last = d[i].revision;
        if (d[i].type == WATCH_BOOKMARK) {
            s->n_bookmarks++;
            continue;
        }
        const struct object *o = d[i].event->object;
        int ns = o->namespace_.p[2] - '0', name = atoi(o->name.p + 1);
        int64_t *slot = &s->seen[ns][name];
        assert_true(d[i].revision > *slot);
        assert_int_equal(d[i].type == WATCH_ADDED, *slot == 0);
        *slot = d[i].type == WATCH_DELETED ? 0 : o->revision;
        s->n_events++;
    }
    if (s->pauses && s->n_events % 7 == 0) {
        watch_pause(s->watch);
        timer_start(&s->timer, s->loop, (int64_t)(s->n_events % 3), wake, s);
    }
}

static void start_seer(void *arg)
{
    struct seer *s = arg;
    assert_int_equal(watch_start(cache, &s->filter, s->start, s->loop, see, s, &s->watch, &err), 0);
    watch_bookmarks(s->watch, true);
}
static void stop_seer(void *arg)
{
    struct seer *s = arg;
    s->stopped = true;
    timer_stop(&s->timer);
    watch_stop(s->watch);
}
static void ask_bookmark(void *arg)
{
    struct seer *s = arg;
    watch_bookmarks(s->watch, true);
}

static struct {
    struct seer *of;
    int64_t last;
    unsigned n_bookmarks;
    int ended;
} peek;
static void take_peek(void *arg)
{
    (void)arg;
    peek.last = peek.of->last;
    peek.n_bookmarks = peek.of->n_bookmarks;
    peek.ended = peek.of->ended;
}
/* Ask for a bookmark, and read on the seer's own thread how far it is. */
static int64_t last_of(struct seer *s)
{
    run_on(s->loop, ask_bookmark, s);
    peek.of = s;
    run_on(s->loop, take_peek, NULL);
    return peek.last;
}

static uint64_t seed = 7;
static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void random_write(void)
{
    char ns[8], name[8], node[8];
    snprintf(ns, sizeof ns, "ns%u", rnd(4));
    snprintf(name, sizeof name, "n%u", rnd(NAMES));
    snprintf(node, sizeof node, "node%u", rnd(5));
    const struct object *now = cache_find(cache, &things, str_from(ns), str_from(name));
    int rc = !now ? create(ns, name, node, rnd(100)) : rnd(4) ? update(ns, name, node, rnd(100)) : delete (ns, name);
    object_put(now);
    assert_int_equal(rc, 0);
}

static bool selects(const struct seer *s, const struct object *o)
{
    const struct watch_filter *f = &s->filter;
    return (!f->namespace_.len || str_eq(f->namespace_, o->namespace_)) && (!f->name.p || str_eq(f->name, o->name)) &&
           (f->field < 0 || str_eq(f->field_value, o->fields[0])) && (!f->match || f->match(NULL, o));
}

static struct seer seers[WATCHERS];

static void init_seer(struct seer *s, int i)
{
    static char text[WATCHERS][8];
    struct object_tree *t = cache_snapshot(cache, &things);
    struct object_tree_iter it;
    const struct object *o;

    memset(s, 0, sizeof *s);
    s->filter = (struct watch_filter){.resource = &things, .field = -1};
    s->loop = loops[i % 2];
    s->pauses = i % 3 == 0;
    switch (i % 6) {
    case 1:
        s->filter.namespace_ = STR("ns2");
        break;
    case 2:
        s->filter.field = 0;
        snprintf(text[i], sizeof text[i], "node%d", i % 5);
        s->filter.field_value = str_from(text[i]);
        break;
    case 3:
        s->filter.match = even;
        break;
    case 4:
        s->filter.namespace_ = STR("ns1");
        s->filter.name = STR("n7");
        break;
    case 5:
        s->filter.name = STR("n11");
        s->filter.match = i > 12 ? even : NULL;
        break;
    }
    s->start = s->last = object_tree_revision(t);
    object_tree_iter_init(&it, t, STR_NULL);
    while ((o = object_tree_next(&it)))
        if (selects(s, o))
            s->seen[o->namespace_.p[2] - '0'][atoi(o->name.p + 1)] = o->revision;
    object_tree_put(t);
}

static void check_seer(struct seer *s)
{
    struct object_tree *t = cache_snapshot(cache, &things);
    for (int ns = 0; ns < 4; ns++)
        for (int name = 0; name < NAMES; name++) {
            char a[16], b[16];
            snprintf(a, sizeof a, "ns%d", ns);
            snprintf(b, sizeof b, "n%d", name);
            const struct object *o = object_tree_find(t, str_from(a), str_from(b));
            assert_int_equal(s->seen[ns][name], o && selects(s, o) ? o->revision : 0);
        }
    object_tree_put(t);
}

static void await_seers(void)
{
    int64_t revision = cache_revision(cache);
    for (int i = 0; i < WATCHERS; i++) {
        struct seer *s = &seers[i];
        bool there = false;
        for (int tries = 0; tries < 3000 && !there; tries++) {
            there = last_of(s) >= revision;
            if (!there)
                usleep(1000);
        }
        assert_true(there);
        assert_true(peek.n_bookmarks > 0);
        assert_int_equal(peek.ended, 0);
        check_seer(s);
    }
}

static void watchers_see_what_they_select(void **state)
{
    (void)state;
    struct object_tree *kept[20] = {0};

    for (int i = 0; i < 300; i++)
        random_write();
    int64_t begin = cache_revision(cache);
    for (int i = 0; i < WATCHERS; i++)
        init_seer(&seers[i], i);
    for (int i = 0; i < 2000; i++) {
        if (i % 50 == 0 && i / 50 < WATCHERS) /* started late: the older they are the more they replay */
            run_on(seers[i / 50].loop, start_seer, &seers[i / 50]);
        if (i % 100 == 0)
            kept[i / 100] = cache_snapshot(cache, &things);
        random_write();
    }
    await_seers();
    /* the past, undone from the newest */
    for (int i = 0; i < 20; i++) {
        struct object_tree *t;
        struct object_tree_iter a, b;
        const struct object *o;
        if (i % 2)
            assert_int_equal(snapshot_of(object_tree_revision(kept[i]), &t), 0);
        else
            assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(kept[i]), &t, &err), 0);
        assert_int_equal(object_tree_len(t), object_tree_len(kept[i]));
        object_tree_iter_init(&a, t, STR_NULL);
        object_tree_iter_init(&b, kept[i], STR_NULL);
        while ((o = object_tree_next(&a)))
            assert_ptr_equal(o, object_tree_next(&b));
        object_tree_put(t);
        object_tree_put(kept[i]);
    }
    for (int i = 0; i < WATCHERS; i++)
        run_on(seers[i].loop, stop_seer, &seers[i]);
    struct watch_filter all = {.resource = &things, .field = -1};
    struct watch *w;
    assert_int_equal(kv_compact(kv, begin, &err), 0);
    assert_int_equal(watch_start(cache, &all, begin - 1, loops[0], see, NULL, &w, &err), ERR_EXPIRED);
}

static void assert_same_objects(const struct object_tree *a, const struct object_tree *b)
{
    struct object_tree_iter i, j;
    const struct object *o;

    assert_int_equal(object_tree_revision(a), object_tree_revision(b));
    assert_int_equal(object_tree_len(a), object_tree_len(b));
    object_tree_iter_init(&i, a, STR_NULL);
    object_tree_iter_init(&j, b, STR_NULL);
    while ((o = object_tree_next(&i))) {
        const struct object *other = object_tree_next(&j);
        assert_true(str_eq(o->name, other->name) && str_eq(o->body, other->body) && o->revision == other->revision);
    }
}

/* A list in pages goes on over its revision whatever else is written; what the store gives back of a revision shares
 * what has not changed since. */
static void pages_stay(void **state)
{
    (void)state;
    struct object_tree *first, *again, *now;
    struct object_tree_iter it;
    const struct object *o;
    size_t shared = 0;

    for (int i = 0; i < 100; i++)
        random_write();
    first = cache_snapshot(cache, &things);
    cache_keep(cache, &things, first);
    cache_keep(cache, &things, first); /* once more is no more */
    struct object_tree *lost = NULL;
    for (int i = 0; i < 40; i++) { /* more than are kept */
        random_write();
        struct object_tree *t = cache_snapshot(cache, &things);
        cache_keep(cache, &things, t);
        if (i == 0)
            lost = object_tree_get(t);
        object_tree_put(t);
        assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(first), &again, &err), 0);
        object_tree_put(again);
    }
    for (int i = 0; i < 9000; i++)
        random_write();
    assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(first), &again, &err), 0);
    assert_ptr_equal(again, first);
    object_tree_put(again);
    assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(lost), &again, &err), 0);
    assert_ptr_not_equal(again, lost);
    assert_same_objects(again, lost);
    object_tree_put(again);
    object_tree_put(lost);
    object_tree_put(first);
    /* far back, and hardly anything has changed since */
    int64_t before = cache_revision(cache);
    const struct object *one = cache_find(cache, &things, STR("ns0"), STR("n0"));
    if (!one)
        assert_int_equal(create("ns0", "n0", "node0", 0), 0);
    object_put(one);
    for (int i = 0; i < 9000; i++)
        assert_int_equal(update("ns0", "n0", "node0", rnd(100)), 0);
    assert_int_equal(cache_snapshot_at(cache, &things, before, &again, &err), 0);
    now = cache_snapshot(cache, &things);
    object_tree_iter_init(&it, again, STR_NULL);
    while ((o = object_tree_next(&it)))
        shared += object_tree_find(now, o->namespace_, o->name) == o;
    assert_true(shared + 1 >= object_tree_len(again) && shared > 10);
    object_tree_put(now);
    object_tree_put(again);
}

/* More events than the ring holds: the rest comes from the store. */
static void history_beyond_the_ring(void **state)
{
    (void)state;
    init_seer(&seers[0], 0);
    init_seer(&seers[1], 3);
    for (int i = 0; i < 9500; i++)
        random_write();
    seers[0].pauses = false;
    struct object_tree *t;
    assert_int_equal(cache_snapshot_at(cache, &things, seers[0].start, &t, &err), 0);
    for (int i = 0; i < 2; i++)
        run_on(seers[i].loop, start_seer, &seers[i]);
    for (int i = 0; i < 500; i++)
        random_write();
    int64_t revision = cache_revision(cache);
    for (int i = 0; i < 2; i++) {
        for (int tries = 0; tries < 3000 && last_of(&seers[i]) < revision; tries++)
            usleep(1000);
        check_seer(&seers[i]);
        run_on(seers[i].loop, stop_seer, &seers[i]);
    }
    object_tree_put(t);
}

static void expiry_is_seen(void **state)
{
    (void)state;
    init_seer(&seers[0], 0);
    run_on(seers[0].loop, start_seer, &seers[0]);
    assert_int_equal(
        commit((struct cache_write){.kind = CACHE_CREATE, .object = make(&things, "ns0", "n39", "x", 1), .ttl_s = 1}),
        seers[0].seen[0][39] ? ERR_ALREADY_EXISTS : 0);
    if (!seers[0].seen[0][39]) {
        const struct object *o;
        for (int i = 0; i < 400 && (o = cache_find(cache, &things, STR("ns0"), STR("n39"))); i++) {
            object_put(o);
            usleep(10000);
        }
        run_on(seers[0].loop, ask_bookmark, &seers[0]);
        run_on(seers[0].loop, nothing, NULL);
        check_seer(&seers[0]);
    }
    run_on(seers[0].loop, stop_seer, &seers[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watchers_see_what_they_select),
        cmocka_unit_test(history_beyond_the_ring),
        cmocka_unit_test(pages_stay),
        cmocka_unit_test(expiry_is_seen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
