/* Two sessions, client and server, talk to each other through buffers. */
#include "base/net/spdy_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct side;
struct end { /* one stream as one side sees it */
    struct side *side;
    struct spdy_stream *stream;
    struct buf got, headers;
    size_t bytes;
    bool replied, ended, drained;
    int reset;
};
struct side {
    struct spdy_session *session;
    struct buf out;
    struct end ends[64];
    size_t n_ends;
    bool refuse, closed, echo;
    enum err_code closed_code;
};

static void write_out(void *arg, struct str bytes)
{
    buf_add_str(&((struct side *)arg)->out, bytes);
}

static void on_reply(void *arg, const struct http_header *h, size_t n)
{
    struct end *e = arg;
    e->replied = true;
    for (size_t i = 0; i < n; i++)
        buf_printf(&e->headers, STR_FMT "=" STR_FMT ";", STR_ARG(h[i].name), STR_ARG(h[i].value));
}

static void on_data(void *arg, struct str data)
{
    struct end *e = arg;
    e->bytes += data.len;
    buf_add_str(&e->got, data);
    if (e->side->echo)
        spdy_stream_write(e->stream, data);
}

static void on_end(void *arg)
{
    struct end *e = arg;
    e->ended = true;
    if (e->side->echo)
        spdy_stream_end(e->stream);
}

static void on_reset(void *arg, int status)
{
    ((struct end *)arg)->reset = status;
}

static void on_drain(void *arg)
{
    ((struct end *)arg)->drained = true;
}

static struct spdy_stream_handler handler(struct end *e)
{
    return (struct spdy_stream_handler){on_reply, on_data, on_end, on_reset, on_drain, e};
}

static void on_stream(void *arg, struct spdy_stream *st, const struct http_header *h, size_t n)
{
    struct side *side = arg;
    if (side->refuse)
        return;
    struct end *e = &side->ends[side->n_ends++];
    e->side = side;
    e->stream = st;
    on_reply(e, h, n);
    struct spdy_stream_handler hd = handler(e);
    spdy_stream_accept(st, &(struct http_header){STR("X-Ok"), STR("yes")}, 1, &hd);
}

static void on_closed(void *arg, const struct err *err)
{
    struct side *side = arg;
    side->closed = true;
    side->closed_code = err ? err->code : ERR_OK;
}

static void begin(struct side *client, struct side *server)
{
    *client = *server = (struct side){0};
    client->session = spdy_session_create(&(struct spdy_session_options){
        .write = write_out, .on_stream = on_stream, .on_closed = on_closed, .arg = client});
    server->session = spdy_session_create(&(struct spdy_session_options){
        .server = true, .write = write_out, .on_stream = on_stream, .on_closed = on_closed, .arg = server});
}

static void side_finish(struct side *s)
{
    spdy_session_destroy(s->session);
    buf_free(&s->out);
    for (size_t i = 0; i < 64; i++) {
        buf_free(&s->ends[i].got);
        buf_free(&s->ends[i].headers);
    }
}

/* Carries bytes over in pieces of `chunk` until both are silent. */
static void carry(struct side *a, struct side *b, size_t chunk)
{
    struct err err = ERR_INIT;
    while (a->out.len || b->out.len) {
        struct side *from = a->out.len ? a : b, *to = from == a ? b : a;
        size_t n = from->out.len < chunk ? from->out.len : chunk;
        char *piece = malloc(n);
        memcpy(piece, from->out.p, n);
        buf_drop_front(&from->out, n);
        spdy_session_feed(to->session, (struct str){piece, n}, &err);
        free(piece);
    }
}

static struct end *open_stream(struct side *s, const char *type, bool fin)
{
    struct end *e = &s->ends[s->n_ends++];
    e->side = s;
    struct http_header h[] = {{STR("streamType"), str_from(type)}, {STR("port"), STR("80")}, {STR("port"), STR("81")}};
    struct spdy_stream_handler hd = handler(e);
    e->stream = spdy_stream_create(s->session, h, 3, fin, &hd);
    return e;
}

static const char *text(struct buf *b)
{
    buf_add_char(b, 0);
    b->len--;
    return b->p;
}

