/* The verbs through the in-process client, over the memory engine. */
#include "api/client/client.h"
#include "api/registry/services.h"
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
static struct arena *arena;

/* What an answer was, kept past the callback. */
static struct {
    bool done;
    int rc;
    struct str message;
    struct value *object; /* the object or the value */
    struct value *status;
    int64_t revision;
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
    struct buf text = {0};
    if (a->object) {
        got.revision = a->object->revision;
        json_encode(&text, object_value(arena, a->object));
    } else if (a->value) {
        json_encode(&text, a->value);
    }
    if (a->list)
        got.n_list = object_tree_len(a->list);
    if (text.len) {
        struct json_options plain = {0};
        struct err err = ERR_INIT;
        assert_int_equal(json_decode(arena, arena_str(arena, buf_str(&text)), &plain, &got.object, &err), 0);
    }
    buf_free(&text);
    loop_stop(loop);
}

static void send_call(const struct client_call *call)
{
    got.done = false;
    client_send(client, call, on_answer, NULL);
    loop_run(loop);
    assert_true(got.done);
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

static void call(enum verb verb, const char *group, const char *resource, const char *sub, const char *ns,
                 const char *name, const char *body)
{
    struct client_call c = {.verb = verb,
                            .resource = resource_find(str_from(group), str_from(resource)),
                            .subresource = str_from(sub),
                            .namespace_ = str_from(ns),
                            .name = str_from(name),
                            .grace_period_s = -1,
                            .patch_type = PATCH_TYPE_MERGE};
    assert_non_null(c.resource);
    if (body)
        c.body = parse(body);
    send_call(&c);
}

static void create(const char *group, const char *resource, const char *ns, const char *body)
{
    call(VERB_CREATE, group, resource, NULL, ns, NULL, body);
    if (got.rc < 0)
        fail_msg("create %s: " STR_FMT, resource, STR_ARG(got.message));
}

static void expect(const char *path, const char *want)
{
    struct str s = value_path_str(got.object, path);
    if (!str_eqz(s, want))
        fail_msg("%s is \"" STR_FMT "\", want \"%s\"", path, STR_ARG(s), want);
}

static void expect_err(int rc, const char *message)
{
    if (got.rc != rc || !str_eqz(got.message, message))
        fail_msg("%d \"" STR_FMT "\", want %d \"%s\"", got.rc, STR_ARG(got.message), rc, message);
}

static int setup(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters", NULL};
    struct err err = ERR_INIT;
    size_t n, kept = 0;
    arena = arena_create(0);
    memset(&server, 0, sizeof server);
    server.options.service_cidr = "10.96.0.0/16";
    if (kv_open_memory(&server.kv, &err) < 0)
        fail_msg("%s", err.message);
    const struct resource *const *all = resources_builtin(&n);
    const struct resource **stored = ARENA_ARRAY(arena, const struct resource *, n);
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && (!all[i]->stored_as || all[i]->stored_as == all[i]))
            stored[kept++] = all[i];
    if (cache_create(server.kv, stored, kept, &server.cache, &err) < 0 ||
        cache_add_keys(server.cache, STR(SERVICE_PORT_PREFIX), &err) < 0)
        fail_msg("%s", err.message);
    if (api_verbs_init(&server, &err) < 0)
        fail_msg("%s", err.message);
    loop = loop_create("test");
    client = client_create_local(&server, loop, "admin", groups);
    create("", "namespaces", NULL, "{'metadata':{'name':'default'}}");
    create("", "serviceaccounts", "default", "{'metadata':{'name':'default'}}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_destroy(client);
    loop_destroy(loop);
    api_verbs_finish(&server);
    cache_destroy(server.cache);
    kv_close(server.kv);
    arena_destroy(arena);
    return 0;
}

#define POD(name) "{'metadata':{'name':'" name "'},'spec':{'containers':[{'name':'c','image':'i'}]}}"
#define BOUND(name) "{'metadata':{'name':'" name "'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}]}}"
#define DEPLOYMENT(name)                                                                   \
    "{'metadata':{'name':'" name                                                           \
    "'},'spec':{'replicas':2,'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':" \
    "{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}"

/* ---- statuses and their sentences ---- */

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        enum verb verb;
        const char *group, *resource, *sub, *ns, *name, *body;
        int rc;
        const char *message;
    } rows[] = {
        {VERB_GET, "", "pods", NULL, "default", "no", NULL, ERR_NOT_FOUND, "pods \"no\" not found"},
        {VERB_GET, "apps", "deployments", NULL, "default", "no", NULL, ERR_NOT_FOUND,
         "deployments.apps \"no\" not found"},
        {VERB_DELETE, "", "pods", NULL, "default", "no", NULL, ERR_NOT_FOUND, "pods \"no\" not found"},
        {VERB_PATCH, "", "pods", NULL, "default", "no", "{}", ERR_NOT_FOUND, "pods \"no\" not found"},
        {VERB_CREATE, "", "pods", NULL, "nowhere", NULL, POD("x"), ERR_NOT_FOUND, "namespaces \"nowhere\" not found"},
        {VERB_CREATE, "", "namespaces", NULL, NULL, NULL, "{'metadata':{'name':'default'}}", ERR_ALREADY_EXISTS,
         "namespaces \"default\" already exists"},
        {VERB_CREATE, "", "configmaps", NULL, "default", NULL, "{'metadata':{'name':'a','namespace':'b'}}",
         ERR_BAD_REQUEST, "the namespace of the provided object does not match the namespace sent on the request"},
        {VERB_UPDATE, "", "configmaps", NULL, "default", "a", "{'metadata':{'name':'b'}}", ERR_NOT_FOUND,
         "configmaps \"a\" not found"},
        {VERB_CREATE, "", "configmaps", NULL, "default", NULL, "{'kind':'Secret','metadata':{'name':'a'}}",
         ERR_BAD_REQUEST,
         "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): "
         "unknown "
         "conversion"},
        {VERB_CREATE, "", "configmaps", NULL, "default", NULL, "{'apiVersion':'v2','metadata':{'name':'a'}}",
         ERR_BAD_REQUEST,
         "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for "
         "version "
         "\"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""},
        {VERB_CREATE, "", "configmaps", NULL, "default", NULL, "{'metadata':{'name':'a','resourceVersion':'1'}}",
         ERR_INTERNAL, "resourceVersion should not be set on objects to be created"},
        {VERB_CREATE, "", "pods", NULL, "default", NULL,
         "{'metadata':{'name':'x'},'spec':{'serviceAccountName':'foo','containers':[{'name':'c','image':'i'}]}}",
         ERR_FORBIDDEN,
         "pods \"x\" is forbidden: error looking up service account default/foo: serviceaccount \"foo\" not found"},
        {VERB_CREATE, "", "pods", NULL, "default", NULL,
         "{'metadata':{'name':'x'},'spec':{'priorityClassName':'foo','containers':[{'name':'c','image':'i'}]}}",
         ERR_FORBIDDEN, "pods \"x\" is forbidden: no PriorityClass with name foo was found"},
        {VERB_DELETE, "", "namespaces", NULL, NULL, "default", NULL, ERR_FORBIDDEN,
         "namespaces \"default\" is forbidden: this namespace may not be deleted"},
        {VERB_GET, "apps", "deployments", "scale", "default", "no", NULL, ERR_NOT_FOUND,
         "deployments.apps \"no\" not found"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        call(rows[i].verb, rows[i].group, rows[i].resource, rows[i].sub, rows[i].ns, rows[i].name, rows[i].body);
        expect_err(rows[i].rc, rows[i].message);
    }
}

/* ---- objects ---- */

static void test_pod_created(void **state)
{
    (void)state;
    create("", "pods", "default", POD("web"));
    expect("kind", "Pod");
    expect("status.phase", "Pending");
    expect("status.qosClass", "BestEffort");
    expect("spec.serviceAccountName", "default");
    expect("spec.serviceAccount", "default");
    assert_int_equal(value_path_int(got.object, "metadata.generation", 0), 1);
    assert_int_equal(value_path_str(got.object, "metadata.uid").len, 36);
    const struct value *volumes = value_path(got.object, "spec.volumes");
    assert_int_equal(value_len(volumes), 1);
    assert_true(str_starts(value_path_str(value_at(volumes, 0), "name"), STR("kube-api-access-")));
    assert_int_equal(value_len(value_path(value_at(volumes, 0), "projected.sources")), 3);
    assert_int_equal(value_len(value_path(got.object, "spec.tolerations")), 2);
    call(VERB_GET, "", "pods", NULL, "default", "web", NULL);
    expect("metadata.name", "web");
    call(VERB_CREATE, "", "pods", NULL, "default", NULL, POD("web"));
    expect_err(ERR_ALREADY_EXISTS, "pods \"web\" already exists");
}

static void test_generate_name(void **state)
{
    (void)state;
    create("", "configmaps", "default", "{'metadata':{'generateName':'web-'}}");
    struct str name = value_path_str(got.object, "metadata.name");
    assert_true(str_starts(name, STR("web-")));
    assert_int_equal(name.len, 9);
}

static void test_update(void **state)
{
    (void)state;
    create("", "configmaps", "default", "{'metadata':{'name':'a'},'data':{'k':'1'}}");
    int64_t first = got.revision;
    struct str uid = value_path_str(got.object, "metadata.uid");
    call(VERB_UPDATE, "", "configmaps", NULL, "default", "a", "{'metadata':{'name':'a'},'data':{'k':'1'}}");
    assert_int_equal(got.rc, 0);
    assert_int_equal(got.revision, first); /* nothing changed: nothing was written */
    call(VERB_UPDATE, "", "configmaps", NULL, "default", "a", "{'metadata':{'name':'a'},'data':{'k':'2'}}");
    assert_int_equal(got.rc, 0);
    assert_true(got.revision > first);
    assert_true(str_eq(uid, value_path_str(got.object, "metadata.uid")));
    char body[200];
    snprintf(body, sizeof body, "{'metadata':{'name':'a','resourceVersion':'%lld'},'data':{'k':'3'}}",
             (long long)first);
    call(VERB_UPDATE, "", "configmaps", NULL, "default", "a", body);
    expect_err(ERR_CONFLICT,
               "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply "
               "your changes to the latest version and try again");
    call(VERB_UPDATE, "", "configmaps", NULL, "default", "a", "{'metadata':{'name':'b'}}");
    expect_err(ERR_BAD_REQUEST, "the name of the object (b) does not match the name on the URL (a)");
    call(VERB_PATCH, "", "configmaps", NULL, "default", "a", "{'data':{'k':null,'n':'4'}}");
    expect("data.n", "4");
    assert_null(value_path(got.object, "data.k"));
}

static void test_generation_and_status(void **state)
{
    (void)state;
    create("apps", "deployments", "default", DEPLOYMENT("d"));
    assert_int_equal(value_path_int(got.object, "metadata.generation", 0), 1);
    call(VERB_PATCH, "apps", "deployments", NULL, "default", "d", "{'metadata':{'labels':{'x':'y'}}}");
    assert_int_equal(value_path_int(got.object, "metadata.generation", 0), 1);
    call(VERB_PATCH, "apps", "deployments", NULL, "default", "d", "{'spec':{'replicas':3},'status':{'replicas':9}}");
    assert_int_equal(value_path_int(got.object, "metadata.generation", 0), 2);
    assert_int_equal(value_path_int(got.object, "status.replicas", 0), 0);
    call(VERB_PATCH, "apps", "deployments", "status", "default", "d",
         "{'spec':{'replicas':7},'status':{'replicas':9}}");
    assert_int_equal(got.rc, 0);
    assert_int_equal(value_path_int(got.object, "spec.replicas", 0), 3);
    assert_int_equal(value_path_int(got.object, "status.replicas", 0), 9);
    assert_int_equal(value_path_int(got.object, "metadata.generation", 0), 2);
    call(VERB_GET, "apps", "deployments", "scale", "default", "d", NULL);
    expect("kind", "Scale");
    expect("status.selector", "a=b");
    assert_int_equal(value_path_int(got.object, "spec.replicas", 0), 3);
    call(VERB_PATCH, "apps", "deployments", "scale", "default", "d", "{'spec':{'replicas':5}}");
    assert_int_equal(value_path_int(got.object, "spec.replicas", 0), 5);
    call(VERB_GET, "apps", "deployments", NULL, "default", "d", NULL);
    assert_int_equal(value_path_int(got.object, "metadata.generation", 0), 3);
}

static void test_delete(void **state)
{
    (void)state;
    create("", "configmaps", "default", "{'metadata':{'name':'a'}}");
    call(VERB_DELETE, "", "configmaps", NULL, "default", "a", NULL);
    expect("status", "Success");
    expect("details.kind", "configmaps");
    call(VERB_GET, "", "configmaps", NULL, "default", "a", NULL);
    assert_int_equal(got.rc, ERR_NOT_FOUND);

    create("", "configmaps", "default", "{'metadata':{'name':'f','finalizers':['example.com/x']}}");
    call(VERB_DELETE, "", "configmaps", NULL, "default", "f", NULL);
    assert_true(value_path_str(got.object, "metadata.deletionTimestamp").len > 0);
    call(VERB_CREATE, "", "configmaps", NULL, "default", NULL, "{'metadata':{'name':'f'}}");
    expect_err(ERR_ALREADY_EXISTS, "object is being deleted: configmaps \"f\" already exists");
    call(VERB_PATCH, "", "configmaps", NULL, "default", "f", "{'metadata':{'finalizers':null}}");
    assert_int_equal(got.rc, 0);
    call(VERB_GET, "", "configmaps", NULL, "default", "f", NULL);
    assert_int_equal(got.rc, ERR_NOT_FOUND);
}

static void test_graceful_delete(void **state)
{
    (void)state;
    create("", "pods", "default", POD("unbound"));
    call(VERB_DELETE, "", "pods", NULL, "default", "unbound", NULL);
    expect("kind", "Pod");
    call(VERB_GET, "", "pods", NULL, "default", "unbound", NULL);
    assert_int_equal(got.rc, ERR_NOT_FOUND);

    create("", "pods", "default", BOUND("bound"));
    call(VERB_DELETE, "", "pods", NULL, "default", "bound", NULL);
    assert_int_equal(value_path_int(got.object, "metadata.deletionGracePeriodSeconds", -1), 30);
    assert_int_equal(value_path_int(got.object, "metadata.generation", -1), 2);
    call(VERB_DELETE, "", "pods", NULL, "default", "bound", NULL);
    assert_int_equal(value_path_int(got.object, "metadata.deletionGracePeriodSeconds", -1), 30);
    struct client_call now = {.verb = VERB_DELETE,
                              .resource = resource_find(STR(""), STR("pods")),
                              .namespace_ = STR("default"),
                              .name = STR("bound"),
                              .grace_period_s = 0};
    send_call(&now);
    assert_int_equal(got.rc, 0);
    call(VERB_GET, "", "pods", NULL, "default", "bound", NULL);
    assert_int_equal(got.rc, ERR_NOT_FOUND);
}

static void test_delete_preconditions(void **state)
{
    (void)state;
    create("", "configmaps", "default", "{'metadata':{'name':'a'}}");
    struct str uid = value_path_str(got.object, "metadata.uid");
    struct client_call c = {.verb = VERB_DELETE,
                            .resource = resource_find(STR(""), STR("configmaps")),
                            .namespace_ = STR("default"),
                            .name = STR("a"),
                            .grace_period_s = -1,
                            .precondition_uid = STR("x")};
    send_call(&c);
    char want[300];
    snprintf(want, sizeof want,
             "Operation cannot be fulfilled on configmaps \"a\": Precondition failed: UID in precondition: x, UID in "
             "object meta: " STR_FMT,
             STR_ARG(uid));
    expect_err(ERR_CONFLICT, want);
}

static void test_namespace_life(void **state)
{
    (void)state;
    create("", "namespaces", NULL, "{'metadata':{'name':'team'}}");
    expect("status.phase", "Active");
    call(VERB_DELETE, "", "namespaces", NULL, NULL, "team", NULL);
    expect("status.phase", "Terminating");
    call(VERB_CREATE, "", "configmaps", NULL, "team", NULL, "{'metadata':{'name':'a'}}");
    expect_err(ERR_FORBIDDEN,
               "configmaps \"a\" is forbidden: unable to create new content in namespace team because it is being "
               "terminated");
    call(VERB_UPDATE, "", "namespaces", "finalize", NULL, "team",
         "{'metadata':{'name':'team'},'spec':{'finalizers':[]}}");
    assert_int_equal(got.rc, 0);
    call(VERB_GET, "", "namespaces", NULL, NULL, "team", NULL);
    assert_int_equal(got.rc, ERR_NOT_FOUND);
}

#define SERVICE(name, more) "{'metadata':{'name':'" name "'},'spec':{'ports':[{'port':80}]" more "}}"

static void test_services(void **state)
{
    (void)state;
    create("", "services", "default", SERVICE("a", ",'clusterIP':'10.96.0.10'"));
    expect("spec.clusterIP", "10.96.0.10");
    expect("spec.ipFamilyPolicy", "SingleStack");
    call(VERB_GET, "networking.k8s.io", "ipaddresses", NULL, NULL, "10.96.0.10", NULL);
    expect("spec.parentRef.name", "a");
    call(VERB_CREATE, "", "services", NULL, "default", NULL, SERVICE("b", ",'clusterIP':'10.96.0.10'"));
    expect_err(ERR_INVALID,
               "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP "
               "10.96.0.10: provided IP is already allocated");
    create("", "services", "default", SERVICE("n", ",'type':'NodePort'"));
    int64_t port = value_path_int(value_at(value_path(got.object, "spec.ports"), 0), "nodePort", 0);
    assert_true(port >= 30000 && port <= 32767);
    char body[300], want[300];
    snprintf(body, sizeof body,
             "{'metadata':{'name':'m'},'spec':{'type':'NodePort','ports':[{'port':80,'nodePort':%lld}]}}",
             (long long)port);
    call(VERB_CREATE, "", "services", NULL, "default", NULL, body);
    snprintf(
        want, sizeof want,
        "Service \"m\" is invalid: spec.ports[0].nodePort: Invalid value: %lld: provided port is already allocated",
        (long long)port);
    expect_err(ERR_INVALID, want);
    call(VERB_PATCH, "", "services", NULL, "default", "n", "{'spec':{'type':'ClusterIP'}}");
    assert_int_equal(got.rc, 0);
    assert_int_equal(value_path_int(value_at(value_path(got.object, "spec.ports"), 0), "nodePort", 0), 0);
    call(VERB_CREATE, "", "services", NULL, "default", NULL, body); /* released with the type */
    assert_int_equal(got.rc, 0);
    call(VERB_DELETE, "", "services", NULL, "default", "a", NULL);
    call(VERB_GET, "networking.k8s.io", "ipaddresses", NULL, NULL, "10.96.0.10", NULL);
    assert_int_equal(got.rc, ERR_NOT_FOUND);
    create("", "services", "default", SERVICE("b", ",'clusterIP':'10.96.0.10'"));
    create("", "services", "default", SERVICE("h", ",'clusterIP':'None'"));
    expect("spec.clusterIP", "None");
}

static void test_binding(void **state)
{
    (void)state;
    create("", "pods", "default", POD("p"));
    call(VERB_CREATE, "", "pods", "binding", "default", "p",
         "{'metadata':{'name':'p'},'target':{'kind':'Node','name':'n1'}}");
    expect("status", "Success");
    call(VERB_GET, "", "pods", NULL, "default", "p", NULL);
    expect("spec.nodeName", "n1");
    call(VERB_CREATE, "", "pods", "binding", "default", "p",
         "{'metadata':{'name':'p'},'target':{'kind':'Node','name':'n2'}}");
    expect_err(ERR_CONFLICT,
               "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"");
}

static void test_eviction(void **state)
{
    (void)state;
    create("policy", "poddisruptionbudgets", "default",
           "{'metadata':{'name':'b'},'spec':{'minAvailable':1,'selector':{'matchLabels':{'a':'b'}}}}");
    call(VERB_PATCH, "policy", "poddisruptionbudgets", "status", "default", "b",
         "{'status':{'observedGeneration':1,'disruptionsAllowed':0,'currentHealthy':1,'desiredHealthy':1,'expectedPods'"
         ":1}}");
    assert_int_equal(got.rc, 0);
    create(
        "", "pods", "default",
        "{'metadata':{'name':'p','labels':{'a':'b'}},'spec':{'nodeName':'n','containers':[{'name':'c','image':'i'}]}}");
    call(VERB_PATCH, "", "pods", "status", "default", "p",
         "{'status':{'phase':'Running','conditions':[{'type':'Ready','status':'True'}]}}");
    assert_int_equal(got.rc, 0);
    call(VERB_CREATE, "", "pods", "eviction", "default", "p", "{'metadata':{'name':'p'}}");
    expect_err(ERR_TOO_MANY, "Cannot evict pod as it would violate the pod's disruption budget.");
    call(VERB_PATCH, "policy", "poddisruptionbudgets", "status", "default", "b", "{'status':{'disruptionsAllowed':1}}");
    call(VERB_CREATE, "", "pods", "eviction", "default", "p", "{'metadata':{'name':'p'}}");
    expect("status", "Success");
    call(VERB_GET, "policy", "poddisruptionbudgets", NULL, "default", "b", NULL);
    assert_int_equal(value_path_int(got.object, "status.disruptionsAllowed", -1), 0);
    assert_non_null(value_path(got.object, "status.disruptedPods.p"));
}

static void test_lists(void **state)
{
    (void)state;
    create("", "configmaps", "default", "{'metadata':{'name':'a','labels':{'x':'1'}}}");
    create("", "configmaps", "default", "{'metadata':{'name':'b','labels':{'x':'2'}}}");
    struct client_call c = {.verb = VERB_LIST, .resource = resource_find(STR(""), STR("configmaps"))};
    send_call(&c);
    assert_int_equal(got.n_list, 2);
    c.label_selector = STR("x=2");
    send_call(&c);
    assert_int_equal(got.n_list, 1);
    c.field_selector = STR("metadata.name=a");
    send_call(&c);
    assert_int_equal(got.n_list, 0);
    c.field_selector = STR("spec.foo=a");
    send_call(&c);
    assert_int_equal(got.rc, ERR_BAD_REQUEST);
    c = (struct client_call){.verb = VERB_DELETE_COLLECTION,
                             .resource = c.resource,
                             .namespace_ = STR("default"),
                             .label_selector = STR("x=2"),
                             .grace_period_s = -1};
    send_call(&c);
    assert_int_equal(got.rc, 0);
    c = (struct client_call){.verb = VERB_LIST, .resource = c.resource};
    send_call(&c);
    assert_int_equal(got.n_list, 1);
}

static void test_secret_string_data(void **state)
{
    (void)state;
    create("", "secrets", "default", "{'metadata':{'name':'s'},'stringData':{'k':'hello'}}");
    expect("data.k", "aGVsbG8=");
    expect("type", "Opaque");
    assert_null(value_path(got.object, "stringData"));
}

/* ---- admission ---- */

static void test_limit_range(void **state)
{
    (void)state;
    create("", "limitranges", "default",
           "{'metadata':{'name':'l'},'spec':{'limits':[{'type':'Container','default':{'cpu':'200m'},"
           "'defaultRequest':{'cpu':'100m'},'max':{'cpu':'1'}}]}}");
    create("", "pods", "default", POD("a"));
    const struct value *c = value_at(value_path(got.object, "spec.containers"), 0);
    assert_true(str_eqz(value_path_str(c, "resources.requests.cpu"), "100m"));
    assert_true(str_eqz(value_path_str(c, "resources.limits.cpu"), "200m"));
    struct str note =
        value_str(value_getz(value_path(got.object, "metadata.annotations"), "kubernetes.io/limit-ranger"));
    assert_true(str_eqz(note, "LimitRanger plugin set: cpu request for container c; cpu limit for container c"));
    call(VERB_CREATE, "", "pods", NULL, "default", NULL,
         "{'metadata':{'name':'b'},'spec':{'containers':[{'name':'c','image':'i','resources':{'limits':{'cpu':'2'}}}]}"
         "}");
    expect_err(ERR_FORBIDDEN, "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
}

static void test_quota(void **state)
{
    (void)state;
    create("", "resourcequotas", "default", "{'metadata':{'name':'q'},'spec':{'hard':{'pods':'1','configmaps':'1'}}}");
    call(VERB_PATCH, "", "resourcequotas", "status", "default", "q",
         "{'status':{'hard':{'pods':'1','configmaps':'1'},'used':{'pods':'0','configmaps':'0'}}}");
    assert_int_equal(got.rc, 0);
    create("", "pods", "default", POD("a"));
    call(VERB_CREATE, "", "pods", NULL, "default", NULL, POD("b"));
    expect_err(ERR_FORBIDDEN,
               "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1");
    call(VERB_GET, "", "resourcequotas", NULL, "default", "q", NULL);
    expect("status.used.pods", "1");
    expect("status.used.configmaps", "0");
    create("", "configmaps", "default", "{'metadata':{'name':'a'}}");
    call(VERB_UPDATE, "", "configmaps", NULL, "default", "a", "{'metadata':{'name':'a'},'data':{'k':'v'}}");
    assert_int_equal(got.rc, 0); /* an update takes nothing more */
}

static void test_priority(void **state)
{
    (void)state;
    create("scheduling.k8s.io", "priorityclasses", NULL, "{'metadata':{'name':'high'},'value':1000}");
    create("", "pods", "default",
           "{'metadata':{'name':'a'},'spec':{'priorityClassName':'high','containers':[{'name':'c','image':'i'}]}}");
    assert_int_equal(value_path_int(got.object, "spec.priority", 0), 1000);
    expect("spec.preemptionPolicy", "PreemptLowerPriority");
}

/* ---- informers ---- */

static struct {
    int added, modified, deleted, synced, want;
} seen;

static void on_change(void *arg, const struct object *old, const struct object *now)
{
    (void)arg;
    seen.added += !old;
    seen.deleted += !now;
    seen.modified += old && now;
    if (seen.added + seen.modified + seen.deleted == seen.want)
        loop_stop(loop);
}

static void on_synced(void *arg)
{
    (void)arg;
    seen.synced++;
    if (!seen.want)
        loop_stop(loop);
}

static void test_informer(void **state)
{
    (void)state;
    create("", "configmaps", "default", "{'metadata':{'name':'a','labels':{'x':'1'}}}");
    create("", "configmaps", "default", "{'metadata':{'name':'b','labels':{'x':'2'}}}");
    memset(&seen, 0, sizeof seen);
    seen.want = 1;
    struct informer *i =
        client_informer(client, &(struct informer_options){.resource = resource_find(STR(""), STR("configmaps")),
                                                           .label_selector = STR("x=1"),
                                                           .on_change = on_change,
                                                           .on_synced = on_synced});
    loop_run(loop);
    assert_int_equal(seen.added, 1);
    assert_true(informer_synced(i));
    seen.want = 2;
    client_send(client,
                &(struct client_call){.verb = VERB_PATCH,
                                      .resource = resource_find(STR(""), STR("configmaps")),
                                      .namespace_ = STR("default"),
                                      .name = STR("b"),
                                      .patch_type = PATCH_TYPE_MERGE,
                                      .body = parse("{'metadata':{'labels':{'x':'1'}}}")},
                NULL, NULL);
    loop_run(loop);
    assert_int_equal(seen.added, 2);
    struct object_tree *t = informer_snapshot(i);
    assert_int_equal(object_tree_len(t), 2);
    object_tree_put(t);
    seen.want = 3;
    client_send(client,
                &(struct client_call){.verb = VERB_DELETE,
                                      .resource = resource_find(STR(""), STR("configmaps")),
                                      .namespace_ = STR("default"),
                                      .name = STR("a"),
                                      .grace_period_s = -1},
                NULL, NULL);
    loop_run(loop);
    assert_int_equal(seen.deleted, 1);
    informer_destroy(i);
    call(VERB_GET, "", "configmaps", NULL, "default", "b", NULL);
    assert_int_equal(got.rc, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_messages),
        T(test_pod_created),
        T(test_generate_name),
        T(test_update),
        T(test_generation_and_status),
        T(test_delete),
        T(test_graceful_delete),
        T(test_delete_preconditions),
        T(test_namespace_life),
        T(test_services),
        T(test_binding),
        T(test_eviction),
        T(test_lists),
        T(test_secret_string_data),
        T(test_informer),
        T(test_limit_range),
        T(test_quota),
        T(test_priority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
