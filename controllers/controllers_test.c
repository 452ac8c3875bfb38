/* All controllers against a whole API server (memory engine), through the in-process client: what people see when they
 * create, scale, roll, roll back and delete. Pods are made Ready by hand: there is neither scheduler nor node. */
#include "api/client/client.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "controllers/controllers.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

static struct api_server *server;
static struct controllers *controllers;
static struct loop *loop;
static struct client *client;
static struct arena *arena;
static struct controllers_settings settings;

/* ---- calls ---- */

static struct {
    bool done;
    int rc;
    struct str message;
    struct value *object;
    struct value **list;
    size_t n_list;
} got;

static void on_answer(void *arg, const struct client_answer *a)
{
    (void)arg;
    memset(&got, 0, sizeof got);
    got.done = true;
    got.rc = a->rc;
    if (a->err)
        got.message = arena_str(arena, str_from(a->err->message));
    struct object_tree_iter it;
    const struct object *o;
    size_t cap = 0;
    if (a->object) { /* kept: strings point into it */
        arena_defer(arena, (void (*)(void *))object_put, (void *)object_get(a->object));
        got.object = object_value(arena, a->object);
    }
    if (a->list) {
        arena_defer(arena, (void (*)(void *))object_tree_put, object_tree_get(a->list));
        object_tree_iter_init(&it, a->list, STR(""));
        while ((o = object_tree_next(&it)))
            ARENA_PUSH(arena, got.list, got.n_list, cap, object_value(arena, o));
    }
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

static void send_call(struct client_call c)
{
    got.done = false;
    client_send(client, &c, on_answer, NULL);
    while (!got.done)
        loop_run(loop);
}

static struct client_call call_of(enum verb verb, const char *resource, const char *name)
{
    struct str group = STR(""), plain = str_from(resource), head;
    size_t dot;
    if (str_index(plain, '.', &dot)) {
        head = str_sub(plain, 0, dot);
        group = str_sub(plain, dot + 1, plain.len);
        plain = head;
    }
    struct client_call c = {.verb = verb,
                            .resource = resource_find(group, plain),
                            .name = str_from(name),
                            .grace_period_s = -1,
                            .patch_type = PATCH_TYPE_MERGE};
    assert_non_null(c.resource);
    if (c.resource->namespaced)
        c.namespace_ = STR("default");
    return c;
}

static void must(const char *what)
{
    if (got.rc < 0)
        fail_msg("%s: " STR_FMT, what, STR_ARG(got.message));
}

static void create_in(const char *namespace_, const char *resource, const char *body)
{
    struct client_call c = call_of(VERB_CREATE, resource, NULL);
    if (c.resource->namespaced)
        c.namespace_ = str_from(namespace_);
    c.body = parse(body);
    send_call(c);
    must(resource);
}

static void create(const char *resource, const char *body)
{
    create_in("default", resource, body);
}

static void patch(const char *resource, const char *name, const char *sub, const char *body)
{
    struct client_call c = call_of(VERB_PATCH, resource, name);
    c.subresource = str_from(sub);
    c.body = parse(body);
    send_call(c);
    must(resource);
}

static struct value *get(const char *resource, const char *name)
{
    send_call(call_of(VERB_GET, resource, name));
    return got.rc < 0 ? NULL : got.object;
}

static size_t list(const char *resource, const char *selector)
{
    struct client_call c = call_of(VERB_LIST, resource, NULL);
    c.label_selector = str_from(selector);
    send_call(c);
    must(resource);
    return got.n_list;
}

static void delete_with(const char *resource, const char *name, const char *policy)
{
    struct client_call c = call_of(VERB_DELETE, resource, name);
    c.propagation_policy = str_from(policy);
    send_call(c);
    must(resource);
}

static void on_tick(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void tick(int64_t ms)
{
    struct timer t = {0};
    timer_start(&t, loop, ms, on_tick, NULL);
    loop_run(loop);
    timer_stop(&t);
}

#define AWAIT(condition)                                     \
    do {                                                     \
        int64_t until_ms_ = clock_mono_ms() + PATIENCE_MS;   \
        while (!(condition)) {                               \
            if (clock_mono_ms() > until_ms_)                 \
                fail_msg("never came true: %s", #condition); \
            tick(5);                                         \
        }                                                    \
    } while (0)

/* ---- life ---- */

static int setup(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters", NULL};
    static char dir[] = "/tmp/skiff-controllers-XXXXXX";
    struct err err = ERR_INIT;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    struct api_server_options opt = {.data_dir = dir,
                                     .listen = "127.0.0.1:0",
                                     .store = "memory",
                                     .service_cidr = "10.96.0.0/16",
                                     .pod_cidr = "10.244.0.0/16",
                                     .n_loops = 1};
    if (api_server_start(&opt, &server, &err) < 0)
        fail_msg("%s", err.message);
    arena = arena_create(0);
    loop = loop_create("test");
    client = client_create_local(server, loop, "admin", groups);
    settings = (struct controllers_settings){.ca_pem = server->ca_pem, .pod_cidr = "10.244.0.0/16"};
    if (controllers_start(server, loop, &settings, controllers_all(), &controllers, &err) < 0)
        fail_msg("%s", err.message);
    AWAIT(get("serviceaccounts", "default"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    controllers_stop(controllers);
    client_destroy(client);
    tick(20);
    api_server_stop(server);
    loop_destroy(loop);
    arena_destroy(arena);
    return 0;
}

/* ---- looking ---- */

static int64_t number(struct value *v, const char *path)
{
    return value_path_int(v, path, 0);
}

static bool is(struct value *v, const char *path, const char *want)
{
    return str_eqz(value_path_str(v, path), want);
}

static struct str condition(struct value *v, const char *type, const char *member)
{
    struct value *conditions = value_path(v, "status.conditions");
    for (size_t i = 0; i < value_len(conditions); i++) {
        if (is(value_at(conditions, i), "type", type))
            return value_path_str(value_at(conditions, i), member);
    }
    return STR_NULL;
}

static void expect_str(struct str have, const char *want)
{
    if (!str_eqz(have, want))
        fail_msg("\"" STR_FMT "\", want \"%s\"", STR_ARG(have), want);
}

#define NOW "2026-01-02T03:04:05Z"
/* What a node would report of every pod that is not Ready yet; answers how many there were. */
static size_t make_ready(const char *selector)
{
    size_t n = list("pods", selector), done = 0;
    struct value **pods = got.list;
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(condition(pods[i], "Ready", "status"), "True") || value_path(pods[i], "metadata.deletionTimestamp"))
            continue;
        static int last;
        char body[400];
        snprintf(
            body, sizeof body,
            "{'status':{'phase':'Running','podIP':'10.0.%d.%d','podIPs':[{'ip':'10.0.%d.%d'}],'conditions':[{'type':"
            "'Ready','status':'True','lastTransitionTime':'" NOW "'}]}}",
            last / 250, last % 250 + 1, last / 250, last % 250 + 1);
        last++;
        patch("pods", arena_str(arena, value_path_str(pods[i], "metadata.name")).p, "status", body);
        done++;
    }
    return done;
}

/* With readiness on the way, until all is as wanted. */
static bool rolled_out(const char *name, const char *selector)
{
    make_ready(selector);
    struct value *d = get("deployments.apps", name);
    int64_t replicas = number(d, "spec.replicas");
    return number(d, "status.observedGeneration") >= number(d, "metadata.generation") &&
           number(d, "status.updatedReplicas") == replicas && number(d, "status.replicas") == replicas &&
           number(d, "status.availableReplicas") == replicas &&
           str_eqz(condition(d, "Progressing", "reason"), "NewReplicaSetAvailable");
}

#define DEPLOYMENT(name, replicas, image)                                                                        \
    "{'metadata':{'name':'" name "'},'spec':{'replicas':" replicas ",'selector':{'matchLabels':{'app':'" name    \
    "'}},'template':{'metadata':{'labels':{'app':'" name "'}},'spec':{'containers':[{'name':'c','image':'" image \
    "'}]}}}}"

static struct value *set_of_revision(const char *selector, const char *revision)
{
    size_t n = list("replicasets.apps", selector);
    for (size_t i = 0; i < n; i++) {
        struct value *notes = value_path(got.list[i], "metadata.annotations");
        if (str_eqz(value_str(value_getz(notes, "deployment.kubernetes.io/revision")), revision))
            return got.list[i];
    }
    return NULL;
}

/* ---- the tests ---- */

static void test_deployment(void **state)
{
    (void)state;
    create("deployments.apps", DEPLOYMENT("web", "3", "a:1"));
    AWAIT(list("pods", "app=web") == 3);
    AWAIT(rolled_out("web", "app=web"));
    struct value *d = get("deployments.apps", "web"), *rs = set_of_revision("app=web", "1");
    assert_non_null(rs);
    expect_str(condition(d, "Available", "message"), "Deployment has minimum availability.");
    expect_str(condition(d, "Progressing", "message"),
               arena_printf(arena, "ReplicaSet \"" STR_FMT "\" has successfully progressed.",
                            STR_ARG(value_path_str(rs, "metadata.name")))
                   .p);
    assert_int_equal(number(rs, "status.readyReplicas"), 3);

    patch("deployments.apps", "web", NULL, "{'spec':{'replicas':5}}");
    AWAIT(rolled_out("web", "app=web"));
    assert_int_equal(list("pods", "app=web"), 5);
    patch("deployments.apps", "web", NULL, "{'spec':{'replicas':2}}");
    AWAIT(list("pods", "app=web") == 2);
    AWAIT(rolled_out("web", "app=web"));

    /* a new template rolls; the old set stays at zero */
    patch("deployments.apps", "web", NULL,
          "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'a:2'}]}}}}");
    AWAIT(set_of_revision("app=web", "2"));
    AWAIT(rolled_out("web", "app=web"));
    AWAIT(number(set_of_revision("app=web", "1"), "status.replicas") == 0);
    assert_int_equal(number(set_of_revision("app=web", "1"), "spec.replicas"), 0);

    /* back to the first: its set becomes the newest revision */
    patch("deployments.apps", "web", NULL,
          "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'a:1'}]}}}}");
    AWAIT(set_of_revision("app=web", "3"));
    AWAIT(rolled_out("web", "app=web"));
    assert_null(set_of_revision("app=web", "1"));
    assert_int_equal(list("replicasets.apps", "app=web"), 2);
    d = get("deployments.apps", "web");
    expect_str(value_str(value_getz(value_path(d, "metadata.annotations"), "deployment.kubernetes.io/revision")), "3");

    delete_with("deployments.apps", "web", "Background");
    AWAIT(list("replicasets.apps", "app=web") == 0);
    AWAIT(list("pods", "app=web") == 0);
}

static void test_foreground(void **state)
{
    (void)state;
    create("deployments.apps", DEPLOYMENT("front", "2", "a:1"));
    AWAIT(list("pods", "app=front") == 2);
    delete_with("deployments.apps", "front", "Foreground");
    AWAIT(!get("deployments.apps", "front"));
    assert_int_equal(list("replicasets.apps", "app=front"), 0);
    assert_int_equal(list("pods", "app=front"), 0);
}

static void test_orphan(void **state)
{
    (void)state;
    create("deployments.apps", DEPLOYMENT("lost", "2", "a:1"));
    AWAIT(list("pods", "app=lost") == 2);
    delete_with("deployments.apps", "lost", "Orphan");
    AWAIT(!get("deployments.apps", "lost"));
    assert_int_equal(list("replicasets.apps", "app=lost"), 1);
    assert_int_equal(value_len(value_path(got.list[0], "metadata.ownerReferences")), 0);
    tick(100);
    assert_int_equal(list("pods", "app=lost"), 2);
    /* a Deployment of the same template takes the set over again */
    create("deployments.apps", DEPLOYMENT("lost", "2", "a:1"));
    AWAIT(rolled_out("lost", "app=lost"));
    assert_int_equal(list("replicasets.apps", "app=lost"), 1);
    assert_int_equal(list("pods", "app=lost"), 2);
    delete_with("deployments.apps", "lost", "Background");
    AWAIT(list("pods", "app=lost") == 0);
}

static void test_namespace(void **state)
{
    (void)state;
    create("namespaces", "{'metadata':{'name':'box'}}");
    struct client_call c = call_of(VERB_GET, "configmaps", "kube-root-ca.crt");
    c.namespace_ = STR("box");
    AWAIT((send_call(c), got.rc == 0));
    expect_str(value_str(value_getz(value_path(got.object, "data"), "ca.crt")), server->ca_pem);
    create_in("box", "deployments.apps", DEPLOYMENT("web", "2", "a:1"));
    create_in("box", "services", "{'metadata':{'name':'s'},'spec':{'selector':{'app':'web'},'ports':[{'port':80}]}}");
    create_in("box", "configmaps", "{'metadata':{'name':'held','finalizers':['example.com/hold']}}");
    struct client_call pods = call_of(VERB_LIST, "pods", NULL);
    pods.namespace_ = STR("box");
    AWAIT((send_call(pods), got.n_list == 2));
    delete_with("namespaces", "box", NULL);
    AWAIT(is(get("namespaces", "box"), "status.phase", "Terminating") &&
          str_eqz(condition(got.object, "NamespaceContentRemaining", "message"),
                  "Some resources are remaining: configmaps. has 1 resource instances"));
    expect_str(condition(got.object, "NamespaceFinalizersRemaining", "message"),
               "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances");
    c = call_of(VERB_PATCH, "configmaps", "held");
    c.namespace_ = STR("box");
    c.body = parse("{'metadata':{'finalizers':null}}");
    send_call(c);
    must("held");
    AWAIT(!get("namespaces", "box"));
    send_call(pods);
    assert_int_equal(got.n_list, 0);
}

static void test_node_ranges(void **state)
{
    (void)state;
    create("nodes", "{'metadata':{'name':'n1'}}");
    create("nodes", "{'metadata':{'name':'n2'}}");
    AWAIT(value_path_str(get("nodes", "n1"), "spec.podCIDR").len &&
          value_path_str(get("nodes", "n2"), "spec.podCIDR").len);
    expect_str(value_path_str(get("nodes", "n1"), "spec.podCIDR"), "10.244.0.0/24");
    expect_str(value_path_str(get("nodes", "n2"), "spec.podCIDR"), "10.244.1.0/24");
    expect_str(value_str(value_at(value_path(got.object, "spec.podCIDRs"), 0)), "10.244.1.0/24");
    delete_with("nodes", "n1", NULL);
    create("nodes", "{'metadata':{'name':'n3'}}");
    AWAIT(value_path_str(get("nodes", "n3"), "spec.podCIDR").len);
    expect_str(value_path_str(got.object, "spec.podCIDR"), "10.244.0.0/24");
    delete_with("nodes", "n2", NULL);
    delete_with("nodes", "n3", NULL);
}

static void test_slices(void **state)
{
    (void)state;
    create("services",
           "{'metadata':{'name':'s'},'spec':{'selector':{'app':'back'},'ports':[{'port':80,'targetPort':8080}]}}");
    create("deployments.apps", DEPLOYMENT("back", "2", "a:1"));
    AWAIT(rolled_out("back", "app=back"));
    AWAIT(list("endpointslices.discovery.k8s.io", "kubernetes.io/service-name=s") == 1 &&
          value_len(value_path(got.list[0], "endpoints")) == 2);
    struct value *slice = got.list[0];
    assert_int_equal(number(value_at(value_path(slice, "ports"), 0), "port"), 8080);
    AWAIT(value_len(value_path(value_at(value_path(get("endpoints", "s"), "subsets"), 0), "addresses")) == 2);
    assert_int_equal(number(value_at(value_path(value_at(value_path(got.object, "subsets"), 0), "ports"), 0), "port"),
                     8080);
    expect_str(value_str(value_getz(value_path(got.object, "metadata.labels"), "endpoints.kubernetes.io/managed-by")),
               "endpoint-controller");
    delete_with("deployments.apps", "back", "Background");
    AWAIT(list("endpointslices.discovery.k8s.io", "kubernetes.io/service-name=s") == 1 &&
          value_len(value_path(got.list[0], "endpoints")) == 0);
    AWAIT(value_len(value_path(get("endpoints", "s"), "subsets")) == 0);
    delete_with("services", "s", NULL);
    AWAIT(!get("endpoints", "s"));
    AWAIT(list("endpointslices.discovery.k8s.io", "kubernetes.io/service-name=s") == 0);
}

static struct value *taint_of(struct value *node, const char *key, const char *effect)
{
    struct value *taints = value_path(node, "spec.taints");
    for (size_t i = 0; i < value_len(taints); i++) {
        if (is(value_at(taints, i), "key", key) && is(value_at(taints, i), "effect", effect))
            return value_at(taints, i);
    }
    return NULL;
}

#define NODE_READY(ready)                                       \
    "{'status':{'conditions':[{'type':'Ready','status':'" ready \
    "','reason':'x','message':'y','lastHeartbeatTime':'2026-"   \
    "01-01T00:00:00Z','lastTransitionTime':'2026-01-01T00:00:00Z'}]}}"

static void test_node_health(void **state)
{
    (void)state;
    create("nodes", "{'metadata':{'name':'sick'}}");
    patch("nodes", "sick", "status", NODE_READY("True"));
    create("pods", "{'metadata':{'name':'p','labels':{'on':'sick'}},'spec':{'nodeName':'sick','containers':[{'name':'c'"
                   ",'image':'i'}]}}");
    create(
        "pods",
        "{'metadata':{'name':'q','labels':{'on':'sick'}},'spec':{'nodeName':'sick','terminationGracePeriodSeconds':0,"
        "'tolerations':[{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute',"
        "'tolerationSeconds':0}],'containers':[{'name':'c','image':'i'}]}}");
    make_ready("on=sick");
    patch("nodes", "sick", "status", NODE_READY("False"));
    AWAIT(taint_of(get("nodes", "sick"), "node.kubernetes.io/not-ready", "NoExecute"));
    assert_non_null(taint_of(get("nodes", "sick"), "node.kubernetes.io/not-ready", "NoSchedule"));
    AWAIT(str_eqz(condition(get("pods", "p"), "Ready", "status"), "False"));
    AWAIT(!get("pods", "q"));
    assert_false(value_path(get("pods", "p"), "metadata.deletionTimestamp") !=
                 NULL); /* tolerates it for five minutes */
    patch("nodes", "sick", "status", NODE_READY("True"));
    AWAIT(value_len(value_path(get("nodes", "sick"), "spec.taints")) == 0);
    patch("nodes", "sick", NULL, "{'spec':{'taints':[{'key':'out','effect':'NoExecute'}]}}");
    AWAIT(value_path(get("pods", "p"), "metadata.deletionTimestamp"));
    expect_str(condition(got.object, "DisruptionTarget", "reason"), "DeletionByTaintManager");
    struct client_call c = call_of(VERB_DELETE, "pods", "p");
    c.grace_period_s = 0;
    send_call(c);
    delete_with("nodes", "sick", NULL);
}

static void test_daemonset(void **state)
{
    (void)state;
    create("nodes", "{'metadata':{'name':'d1','labels':{'disk':'fast'}}}");
    create("nodes", "{'metadata':{'name':'d2','labels':{'disk':'fast'}}}");
    create("nodes", "{'metadata':{'name':'d3'}}");
    for (int i = 1; i <= 3; i++)
        patch("nodes", arena_printf(arena, "d%d", i).p, "status", NODE_READY("True"));
    create(
        "daemonsets.apps",
        "{'metadata':{'name':'ds'},'spec':{'selector':{'matchLabels':{'app':'ds'}},'template':{'metadata':"
        "{'labels':{'app':'ds'}},'spec':{'nodeSelector':{'disk':'fast'},'containers':[{'name':'c','image':'a:1'}]}}}}");
    AWAIT(list("pods", "app=ds") == 2);
    AWAIT((make_ready("app=ds"), number(get("daemonsets.apps", "ds"), "status.numberAvailable") == 2));
    assert_int_equal(number(got.object, "status.desiredNumberScheduled"), 2);
    assert_int_equal(list("controllerrevisions.apps", "app=ds"), 1);
    patch("nodes", "d3", NULL, "{'metadata':{'labels':{'disk':'fast'}}}");
    AWAIT((make_ready("app=ds"), number(get("daemonsets.apps", "ds"), "status.numberAvailable") == 3));
    patch("daemonsets.apps", "ds", NULL, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'a:2'}]}}}}");
    AWAIT((make_ready("app=ds"),
           number(get("daemonsets.apps", "ds"), "status.updatedNumberScheduled") == 3 &&
               number(got.object, "status.numberAvailable") == 3 &&
               number(got.object, "status.observedGeneration") == number(got.object, "metadata.generation")));
    assert_int_equal(list("controllerrevisions.apps", "app=ds"), 2);
    patch("nodes", "d3", NULL, "{'metadata':{'labels':{'disk':null}}}");
    AWAIT(list("pods", "app=ds") == 2);
    delete_with("daemonsets.apps", "ds", "Background");
    AWAIT(list("pods", "app=ds") == 0);
    AWAIT(list("controllerrevisions.apps", "app=ds") == 0);
    for (int i = 1; i <= 3; i++)
        delete_with("nodes", arena_printf(arena, "d%d", i).p, NULL);
}

