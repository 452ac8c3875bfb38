/* The HTTP client against a server that plays a script: each row is the request that must come next, and its answer. */
#include "api/client/client.h"
#include "api/client/remote.h"
#include "base/clock.h"
#include "base/net/http.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* rows leave the rest out */

struct row {
    const char *request; /* "GET /path?query", up to "timeoutSeconds" */
    const char *body;    /* wanted, NULL = any */
    int status;
    const char *answer;
    bool open; /* a watch: stays open */
    bool drop; /* no answer, the connection is lost */
    const char *retry_after;
};

static struct loop *loop;
static const struct row *script;
static size_t n_script, at;
static char trouble[4096];
static struct http_exchange *watching;
static bool learning;

static void watch_closed(struct http_exchange *ex)
{
    if (watching == ex)
        watching = NULL;
}

static void handle(void *arg, struct http_exchange *ex)
{
    (void)arg;
    struct str query = ex->query;
    for (size_t i = 0; i + 15 < query.len; i++)
        if (memcmp(query.p + i, "&timeoutSeconds", 15) == 0)
            query.len = i;
    struct str line = arena_printf(ex->arena, STR_FMT " " STR_FMT "%s" STR_FMT, STR_ARG(ex->method), STR_ARG(ex->path),
                                   query.len ? "?" : "", STR_ARG(query));
    if (at >= n_script) { /* past the end: keep the client waiting */
        ex->on_close = watch_closed;
        return;
    }
    const struct row *r = &script[at++];
    if (!str_eqz(line, r->request))
        snprintf(trouble, sizeof trouble, "want %s\n got %.*s", r->request, (int)line.len, line.p);
    if (r->body && !str_eqz(ex->body, r->body))
        snprintf(trouble, sizeof trouble, "%s: want body %s\n got %.*s", r->request, r->body, (int)ex->body.len,
                 ex->body.p);
    if (r->drop) {
        http_abort(ex);
        return;
    }
    struct http_header h[] = {{STR("content-type"), STR("application/json")},
                              {STR("retry-after"), str_from(r->retry_after)}};
    struct slice body = slice_copy(r->answer ? r->answer : "", r->answer ? strlen(r->answer) : 0);
    if (!r->open) {
        http_respond(ex, r->status, h, r->retry_after ? 2 : 1, &body, 1);
        return;
    }
    ex->on_close = watch_closed;
    watching = ex;
    http_start(ex, r->status, h, 1);
    http_send(ex, &body, 1);
}

struct fixture {
    struct http_server *server;
    struct client *client;
};

static struct fixture begin(const struct row *rows, size_t n)
{
    struct fixture f;
    struct err err = ERR_INIT;
    script = rows;
    n_script = n;
    at = 0;
    trouble[0] = 0;
    loop = loop_create("test");
    struct http_server_options opt = {
        .listen = "127.0.0.1:0", .loops = &loop, .n_loops = 1, .max_body = 1 << 20, .handler = handle};
    if (http_server_create(&opt, &f.server, &err) < 0)
        fail_msg("%s", err.message);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", http_server_port(f.server));
    const char *servers[] = {"http://127.0.0.1:1", url, NULL}; /* nobody at the first */
    if (client_create_http(
            loop,
            &(struct client_http_options){.servers = servers, .user_agent = "skiff-test/1", .learn_servers = learning},
            &f.client, &err) < 0)
        fail_msg("%s", err.message);
    return f;
}

