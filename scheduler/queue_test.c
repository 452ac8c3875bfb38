#include "scheduler/queue.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct pod_queue queue;
static struct sched_pod pods[8];

static int setup(void **state)
{
    (void)state;
    clock_fake(1000000, 1000000);
    memset(&queue, 0, sizeof queue);
    memset(pods, 0, sizeof pods);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pod_queue_finish(&queue);
    clock_real();
    return 0;
}

static struct sched_pod *take(void)
{
    return pod_queue_take(&queue, clock_mono_ms());
}

static bool always(void *arg, const struct sched_pod *p)
{
    (void)arg;
    (void)p;
    return true;
}

static bool refused_by_first(void *arg, const struct sched_pod *p)
{
    (void)arg;
    return p->refused_by & 1;
}

static void test_order(void **state)
{
    (void)state;
    static const int32_t priorities[] = {0, 5, 0, 10, 5};
    static const int want[] = {3, 1, 4, 0, 2};
    for (int i = 0; i < 5; i++) {
        pods[i].priority = priorities[i];
        pod_queue_add(&queue, &pods[i]);
        clock_fake_advance(1);
    }
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(take(), &pods[want[i]]);
    assert_null(take());
}

static void test_removal(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        pods[i].priority = i * 7 % 8;
        pod_queue_add(&queue, &pods[i]);
    }
    pod_queue_remove(&queue, &pods[3]);
    pod_queue_remove(&queue, &pods[5]);
    int32_t last = 100;
    for (int i = 0; i < 6; i++) {
        struct sched_pod *p = take();
        assert_true(p != &pods[3] && p != &pods[5] && p->priority < last);
        last = p->priority;
    }
    assert_null(take());
}

static void test_events(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        pod_queue_add(&queue, &pods[i]);
        take();
    }
    for (int i = 0; i < 4; i++)
        pod_queue_unschedulable(&queue, &pods[i], 1u << (i % 2), clock_mono_ms());
    assert_null(take());
    clock_fake_advance(2000); /* past the back-off */
    pod_queue_event(&queue, clock_mono_ms(), refused_by_first, NULL);
    assert_int_equal(pods[0].state, POD_ACTIVE);
    assert_int_equal(pods[1].state, POD_UNSCHEDULABLE);
    assert_int_equal(pods[2].state, POD_ACTIVE);
    pod_queue_event(&queue, clock_mono_ms(), always, NULL);
    assert_int_equal(queue.active.len, 4);
}

/* 1 s, 2 s, 4 s, 8 s, 10 s, 10 s */
static void test_backoff(void **state)
{
    (void)state;
    static const int64_t want_ms[] = {1000, 2000, 4000, 8000, 10000, 10000};
    pod_queue_add(&queue, &pods[0]);
    for (int i = 0; i < 6; i++) {
        struct sched_pod *p = take();
        assert_ptr_equal(p, &pods[0]);
        pod_queue_retry(&queue, p, clock_mono_ms());
        assert_int_equal(pod_queue_next_ms(&queue) - clock_mono_ms(), want_ms[i]);
        clock_fake_advance(want_ms[i] - 1);
        assert_null(take());
        assert_false(pod_queue_ready(&queue, clock_mono_ms()));
        clock_fake_advance(1);
    }
}

/* What an event has moved need not wait when nobody else does; what failed for an error must. */
static void test_early(void **state)
{
    (void)state;
    pod_queue_add(&queue, &pods[0]);
    pod_queue_unschedulable(&queue, take(), 1, clock_mono_ms());
    pod_queue_event(&queue, clock_mono_ms(), always, NULL);
    assert_int_equal(pods[0].state, POD_BACKOFF);
    pod_queue_add(&queue, &pods[1]);
    assert_ptr_equal(take(), &pods[1]);
    assert_ptr_equal(take(), &pods[0]);
}

static void test_flush(void **state)
{
    (void)state;
    pod_queue_add(&queue, &pods[0]);
    pod_queue_unschedulable(&queue, take(), 1, clock_mono_ms());
    clock_fake_advance(5 * 60 * 1000);
    pod_queue_flush(&queue, clock_mono_ms());
    assert_null(take());
    clock_fake_advance(1);
    pod_queue_flush(&queue, clock_mono_ms());
    assert_ptr_equal(take(), &pods[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backoff, setup, teardown),
        cmocka_unit_test_setup_teardown(test_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flush, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
