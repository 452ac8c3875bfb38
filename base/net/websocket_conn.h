/* websocket_conn: what joins websocket.c to the server's and the client's connections; nobody else includes this. */
#ifndef SKIFF_BASE_NET_WEBSOCKET_CONN_H
#define SKIFF_BASE_NET_WEBSOCKET_CONN_H

#include "base/net/websocket.h"

struct websocket_transport {
    void (*write)(void *stream, const struct slice *pieces, size_t n); /* takes over the references */
    size_t (*unsent)(const void *stream);
    void (*read)(void *stream, bool on);
    void (*close)(void *stream);
};

struct websocket *websocket_create(struct loop *loop, bool client, const struct websocket_options *options,
                                   const struct websocket_transport *transport);
void websocket_attach(struct websocket *w, void *stream);
/* The callbacks of a struct byte_stream_handler whose arg is the websocket. */
void websocket_on_data(void *arg, struct str data);
void websocket_on_close(void *arg);
void websocket_on_drain(void *arg);
void websocket_free(struct websocket *w); /* one never attached */
void websocket_accept_key(struct str key, char ret[static 29]);

#endif
