/* What to do next, as a table: a pod, what the runtime shows, and the actions that should follow. */
#include "node/pod/actions.h"
#include "node/pod/status.h"
#include "openapi/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_MS 1000000000ll

struct seen {
    const char *name;
    enum observed_state state;
    int exit_code, restarts;
    int64_t ended_ms_ago;
    const char *sandbox; /* NULL: "s" */
};

struct row {
    const char *title, *spec;
    const char *sandbox; /* "ready", "not-ready", NULL = none */
    struct seen seen[4]; /* newest first */
    struct container_memory init[3], main[3];
    bool terminating, sandbox_stopped, sandbox_busy;
    const char *want;       /* "create-sandbox", "start a", "kill a", "back-off a", "stop-sandbox", "finished", … */
    const char *want_phase; /* NULL: do not look */
};

#define POD_A "{\"restartPolicy\":\"Always\",\"containers\":[{\"name\":\"a\"}]}"
#define POD_NEVER "{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"a\"}]}"
#define POD_ON_FAILURE "{\"restartPolicy\":\"OnFailure\",\"containers\":[{\"name\":\"a\"}]}"
#define POD_INIT                                                                                                      \
    "{\"restartPolicy\":\"Always\",\"initContainers\":[{\"name\":\"i\"},{\"name\":\"j\"}],\"containers\":[{\"name\":" \
    "\"a\"}]}"
#define POD_INIT_NEVER \
    "{\"restartPolicy\":\"Never\",\"initContainers\":[{\"name\":\"i\"}],\"containers\":[{\"name\":\"a\"}]}"
#define POD_SIDECAR                                                                                        \
    "{\"restartPolicy\":\"Always\",\"initContainers\":[{\"name\":\"side\",\"restartPolicy\":\"Always\"}]," \
    "\"containers\":[{\"name\":\"a\"}]}"
#define POD_PROBED \
    "{\"restartPolicy\":\"Always\",\"containers\":[{\"name\":\"a\",\"livenessProbe\":{},\"startupProbe\":{}}]}"