/* What a node would report when the pods have ended; answers how many there were. */
static size_t end_pods(const char *selector, const char *phase)
{
    size_t n = list("pods", selector), done = 0;
    struct value **pods = got.list;
    for (size_t i = 0; i < n; i++) {
        if (!is(pods[i], "status.phase", "Pending") || value_path(pods[i], "metadata.deletionTimestamp"))
            continue;
        patch("pods", arena_str(arena, value_path_str(pods[i], "metadata.name")).p, "status",
              arena_printf(arena, "{'status':{'phase':'%s'}}", phase).p);
        done++;
    }
    return done;
}

#define JOB(name, more)                                                                              \
    "{'metadata':{'name':'" name "'},'spec':{" more "'template':{'metadata':{'labels':{'app':'" name \
    "'}},'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'a:1'}]}}}}"

static void test_job(void **state)
{
    (void)state;
    create("jobs.batch", JOB("one", "'completions':3,'parallelism':2,"));
    AWAIT(list("pods", "app=one") == 2);
    AWAIT(
        (end_pods("app=one", "Succeeded"), str_eqz(condition(get("jobs.batch", "one"), "Complete", "status"), "True")));
    assert_int_equal(number(got.object, "status.succeeded"), 3);
    assert_int_equal(number(got.object, "status.active"), 0);
    expect_str(condition(got.object, "Complete", "message"), "Reached expected number of succeeded pods");
    assert_int_equal(list("pods", "app=one"), 3);
    delete_with("jobs.batch", "one", "Background");
    AWAIT(list("pods", "app=one") == 0);

    create("jobs.batch", JOB("bad", "'backoffLimit':0,"));
    AWAIT((end_pods("app=bad", "Failed"), str_eqz(condition(get("jobs.batch", "bad"), "Failed", "status"), "True")));
    expect_str(condition(got.object, "Failed", "reason"), "BackoffLimitExceeded");
    delete_with("jobs.batch", "bad", "Background");
    AWAIT(list("pods", "app=bad") == 0);

    create("jobs.batch", JOB("many", "'completionMode':'Indexed','completions':3,'parallelism':3,"));
    AWAIT((end_pods("app=many", "Succeeded"),
           str_eqz(condition(get("jobs.batch", "many"), "Complete", "status"), "True")));
    expect_str(value_path_str(got.object, "status.completedIndexes"), "0-2");
    delete_with("jobs.batch", "many", "Background");
    AWAIT(list("pods", "app=many") == 0);

    create("jobs.batch", JOB("later", "'suspend':true,"));
    AWAIT(str_eqz(condition(get("jobs.batch", "later"), "Suspended", "status"), "True"));
    assert_int_equal(list("pods", "app=later"), 0);
    patch("jobs.batch", "later", NULL, "{'spec':{'suspend':false}}");
    AWAIT(list("pods", "app=later") == 1);
    delete_with("jobs.batch", "later", "Background");
    AWAIT(list("pods", "app=later") == 0);
}

