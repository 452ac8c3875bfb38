#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/request.h"
#include "api/server.h"
#include "base/clock.h"
#include "controllers/runtime/leader.h"
#include "openapi/json.h"
#include "storage/cache/cache.h"

#include <stdlib.h>
#include <unistd.h>

/* Candidates of one server, on one loop, by a clock that only moves when the test says so. */

static struct api_server server;
static struct loop *loop;
static struct arena *arena;
static struct client *admin;

struct candidate {
    struct leader *leader;
    int64_t term;
    int began, ended;
    bool left;
};

static void began(void *arg, int64_t revision)
{
    struct candidate *c = arg;
    assert_int_equal(c->term, 0);
    c->term = revision;
    c->began++;
}

static void ended(void *arg)
{
    struct candidate *c = arg;
    assert_int_not_equal(c->term, 0);
    c->term = 0;
    c->ended++;
}

static void left(void *arg)
{
    ((struct candidate *)arg)->left = true;
}

static void join(struct candidate *c)
{
    static const char *const groups[] = {"system:masters", NULL};
    *c = (struct candidate){0};
    c->leader = leader_start(client_create_local(&server, loop, "system:kube-scheduler", groups),
                             &(struct leader_options){.lease = "kube-scheduler",
                                                      .component = "default-scheduler",
                                                      .times = LEADER_TIMES_DEFAULT,
                                                      .began = began,
                                                      .ended = ended,
                                                      .arg = c});
}

/* ---- letting things happen ---- */

static void stop(void *arg)
{
    loop_stop(arg);
}

/* The committer is a thread: give it real moments, until nothing has happened for some of them. */
static void settle(void)
{
    for (int i = 0; i < 12; i++) {
        usleep(2000);
        loop_post(loop, stop, loop);
        loop_run(loop);
    }
}

static void pass(int64_t ms)
{
    clock_fake_advance(ms);
    settle();
}

struct got {
    bool done;
    int rc;
    int64_t revision;
    struct str body;
};

static void on_answer(void *arg, const struct client_answer *answer)
{
    struct got *g = arg;
    g->done = true;
    g->rc = answer->rc;
    if (answer->object) {
        g->revision = answer->object->revision;
        g->body = arena_str(arena, answer->object->body);
    }
}

static struct got call_on(struct client *c, enum verb verb, const char *group, const char *resource,
                          const char *subresource, const char *ns, const char *name, const char *json)
{
    struct got g = {0};
    struct value *body = NULL;
    struct err err = ERR_INIT;
    struct json_options plain = {0};
    if (json)
        assert_int_equal(json_decode(arena, str_from(json), &plain, &body, &err), 0);
    client_send(c,
                &(struct client_call){.verb = verb,
                                      .resource = resource_find(str_from(group), str_from(resource)),
                                      .subresource = subresource ? str_from(subresource) : STR_NULL,
                                      .namespace_ = str_from(ns),
                                      .name = str_from(name),
                                      .body = body,
                                      .patch_type = PATCH_TYPE_MERGE,
                                      .grace_period_s = -1},
                on_answer, &g);
    for (int i = 0; i < 1000 && !g.done; i++)
        settle();
    assert_true(g.done);
    return g;
}

static struct got call(struct client *c, enum verb verb, const char *group, const char *resource, const char *ns,
                       const char *name, const char *json)
{
    return call_on(c, verb, group, resource, NULL, ns, name, json);
}

static struct value *lease(void)
{
    struct got g = call(admin, VERB_GET, "coordination.k8s.io", "leases", "kube-system", "kube-scheduler", NULL);
    struct value *v = NULL;
    struct err err = ERR_INIT;
    struct json_options plain = {0};
    if (g.rc == 0)
        assert_int_equal(json_decode(arena, g.body, &plain, &v, &err), 0);
    return v;
}

static bool is_holder(const struct candidate *c)
{
    return str_eqz(value_path_str(lease(), "spec.holderIdentity"), c ? leader_identity(c->leader) : "");
}

static int setup(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters", NULL};
    struct err err = ERR_INIT;
    size_t n, kept = 0;
    arena = arena_create(0);
    clock_fake(1700000000000, 1000);
    memset(&server, 0, sizeof server);
    server.options.service_cidr = "10.96.0.0/16";
    assert_int_equal(kv_open_memory(&server.kv, &err), 0);
    const struct resource *const *all = resources_builtin(&n);
    const struct resource **stored = ARENA_ARRAY(arena, const struct resource *, n);
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && (!all[i]->stored_as || all[i]->stored_as == all[i]))
            stored[kept++] = all[i];
    assert_int_equal(cache_create(server.kv, stored, kept, &server.cache, &err), 0);
    assert_int_equal(api_verbs_init(&server, &err), 0);
    loop = loop_create("test");
    admin = client_create_local(&server, loop, "admin", groups);
    for (const char *const *ns = (const char *const[]){"default", "kube-system", NULL}; *ns; ns++)
        assert_int_equal(call(admin, VERB_CREATE, "", "namespaces", "", "",
                              arena_printf(arena, "{\"metadata\":{\"name\":\"%s\"}}", *ns).p)
                             .rc,
                         0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    settle();
    client_destroy(admin);
    settle();
    api_verbs_finish(&server);
    cache_destroy(server.cache);
    kv_close(server.kv);
    settle();
    loop_destroy(loop);
    clock_real();
    arena_destroy(arena);
    return 0;
}

