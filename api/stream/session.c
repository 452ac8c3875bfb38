/* exec, attach and port-forward. The client's upgrade is carried to the agent as it is and the bytes are passed on both
 * ways: which protocol they speak (v5.channel.k8s.io, SPDY/3.1, port-forward's tunnel) is between the client and the
 * agent.
 */
#include "api/stream/location.h"
#include "api/stream/relay.h"
#include "api/stream/stream.h"

static void add_segment(struct buf *path, struct str s)
{
    buf_addz(path, "/");
    location_encode(path, s);
}

static void add_flags(struct chain_request *c, struct buf *path)
{
    static const struct {
        const char *asked, *told;
    } flags[] = {{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (location_flag(c, flags[i].asked))
            location_add(path, flags[i].told, STR("1"));
}

static void add_all(struct chain_request *c, struct buf *path, const char *asked, const char *told)
{
    struct str query = c->query, name, value;
    while (http_query_next(c->req.arena, &query, &name, &value))
        if (str_eqz(name, asked))
            location_add(path, told, value);
}

static struct str session_path(struct chain_request *c, struct str container)
{
    struct buf path = {0};
    bool forward = str_eq(c->route.subresource, STR("portforward"));
    buf_addz(&path, forward ? "/portForward" : str_eq(c->route.subresource, STR("exec")) ? "/exec" : "/attach");
    add_segment(&path, c->req.namespace_);
    add_segment(&path, c->req.name);
    if (forward) {
        add_all(c, &path, "ports", "port");
    } else {
        add_segment(&path, container);
        add_flags(c, &path);
        add_all(c, &path, "command", "command");
    }
    struct str s = arena_str(c->req.arena, buf_str(&path));
    buf_free(&path);
    return s;
}

void stream_session(struct chain_request *c)
{
    struct err err = ERR_INIT;
    struct value *pod;
    struct str container = STR_NULL;
    struct relay_target target = {.kind = RELAY_UPGRADE};
    bool forward = str_eq(c->route.subresource, STR("portforward"));
    int rc = location_pod(c, c->req.name, &pod, &err);
    if (rc == 0 && !forward)
        rc = location_container(c, pod, location_param(c, "container"), &container, &err);
    struct str node = rc == 0 ? value_path_str(pod, "spec.nodeName") : STR_NULL;
    if (rc == 0 && !node.len)
        rc = err_set(&err, ERR_BAD_REQUEST, "pod " STR_FMT " does not have a host assigned", STR_ARG(c->req.name));
    if (rc == 0)
        rc = location_agent(c, node, &target.origin, &err);
    if (rc == 0 && !http_header_get(c->req.exchange, "upgrade").len)
        rc = err_set(&err, ERR_BAD_REQUEST, "Upgrade request required");
    if (rc < 0) {
        api_answer_err(&c->req, &err);
        return;
    }
    target.path = session_path(c, container);
    relay_run(c, &target);
}
