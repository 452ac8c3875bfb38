/* The tree against a plain array, with random changes and snapshots kept across them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "openapi/object/tree.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAMESPACES = 5, NAMES = 400, KEYS = NAMESPACES * NAMES, SNAPSHOTS = 8 };

static const struct resource_version versions[] = {{.version = {"v1", 2}}, {.version = {0}}};
static const struct resource things = {
    .name = {"things", 6},
    .kind = {"Thing", 5},
    .storage_version = {"v1", 2},
    .versions = versions,
    .stored_as = &things,
};

static uint64_t seed;
static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static const struct object *make(unsigned key, int64_t revision)
{
    static struct arena *a;
    char text[128];
    struct object *o;
    struct err err;

    a = a ? a : arena_create(0);
    arena_reset(a);
    int n = snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"n%04u\",\"namespace\":\"ns%u\"}}", key % NAMES,
                     key / NAMES);
    assert_int_equal(object_from_stored(a, &things, (struct str){text, (size_t)n}, revision, 1, &o, &err), 0);
    return o;
}

struct model {
    int64_t revision[KEYS]; /* 0 = absent */
};

static void check(const struct object_tree *t, const struct model *m)
{
    struct object_tree_iter it;
    size_t len = 0;

    object_tree_iter_init(&it, t, STR_NULL);
    for (unsigned key = 0; key < KEYS; key++) {
        if (!m->revision[key])
            continue;
        const struct object *o = object_tree_next(&it);
        assert_non_null(o);
        assert_int_equal(o->revision, m->revision[key]);
        len++;
    }
    assert_null(object_tree_next(&it));
    assert_null(object_tree_next(&it));
    assert_int_equal(object_tree_len(t), len);
}

static void check_paging(const struct object_tree *t, const struct model *m)
{
    unsigned after = rnd(KEYS);
    bool one = rnd(2);
    char ns[16], name[16], scope[16];
    unsigned scope_at = rnd(NAMESPACES);
    struct object_tree_iter it;

    snprintf(ns, sizeof ns, "ns%u", after / NAMES);
    snprintf(name, sizeof name, "n%04u", after % NAMES);
    snprintf(scope, sizeof scope, "ns%u", scope_at);
    object_tree_iter_after(&it, t, one ? str_from(scope) : STR_NULL, str_from(ns), str_from(name));
    for (unsigned key = 0; key < KEYS; key++) {
        if (key <= after || !m->revision[key] || (one && key / NAMES != scope_at))
            continue;
        if (one && after / NAMES > scope_at)
            continue;
        const struct object *o = object_tree_next(&it);
        assert_non_null(o);
        assert_int_equal(o->revision, m->revision[key]);
    }
    assert_null(object_tree_next(&it));
    const struct object *found = object_tree_find(t, str_from(ns), str_from(name));
    assert_int_equal(found ? found->revision : 0, m->revision[after]);
}

static void random_changes(void **state)
{
    (void)state;
    struct model *now = calloc(1, sizeof *now), *kept = calloc(SNAPSHOTS, sizeof *kept);
    struct object_tree *trees[SNAPSHOTS] = {0}, *t = object_tree_create(&things);
    int64_t revision = 0;

    for (seed = 1; seed < 4; seed++) {
        uint64_t keep = seed;
        for (int step = 0; step < 30000; step++) {
            unsigned key = rnd(KEYS);
            /* waves: grow, then shrink to nearly nothing */
            bool grow = rnd(10) < (step / 6000 % 2 ? 1u : 8u);
            char ns[16], name[16];

            if (grow) {
                const struct object *o = make(key, ++revision);
                t = object_tree_set(t, o);
                object_put(o);
                now->revision[key] = revision;
            } else {
                snprintf(ns, sizeof ns, "ns%u", key / NAMES);
                snprintf(name, sizeof name, "n%04u", key % NAMES);
                t = object_tree_remove(t, str_from(ns), str_from(name));
                now->revision[key] = 0;
            }
            if (rnd(500) == 0) {
                unsigned at = rnd(SNAPSHOTS);
                if (trees[at]) {
                    check(trees[at], &kept[at]);
                    object_tree_put(trees[at]);
                }
                t = object_tree_set_revision(t, revision);
                trees[at] = object_tree_get(t);
                kept[at] = *now;
                check_paging(t, now);
            }
        }
        check(t, now);
        seed = keep;
    }
    for (int i = 0; i < SNAPSHOTS; i++) {
        if (trees[i])
            check(trees[i], &kept[i]);
        object_tree_put(trees[i]);
    }
    object_tree_put(t);
    free(now);
    free(kept);
}

static void ascending(void **state)
{
    (void)state;
    struct object_tree *t = object_tree_create(&things);
    struct object_tree_iter it;
    const struct object *o;

    for (unsigned key = 0; key < KEYS; key++) {
        o = make(key, key + 1);
        t = object_tree_set(t, o);
        object_put(o);
    }
    assert_int_equal(object_tree_len(t), KEYS);
    int64_t at = 0;
    object_tree_iter_init(&it, t, STR("ns2"));
    while ((o = object_tree_next(&it))) {
        assert_int_equal(o->revision, 2 * NAMES + ++at);
    }
    assert_int_equal(at, NAMES);
    for (unsigned key = 0; key < KEYS; key++) {
        char ns[16], name[16];
        snprintf(ns, sizeof ns, "ns%u", key / NAMES);
        snprintf(name, sizeof name, "n%04u", key % NAMES);
        t = object_tree_remove(t, str_from(ns), str_from(name));
        assert_int_equal(object_tree_len(t), KEYS - key - 1);
    }
    object_tree_iter_init(&it, t, STR_NULL);
    assert_null(object_tree_next(&it));
    object_tree_put(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes),
        cmocka_unit_test(ascending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
