#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/loop.h"

#include <pthread.h>
#include <stdlib.h>

static struct loop *l;
static int fired[64], n_fired;

static void on_timer(void *arg)
{
    fired[n_fired++] = (int)(intptr_t)arg;
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void test_timers(void **state)
{
    (void)state;
    clock_fake(1000000, 5000); /* all are started at one moment, however slow the machine is */
    l = loop_create("timers");
    n_fired = 0;
    struct timer t[32] = {0}, end = {0};
    for (int i = 0; i < 32; i++)
        timer_start(&t[i], l, (i * 7) % 32 + 1, on_timer, (void *)(intptr_t)((i * 7) % 32));
    timer_stop(&t[3]); /* 21 */
    timer_stop(&t[3]);
    timer_start(&t[0], l, 60, on_timer, (void *)99);
    timer_start(&end, l, 90, stop, l);
    clock_fake_advance(100);
    loop_run(l);
    clock_real();
    assert_int_equal(n_fired, 31);
    for (int i = 1; i < n_fired; i++)
        assert_true(fired[i] > fired[i - 1]);
    assert_int_equal(fired[30], 99);
    loop_destroy(l);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void test_fake_clock(void **state)
{
    (void)state;
    clock_fake(1000000, 5000);
    l = loop_create("fake");
    struct timer t = {0};
    n_fired = 0;
    timer_start(&t, l, 60000, on_timer, NULL);
    clock_fake_advance(60000);
    loop_post(l, nothing, NULL);
    loop_stop(l);
    loop_run(l);
    assert_int_equal(n_fired, 1);
    assert_true(clock_wall_ms() == 1060000);
    loop_destroy(l);
    clock_real();
}

enum { POSTS = 20000, SENDERS = 4 };
static int last_seen[SENDERS], n_posts;
static bool out_of_order;

static void on_post(void *arg)
{
    int v = (int)(intptr_t)arg, sender = v / POSTS;
    if (v % POSTS != last_seen[sender]++ || loop_current() != l)
        out_of_order = true;
    if (++n_posts == POSTS * SENDERS)
        loop_stop(l);
}

static void *sender(void *arg)
{
    for (int i = 0; i < POSTS; i++)
        loop_post(l, on_post, (void *)(intptr_t)((int)(intptr_t)arg * POSTS + i));
    return NULL;
}

static void test_mailbox(void **state)
{
    (void)state;
    l = loop_create("mail");
    loop_start(l);
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&threads[i], NULL, sender, (void *)(intptr_t)i);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    loop_join(l);
    assert_int_equal(n_posts, POSTS * SENDERS);
    assert_false(out_of_order);
    assert_null(loop_current());
    loop_destroy(l);
}

static int worked;
static void work(void *arg)
{
    (void)arg;
    worked++;
}

static void test_work(void **state)
{
    (void)state;
    l = loop_create("work");
    loop_work(l, work, stop, l);
    loop_run(l);
    assert_int_equal(worked, 1);
    loop_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_fake_clock),
        cmocka_unit_test(test_mailbox),
        cmocka_unit_test(test_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
