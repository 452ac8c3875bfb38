#include "node/network/dns.h"

#include "base/arena.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define UPSTREAMS_MAX 3
#define PENDING_MAX 1024
#define TRIES 3
#define TRY_MS 1500
#define TCP_CLIENTS_MAX 64
#define TCP_IDLE_MS 10000
#define MESSAGE_MAX 4096

struct pending { /* a question somebody else is asked */
    struct dns_server *server;
    struct sockaddr_in client;
    struct tcp_client *tcp; /* NULL = the client spoke UDP */
    uint16_t client_id, id;
    int tries;
    size_t len;
    struct timer timer;
    char message[1024];
};

struct tcp_client {
    struct dns_server *server;
    uv_tcp_t handle;
    struct buf in;
    char chunk[2048];
    struct timer idle;
    struct tcp_client *next;
    bool closing;
};

struct dns_server {
    struct loop *loop;
    const struct dns_zone *zone;
    uv_udp_t udp, out;
    uv_tcp_t tcp;
    int open_handles;
    bool stopping;
    struct sockaddr_in upstreams[UPSTREAMS_MAX];
    size_t n_upstreams;
    struct pending *pending[PENDING_MAX]; /* by id modulo */
    uint16_t next_id;
    struct tcp_client *clients;
    size_t n_clients;
    char receive[MESSAGE_MAX], receive_out[MESSAGE_MAX];
};

/* ---- sending ---- */

struct outgoing {
    union {
        uv_udp_send_t udp;
        uv_write_t tcp;
    };
    char *bytes;
};

static void udp_sent(uv_udp_send_t *req, int status)
{
    struct outgoing *o = (struct outgoing *)req;
    (void)status;
    free(o->bytes);
    free(o);
}

static void tcp_sent(uv_write_t *req, int status)
{
    struct outgoing *o = (struct outgoing *)req;
    (void)status;
    free(o->bytes);
    free(o);
}

static void send_udp(uv_udp_t *from, const struct sockaddr_in *to, struct str message)
{
    uv_buf_t buf = uv_buf_init((char *)message.p, (unsigned)message.len);
    if (uv_udp_try_send(from, &buf, 1, (const struct sockaddr *)to) >= 0)
        return;
    struct outgoing *o = calloc(1, sizeof *o);
    assert(o);
    o->bytes = malloc(message.len);
    assert(o->bytes);
    memcpy(o->bytes, message.p, message.len);
    buf.base = o->bytes;
    if (uv_udp_send(&o->udp, from, &buf, 1, (const struct sockaddr *)to, udp_sent) != 0)
        udp_sent(&o->udp, 0);
}

static void send_tcp(struct tcp_client *c, struct str message)
{
    struct outgoing *o = calloc(1, sizeof *o);
    assert(o);
    o->bytes = malloc(message.len + 2);
    assert(o->bytes);
    o->bytes[0] = (char)(message.len >> 8);
    o->bytes[1] = (char)message.len;
    memcpy(o->bytes + 2, message.p, message.len);
    uv_buf_t buf = uv_buf_init(o->bytes, (unsigned)message.len + 2);
    if (c->closing || uv_write(&o->tcp, (uv_stream_t *)&c->handle, &buf, 1, tcp_sent) != 0)
        tcp_sent(&o->tcp, 0);
}

/* ---- questions for somebody else ---- */

static void answer_client(struct dns_server *s, const struct sockaddr_in *client, struct tcp_client *tcp,
                          struct str message)
{
    if (tcp)
        send_tcp(tcp, message);
    else
        send_udp(&s->udp, client, message);
}

static void answer_code(struct dns_server *s, const struct sockaddr_in *client, struct tcp_client *tcp,
                        const struct dns_question *q, struct str question, enum dns_code code)
{
    struct dns_answer a;
    dns_answer_begin(&a, q, question);
    struct buf out = dns_answer_end(&a, q, code, false, UINT16_MAX);
    answer_client(s, client, tcp, buf_str(&out));
    buf_free(&out);
}

static void forget(struct pending *p)
{
    timer_stop(&p->timer);
    p->server->pending[p->id % PENDING_MAX] = NULL;
    free(p);
}

static void ask_upstream(void *arg)
{
    struct pending *p = arg;
    struct dns_server *s = p->server;
    if (p->tries == TRIES || s->n_upstreams == 0) {
        struct dns_question q;
        enum dns_code code;
        p->message[0] = (char)(p->client_id >> 8);
        p->message[1] = (char)p->client_id;
        dns_parse_question((struct str){p->message, p->len}, &q, &code);
        answer_code(s, &p->client, p->tcp, &q, (struct str){p->message, p->len}, DNS_SERVER_FAILURE);
        forget(p);
        return;
    }
    send_udp(&s->out, &s->upstreams[(size_t)p->tries % s->n_upstreams], (struct str){p->message, p->len});
    p->tries++;
    timer_start(&p->timer, s->loop, TRY_MS, ask_upstream, p);
}

