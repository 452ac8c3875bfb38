#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net/http_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- workers ---- */

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its being there keeps the loop from waiting */
}

static void on_prepare(uv_prepare_t *handle)
{
    struct http_worker *w = handle->data;
    /* One turn for each connection marked now: what a flush marks again comes after a look at the sockets. */
    struct conn_list turn = TAILQ_HEAD_INITIALIZER(turn);
    TAILQ_CONCAT(&turn, &w->dirty, dirty_link);
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&turn))) {
        TAILQ_REMOVE(&turn, c, dirty_link);
        c->dirty = false;
        if (!c->doomed)
            conn_flush(c);
        if (c->doomed)
            conn_destroy(c);
    }
    worker_drain(w);
    bool left = !TAILQ_EMPTY(&w->dirty);
    if (left != w->idling) {
        w->idling = left;
        if (left)
            uv_idle_start(&w->idle, on_idle);
        else
            uv_idle_stop(&w->idle);
    }
}

static bool conn_expired(struct http_conn *c, int64_t now)
{
    if (c->out.len && now - c->written_ms > HTTP_WRITE_TIMEOUT_MS)
        return true;
    switch (c->protocol) {
    case PROTOCOL_NONE:
        return now - c->opened_ms > HTTP_HEADERS_TIMEOUT_MS;
    case PROTOCOL_HTTP1:
        return http1_expired(c, now);
    case PROTOCOL_HTTP2:
        return http2_expired(c, now);
    case PROTOCOL_RAW:
        return false;
    case PROTOCOL_LINGER:
        return now - c->active_ms > HTTP_LINGER_TIMEOUT_MS;
    }
    return false;
}

static void on_sweep(void *arg)
{
    struct http_worker *w = arg;
    int64_t now = clock_mono_ms();
    struct http_conn *c;
    TAILQ_FOREACH(c, &w->conns, link)
    if (!c->doomed && conn_expired(c, now))
        conn_doom(c);
    timer_start(&w->sweep, w->loop, HTTP_SWEEP_MS, on_sweep, w);
}

static void worker_open(void *arg)
{
    struct http_worker *w = arg;
    uv_prepare_init(loop_uv(w->loop), &w->prepare);
    uv_idle_init(loop_uv(w->loop), &w->idle);
    w->prepare.data = w;
    w->idle.data = w;
    uv_prepare_start(&w->prepare, on_prepare);
    timer_start(&w->sweep, w->loop, HTTP_SWEEP_MS, on_sweep, w);
}

/* ---- accepting ---- */

struct dealt {
    struct http_worker *worker;
    int fd;
    char address[64];
};

static void on_dealt(void *arg)
{
    struct dealt *d = arg;
    conn_open(d->worker, d->fd, d->address);
    if (d->worker->stopping)
        conn_doom(TAILQ_LAST(&d->worker->conns, conn_list));
    free(d);
}

static void format_address(const struct sockaddr_storage *sa, char *ret, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const void *)sa;
    const struct sockaddr_in6 *v6 = (const void *)sa;
    if (sa->ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        snprintf(ret, size, "%s:%d", text, ntohs(v4->sin_port));
    } else if (sa->ss_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, (const char *)&v6->sin6_addr + 12, text, sizeof text);
            snprintf(ret, size, "%s:%d", text, ntohs(v6->sin6_port));
        } else {
            inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
            snprintf(ret, size, "[%s]:%d", text, ntohs(v6->sin6_port));
        }
    } else {
        snprintf(ret, size, "unix");
    }
}

static void set_options(int fd, int family)
{
    if (family == AF_UNIX)
        return;
    int on = 1, idle_s = 30, every_s = 10, times = 6;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* A watch may be silent for long; a peer that lost power must not keep it. */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
}

static void deal(struct http_server *s, int fd, const struct sockaddr_storage *sa)
{
    struct http_worker *best = s->workers[0];
    for (size_t i = 1; i < s->opt.n_loops; i++)
        if (atomic_load_explicit(&s->workers[i]->n_conns, memory_order_relaxed) <
            atomic_load_explicit(&best->n_conns, memory_order_relaxed))
            best = s->workers[i];
    set_options(fd, sa->ss_family);
    atomic_fetch_add_explicit(&best->n_conns, 1, memory_order_relaxed);
    struct dealt *d = MEM_NEW(struct dealt);
    d->worker = best;
    d->fd = fd;
    format_address(sa, d->address, sizeof d->address);
    if (best->loop == loop_current())
        on_dealt(d);
    else
        loop_post(best->loop, on_dealt, d);
}