static const struct row rows[] = {
    {"new", POD_A, NULL, {{0}}, .want = "create-sandbox 0", .want_phase = "Pending"},
    {"being made", POD_A, NULL, {{0}}, .sandbox_busy = true, .want = ""},
    {"sandbox there", POD_A, "ready", {{0}}, .want = "start a", .want_phase = "Pending"},
    {"busy", POD_A, "ready", {{0}}, .main = {{.busy = true}}, .want = ""},
    {"running", POD_A, "ready", {{"a", OBSERVED_RUNNING}}, .want = "", .want_phase = "Running"},
    {"sandbox died", POD_A, "not-ready", {{"a", OBSERVED_EXITED}}, .want = "create-sandbox 1"},
    {"sandbox died, container lives", POD_A, "not-ready", {{"a", OBSERVED_RUNNING}}, .want = "kill a"},
    {"first exit restarts at once",
     POD_A,
     "ready",
     {{"a", OBSERVED_EXITED, 1, 0, 100}},
     .want = "start a",
     .want_phase = "Running"},
    {"second waits",
     POD_A,
     "ready",
     {{"a", OBSERVED_EXITED, 1, 1, 100}},
     .main = {{.backoff = {10000, NOW_MS - 5000}}},
     .want = "back-off a wake 9900"},
    {"and is over",
     POD_A,
     "ready",
     {{"a", OBSERVED_EXITED, 1, 1, 10100}},
     .main = {{.backoff = {10000, NOW_MS - 12000}}},
     .want = "start a"},
    {"forgotten after ten minutes",
     POD_A,
     "ready",
     {{"a", OBSERVED_EXITED, 1, 1, 100}},
     .main = {{.backoff = {300000, NOW_MS - 700000}}},
     .want = "start a"},
    {"never", POD_NEVER, "ready", {{"a", OBSERVED_EXITED, 1}}, .want = "finished", .want_phase = "Failed"},
    {"never, well", POD_NEVER, "ready", {{"a", OBSERVED_EXITED, 0}}, .want = "finished", .want_phase = "Succeeded"},
    {"on failure, well",
     POD_ON_FAILURE,
     "ready",
     {{"a", OBSERVED_EXITED, 0}},
     .want = "finished",
     .want_phase = "Succeeded"},
    {"on failure, badly",
     POD_ON_FAILURE,
     "ready",
     {{"a", OBSERVED_EXITED, 2}},
     .want = "start a",
     .want_phase = "Running"},
    {"done: no new sandbox", POD_NEVER, "not-ready", {{"a", OBSERVED_EXITED, 0}}, .want = "finished"},
    {"init first", POD_INIT, "ready", {{0}}, .want = "start init i", .want_phase = "Pending"},
    {"init runs", POD_INIT, "ready", {{"i", OBSERVED_RUNNING}}, .want = ""},
    {"init next", POD_INIT, "ready", {{"i", OBSERVED_EXITED, 0}}, .want = "start init j"},
    {"init again", POD_INIT, "ready", {{"i", OBSERVED_EXITED, 1}}, .want = "start init i"},
    {"init over", POD_INIT, "ready", {{"j", OBSERVED_EXITED, 0}, {"i", OBSERVED_EXITED, 0}}, .want = "start a"},
    {"init of an older sandbox does not count",
     POD_INIT,
     "ready",
     {{"j", OBSERVED_EXITED, 0, .sandbox = "old"}, {"i", OBSERVED_EXITED, 0, .sandbox = "old"}},
     .want = "start init i"},
    {"init failed for good",
     POD_INIT_NEVER,
     "ready",
     {{"i", OBSERVED_EXITED, 1}},
     .want = "finished",
     .want_phase = "Failed"},
    {"sidecar first", POD_SIDECAR, "ready", {{0}}, .want = "start init side"},
    {"sidecar up", POD_SIDECAR, "ready", {{"side", OBSERVED_RUNNING}}, .want = "start a"},
    {"sidecar's hook at work",
     POD_SIDECAR,
     "ready",
     {{"side", OBSERVED_RUNNING}},
     .init = {{.busy = true, .hook_running = true}},
     .want = ""},
    {"sidecar comes back beside its pod",
     POD_SIDECAR,
     "ready",
     {{"a", OBSERVED_RUNNING}, {"side", OBSERVED_EXITED, 1}},
     .want = "start init side"},
    {"unhealthy",
     POD_PROBED,
     "ready",
     {{"a", OBSERVED_RUNNING}},
     .main = {{.probed_id = "id-a-0", .startup = PROBE_SUCCESS, .liveness = PROBE_FAILURE}},
     .want = "kill a"},
    {"verdict about an older one",
     POD_PROBED,
     "ready",
     {{"a", OBSERVED_RUNNING}},
     .main = {{.probed_id = "other", .liveness = PROBE_FAILURE}},
     .want = ""},
    {"spec changed", POD_A, "ready", {{"a", OBSERVED_RUNNING}}, .main = {{.hash = 7}}, .want = "kill a"},
    {"ending",
     POD_A,
     "ready",
     {{"a", OBSERVED_RUNNING}},
     .terminating = true,
     .want = "kill a",
     .want_phase = "Running"},
    {"ending: the sidecar waits",
     POD_SIDECAR,
     "ready",
     {{"a", OBSERVED_RUNNING}, {"side", OBSERVED_RUNNING}},
     .terminating = true,
     .want = "kill a"},
    {"ending: then the sidecar",
     POD_SIDECAR,
     "ready",
     {{"a", OBSERVED_EXITED}, {"side", OBSERVED_RUNNING}},
     .terminating = true,
     .want = "kill side"},
    {"ending: then the sandbox", POD_A, "ready", {{"a", OBSERVED_EXITED}}, .terminating = true, .want = "stop-sandbox"},
    {"ended",
     POD_A,
     "not-ready",
     {{"a", OBSERVED_EXITED}},
     .terminating = true,
     .sandbox_stopped = true,
     .want = "terminated",
     .want_phase = "Succeeded"},
    {"ended before it began", POD_A, NULL, {{0}}, .terminating = true, .want = "terminated"},
};