static void forward(struct dns_server *s, const struct sockaddr_in *client, struct tcp_client *tcp, struct str question)
{
    struct pending *p = question.len <= sizeof p->message ? calloc(1, sizeof *p) : NULL;
    if (!p)
        return;
    p->server = s;
    p->client = *client;
    p->tcp = tcp;
    p->id = ++s->next_id;
    if (s->pending[p->id % PENDING_MAX])
        forget(s->pending[p->id % PENDING_MAX]); /* a thousand questions are out: the oldest gives way */
    s->pending[p->id % PENDING_MAX] = p;
    p->client_id = (uint16_t)((unsigned char)question.p[0] << 8 | (unsigned char)question.p[1]);
    p->len = question.len;
    memcpy(p->message, question.p, question.len);
    p->message[0] = (char)(p->id >> 8);
    p->message[1] = (char)p->id;
    ask_upstream(p);
}

static bool from_upstream(const struct dns_server *s, const struct sockaddr *from)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    for (size_t i = 0; i < s->n_upstreams; i++) {
        if (in->sin_addr.s_addr == s->upstreams[i].sin_addr.s_addr && in->sin_port == s->upstreams[i].sin_port)
            return true;
    }
    return false;
}

static void on_upstream_answer(uv_udp_t *handle, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                               unsigned flags)
{
    struct dns_server *s = handle->data;
    (void)flags;
    if (n < 12 || !from || !from_upstream(s, from))
        return;
    uint16_t id = (uint16_t)((unsigned char)buf->base[0] << 8 | (unsigned char)buf->base[1]);
    struct pending *p = s->pending[id % PENDING_MAX];
    if (!p || p->id != id)
        return;
    buf->base[0] = (char)(p->client_id >> 8);
    buf->base[1] = (char)p->client_id;
    answer_client(s, &p->client, p->tcp, (struct str){buf->base, (size_t)n});
    forget(p);
}

/* ---- questions ---- */

static void on_question(struct dns_server *s, const struct sockaddr_in *client, struct tcp_client *tcp,
                        struct str message)
{
    struct dns_question q;
    struct dns_answer a;
    enum dns_code code;
    if (!dns_parse_question(message, &q, &code))
        return;
    if (code != DNS_OK) {
        answer_code(s, client, tcp, &q, message, code);
        return;
    }
    dns_answer_begin(&a, &q, message);
    if (!s->zone || !dns_zone_answer(s->zone, &q, &a, &code)) {
        buf_free(&a.out);
        forward(s, client, tcp, message);
        return;
    }
    struct buf out = dns_answer_end(&a, &q, code, true, tcp ? UINT16_MAX : q.udp_size);
    answer_client(s, client, tcp, buf_str(&out));
    buf_free(&out);
}

static void alloc_in(uv_handle_t *handle, size_t hint, uv_buf_t *ret)
{
    struct dns_server *s = handle->data;
    (void)hint;
    *ret = uv_buf_init(handle == (uv_handle_t *)&s->udp ? s->receive : s->receive_out, MESSAGE_MAX);
}

static void on_udp(uv_udp_t *handle, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
    if (n > 0 && from && !(flags & UV_UDP_PARTIAL))
        on_question(handle->data, (const struct sockaddr_in *)from, NULL, (struct str){buf->base, (size_t)n});
}

/* ---- TCP ---- */