static void on_accept(uv_poll_t *poll, int status, int events);

static void on_accept_again(void *arg)
{
    struct http_listener *l = arg;
    uv_poll_start(&l->poll, UV_READABLE, on_accept);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct http_listener *l = poll->data;
    struct http_server *s = l->server;
    (void)status, (void)events;
    for (int i = 0; i < 64; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t len = sizeof sa;
        int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            deal(s, fd, &sa);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("http", "accept: %s", strerror(errno));
            uv_poll_stop(&l->poll);
            timer_start(&l->pause, s->opt.loops[0], 200, on_accept_again, l);
            return;
        }
    }
}

static void accept_open(void *arg)
{
    struct http_server *s = arg;
    s->accepting = true;
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct http_listener *l = &s->listeners[i];
        if (uv_poll_init(loop_uv(s->opt.loops[0]), &l->poll, l->fd))
            abort();
        l->poll.data = l;
        uv_poll_start(&l->poll, UV_READABLE, on_accept);
    }
}

/* ---- listening ---- */

static void add_listener(struct http_server *s, int fd, const char *unix_path)
{
    struct http_listener *l = &s->listeners[s->n_listeners++];
    l->server = s;
    l->fd = fd;
    l->unix_path = unix_path ? mem_strdup(unix_path) : NULL;
}

static int listen_unix(struct http_server *s, const char *path, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return err_set(err, ERR_INVALID, "listen on %s: path too long", path);
    strcpy(sa.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "socket");
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 || errno == EAGAIN) {
        close(fd);
        return err_set(err, ERR_BUSY, "listen on %s: another process does", path);
    }
    if (errno == ECONNREFUSED)
        unlink(path); /* left by a process that has died */
    if (bind(fd, (struct sockaddr *)&sa, sizeof sa) || listen(fd, 4096)) {
        int errnum = errno;
        close(fd);
        return err_set_errno(err, ERR_IO, errnum, "listen on %s", path);
    }
    add_listener(s, fd, path);
    return 0;
}

static int listen_tcp(struct http_server *s, const char *address, struct err *err)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return err_set(err, ERR_INVALID, "listen on %s: not host:port", address);
    size_t len = (size_t)(colon - address);
    bool brackets = len >= 2 && address[0] == '[' && address[len - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(brackets ? len - 2 : len), brackets ? address + 1 : address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int rc = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found);
    if (rc)
        return err_set(err, ERR_INVALID, "listen on %s: %s", address, gai_strerror(rc));
    int on = 1, off = 0, fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        freeaddrinfo(found);
        return err_set_errno(err, ERR_IO, errno, "socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (found->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    rc = bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 4096);
    freeaddrinfo(found);
    if (rc) {
        int errnum = errno;
        close(fd);
        if (errnum == EADDRINUSE)
            return err_set(err, ERR_BUSY, "port %s on %s is in use by another process: stop it or choose another port",
                           colon + 1, host[0] ? host : "any address");
        return err_set_errno(err, ERR_IO, errnum, "listen on %s", address);
    }
    struct sockaddr_storage sa;
    socklen_t sa_len = sizeof sa;
    getsockname(fd, (struct sockaddr *)&sa, &sa_len);
    if (s->n_listeners == 0)
        s->port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                                 : ((struct sockaddr_in *)&sa)->sin_port);
    add_listener(s, fd, NULL);
    return 0;
}

static void close_listeners(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        close(s->listeners[i].fd);
        if (s->listeners[i].unix_path)
            unlink(s->listeners[i].unix_path);
    }
}

/* Every address of the comma-separated list, or none. */
static int listen_all(struct http_server *s, const char *list, struct err *err)
{
    struct str rest = str_from(list), one;
    int rc = 0;
    while (rc == 0 && str_split(&rest, ',', &one)) {
        char address[300];
        if (one.len >= sizeof address || s->n_listeners == HTTP_LISTENERS_MAX)
            rc = err_set(err, ERR_INVALID, "listen on %s: at most %d addresses", list, HTTP_LISTENERS_MAX);
        else {
            snprintf(address, sizeof address, STR_FMT, STR_ARG(one));
            rc = !strncmp(address, "unix:", 5) ? listen_unix(s, address + 5, err) : listen_tcp(s, address, err);
        }
    }
    if (rc < 0)
        close_listeners(s);
    return rc;
}