static void test_statefulset(void **state)
{
    (void)state;
    create("statefulsets.apps",
           "{'metadata':{'name':'db'},'spec':{'serviceName':'db','replicas':3,'selector':{'matchLabels':{'app':'db'}},"
           "'template':{'metadata':{'labels':{'app':'db'}},'spec':{'terminationGracePeriodSeconds':0,"
           "'containers':[{'name':'c','image':'a:1'}]}}}}");
    AWAIT(list("pods", "app=db") == 1);
    tick(50);
    assert_int_equal(list("pods", "app=db"), 1); /* the next when this one is ready */
    AWAIT((make_ready("app=db"), number(get("statefulsets.apps", "db"), "status.readyReplicas") == 3));
    expect_str(value_path_str(get("pods", "db-2"), "spec.hostname"), "db-2");
    expect_str(value_path_str(got.object, "spec.subdomain"), "db");
    struct str first = value_path_str(get("statefulsets.apps", "db"), "status.updateRevision");
    patch("statefulsets.apps", "db", NULL,
          "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'a:2'}]}}}}");
    AWAIT((make_ready("app=db"), number(get("statefulsets.apps", "db"), "status.updatedReplicas") == 3 &&
                                     str_eq(value_path_str(got.object, "status.currentRevision"),
                                            value_path_str(got.object, "status.updateRevision")) &&
                                     !str_eq(value_path_str(got.object, "status.updateRevision"), first)));
    expect_str(value_path_str(value_at(value_path(get("pods", "db-0"), "spec.containers"), 0), "image"), "a:2");
    patch("statefulsets.apps", "db", NULL, "{'spec':{'replicas':1}}");
    AWAIT((make_ready("app=db"), list("pods", "app=db") == 1));
    assert_non_null(get("pods", "db-0"));
    delete_with("statefulsets.apps", "db", "Background");
    AWAIT(list("pods", "app=db") == 0);
}

