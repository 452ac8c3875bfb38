#include "api/client/kubeconfig.h"
#include "base/arena.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_whole(const char *file, struct buf *out)
{
    char block[8192];
    ssize_t n;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("open %s: no such file, or not readable", file);
    while ((n = read(fd, block, sizeof block)) > 0)
        buf_add(out, block, (size_t)n);
    close(fd);
}

struct http_client *target_connect(const struct target *t, struct loop *loop)
{
    struct kubeconfig config = {.server = t->url, .token = t->token, .insecure = true};
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct tls_context *tls;
    struct http_client *client;
    struct buf text = {0};
    if (t->kubeconfig) {
        read_whole(t->kubeconfig, &text);
        if (kubeconfig_parse(a, buf_str(&text), t->kubeconfig, &config, &err) < 0)
            die("%s", err.message);
    }
    if (!config.server)
        die("--url or --kubeconfig says which server");
    struct tls_options tls_options = {.cert_pem = config.cert_pem,
                                      .key_pem = config.key_pem,
                                      .ca_pem = config.ca_pem,
                                      .insecure = config.insecure,
                                      .alpn_h2 = true};
    const char *endpoints[] = {config.server, NULL};
    if (tls_context_create(&tls_options, &tls, &err) < 0)
        die("%s", err.message);
    struct http_client_options options = {.endpoints = endpoints,
                                          .tls = tls,
                                          .mode = HTTP_CLIENT_HTTP2,
                                          .token = config.token,
                                          .user_agent = "skiff-bench",
                                          .server_name = config.server_name};
    if (http_client_create(loop, &options, &client, &err) < 0)
        die("%s", err.message);
    buf_free(&text);
    arena_destroy(a);
    return client; /* its TLS context lives as long as the process */
}

struct question {
    struct loop *loop;
    struct buf body;
    int status;
};

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    ((struct question *)arg)->status = status;
}

static void on_data(void *arg, struct str data)
{
    buf_add_str(&((struct question *)arg)->body, data);
}

static void on_done(void *arg, const struct err *err)
{
    struct question *q = arg;
    if (err)
        die("%s", err->message);
    loop_stop(q->loop);
}

int ask(struct loop *loop, struct http_client *client, const char *method, const char *path, const char *content_type,
        struct str body, char **ret_body)
{
    struct question q = {.loop = loop};
    struct http_header headers[] = {{STR("accept"), STR("application/json")},
                                    {STR("content-type"), str_from(content_type ? content_type : "application/json")}};
    struct http_call_options call = {.method = str_from(method),
                                     .path = str_from(path),
                                     .headers = headers,
                                     .n_headers = 2,
                                     .body = body,
                                     .handler = {on_response, on_data, NULL, NULL, on_done, NULL, &q}};
    http_call_start(client, &call);
    loop_run(loop);
    buf_add_char(&q.body, '\0');
    if (ret_body)
        *ret_body = q.body.p;
    else
        buf_free(&q.body);
    return q.status;
}

void ask_well(struct loop *loop, struct http_client *client, const char *method, const char *path,
              const char *content_type, struct str body, int also, char **ret_body)
{
    char *answer;
    int status = ask(loop, client, method, path, content_type, body, &answer);
    if ((status < 200 || status > 299) && status != also)
        die("%s %s: %d %s", method, path, status, answer);
    if (ret_body)
        *ret_body = answer;
    else
        free(answer);
}

char *json_member(const char *json, const char *name)
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *at = strstr(json, pattern);
    if (!at)
        return NULL;
    at += strlen(pattern);
    at += *at == '"';
    return mem_dup(at, strcspn(at, "\",}]"));
}