static void server_stopped(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void finish(struct fixture *f)
{
    client_destroy(f->client);
    http_server_stop(f->server, 0, server_stopped, NULL);
    loop_run(loop);
    http_server_destroy(f->server);
    loop_destroy(loop);
    assert_string_equal(trouble, "");
    assert_int_equal(at, n_script);
}

/* ---- calls ---- */

struct got {
    int rc, left;
    char text[4096];
    int retry_after_s;
};

static void on_answer(void *arg, const struct client_answer *a)
{
    struct got *g = arg;
    g->rc = a->rc;
    g->retry_after_s = a->err ? a->err->retry_after_s : 0;
    struct buf b = {0};
    if (a->rc < 0)
        buf_addz(&b, a->err->message);
    if (a->object)
        buf_printf(&b, STR_FMT "/" STR_FMT "@%lld " STR_FMT, STR_ARG(a->object->namespace_), STR_ARG(a->object->name),
                   (long long)a->object->revision, STR_ARG(a->object->body));
    if (a->value)
        json_encode(&b, a->value);
    if (a->list)
        buf_printf(&b, "%zu at %lld", object_tree_len(a->list), (long long)object_tree_revision(a->list));
    snprintf(g->text, sizeof g->text, "%.*s", (int)b.len, b.p ? b.p : "");
    buf_free(&b);
    if (--g->left == 0)
        loop_stop(loop);
}

static const struct resource *configmaps(void)
{
    const struct resource *r = resource_find(STR(""), STR("configmaps"));
    assert_non_null(r);
    return r;
}

#define CM(name, rev)                                                                                                  \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"uid\":\"u-" name "\",\"resourceVersion\":\"" rev "\"}" \
    "}"
#define STATUS(code, reason, message)                                                                          \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"" message \
    "\",\"reason\":\"" reason "\",\"code\":" #code "}"

static void test_calls(void **state)
{
    (void)state;
    static const struct {
        struct client_call call;
        const char *body;
        struct row row;
        int rc;
        const char *text;
    } rows[] = {
        {{.verb = VERB_GET, .namespace_ = {"d", 1}, .name = {"a", 1}},
         NULL,
         {"GET /api/v1/namespaces/d/configmaps/a", "", 200, CM("a", "7")},
         0,
         "d/a@7 {\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"u-a\"}}"},
        {{.verb = VERB_GET, .namespace_ = {"d", 1}, .name = {"a", 1}},
         NULL,
         {"GET /api/v1/namespaces/d/configmaps/a", "", 404, STATUS(404, "NotFound", "configmaps \\\"a\\\" not found")},
         ERR_NOT_FOUND,
         "configmaps \"a\" not found"},
        {{.verb = VERB_CREATE, .namespace_ = {"d", 1}, .name = {"a", 1}},
         "{\"metadata\":{\"name\":\"a\"}}",
         {"POST /api/v1/namespaces/d/configmaps",
          "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}", 201, CM("a", "8")},
         0,
         "d/a@8 {\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"u-a\"}}"},
        {{.verb = VERB_UPDATE, .namespace_ = {"d", 1}, .name = {"a", 1}},
         "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\"}",
         {"PUT /api/v1/namespaces/d/configmaps/a", "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\"}", 409,
          STATUS(409, "Conflict", "changed")},
         ERR_CONFLICT,
         "changed"},
        {{.verb = VERB_PATCH, .namespace_ = {"d", 1}, .name = {"a", 1}, .patch_type = PATCH_TYPE_APPLY},
         "{\"data\":{\"x\":\"y\"}}",
         {"PATCH /api/v1/namespaces/d/configmaps/a?fieldManager=skiff-test&force=true",
          "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":{\"x\":\"y\"}}", 200, CM("a", "9")},
         0,
         "d/a@9 {\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"u-a\"}}"},
        {{.verb = VERB_DELETE,
          .namespace_ = {"d", 1},
          .name = {"a", 1},
          .grace_period_s = 3,
          .propagation_policy = {"Foreground", 10},
          .precondition_uid = {"u", 1},
          .precondition_revision = 5},
         NULL,
         {"DELETE /api/v1/namespaces/d/configmaps/a",
          "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":3,\"preconditions\":{\"uid\":\"u\","
          "\"resourceVersion\":\"5\"},\"propagationPolicy\":\"Foreground\"}",
          200, "{\"kind\":\"Status\",\"status\":\"Success\"}"},
         0,
         "{\"kind\":\"Status\",\"status\":\"Success\"}"},
        {{.verb = VERB_LIST, .label_selector = {"a in (b,c)", 10}, .field_selector = {"metadata.name=x", 15}},
         NULL,
         {"GET /api/v1/configmaps?labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dx", "", 200,
          "{\"kind\":\"ConfigMapList\",\"metadata\":{\"resourceVersion\":\"12\"},\"items\":[" CM("a", "3") "," CM(
              "b", "4") "]}"},
         0,
         "2 at 12"},
        {{.verb = VERB_GET, .namespace_ = {"d", 1}, .name = {"a", 1}},
         NULL,
         {"GET /api/v1/namespaces/d/configmaps/a", "", 502, "bad gateway\n"},
         ERR_UNAVAILABLE,
         "the server answered 502: bad gateway"},
        {{.verb = VERB_CREATE, .namespace_ = {"d", 1}},
         "{}",
         {.request = "POST /api/v1/namespaces/d/configmaps", .drop = true},
         ERR_UNAVAILABLE,
         NULL},
    };
    struct row script_rows[sizeof rows / sizeof *rows];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        script_rows[i] = rows[i].row;
    struct fixture f = begin(script_rows, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct client_call call = rows[i].call;
        struct json_options opt = {0};
        struct value *body = NULL;
        struct err err = ERR_INIT;
        struct got g = {.left = 1};
        call.resource = configmaps();
        if (rows[i].body)
            assert_int_equal(json_decode(a, str_from(rows[i].body), &opt, &body, &err), 0);
        call.body = body;
        client_send(f.client, &call, on_answer, &g);
        arena_destroy(a); /* everything was copied */
        loop_run(loop);
        assert_int_equal(g.rc, rows[i].rc);
        if (rows[i].text)
            assert_string_equal(g.text, rows[i].text);
    }
    finish(&f);
}

static void test_too_many_is_sent_again(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"GET /apis/apps/v1/namespaces/d/deployments/x", "", 429, STATUS(429, "TooManyRequests", "slow"),
         .retry_after = "1"},
        {"GET /apis/apps/v1/namespaces/d/deployments/x", "", 200, CM("x", "2")},
    };
    struct fixture f = begin(rows, 2);
    struct got g = {.left = 1};
    client_send(f.client,
                &(struct client_call){.verb = VERB_GET,
                                      .resource = resource_find(STR("apps"), STR("deployments")),
                                      .namespace_ = STR("d"),
                                      .name = STR("x")},
                on_answer, &g);
    loop_run(loop);
    assert_int_equal(g.rc, 0);
    finish(&f);
}