int http_server_create(const struct http_server_options *opt, struct http_server **ret, struct err *err)
{
    assert(opt->n_loops > 0 && opt->handler);
    struct http_server *s = MEM_NEW(struct http_server);
    s->opt = *opt;
    int rc = listen_all(s, opt->listen, err);
    if (rc < 0) {
        for (size_t i = 0; i < s->n_listeners; i++)
            free(s->listeners[i].unix_path);
        free(s);
        return rc;
    }
    s->opt.loops = mem_dup(opt->loops, opt->n_loops * sizeof *opt->loops);
    s->workers = MEM_ARRAY(struct http_worker *, opt->n_loops);
    for (size_t i = 0; i < opt->n_loops; i++) {
        struct http_worker *w = s->workers[i] = MEM_NEW(struct http_worker);
        w->server = s;
        w->loop = opt->loops[i];
        TAILQ_INIT(&w->conns);
        TAILQ_INIT(&w->dirty);
        TAILQ_INIT(&w->drains);
        loop_post(w->loop, worker_open, w);
    }
    loop_post(opt->loops[0], accept_open, s);
    *ret = s;
    return 0;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

/* ---- stopping ---- */

static void server_stopped(void *arg)
{
    struct http_server *s = arg;
    if (s->stopped)
        s->stopped(s->stopped_arg);
}

static void on_worker_closed(uv_handle_t *handle)
{
    struct http_worker *w = handle->data;
    struct http_server *s = w->server;
    if (handle == (uv_handle_t *)&w->idle && atomic_fetch_sub(&s->workers_left, 1) == 1)
        loop_post(s->opt.loops[0], server_stopped, s);
}

static void worker_close(struct http_worker *w)
{
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&w->conns)))
        conn_destroy(c);
    timer_stop(&w->sweep);
    uv_close((uv_handle_t *)&w->prepare, on_worker_closed);
    uv_close((uv_handle_t *)&w->idle, on_worker_closed);
}

/* While stopping, the sweep's timer looks often whether all connections have ended. */
static void on_stop_look(void *arg)
{
    struct http_worker *w = arg;
    int64_t now = clock_mono_ms();
    struct http_conn *c;
    TAILQ_FOREACH(c, &w->conns, link)
    if (!c->doomed && c->protocol == PROTOCOL_LINGER && now - c->active_ms > HTTP_LINGER_TIMEOUT_MS)
        conn_doom(c);
    if (TAILQ_EMPTY(&w->conns) || now >= w->server->grace_ms)
        worker_close(w);
    else
        timer_start(&w->sweep, w->loop, 10, on_stop_look, w);
}

static void worker_stop(void *arg)
{
    struct http_worker *w = arg;
    w->stopping = true;
    struct http_conn *c;
    TAILQ_FOREACH(c, &w->conns, link)
    {
        if (c->protocol == PROTOCOL_HTTP2) {
            http2_go_away(c);
            conn_mark(c);
        } else if (c->protocol == PROTOCOL_HTTP1 && c->h1.busy) {
            c->h1.keep_alive = false;
        } else if (c->protocol != PROTOCOL_RAW && c->protocol != PROTOCOL_LINGER) {
            conn_doom(c);
        }
    }
    timer_start(&w->sweep, w->loop, 0, on_stop_look, w);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_server *s = ((struct http_listener *)handle->data)->server;
    if (--s->listeners_left)
        return;
    for (size_t i = 0; i < s->opt.n_loops; i++)
        loop_post(s->workers[i]->loop, worker_stop, s->workers[i]);
}

static void server_stop(void *arg)
{
    struct http_server *s = arg;
    if (!s->accepting)
        return;
    s->accepting = false;
    s->listeners_left = s->n_listeners;
    for (size_t i = 0; i < s->n_listeners; i++) {
        timer_stop(&s->listeners[i].pause);
        uv_poll_stop(&s->listeners[i].poll);
        uv_close((uv_handle_t *)&s->listeners[i].poll, on_listener_closed);
    }
    close_listeners(s);
}

void http_server_stop(struct http_server *s, int64_t grace_ms, void (*done)(void *arg), void *arg)
{
    s->grace_ms = clock_mono_ms() + grace_ms;
    s->stopped = done;
    s->stopped_arg = arg;
    atomic_store(&s->workers_left, (unsigned)s->opt.n_loops);
    loop_post(s->opt.loops[0], server_stop, s);
}

void http_server_destroy(struct http_server *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->opt.n_loops; i++) {
        struct http_worker *w = s->workers[i];
        while (w->n_arenas)
            arena_destroy(w->arenas[--w->n_arenas]);
        buf_free(&w->gathered);
        free(w);
    }
    free(s->workers);
    free(s->opt.loops);
    for (size_t i = 0; i < s->n_listeners; i++)
        free(s->listeners[i].unix_path);
    free(s);
}
