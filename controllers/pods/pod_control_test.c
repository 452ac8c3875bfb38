/* Which pods a controller counts, keeps and lets go first. */
#include "controllers/pods/pod_control.h"
#include "controllers/runtime/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_MS 1767322800000 /* 2026-01-02T03:00:00Z */

static const struct controller owner_and_pods = {.watches = {{"apps", "replicasets", NULL}, {"", "pods", NULL}}};

static char *text(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    char *copy = arena_memdup(a, s.p, s.len + 1);
    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    return copy;
}

/* extra: further members of metadata, beginning with a comma; spec and status: members of theirs. */
static const char *pod(struct arena *a, const char *name, const char *extra, const char *spec, const char *status)
{
    return text(
        a,
        "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'n','uid':'uid-%s','creationTimestamp':"
        "'2026-01-01T00:00:00Z'%s},'spec':{%s},'status':{%s}}",
        name, name, extra, spec, status);
}

#define READY(since) \
    "'phase':'Running','conditions':[{'type':'Ready','status':'True','lastTransitionTime':'" since "'}]"

static void test_rank(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    const char *objects[] = {
        pod(a, "old", "", "'nodeName':'a'", READY("2026-01-01T00:00:00Z")),
        pod(a, "cheap", ",'annotations':{'controller.kubernetes.io/pod-deletion-cost':'-5'}", "'nodeName':'b'",
            READY("2026-01-01T00:00:00Z")),
        pod(a, "fresh", "", "'nodeName':'c'", READY("2026-01-02T00:00:00Z")),
        pod(a, "unready", "", "'nodeName':'d'", "'phase':'Running'"),
        pod(a, "pending", "", "'nodeName':'e'", "'phase':'Pending'"),
        pod(a, "unassigned", "", "", "'phase':'Pending'"),
        pod(a, "twin1", "", "'nodeName':'f'", READY("2026-01-01T00:00:00Z")),
        pod(a, "twin2", "", "'nodeName':'f'", READY("2026-01-01T06:00:00Z")),
        pod(a, "restarted", "", "'nodeName':'g'",
            READY("2026-01-01T00:00:00Z") ",'containerStatuses':[{'name':'c','restartCount':3}]"),
    };
    static const char *const want[] = {"unassigned", "pending", "unready",   "cheap", "twin2",
                                       "twin1",      "fresh",   "restarted", "old"};
    size_t n = sizeof objects / sizeof *objects;
    struct view *v = view_from_objects(a, &owner_and_pods, objects, n);
    const struct object **all;
    struct pod_state states[16];
    assert_int_equal(view_list(v, a, 1, STR("n"), &all), n);
    for (size_t i = 0; i < n; i++)
        pod_state_read(a, all[i], 0, NOW_MS, &states[i]);
    pods_rank_for_deletion(a, states, n);
    for (size_t i = 0; i < n; i++)
        if (!str_eqz(states[i].object->name, want[i]))
            fail_msg("%zu is " STR_FMT ", want %s", i, STR_ARG(states[i].object->name), want[i]);
    arena_destroy(a);
}

static void test_available(void **state)
{
    (void)state;
    static const struct {
        const char *extra, *status;
        int64_t min_ready_s;
        bool active, ready, available;
    } rows[] = {
        {"", "'phase':'Pending'", 0, true, false, false},
        {"", READY("2026-01-02T02:59:55Z"), 0, true, true, true},
        {"", READY("2026-01-02T02:59:55Z"), 10, true, true, false},
        {"", READY("2026-01-02T02:59:50Z"), 10, true, true, true},
        {"", "'phase':'Succeeded'", 0, false, false, false},
        {"", "'phase':'Failed'", 0, false, false, false},
        {",'deletionTimestamp':'2026-01-02T02:59:55Z'", READY("2026-01-01T00:00:00Z"), 0, false, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        const char *objects[] = {pod(a, "p", rows[i].extra, "", rows[i].status)};
        struct view *v = view_from_objects(a, &owner_and_pods, objects, 1);
        struct pod_state s;
        pod_state_read(a, view_find(v, 1, STR("n"), STR("p")), rows[i].min_ready_s, NOW_MS, &s);
        if (s.active != rows[i].active || s.ready != rows[i].ready || s.available != rows[i].available)
            fail_msg("row %zu: active %d ready %d available %d", i, s.active, s.ready, s.available);
        arena_destroy(a);
    }
}

#define OWNED(uid) \
    ",'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'o','uid':'" uid "','controller':true}]"

static void test_claim(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    const char *objects[] = {
        text(a, "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'o','namespace':'n','uid':'me'}}"),
        pod(a, "mine", ",'labels':{'a':'b'}" OWNED("me"), "", ""),
        pod(a, "orphan", ",'labels':{'a':'b'}", "", ""),
        pod(a, "released", ",'labels':{'a':'c'}" OWNED("me"), "", ""),
        pod(a, "other", ",'labels':{'a':'b'}" OWNED("you"), "", ""),
        pod(a, "stranger", ",'labels':{'a':'c'}", "", ""),
    };
    struct view *v = view_from_objects(a, &owner_and_pods, objects, sizeof objects / sizeof *objects);
    struct outcome out = {.arena = a};
    struct label_selector selector;
    struct pod_state *pods;
    struct err err = ERR_INIT;
    assert_int_equal(label_selector_parse(a, STR("a=b"), &selector, &err), 0);
    size_t n = pods_claim(v, 1, view_find(v, 0, STR("n"), STR("o")), &selector, 0, NOW_MS, &out, &pods);
    assert_int_equal(n, 2);
    assert_true(str_eqz(pods[0].object->name, "mine"));
    assert_true(str_eqz(pods[1].object->name, "orphan"));
    assert_int_equal(out.n_writes, 2);
    assert_true(str_eqz(out.writes[0].call.name, "released"));
    assert_int_equal(value_len(value_path(out.writes[0].call.body, "metadata.ownerReferences")), 0);
    assert_true(str_eqz(out.writes[1].call.name, "orphan"));
    assert_int_equal(value_len(value_path(out.writes[1].call.body, "metadata.ownerReferences")), 1);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rank), cmocka_unit_test(test_available),
                                       cmocka_unit_test(test_claim)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