/* ---- informers ---- */

struct view {
    struct informer *informer;
    struct buf log;
    const char *until; /* stop when the log ends so */
    int synced;
    bool destroy;
};

static void look(struct view *v)
{
    if (v->until && str_ends(buf_str(&v->log), str_from(v->until)))
        loop_stop(loop);
}

static void on_change(void *arg, const struct object *old, const struct object *now)
{
    struct view *v = arg;
    const struct object *o = now ? now : old;
    buf_printf(&v->log, "%s" STR_FMT "@%lld ",
               old && now ? "~"
               : now      ? "+"
                          : "-",
               STR_ARG(o->name), (long long)o->revision);
    struct object_tree *t = informer_snapshot(v->informer); /* includes the change */
    const struct object *found = object_tree_find(t, o->namespace_, o->name);
    assert_true(now ? found && found->revision == now->revision : !found);
    object_tree_put(t);
    if (v->destroy) {
        informer_destroy(v->informer);
        v->informer = NULL;
    }
    look(v);
}

static void on_synced(void *arg)
{
    struct view *v = arg;
    v->synced++;
    buf_printf(&v->log, "synced@%lld ", (long long)informer_revision(v->informer));
    look(v);
}

static void out_of_time(void *arg)
{
    snprintf(trouble, sizeof trouble, "%s", (const char *)arg);
    loop_stop(loop);
}

#define LIST "GET /api/v1/namespaces/d/configmaps?limit=1000"
#define WATCH(rev) "GET /api/v1/namespaces/d/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion=" rev
#define EVENT(type, name, rev) "{\"type\":\"" type "\",\"object\":" CM(name, rev) "}\n"
#define ITEMS(rev, cont, items) \
    "{\"metadata\":{\"resourceVersion\":\"" rev "\",\"continue\":\"" cont "\"},\"items\":[" items "]}"

static void run_informer(const struct row *rows, size_t n, const char *log, bool destroy)
{
    struct fixture f = begin(rows, n);
    struct view v = {.until = log, .destroy = destroy};
    struct timer timer = {0};
    v.informer = client_informer(f.client, &(struct informer_options){.resource = configmaps(),
                                                                      .namespace_ = STR("d"),
                                                                      .on_change = on_change,
                                                                      .on_synced = on_synced,
                                                                      .arg = &v});
    timer_start(&timer, loop, 10000, out_of_time, "the informer never got there");
    loop_run(loop);
    timer_stop(&timer);
    buf_add_char(&v.log, 0);
    assert_string_equal(v.log.p, log);
    buf_free(&v.log);
    informer_destroy(v.informer);
    finish(&f);
}