static void test_dictionary(void **state)
{
    (void)state;
    assert_int_equal(adler32(adler32(0, NULL, 0), (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_LEN), 0xe3c6a7c2u);
}

static void test_streams(void **state)
{
    (void)state;
    const size_t chunks[] = {1, 3, 7, 100, 100000};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        struct side client, server;
        begin(&client, &server);
        server.echo = true;
        struct end *a = open_stream(&client, "error", true), *b = open_stream(&client, "data", false);
        assert_int_equal(spdy_stream_id(b->stream), 3);
        spdy_stream_write(b->stream, STR("hello "));
        spdy_stream_write(b->stream, STR("world"));
        carry(&client, &server, chunks[i]);
        assert_int_equal(server.n_ends, 2);
        assert_string_equal(text(&server.ends[0].headers), "streamtype=error;port=80;port=81;");
        assert_string_equal(text(&a->headers), "x-ok=yes;");
        assert_true(server.ends[0].ended && a->ended && !b->ended);
        assert_true(spdy_stream_done(a->stream));
        assert_string_equal(text(&b->got), "hello world");
        spdy_stream_end(b->stream);
        carry(&client, &server, chunks[i]);
        assert_true(b->ended && spdy_stream_done(b->stream) && spdy_stream_done(server.ends[1].stream));
        spdy_stream_reset(a->stream, SPDY_CANCEL); /* both halves are done: says nothing */
        assert_int_equal(client.out.len, 0);
        assert_int_equal(spdy_session_streams(client.session), 1);
        spdy_session_ping(client.session);
        carry(&client, &server, chunks[i]);
        side_finish(&client);
        side_finish(&server);
    }
}

static void test_reset_and_refuse(void **state)
{
    (void)state;
    struct side client, server;
    begin(&client, &server);
    struct end *a = open_stream(&client, "data", false);
    carry(&client, &server, 1000);
    spdy_stream_reset(server.ends[0].stream, SPDY_INTERNAL_ERROR);
    spdy_stream_write(a->stream, STR("crosses the reset"));
    carry(&client, &server, 1000);
    assert_int_equal(a->reset, SPDY_INTERNAL_ERROR);
    server.refuse = true;
    struct end *b = open_stream(&client, "data", false);
    carry(&client, &server, 1000);
    assert_int_equal(b->reset, SPDY_REFUSED_STREAM);
    assert_int_equal(spdy_session_streams(client.session), 0);
    server.refuse = false;
    struct end *c = open_stream(&client, "still", true); /* the compression went on */
    carry(&client, &server, 1000);
    assert_true(c->replied);
    spdy_session_goaway(server.session);
    carry(&client, &server, 1000);
    assert_true(client.closed);
    assert_int_equal(client.closed_code, ERR_OK);
    assert_null(spdy_stream_create(client.session, NULL, 0, false, &(struct spdy_stream_handler){0}));
    side_finish(&client);
    side_finish(&server);
}

static void test_flow_control(void **state)
{
    (void)state;
    struct side client, server;
    begin(&client, &server);
    static char block[300000];
    struct end *a = open_stream(&client, "data", false);
    carry(&client, &server, 100000);
    /* The server shows a window by taking half of one. */
    spdy_stream_write(a->stream, (struct str){block, 40000});
    carry(&client, &server, 100000);
    struct end *b = &server.ends[0];
    assert_int_equal(b->bytes, 40000);
    spdy_stream_read(b->stream, false);
    spdy_stream_write(a->stream, (struct str){block, sizeof block});
    spdy_stream_end(a->stream);
    carry(&client, &server, 100000);
    assert_int_equal(b->bytes, 40000);
    const size_t window = 65536 - (40000 - 32768); /* room is given back by the half window or more */
    assert_int_equal(spdy_session_held(server.session), window);
    assert_int_equal(spdy_stream_unsent(a->stream), sizeof block - window);
    spdy_stream_read(b->stream, true);
    carry(&client, &server, 100000);
    assert_int_equal(b->bytes, 40000 + sizeof block);
    assert_true(b->ended && a->drained);
    side_finish(&client);
    side_finish(&server);
}

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"\x80\x02\0\1\0\0\0\0", 8},                            /* SPDY/2 */
        {"\x80\x03\0\1\0\0\0\4aaaa", 12},                       /* short SYN_STREAM */
        {"\x80\x03\0\1\0\0\0\x0e\0\0\0\1\0\0\0\0\0\0junk", 22}, /* not zlib */
        {"\x80\x03\0\1\0\xff\xff\xff", 8},                      /* a control frame of 16 MB */
        {"\x80\x03\0\4\0\0\0\4\0\0\0\7", 12},                   /* SETTINGS without its entries */
        {"\x80\x03\0\11\0\0\0\10\0\0\0\0\x7f\xff\xff\xff", 16}, /* a window beyond 2^31 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct side client, server;
        struct err err = ERR_INIT;
        begin(&client, &server);
        struct end *a = open_stream(&client, "data", false);
        carry(&client, &server, 100);
        assert_true(spdy_session_feed(server.session, (struct str){rows[i].bytes, rows[i].len}, &err) < 0);
        assert_true(server.closed && server.closed_code != ERR_OK);
        assert_int_equal(server.ends[0].reset, SPDY_PROTOCOL_ERROR);
        carry(&client, &server, 100);
        assert_true(client.closed && a->reset == 0);
        side_finish(&client);
        side_finish(&server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dictionary),   cmocka_unit_test(test_streams), cmocka_unit_test(test_reset_and_refuse),
        cmocka_unit_test(test_flow_control), cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