static void describe(const struct pod_actions *actions, const struct core_v1_pod *pod, char *out, size_t size)
{
    static const char *const names[] = {"create-sandbox", "stop-sandbox", "start",   "kill",
                                        "back-off",       "terminated",   "finished"};
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < actions->len; i++) {
        const struct pod_action *a = &actions->items[i];
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", names[a->kind]);
        if (a->kind == POD_CREATE_SANDBOX)
            n += (size_t)snprintf(out + n, size - n, " %u", a->attempt);
        if (a->kind == POD_KILL_CONTAINER)
            n += (size_t)snprintf(out + n, size - n, " %s", a->name);
        if (a->kind == POD_START_CONTAINER || a->kind == POD_BACK_OFF) {
            struct str name =
                a->init ? pod->spec->init_containers.items[a->index].name : pod->spec->containers.items[a->index].name;
            n += (size_t)snprintf(out + n, size - n, "%s " STR_FMT, a->init ? " init" : "", STR_ARG(name));
        }
    }
    if (actions->wake_at_ms)
        snprintf(out + n, size - n, " wake %lld", (long long)(actions->wake_at_ms - NOW_MS));
}

static void observe(struct arena *a, const struct row *r, struct observed_pod *o)
{
    if (r->sandbox) {
        struct observed_sandbox *s = ARENA_NEW(a, struct observed_sandbox);
        s->id = "s";
        s->ips[0] = "10.0.0.1";
        s->ips[1] = "";
        s->ready = strcmp(r->sandbox, "ready") == 0;
        vec_push(&o->sandboxes, s);
    }
    for (size_t i = 0; i < 4 && r->seen[i].name; i++) {
        struct observed_container *c = ARENA_NEW(a, struct observed_container);
        c->id = (char *)arena_printf(a, "id-%s-%zu", r->seen[i].name, i).p;
        c->name = (char *)r->seen[i].name;
        c->sandbox_id = (char *)(r->seen[i].sandbox ? r->seen[i].sandbox : "s");
        c->image = c->image_id = c->log_path = c->reason = c->message = c->termination_path = "";
        c->state = r->seen[i].state;
        c->exit_code = r->seen[i].exit_code;
        c->restart_count = r->seen[i].restarts;
        c->started_ns = 1;
        c->finished_ns = c->state == OBSERVED_EXITED ? (NOW_MS - r->seen[i].ended_ms_ago) * 1000000 : 0;
        c->hash = 5;
        vec_push(&o->containers, c);
    }
}

static void test_actions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct observed_pod o = {.uid = "u", .namespace_ = "n", .name = "p"};
        struct str json =
            arena_printf(a, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":%s,\"status\":{}}", r->spec);
        const void *pod;
        struct pod_actions got;
        char text[300];
        assert_int_equal(view_from_json(a, schema_message_find(STR("io.k8s.api.core.v1.Pod")), json, &pod, &err), 0);
        observe(a, r, &o);
        struct pod_input in = {.pod = pod,
                               .observed = r->sandbox || r->seen[0].name ? &o : NULL,
                               .init = r->init,
                               .main = r->main,
                               .sandbox_busy = r->sandbox_busy,
                               .sandbox_stopped = r->sandbox_stopped,
                               .terminating = r->terminating,
                               .now_ms = NOW_MS};
        pod_actions_compute(a, &in, &got);
        describe(&got, pod, text, sizeof text);
        if (strcmp(text, r->want) != 0)
            fail_msg("%s: got \"%s\", want \"%s\"", r->title, text, r->want);
        if (r->want_phase) {
            struct waiting waits[3] = {{0}};
            struct status_input s = {.input = &in,
                                     .init_waiting = waits,
                                     .main_waiting = waits,
                                     .runtime = "containerd",
                                     .host_ip = "10.9.9.9",
                                     .now_us = NOW_MS * 1000,
                                     .ended = r->sandbox_stopped};
            struct str phase = pod_status_phase(pod_status_build(a, &s));
            if (!str_eqz(phase, r->want_phase))
                fail_msg("%s: phase " STR_FMT ", want %s", r->title, STR_ARG(phase), r->want_phase);
        }
        vec_free(&o.sandboxes);
        vec_free(&o.containers);
        arena_destroy(a);
    }
}

static void test_backoff_doubles(void **state)
{
    static const int64_t want[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};
    struct backoff b = {0};
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        b = backoff_next(&b, (int64_t)i * 1000 + 1000, (int64_t)i * 1000 + 1000);
        assert_int_equal(b.wait_ms, want[i]);
    }
    b = backoff_next(&b, 700000, 700000);
    assert_int_equal(b.wait_ms, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_actions), cmocka_unit_test(test_backoff_doubles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