static void test_list_then_watch(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {LIST, "", 200, ITEMS("10", "next", CM("a", "3"))},
        {LIST "&continue=next", "", 200, ITEMS("10", "", CM("b", "4"))},
        {WATCH("10"), "", 200,
         EVENT("MODIFIED", "a", "11") EVENT("ADDED", "c", "12") EVENT("DELETED", "b", "13")
             EVENT("BOOKMARK", "", "20") "{\"type\":\"ADDED\",\"obj",
         .open = true},
    };
    run_informer(rows, 3, "+a@3 +b@4 synced@10 ~a@11 +c@12 -b@4 synced@20 ", false);
}

static void test_watch_resumes_and_expires(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {LIST, "", 500, "no"},
        {LIST, "", 200, ITEMS("10", "", CM("a", "3") "," CM("b", "4"))},
        {WATCH("10"), "", 200, EVENT("MODIFIED", "a", "11")}, /* ends in order */
        {.request = WATCH("11"), .drop = true},               /* lost */
        {WATCH("11"), "", 200, "{\"type\":\"ERROR\",\"object\":" STATUS(410, "Expired", "too old") "}\n"},
        {LIST, "", 200, ITEMS("30", "", CM("a", "25") "," CM("c", "26"))}, /* only differences are told */
        {WATCH("30"), "", 410, STATUS(410, "Expired", "too old")},
        {LIST, "", 200, ITEMS("40", "", CM("a", "25") "," CM("c", "26"))},
    };
    run_informer(rows, 8, "+a@3 +b@4 synced@10 ~a@11 ~a@25 -b@4 +c@26 synced@40 ", false);
}

static void test_destroy_inside_callback(void **state)
{
    (void)state;
    static const struct row rows[] = {{LIST, "", 200, ITEMS("10", "", CM("a", "3") "," CM("b", "4"))}};
    run_informer(rows, 1, "+a@3 ", true);
    static const struct row watch[] = {
        {LIST, "", 200, ITEMS("10", "", "")},
        {WATCH("10"), "", 200, EVENT("ADDED", "c", "12") EVENT("DELETED", "b", "13"), .open = true},
    };
    run_informer(watch, 2, "synced@10 +c@12 ", true);
}

/* ---- servers ---- */

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void turn_until(size_t rows) /* that many have been asked for, and answered */
{
    for (int i = 0, after = 0; i < 2000 && after < 20; i++) {
        after += at >= rows;
        usleep(500);
        loop_post(loop, stop_loop, loop);
        loop_run(loop);
    }
    assert_int_equal(at, rows);
}

/* Those the cluster lists stand behind those that were given; what cannot be learned changes nothing. */
static void test_learns_servers(void **state)
{
    static const struct row rows[] = {
        {"GET /api/v1/namespaces/default/endpoints/kubernetes", NULL, 200,
         "{\"kind\":\"Endpoints\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kubernetes\",\"namespace\":"
         "\"default\"},"
         "\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"},{\"ip\":\"10.0.0.1\"}],"
         "\"ports\":[{\"name\":\"other\",\"port\":1},{\"name\":\"https\",\"port\":6443}]},"
         "{\"addresses\":[{\"ip\":\"10.0.0.9\"}],\"ports\":[{\"name\":\"http\",\"port\":80}]}]}"},
        {"GET /api/v1/namespaces/default/endpoints/kubernetes", NULL, 403, "no"},
    };
    static const char *const want[] = {"https://10.0.0.1:6443", "https://[fd00::1]:6443", "http://127.0.0.1:1"};
    (void)state;
    clock_fake(1700000000000, 1000);
    learning = true;
    struct fixture f = begin(rows, 2);
    learning = false;
    struct http_client *http = ((struct remote *)f.client)->http;
    clock_fake_advance(2001);
    turn_until(1);
    clock_fake_advance(60001);
    turn_until(2);
    for (size_t i = 0; i < 3; i++) {
        http_client_fail_over(http);
        assert_string_equal(http_client_endpoint(http), want[i]);
    }
    clock_real();
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_too_many_is_sent_again),
        cmocka_unit_test(test_list_then_watch),
        cmocka_unit_test(test_watch_resumes_and_expires),
        cmocka_unit_test(test_destroy_inside_callback),
        cmocka_unit_test(test_learns_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
