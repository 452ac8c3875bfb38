/* The numbers of a rollout: surge, unavailability, shares. */
#include "controllers/deployment/rollout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PERCENT(text)                                                          \
    {                                                                          \
        .is_string = true, .string = {text, sizeof(text) - 1}, .present = true \
    }
#define COUNT(n)                        \
    {                                   \
        .integer = (n), .present = true \
    }

/* A Deployment with a current set and up to three old ones, oldest first. */
struct given {
    int64_t replicas;
    struct int_or_string surge, unavailable;
    struct {
        int64_t replicas, available, desired, max; /* desired, max: annotations, 0 = none */
    } current, old[3];
    bool no_current, recreate;
};

struct world {
    struct apps_v1_deployment d;
    struct apps_v1_deployment_spec spec;
    struct apps_v1_deployment_status status;
    struct apps_v1_deployment_strategy strategy;
    struct apps_v1_rolling_update_deployment rolling;
    struct apps_v1_replica_set rs[4];
    struct meta_v1_object_meta meta[4];
    struct str_entry notes[4][2];
    char text[4][2][24];
    struct object objects[4];
    struct set sets[4];
    struct rollout r;
};

static void make_set(struct world *w, int i, int64_t replicas, int64_t available, int64_t desired, int64_t max)
{
    int64_t numbers[2] = {desired, max};
    static const char *const keys[] = {"deployment.kubernetes.io/desired-replicas",
                                       "deployment.kubernetes.io/max-replicas"};
    for (size_t k = 0; k < 2; k++) {
        snprintf(w->text[i][k], sizeof w->text[i][k], "%lld", (long long)numbers[k]);
        w->notes[i][k] = (struct str_entry){str_from(keys[k]), str_from(w->text[i][k])};
    }
    w->meta[i].annotations.items = w->notes[i];
    w->meta[i].annotations.len = desired ? 2 : 0;
    w->rs[i].metadata = &w->meta[i];
    w->objects[i].creation_s = 100 + i;
    w->objects[i].name = STR("x");
    w->sets[i] = (struct set){
        .object = &w->objects[i], .rs = &w->rs[i], .replicas = replicas, .was = replicas, .available = available};
}

static void make(struct world *w, const struct given *g)
{
    memset(w, 0, sizeof *w);
    w->rolling = (struct apps_v1_rolling_update_deployment){.max_surge = g->surge, .max_unavailable = g->unavailable};
    w->strategy = (struct apps_v1_deployment_strategy){.type = g->recreate ? STR("Recreate") : STR("RollingUpdate"),
                                                       .rolling_update = &w->rolling};
    w->spec.strategy = &w->strategy;
    w->d.spec = &w->spec;
    w->d.status = &w->status;
    w->r = (struct rollout){.deployment = &w->d, .replicas = g->replicas, .old = w->sets};
    for (int i = 0; i < 3 && (g->old[i].replicas || g->old[i].desired); i++) {
        make_set(w, i, g->old[i].replicas, g->old[i].available, g->old[i].desired, g->old[i].max);
        w->r.n_old++;
    }
    make_set(w, 3, g->current.replicas, g->current.available, g->current.desired, g->current.max);
    if (!g->no_current)
        w->r.current = &w->sets[3];
    rollout_limits(&w->r);
}

static void expect_sizes(const struct world *w, size_t row, int64_t current, const int64_t *old)
{
    if (w->r.current && w->r.current->replicas != current)
        fail_msg("row %zu: current %lld, want %lld", row, (long long)w->r.current->replicas, (long long)current);
    for (size_t i = 0; i < w->r.n_old; i++)
        if (w->r.old[i].replicas != old[i])
            fail_msg("row %zu: old[%zu] %lld, want %lld", row, i, (long long)w->r.old[i].replicas, (long long)old[i]);
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        struct given given;
        int64_t surge, unavailable;
    } rows[] = {
        {{.replicas = 10}, 3, 2}, /* 25 % of each, up and down */
        {{.replicas = 1}, 1, 0},
        {{.replicas = 3, .surge = COUNT(0), .unavailable = COUNT(1)}, 0, 1},
        {{.replicas = 3, .surge = COUNT(0), .unavailable = PERCENT("10%")}, 0, 1}, /* never both zero */
        {{.replicas = 10, .surge = PERCENT("30%"), .unavailable = PERCENT("0%")}, 3, 0},
        {{.replicas = 4, .recreate = true}, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        make(&w, &rows[i].given);
        if (w.r.max_surge != rows[i].surge || w.r.max_unavailable != rows[i].unavailable)
            fail_msg("row %zu: %lld, %lld", i, (long long)w.r.max_surge, (long long)w.r.max_unavailable);
    }
}

