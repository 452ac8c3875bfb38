/* pods/log: options checked here, the text comes from the agent of the pod's node. */
#include "api/stream/location.h"
#include "api/stream/relay.h"
#include "api/stream/stream.h"
#include "openapi/problems.h"

static const char *const flags[] = {"follow", "previous", "timestamps"};
static const struct {
    const char *name;
    int64_t least;
    const char *detail;
} numbers[] = {
    {"tailLines", 0, "must be greater than or equal to 0"},
    {"sinceSeconds", 1, "must be greater than 0"},
    {"limitBytes", 1, "must be greater than 0"},
};

static int check_numbers(struct chain_request *c, struct problems *p, struct err *err)
{
    struct arena *a = c->req.arena;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct str text = location_param(c, numbers[i].name);
        int64_t n;
        if (!text.len)
            continue;
        if (!str_to_i64(text, &n))
            return err_set(err, ERR_BAD_REQUEST, "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax",
                           STR_ARG(text));
        if (n < numbers[i].least)
            problems_add(p, PROBLEM_INVALID, str_from(numbers[i].name), value_int(a, n), "%s", numbers[i].detail);
    }
    if (location_param(c, "sinceSeconds").len && location_param(c, "sinceTime").len)
        problems_add(p, PROBLEM_FORBIDDEN, STR(""), NULL,
                     "at most one of `sinceTime` or `sinceSeconds` may be specified");
    if (!p->len)
        return 0;
    struct api_details *d = ARENA_NEW(a, struct api_details);
    d->name = c->req.name;
    d->kind = STR("PodLogOptions");
    c->req.details = d;
    return problems_err(p, err);
}

static struct str log_path(struct chain_request *c, struct str container)
{
    static const char *const texts[] = {"sinceTime", "tailLines", "sinceSeconds", "limitBytes", "stream"};
    struct buf path = {0};
    buf_addz(&path, "/containerLogs/");
    location_encode(&path, c->req.namespace_);
    buf_addz(&path, "/");
    location_encode(&path, c->req.name);
    buf_addz(&path, "/");
    location_encode(&path, container);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (location_flag(c, flags[i]))
            location_add(&path, flags[i], STR("true"));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (location_param(c, texts[i]).len)
            location_add(&path, texts[i], location_param(c, texts[i]));
    struct str s = arena_str(c->req.arena, buf_str(&path));
    buf_free(&path);
    return s;
}

void stream_log(struct chain_request *c)
{
    struct err err = ERR_INIT;
    struct value *pod;
    struct str container = STR_NULL;
    struct relay_target target = {.kind = RELAY_LOG};
    struct problems *p = problems_create(c->req.arena);
    int rc = check_numbers(c, p, &err);
    if (rc == 0)
        rc = location_pod(c, c->req.name, &pod, &err);
    if (rc == 0)
        rc = location_container(c, pod, location_param(c, "container"), &container, &err);
    struct str node = rc == 0 ? value_path_str(pod, "spec.nodeName") : STR_NULL;
    if (rc == 0 && !node.len) { /* nothing has run yet, so there is nothing to say */
        chain_respond(c, 204, NULL, 0, NULL, 0);
        return;
    }
    if (rc == 0)
        rc = location_agent(c, node, &target.origin, &err);
    if (rc < 0) {
        api_answer_err(&c->req, &err);
        return;
    }
    target.path = log_path(c, container);
    relay_run(c, &target);
}
