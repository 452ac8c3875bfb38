/* The event recorder against a client that writes down what it is asked. */
#include "api/client/client_ops.h"
#include "base/clock.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fake {
    struct client base;
    struct loop *loop;
    struct {
        enum verb verb;
        char name[128], namespace_[64], body[2048];
        client_done *done;
        void *arg;
    } asked[200];
    size_t n, answered;
    int rc; /* of the answers from now on */
};

static void fake_send(struct client *c, const struct client_call *call, client_done *done, void *arg)
{
    struct fake *f = (struct fake *)c;
    struct buf body = {0};
    assert_true(f->n < 200);
    json_encode(&body, call->body);
    f->asked[f->n].verb = call->verb;
    snprintf(f->asked[f->n].name, 128, "%.*s", (int)call->name.len, call->name.p);
    snprintf(f->asked[f->n].namespace_, 64, "%.*s", (int)call->namespace_.len, call->namespace_.p);
    snprintf(f->asked[f->n].body, 2048, "%.*s", (int)body.len, body.p);
    f->asked[f->n].done = done;
    f->asked[f->n++].arg = arg;
    buf_free(&body);
}

static void fake_answer(struct fake *f)
{
    struct err err = ERR_INIT;
    for (; f->answered < f->n; f->answered++) {
        struct client_answer a = {.rc = f->rc, .err = &err};
        f->asked[f->answered].done(f->asked[f->answered].arg, &a);
    }
}

static struct loop *fake_loop(const struct client *c)
{
    return ((const struct fake *)c)->loop;
}

static void fake_destroy(struct client *c)
{
    loop_destroy(((struct fake *)c)->loop);
    free(c);
}

static const struct client_ops fake_ops = {.send = fake_send, .loop = fake_loop, .destroy = fake_destroy};

static struct fake *begin(void)
{
    struct fake *f = calloc(1, sizeof *f);
    f->base.ops = &fake_ops;
    f->loop = loop_create("test");
    clock_fake(1700000000000, 1000);
    return f;
}

static const struct object *pod(const char *name)
{
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct object *o;
    struct value *v = value_map(a);
    value_set_path(a, v, "metadata.name", value_stringz(a, name));
    value_set_path(a, v, "metadata.namespace", value_stringz(a, "ns"));
    value_set_path(a, v, "metadata.uid", value_stringz(a, "u1"));
    if (object_from_value(a, resource_find(STR(""), STR("pods")), v, 5, 5, &o, &err) < 0)
        fail_msg("%s", err.message);
    arena_destroy(a);
    return o;
}

static void test_first_and_repeated(void **state)
{
    (void)state;
    struct fake *f = begin();
    const struct object *o = pod("p");
    client_event_at(&f->base, "kubelet", "node-1", o, "spec.containers{c}", "Normal", "Pulled", "image %s", "x");
    assert_int_equal(f->n, 1);
    assert_int_equal(f->asked[0].verb, VERB_CREATE);
    assert_string_equal(f->asked[0].namespace_, "ns");
    assert_string_equal(
        f->asked[0].body,
        "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p.17979cfe362a0000\",\"namespace\":\"ns\"},"
        "\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"ns\",\"name\":\"p\",\"uid\":\"u1\",\"apiVersion\":\"v1\","
        "\"resourceVersion\":\"5\",\"fieldPath\":\"spec.containers{c}\"},\"reason\":\"Pulled\",\"message\":\"image x\","
        "\"source\":{\"component\":\"kubelet\",\"host\":\"node-1\"},\"firstTimestamp\":\"2023-11-14T22:13:20Z\","
        "\"lastTimestamp\":\"2023-11-14T22:13:20Z\",\"count\":1,\"type\":\"Normal\",\"eventTime\":null,"
        "\"reportingComponent\":\"kubelet\",\"reportingInstance\":\"node-1\"}");
    clock_fake_advance(5000);
    for (int i = 0; i < 2; i++) /* while the first is under way: one patch, once it is made */
        client_event_at(&f->base, "kubelet", "node-1", o, "spec.containers{c}", "Normal", "Pulled", "image %s", "x");
    assert_int_equal(f->n, 1);
    fake_answer(f);
    assert_int_equal(f->n, 2);
    assert_int_equal(f->asked[1].verb, VERB_PATCH);
    assert_string_equal(f->asked[1].name, "p.17979cfe362a0000");
    assert_string_equal(f->asked[1].body,
                        "{\"message\":\"image x\",\"count\":3,\"lastTimestamp\":\"2023-11-14T22:13:25Z\"}");
    /* It has expired on the server: made again with its count. */
    f->rc = ERR_NOT_FOUND;
    f->answered = 1;
    f->asked[1].done(f->asked[1].arg, &(struct client_answer){.rc = ERR_NOT_FOUND, .err = &(struct err){0}});
    assert_int_equal(f->n, 3);
    assert_int_equal(f->asked[2].verb, VERB_CREATE);
    assert_non_null(strstr(f->asked[2].body, "\"count\":3,"));
    object_put(o);
    client_destroy(&f->base);
    clock_real();
}

static void test_similar_and_spam(void **state)
{
    (void)state;
    struct fake *f = begin();
    const struct object *o = pod("p");
    for (int i = 0; i < 12; i++) {
        client_event(&f->base, "c", NULL, o, "Warning", "Failed", "attempt %d", i);
        fake_answer(f);
    }
    /* Nine of their own, then one combined that counts up. */
    assert_int_equal(f->n, 12);
    assert_non_null(strstr(f->asked[8].body, "\"message\":\"attempt 8\""));
    assert_int_equal(f->asked[9].verb, VERB_CREATE);
    assert_non_null(strstr(f->asked[9].body, "\"message\":\"(combined from similar events): attempt 9\""));
    assert_int_equal(f->asked[11].verb, VERB_PATCH);
    assert_non_null(strstr(f->asked[11].body, "\"count\":3"));
    for (int i = 0; i < 50; i++) {
        client_event(&f->base, "c", NULL, o, "Normal", "Again", "again");
        fake_answer(f);
    }
    assert_int_equal(f->n, 25); /* the burst is spent */
    clock_fake_advance(300 * 1000);
    client_event(&f->base, "c", NULL, o, "Normal", "Again", "again");
    assert_int_equal(f->n, 26);
    assert_non_null(strstr(f->asked[25].body, "\"count\":51"));
    object_put(o);
    client_destroy(&f->base);
    clock_real();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_and_repeated),
        cmocka_unit_test(test_similar_and_spam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
