/* Making an HTTP client: from options, or from the current context of a kubeconfig file. */
#include "api/client/kubeconfig.h"
#include "api/client/remote.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int read_file(const char *path, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(out, block, n);
    int failed = ferror(f);
    fclose(f);
    buf_add_char(out, 0);
    return failed ? err_set(err, ERR_IO, "read %s", path) : 0;
}

static int make_tls(const struct client_http_options *opt, bool insecure, struct tls_context **ret, struct err *err)
{
    struct buf ca = {0};
    if (opt->ca_file && !opt->ca_pem) {
        int rc = read_file(opt->ca_file, &ca, err);
        if (rc < 0) {
            buf_free(&ca);
            return rc;
        }
    }
    int rc = tls_context_create(&(struct tls_options){.cert_pem = opt->cert_pem,
                                                      .key_pem = opt->key_pem,
                                                      .ca_pem = opt->ca_pem ? opt->ca_pem : ca.p,
                                                      .insecure = insecure,
                                                      .alpn_h2 = true,
                                                      .alpn_http1 = true},
                                ret, err);
    buf_free(&ca);
    return rc;
}

static int create(struct loop *loop, const struct client_http_options *opt, bool insecure, const char *server_name,
                  struct client **ret, struct err *err)
{
    struct remote *c = MEM_NEW(struct remote);
    c->base.ops = &remote_ops;
    c->loop = loop;
    const char *agent = opt->user_agent ? opt->user_agent : "skiff";
    c->field_manager = mem_dup(agent, strcspn(agent, "/"));
    int rc = make_tls(opt, insecure, &c->tls, err);
    if (rc == 0)
        rc = http_client_create(loop,
                                &(struct http_client_options){.endpoints = opt->servers,
                                                              .tls = c->tls,
                                                              .server_name = server_name,
                                                              .token = opt->token,
                                                              .user_agent = agent,
                                                              .ping_interval_ms = 15000},
                                &c->http, err);
    if (rc < 0) {
        tls_context_destroy(c->tls);
        free(c->field_manager);
        free(c);
        return rc;
    }
    size_t n = 0;
    while (opt->servers[n])
        n++;
    servers_set_patience(c, n);
    if (opt->learn_servers)
        servers_learn(c, opt->servers);
    *ret = &c->base;
    return 0;
}

int client_create_http(struct loop *loop, const struct client_http_options *opt, struct client **ret, struct err *err)
{
    return create(loop, opt, false, NULL, ret, err);
}

int client_create_kubeconfig(struct loop *loop, const char *file, const char *user_agent, struct client **ret,
                             struct err *err)
{
    struct buf text = {0};
    struct arena *a = arena_create(0);
    struct kubeconfig k;
    int rc = read_file(file, &text, err);
    if (rc == 0)
        rc = kubeconfig_parse(a, (struct str){text.p, text.len - 1}, file, &k, err);
    if (rc == 0) {
        struct client_http_options opt = {
            .servers = k.servers,
            .ca_pem = k.ca_pem,
            .cert_pem = k.cert_pem,
            .key_pem = k.key_pem,
            .token = k.token,
            .user_agent = user_agent,
        };
        rc = create(loop, &opt, k.insecure, k.server_name, ret, err);
    }
    if (rc < 0)
        err_context(err, "kubeconfig %s", file);
    arena_destroy(a);
    buf_free(&text);
    return rc;
}