/* ---- */

static void test_times(void **state)
{
    (void)state;
    static const struct {
        struct leader_times given;
        const char *want;
    } rows[] = {
        {{15000, 10000, 2000}, NULL},
        {{2000, 1500, 300}, NULL},
        {{0, 10000, 2000}, "lease duration must be greater than zero"},
        {{15000, 0, 2000}, "renew deadline must be greater than zero"},
        {{15000, 10000, 0}, "retry period must be greater than zero"},
        {{10000, 10000, 2000}, "lease duration must be greater than renew deadline"},
        {{15000, 2400, 2000}, "renew deadline must be greater than retry period times 1.2"},
        {{15000, 2401, 2000}, NULL},
        {{900, 700, 100}, "lease duration must be at least one second, which is what a Lease can say"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *got = leader_times_objection(&rows[i].given);
        if (rows[i].want)
            assert_string_equal(got, rows[i].want);
        else
            assert_null(got);
    }
}

static void test_first_and_renewal(void **state)
{
    struct candidate a;
    (void)state;
    join(&a);
    settle();
    assert_int_equal(a.began, 1);
    struct value *v = lease();
    assert_true(str_eqz(value_path_str(v, "spec.holderIdentity"), leader_identity(a.leader)));
    assert_int_equal(value_path_int(v, "spec.leaseDurationSeconds", 0), 15);
    assert_int_equal(value_path_int(v, "spec.leaseTransitions", -1), 0);
    assert_true(str_eqz(value_path_str(v, "spec.acquireTime"), "2023-11-14T22:13:20.000000Z"));
    for (int i = 0; i < 10; i++)
        pass(2000);
    v = lease();
    assert_true(str_eqz(value_path_str(v, "spec.acquireTime"), "2023-11-14T22:13:20.000000Z"));
    assert_true(str_eqz(value_path_str(v, "spec.renewTime"), "2023-11-14T22:13:40.000000Z"));
    assert_int_equal(value_path_int(v, "spec.leaseTransitions", -1), 0);
    assert_int_equal(a.ended, 0);
    leader_destroy(a.leader);
}

/* A leader that is gone: others wait for the whole duration since they last saw the record change, and not longer. */
static void test_take_over(void **state)
{
    struct candidate a, b;
    (void)state;
    join(&a);
    settle();
    join(&b);
    settle();
    for (int i = 0; i < 10; i++)
        pass(2000);
    assert_int_equal(b.began, 0);
    leader_destroy(a.leader); /* it renews no more */
    pass(14900);
    assert_int_equal(b.began, 0);
    pass(101);
    assert_int_equal(b.began, 1);
    assert_true(is_holder(&b));
    assert_int_equal(value_path_int(lease(), "spec.leaseTransitions", -1), 1);
    leader_destroy(b.leader);
}

static void test_give_back(void **state)
{
    struct candidate a, b;
    (void)state;
    join(&a);
    settle();
    join(&b);
    settle();
    leader_resign(a.leader, left, &a);
    settle();
    assert_true(a.left);
    assert_int_equal(a.ended, 0);
    assert_int_equal(b.began, 1); /* at once */
    assert_true(is_holder(&b));
    leader_destroy(a.leader);
    leader_resign(b.leader, left, &b);
    settle();
    assert_true(is_holder(NULL));
    assert_int_equal(value_path_int(lease(), "spec.leaseDurationSeconds", 0), 1);
    leader_destroy(b.leader);
}

/* The lease is taken behind a leader's back: it stops at once, its writes are refused, and it stands again. */
static void test_fence(void **state)
{
    static const char *const groups[] = {"system:masters", NULL};
    struct candidate a;
    (void)state;
    join(&a);
    settle();
    struct client *writer = client_create_local(&server, loop, "system:kube-scheduler", groups);
    struct client_fence fence = {.key = STR(CLIENT_FENCES "kube-scheduler"), .revision = a.term};
    client_fence(writer, &fence);
    struct got g = call(writer, VERB_CREATE, "", "configmaps", "default", "", "{\"metadata\":{\"name\":\"one\"}}");
    assert_int_equal(g.rc, 0);
    pass(2000); /* a renewal moves no fence */
    static const struct {
        enum verb verb;
        const char *name, *body;
    } rows[] = {
        {VERB_CREATE, "", "{\"metadata\":{\"name\":\"two\"}}"},
        {VERB_UPDATE, "one", "{\"metadata\":{\"name\":\"one\"},\"data\":{\"a\":\"b\"}}"},
        {VERB_PATCH, "one", "{\"data\":{\"a\":\"b\"}}"},
        {VERB_DELETE, "one", NULL},
        {VERB_DELETE_COLLECTION, "", NULL},
    };
    g = call(writer, VERB_PATCH, "", "configmaps", "default", "one", "{\"data\":{\"x\":\"y\"}}");
    assert_int_equal(g.rc, 0);
    g = call(admin, VERB_PATCH, "coordination.k8s.io", "leases", "kube-system", "kube-scheduler",
             "{\"spec\":{\"holderIdentity\":\"somebody\"}}");
    assert_int_equal(g.rc, 0);
    assert_int_equal(a.ended, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        g = call(writer, rows[i].verb, "", "configmaps", "default", rows[i].name, rows[i].body);
        assert_int_equal(g.rc, ERR_FENCED);
    }
    assert_int_equal(call(admin, VERB_GET, "", "configmaps", "default", "one", NULL).rc, 0);
    assert_int_equal(call(admin, VERB_GET, "", "configmaps", "default", "two", NULL).rc, ERR_NOT_FOUND);
    pass(15001);
    assert_int_equal(a.began, 2); /* somebody never renewed */
    client_destroy(writer);
    leader_destroy(a.leader);
}

/* Whatever writes: subresources, and what rides along in their transactions. */
static void test_fence_everywhere(void **state)
{
    static const char *const groups[] = {"system:masters", NULL};
    static const char pod[] = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\","
                              "\"image\":\"i\"}]}}";
    static const char web[] = "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":1,\"selector\":{\"matchLabels\":"
                              "{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
                              "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}";
    static const struct {
        enum verb verb;
        const char *group, *resource, *subresource, *name, *body;
    } rows[] = {
        {VERB_CREATE, "", "pods", "binding", "p",
         "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}"},
        {VERB_CREATE, "", "pods", "eviction", "p", "{\"metadata\":{\"name\":\"p\",\"namespace\":\"default\"}}"},
        {VERB_PATCH, "", "pods", "status", "p", "{\"status\":{\"phase\":\"Running\"}}"},
        {VERB_PATCH, "apps", "deployments", "scale", "w", "{\"spec\":{\"replicas\":2}}"},
        {VERB_CREATE, "", "services", NULL, "s",
         "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}"},
        {VERB_CREATE, "", "events", NULL, "e",
         "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"namespace\":\"default\",\"name\":\"p\"}}"},
        {VERB_DELETE, "", "pods", NULL, "p", NULL},
    };
    struct candidate a;
    (void)state;
    assert_int_equal(
        call(admin, VERB_CREATE, "", "serviceaccounts", "default", "", "{\"metadata\":{\"name\":\"default\"}}").rc, 0);
    assert_int_equal(call(admin, VERB_CREATE, "", "pods", "default", "", pod).rc, 0);
    assert_int_equal(call(admin, VERB_CREATE, "apps", "deployments", "default", "", web).rc, 0);
    join(&a);
    settle();
    for (int round = 0; round < 2; round++) { /* behind a fence that has fallen, and behind one that stands */
        struct client *writer = client_create_local(&server, loop, "system:kube-scheduler", groups);
        struct client_fence fence = {.key = STR(CLIENT_FENCES "kube-scheduler"),
                                     .revision = round ? a.term : a.term - 1};
        client_fence(writer, &fence);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            assert_int_equal(call_on(writer, rows[i].verb, rows[i].group, rows[i].resource, rows[i].subresource,
                                     "default", rows[i].name, rows[i].body)
                                 .rc,
                             round ? 0 : ERR_FENCED);
        client_destroy(writer);
    }
    leader_destroy(a.leader);
}

/* Nobody else: a term that ended by itself is followed by another, with a fence of its own. */
static void test_fenced_by_itself(void **state)
{
    struct candidate a;
    (void)state;
    join(&a);
    settle();
    int64_t first = a.term;
    leader_fenced(a.leader);
    assert_int_equal(a.ended, 1);
    pass(5000);
    assert_int_equal(a.began, 2);
    assert_true(a.term > first);
    struct got g = call(admin, VERB_DELETE, "coordination.k8s.io", "leases", "kube-system", "kube-scheduler", NULL);
    assert_int_equal(g.rc, 0);
    settle();
    assert_int_equal(a.ended, 2);
    assert_int_equal(a.began, 3); /* there is no lease: at once */
    leader_destroy(a.leader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test_setup_teardown(test_first_and_renewal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_take_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_give_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fenced_by_itself, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