static void test_cronjob(void **state)
{
    (void)state;
    create("cronjobs.batch",
           "{'metadata':{'name':'tick'},'spec':{'schedule':'@every 1s','successfulJobsHistoryLimit':0,'jobTemplate':"
           "{'metadata':{'labels':{'app':'tick'}},'spec':{'template':{'metadata':{'labels':{'app':'tick'}},'spec':"
           "{'restartPolicy':'Never','containers':[{'name':'c','image':'a:1'}]}}}}}}");
    AWAIT(list("jobs.batch", "app=tick") == 1 &&
          value_len(value_path(get("cronjobs.batch", "tick"), "status.active")) == 1);
    patch("cronjobs.batch", "tick", NULL, "{'spec':{'suspend':true}}");
    AWAIT((end_pods("app=tick", "Succeeded"), list("jobs.batch", "app=tick") == 0));
    AWAIT(value_len(value_path(get("cronjobs.batch", "tick"), "status.active")) == 0);
    assert_true(value_path_str(got.object, "status.lastSuccessfulTime").len > 0);
    delete_with("cronjobs.batch", "tick", "Background");
}

static void test_account(void **state)
{
    (void)state;
    delete_with("serviceaccounts", "default", NULL);
    AWAIT(get("serviceaccounts", "default"));
    patch("configmaps", "kube-root-ca.crt", NULL, "{'data':{'ca.crt':'x'}}");
    AWAIT(str_eqz(value_str(value_getz(value_path(get("configmaps", "kube-root-ca.crt"), "data"), "ca.crt")),
                  server->ca_pem));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account),    cmocka_unit_test(test_node_ranges), cmocka_unit_test(test_deployment),
        cmocka_unit_test(test_foreground), cmocka_unit_test(test_orphan),      cmocka_unit_test(test_slices),
        cmocka_unit_test(test_namespace),  cmocka_unit_test(test_node_health), cmocka_unit_test(test_daemonset),
        cmocka_unit_test(test_job),        cmocka_unit_test(test_statefulset), cmocka_unit_test(test_cronjob),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