static void test_first(void **state)
{
    (void)state;
    static const struct {
        struct given given;
        int64_t want;
    } rows[] = {
        {{.replicas = 3, .no_current = true}, 3},
        {{.replicas = 10, .old = {{10, 10, 10, 13}}, .no_current = true}, 3},
        {{.replicas = 1, .old = {{1, 1, 1, 2}}, .no_current = true}, 1},
        {{.replicas = 3, .surge = COUNT(0), .unavailable = COUNT(1), .old = {{3, 3, 3, 3}}, .no_current = true}, 0},
        {{.replicas = 3, .old = {{3, 3, 3, 3}}, .no_current = true, .recreate = true}, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        make(&w, &rows[i].given);
        assert_int_equal(rollout_first_replicas(&w.r), rows[i].want);
    }
}

static void test_rolling(void **state)
{
    (void)state;
    static const struct {
        struct given given;
        int64_t current, old[3];
    } rows[] = {
        /* the new one grows first, as far as the surge allows */
        {{.replicas = 10, .current = {0, 0}, .old = {{10, 10}}}, 3, {10}},
        /* what is new and not available yet allows nothing more than the unavailable share */
        {{.replicas = 10, .current = {3, 0}, .old = {{10, 10}}}, 3, {8}},
        {{.replicas = 10, .current = {5, 3}, .old = {{8, 8}}}, 5, {5}},
        {{.replicas = 10, .current = {10, 10}, .old = {{3, 3}}}, 10, {0}},
        /* old pods that are not available go first, whichever set they are in */
        {{.replicas = 10, .current = {3, 3}, .old = {{5, 5}, {5, 1}}}, 3, {4, 1}},
        /* no room to grow and no available pod to spare: nothing moves */
        {{.replicas = 4, .surge = COUNT(1), .unavailable = COUNT(0), .current = {1, 0}, .old = {{4, 4}}}, 1, {4}},
        /* scaled below what the new set has */
        {{.replicas = 2, .current = {5, 5}, .old = {{1, 1}}}, 2, {1}},
        /* a broken old revision does not block the next */
        {{.replicas = 3, .surge = COUNT(1), .unavailable = COUNT(0), .current = {0, 0}, .old = {{3, 3}, {1, 0}}},
         0,
         {3, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        make(&w, &rows[i].given);
        rollout_rolling_update(&w.r);
        expect_sizes(&w, i, rows[i].current, rows[i].old);
    }
}

static void test_scale(void **state)
{
    (void)state;
    static const struct {
        struct given given;
        bool scaled;
        int64_t current, old[3];
    } rows[] = {
        {{.replicas = 5, .current = {3, 3, 5, 7}}, false, 3, {0}},
        {{.replicas = 5, .current = {3, 3, 3, 4}}, true, 5, {0}},
        {{.replicas = 0, .current = {3, 3, 3, 4}}, true, 0, {0}},
        /* 10 to 15 in the middle of a rollout: 13 pods become 19, in proportion, the rest to the largest */
        {{.replicas = 15, .current = {5, 5, 10, 13}, .old = {{8, 8, 10, 13}}}, true, 7, {12}},
        {{.replicas = 5, .current = {5, 5, 10, 13}, .old = {{8, 8, 10, 13}}}, true, 3, {4}},
        {{.replicas = 0, .current = {5, 5, 10, 13}, .old = {{8, 8, 10, 13}}}, true, 0, {0}},
        {{.replicas = 6, .surge = COUNT(0), .unavailable = COUNT(1), .current = {2, 0, 4, 4}, .old = {{2, 2, 4, 4}}},
         true,
         3,
         {3}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        make(&w, &rows[i].given);
        assert_int_equal(rollout_is_scaled(&w.r), rows[i].scaled);
        if (rows[i].scaled)
            rollout_scale(&w.r);
        expect_sizes(&w, i, rows[i].current, rows[i].old);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits), cmocka_unit_test(test_first),
                                       cmocka_unit_test(test_rolling), cmocka_unit_test(test_scale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
