/* The scheduler on a real API server's verbs, with the memory engine and in-process clients. */
#include "scheduler/scheduler.h"

#include "api/request.h"
#include "api/server.h"
#include "base/clock.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct api_server server;
static struct loop *loop;
static struct client *client;
static struct informer *pods, *events;
static struct scheduler *scheduler;
static struct arena *arena;
static struct timer deadline;

/* ---- calls ---- */

static int got_rc;
static bool answered, expired;

static void on_answer(void *arg, const struct client_answer *a)
{
    (void)arg;
    got_rc = a->rc;
    answered = true;
    if (a->rc < 0)
        print_message("%s\n", a->err->message);
    loop_stop(loop);
}

static struct value *parse(const char *json)
{
    struct json_options plain = {0};
    struct err err = ERR_INIT;
    struct value *v;
    char *text = arena_strdup(arena, json);
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    if (json_decode(arena, str_from(text), &plain, &v, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    return v;
}

static void call(enum verb verb, const char *resource, const char *sub, const char *ns, const char *name,
                 const char *body)
{
    struct client_call c = {.verb = verb,
                            .resource = resource_find(STR(""), str_from(resource)),
                            .subresource = str_from(sub),
                            .namespace_ = str_from(ns),
                            .name = str_from(name),
                            .grace_period_s = verb == VERB_DELETE ? 0 : -1,
                            .patch_type = PATCH_TYPE_STRATEGIC,
                            .body = body ? parse(body) : NULL};
    if (verb == VERB_PATCH && !sub)
        c.patch_type = PATCH_TYPE_MERGE;
    answered = false;
    client_send(client, &c, on_answer, NULL);
    while (!answered)
        loop_run(loop);
    if (got_rc < 0)
        fail_msg("%s %s %s", verb_name(verb), resource, name ? name : body);
}

static void create_node(const char *name, const char *cpu, const char *spec)
{
    call(
        VERB_CREATE, "nodes", NULL, NULL, NULL,
        arena_printf(arena,
                     "{'metadata':{'name':'%s','labels':{'kubernetes.io/hostname':'%s'}},'spec':{'unschedulable':true},"
                     "'status':{'allocatable':{'cpu':'%s','memory':'4Gi','pods':'110'}}}",
                     name, name, cpu)
            .p);
    /* new nodes are tainted as not ready: nobody else is here to take that away */
    call(VERB_PATCH, "nodes", NULL, NULL, name,
         arena_printf(arena, "{'spec':{%s}}", *spec ? spec : "'taints':null,'unschedulable':null").p);
}

static void create_pod(const char *name, const char *cpu, const char *more)
{
    call(VERB_CREATE, "pods", NULL, "default", NULL,
         arena_printf(arena,
                      "{'metadata':{'name':'%s','labels':{'app':'web'}},'spec':{'containers':[{'name':'c','image':'i',"
                      "'resources':{'requests':{'cpu':'%s'}}}]%s}}",
                      name, cpu, more)
             .p);
}

/* ---- waiting ---- */

static bool (*wanted)(const char *arg);
static const char *wanted_arg;

static void on_change(void *arg, const struct object *old, const struct object *now)
{
    (void)arg;
    (void)old;
    (void)now;
    if (wanted && wanted(wanted_arg))
        loop_stop(loop);
}

static void on_deadline(void *arg)
{
    (void)arg;
    expired = true;
    loop_stop(loop);
}

static void wait_for(bool (*fn)(const char *arg), const char *arg)
{
    wanted = fn;
    wanted_arg = arg;
    expired = false;
    timer_start(&deadline, loop, 8000, on_deadline, NULL);
    while (!fn(arg) && !expired)
        loop_run(loop);
    timer_stop(&deadline);
    wanted = NULL;
    if (expired)
        fail_msg("not within 8 s: %s", arg);
}

static const struct object *find_pod(const char *name)
{
    struct object_tree *t = informer_snapshot(pods);
    const struct object *o = object_tree_find(t, STR("default"), str_from(name));
    object_tree_put(t);
    return o;
}

static struct value *pod_value(const char *name)
{
    const struct object *o = find_pod(name);
    return o ? object_value(arena, o) : NULL;
}

static bool is_bound(const char *name)
{
    return value_path_str(pod_value(name), "spec.nodeName").len > 0;
}

static struct value *condition(const char *name)
{
    struct value *list = value_path(pod_value(name), "status.conditions");
    for (size_t i = 0; i < value_len(list); i++)
        if (str_eqz(value_path_str(value_at(list, i), "type"), "PodScheduled"))
            return value_at(list, i);
    return NULL;
}

static bool is_refused(const char *name)
{
    return str_eqz(value_path_str(condition(name), "status"), "False");
}

/* "Reason: message" */
static bool has_event(const char *text)
{
    bool found = false;
    struct object_tree *t = informer_snapshot(events);
    struct object_tree_iter it;
    const struct object *o;
    object_tree_iter_init(&it, t, STR("default"));
    while ((o = object_tree_next(&it))) {
        struct value *v = object_value(arena, o);
        struct str line = arena_printf(arena, STR_FMT ": " STR_FMT, STR_ARG(value_path_str(v, "reason")),
                                       STR_ARG(value_path_str(v, "message")));
        found = found || str_eqz(line, text);
    }
    object_tree_put(t);
    return found;
}

/* ---- set-up ---- */

static int setup(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters", NULL};
    struct err err = ERR_INIT;
    size_t n, kept = 0;
    arena = arena_create(0);
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
    client = client_create_local(&server, loop, "admin", groups);
    call(VERB_CREATE, "namespaces", NULL, NULL, NULL, "{'metadata':{'name':'default'}}");
    call(VERB_CREATE, "serviceaccounts", NULL, "default", NULL, "{'metadata':{'name':'default'}}");
    pods = client_informer(
        client, &(struct informer_options){.resource = resource_find(STR(""), STR("pods")), .on_change = on_change});
    events = client_informer(
        client, &(struct informer_options){.resource = resource_find(STR(""), STR("events")), .on_change = on_change});
    assert_int_equal(scheduler_start(&server, loop, NULL, &scheduler, &err), 0);
    return 0;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static int teardown(void **state)
{
    (void)state;
    scheduler_stop(scheduler);
    informer_destroy(pods);
    informer_destroy(events);
    loop_post(loop, stop, NULL);
    loop_run(loop);
    client_destroy(client);
    /* Writes under way (Events) are answered before an empty transaction is; then the loop hears of them. */
    struct kv_txn empty = {0};
    struct kv_txn_result result;
    struct err err = ERR_INIT;
    kv_txn_wait(server.kv, arena, &empty, &result, &err);
    loop_post(loop, stop, NULL);
    loop_run(loop);
    loop_destroy(loop);
    api_verbs_finish(&server);
    cache_destroy(server.cache);
    kv_close(server.kv);
    arena_destroy(arena);
    return 0;
}

/* ---- tests ---- */

static void test_binds(void **state)
{
    (void)state;
    create_node("n1", "2", "");
    create_pod("a", "500m", "");
    wait_for(is_bound, "a");
    assert_string_equal(value_path_str(pod_value("a"), "spec.nodeName").p, "n1");
    assert_true(str_eqz(value_path_str(condition("a"), "status"), "True"));
    wait_for(has_event, "Scheduled: Successfully assigned default/a to n1");
}

static void test_waits_for_a_node(void **state)
{
    (void)state;
    create_pod("a", "500m", "");
    wait_for(is_refused, "a");
    wait_for(has_event, "FailedScheduling: no nodes available to schedule pods");
    create_node("n1", "2", "");
    wait_for(is_bound, "a");
}

#define USELESS(n) "no new claims to deallocate, preemption: 0/" n " nodes are available: "

static void test_says_why_and_retries(void **state)
{
    (void)state;
    create_node("n1", "1", "");
    create_node("n2", "1", "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}],'unschedulable':null");
    create_node("n3", "1", "'taints':null");
    create_pod("a", "800m", "");
    wait_for(is_bound, "a");
    create_pod("b", "800m", "");
    wait_for(is_refused, "b");
    const char *message =
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were "
        "unschedulable. " USELESS(
            "3") "1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.";
    struct str said = value_path_str(condition("b"), "message");
    if (!str_eqz(said, message))
        fail_msg(STR_FMT, STR_ARG(said));
    assert_true(str_eqz(value_path_str(condition("b"), "reason"), "Unschedulable"));
    wait_for(has_event, arena_printf(arena, "FailedScheduling: %s", message).p);
    call(VERB_DELETE, "pods", NULL, "default", "a", NULL);
    wait_for(is_bound, "b");
}

static void test_waits_for_gates(void **state)
{
    (void)state;
    create_node("n1", "2", "");
    create_pod("gated", "100m", ",'schedulingGates':[{'name':'example.com/gate'}]");
    create_pod("free", "100m", "");
    wait_for(is_bound, "free");
    assert_false(is_bound("gated"));
    call(VERB_PATCH, "pods", NULL, "default", "gated", "{'spec':{'schedulingGates':null}}");
    wait_for(is_bound, "gated");
}

static void test_other_schedulers(void **state)
{
    (void)state;
    create_node("n1", "2", "");
    create_pod("other", "100m", ",'schedulerName':'mine'");
    create_pod("ours", "100m", "");
    wait_for(is_bound, "ours");
    assert_false(is_bound("other"));
}

static void test_cluster_changes(void **state)
{
    (void)state;
    create_node("n1", "2", "'taints':null");
    create_pod("a", "100m", "");
    wait_for(is_refused, "a");
    call(VERB_PATCH, "nodes", NULL, NULL, "n1", "{'spec':{'unschedulable':false}}");
    wait_for(is_bound, "a");
}

static bool is_gone(const char *name)
{
    return !find_pod(name);
}

static bool is_nominated(const char *name)
{
    return value_path_str(pod_value(name), "status.nominatedNodeName").len > 0;
}

static void test_preempts(void **state)
{
    (void)state;
    call(VERB_CREATE, "nodes", NULL, NULL, NULL, "{'metadata':{'name':'none'},'spec':{'unschedulable':true}}");
    create_node("n1", "1", "");
    struct client_call c = {.verb = VERB_CREATE,
                            .resource = resource_find(STR("scheduling.k8s.io"), STR("priorityclasses")),
                            .body = parse("{'metadata':{'name':'high'},'value':1000}"),
                            .grace_period_s = -1};
    answered = false;
    client_send(client, &c, on_answer, NULL);
    while (!answered)
        loop_run(loop);
    create_pod("low", "800m", "");
    wait_for(is_bound, "low");
    create_pod("high", "800m", ",'priorityClassName':'high'");
    wait_for(is_nominated, "high");
    /* the agent of the node would end it now */
    call(VERB_DELETE, "pods", NULL, "default", "low", NULL);
    wait_for(is_gone, "low");
    wait_for(is_bound, "high");
    wait_for(
        has_event,
        arena_printf(arena, "Preempted: Preempted by pod " STR_FMT " on node n1", STR_ARG(find_pod("high")->uid)).p);
}

static void test_many(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "n%d", i);
        create_node(name, "2", "");
    }
    for (int i = 0; i < 190; i++) {
        snprintf(name, sizeof name, "p%d", i);
        create_pod(name, "100m", "");
    }
    for (int i = 0; i < 190; i++) {
        snprintf(name, sizeof name, "p%d", i);
        wait_for(is_bound, name);
    }
    int per_node[10] = {0};
    for (int i = 0; i < 190; i++) {
        snprintf(name, sizeof name, "p%d", i);
        per_node[value_path_str(pod_value(name), "spec.nodeName").p[1] - '0']++;
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(per_node[i], 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_binds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits_for_a_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_says_why_and_retries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits_for_gates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_schedulers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cluster_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preempts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