static void client_closed(uv_handle_t *handle)
{
    struct tcp_client *c = handle->data;
    struct dns_server *s = c->server;
    for (struct tcp_client **at = &s->clients; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    s->n_clients--;
    buf_free(&c->in);
    free(c);
}

static void close_client(void *arg)
{
    struct tcp_client *c = arg;
    if (c->closing)
        return;
    c->closing = true;
    timer_stop(&c->idle);
    for (size_t i = 0; i < PENDING_MAX; i++) {
        if (c->server->pending[i] && c->server->pending[i]->tcp == c)
            forget(c->server->pending[i]);
    }
    uv_close((uv_handle_t *)&c->handle, client_closed);
}

static void alloc_client(uv_handle_t *handle, size_t hint, uv_buf_t *ret)
{
    struct tcp_client *c = handle->data;
    (void)hint;
    *ret = uv_buf_init(c->chunk, sizeof c->chunk);
}

static void on_tcp(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct tcp_client *c = stream->data;
    if (n <= 0) {
        if (n < 0)
            close_client(c);
        return;
    }
    timer_start(&c->idle, c->server->loop, TCP_IDLE_MS, close_client, c);
    buf_add(&c->in, buf->base, (size_t)n);
    while (c->in.len >= 2 && !c->closing) {
        size_t len = (size_t)((unsigned char)c->in.p[0] << 8 | (unsigned char)c->in.p[1]);
        if (len > MESSAGE_MAX) {
            close_client(c);
            return;
        }
        if (c->in.len < len + 2)
            return;
        on_question(c->server, &(struct sockaddr_in){0}, c, (struct str){c->in.p + 2, len});
        buf_drop_front(&c->in, len + 2);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct dns_server *s = listener->data;
    struct tcp_client *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return;
    c->server = s;
    uv_tcp_init(loop_uv(s->loop), &c->handle);
    c->handle.data = c;
    c->next = s->clients;
    s->clients = c;
    s->n_clients++;
    if (uv_accept(listener, (uv_stream_t *)&c->handle) != 0 || s->n_clients > TCP_CLIENTS_MAX) {
        close_client(c);
        return;
    }
    timer_start(&c->idle, s->loop, TCP_IDLE_MS, close_client, c);
    uv_read_start((uv_stream_t *)&c->handle, alloc_client, on_tcp);
}

/* ---- life ---- */

/* nameserver lines; our own address is left out, or questions would go round in circles. */
static void read_upstreams(struct dns_server *s, const char *file, uint32_t own)
{
    char line[512], address[64];
    FILE *f = fopen(file, "re");
    while (f && fgets(line, sizeof line, f) && s->n_upstreams < UPSTREAMS_MAX) {
        struct sockaddr_in *to = &s->upstreams[s->n_upstreams];
        if (sscanf(line, " nameserver %63s", address) == 1 && uv_ip4_addr(address, 53, to) == 0 &&
            ntohl(to->sin_addr.s_addr) != own)
            s->n_upstreams++;
    }
    if (f)
        fclose(f);
}

int dns_server_create(struct loop *loop, const char *address, uint16_t port, const char *resolv_conf,
                      struct dns_server **ret, struct err *err)
{
    struct sockaddr_in at, any;
    if (uv_ip4_addr(address, port, &at) != 0)
        return err_set(err, ERR_BAD_REQUEST, "%s is not an IPv4 address", address);
    uv_ip4_addr("0.0.0.0", 0, &any);
    struct dns_server *s = calloc(1, sizeof *s);
    assert(s);
    s->loop = loop;
    s->next_id = (uint16_t)str_hash(STR("dns"));
    read_upstreams(s, resolv_conf ? resolv_conf : "/etc/resolv.conf", ntohl(at.sin_addr.s_addr));
    uv_udp_init(loop_uv(loop), &s->udp);
    uv_udp_init(loop_uv(loop), &s->out);
    uv_tcp_init(loop_uv(loop), &s->tcp);
    s->open_handles = 3;
    s->udp.data = s->out.data = s->tcp.data = s;
    int rc;
    if ((rc = uv_udp_bind(&s->udp, (struct sockaddr *)&at, UV_UDP_REUSEADDR)) != 0 ||
        (rc = uv_udp_bind(&s->out, (struct sockaddr *)&any, 0)) != 0 ||
        (rc = uv_tcp_bind(&s->tcp, (struct sockaddr *)&at, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)&s->tcp, 64, on_connection)) != 0 ||
        (rc = uv_udp_recv_start(&s->udp, alloc_in, on_udp)) != 0 ||
        (rc = uv_udp_recv_start(&s->out, alloc_in, on_upstream_answer)) != 0) {
        dns_server_destroy(s);
        return err_set_errno(err, ERR_IO, -rc, "serve DNS on %s port %u", address, port);
    }
    *ret = s;
    return 0;
}

void dns_server_set_zone(struct dns_server *s, const struct dns_zone *zone)
{
    s->zone = zone;
}

static void handle_closed(uv_handle_t *handle)
{
    struct dns_server *s = handle->data;
    if (--s->open_handles == 0)
        free(s);
}

void dns_server_destroy(struct dns_server *s)
{
    if (!s || s->stopping)
        return;
    s->stopping = true;
    for (size_t i = 0; i < PENDING_MAX; i++) {
        if (s->pending[i])
            forget(s->pending[i]);
    }
    for (struct tcp_client *c = s->clients, *next; c; c = next) {
        next = c->next;
        close_client(c);
    }
    uv_close((uv_handle_t *)&s->udp, handle_closed);
    uv_close((uv_handle_t *)&s->out, handle_closed);
    uv_close((uv_handle_t *)&s->tcp, handle_closed);
}
