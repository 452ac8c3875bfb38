/* The queue: each key once, in order, never twice at a time; failures back off. */
#include "base/clock.h"
#include "controllers/runtime/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct loop *loop;
static struct queue queue;
static int ready;

static void on_ready(void *arg)
{
    (void)arg;
    ready++;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_create("test");
    ready = 0;
    queue_init(&queue, loop, on_ready, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    queue_finish(&queue);
    loop_destroy(loop);
    return 0;
}

static void expect_next(const char *name)
{
    struct queue_item *item = queue_take(&queue);
    if (!name) {
        assert_null(item);
        return;
    }
    assert_non_null(item);
    assert_string_equal(item->name, name);
    queue_done(&queue, item, false);
}

static void test_order(void **state)
{
    (void)state;
    queue_add(&queue, STR("n"), STR("a"));
    queue_add(&queue, STR("n"), STR("b"));
    queue_add(&queue, STR("n"), STR("a"));
    queue_add(&queue, STR(""), STR("n/a")); /* another key, though its text is alike */
    assert_int_equal(queue.n_ready, 3);
    assert_int_equal(ready, 3);
    expect_next("a");
    expect_next("b");
    expect_next("n/a");
    expect_next(NULL);
    assert_int_equal(queue.items.len, 0); /* idle keys are forgotten */
}

static void test_added_while_running(void **state)
{
    (void)state;
    queue_add(&queue, STR("n"), STR("a"));
    struct queue_item *item = queue_take(&queue);
    queue_add(&queue, STR("n"), STR("a"));
    queue_add(&queue, STR("n"), STR("a"));
    expect_next(NULL); /* never twice at the same time */
    queue_done(&queue, item, false);
    expect_next("a");
    expect_next(NULL);
}

static void test_back_off(void **state)
{
    (void)state;
    static const int64_t want_ms[] = {5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560};
    for (size_t i = 0; i < sizeof want_ms / sizeof *want_ms; i++) {
        queue_add(&queue, STR("n"), STR("a"));
        struct queue_item *item = queue_take(&queue);
        int64_t before_ms = clock_mono_ms();
        queue_done(&queue, item, true);
        assert_in_range(item->timer.due_ms - before_ms, want_ms[i], want_ms[i] + 50);
    }
    for (int i = 0; i < 30; i++) { /* and no longer than that */
        queue_add(&queue, STR("n"), STR("a"));
        queue_done(&queue, queue_take(&queue), true);
    }
    queue_add(&queue, STR("n"), STR("a"));
    struct queue_item *item = queue_take(&queue);
    int64_t before_ms = clock_mono_ms();
    queue_done(&queue, item, true);
    assert_in_range(item->timer.due_ms - before_ms, 1000000, 1000050);
    queue_add(&queue, STR("n"), STR("a"));
    queue_done(&queue, queue_take(&queue), false);
}

static void test_later(void **state)
{
    (void)state;
    queue_add_after(&queue, STR("n"), STR("a"), 10);
    expect_next(NULL);
    assert_int_equal(queue.items.len, 1);
    queue_add_after(&queue, STR("n"), STR("b"), 0);
    expect_next("b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_added_while_running, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
