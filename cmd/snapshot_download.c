/* A snapshot of a running server, over its API. */
#include "cmd/snapshot.h"

#include "api/client/kubeconfig.h"
#include "base/loop.h"
#include "base/net/http_client.h"
#include "openapi/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct download {
    struct loop *loop;
    struct snapshot_file *file;
    struct http_call *call;
    snapshot_progress *progress;
    void *progress_arg;
    bool identities;
    int status;
    struct buf refusal; /* the body of an answer other than 200 */
    int rc;
    struct err *err;
};

static void end(struct download *d)
{
    d->call = NULL;
    loop_stop(d->loop);
}

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    struct download *d = arg;
    (void)headers, (void)n;
    d->status = status;
}

static void on_data(void *arg, struct str data)
{
    struct download *d = arg;
    if (d->status != 200) {
        if (d->refusal.len < 65536)
            buf_add_str(&d->refusal, data);
        return;
    }
    d->rc = snapshot_file_add(d->file, data, d->err);
    if (d->rc < 0) {
        http_call_cancel(d->call);
        end(d);
    } else if (d->progress) {
        d->progress(d->progress_arg, d->file->bytes);
    }
}

static int refused(struct download *d)
{
    struct arena *a = arena_create(0);
    struct json_options plain = {0};
    struct err ignored = ERR_INIT;
    struct value *v = NULL;
    struct str said = str_trim(buf_str(&d->refusal));
    if (json_decode(a, said, &plain, &v, &ignored) == 0 && value_path_str(v, "message").len)
        said = value_path_str(v, "message");
    if (d->status == 404)
        err_set(d->err, ERR_NOT_FOUND, "the server has no snapshots to give: is it Skiff?");
    else
        err_set(d->err, ERR_FORBIDDEN, "the server answered %d: " STR_FMT, d->status, STR_ARG(str_sub(said, 0, 600)));
    arena_destroy(a);
    return d->err->code;
}

static void on_done(void *arg, const struct err *err)
{
    struct download *d = arg;
    if (err) {
        *d->err = *err;
        d->rc = err->code;
        if (d->file->bytes)
            err_context(d->err, "the snapshot broke off after %llu bytes", (unsigned long long)d->file->bytes);
    } else if (d->status != 200) {
        d->rc = refused(d);
    }
    end(d);
}

/* ---- the server's address and our identity ---- */

static int read_kubeconfig(struct arena *a, const char *file, struct kubeconfig *ret, struct err *err)
{
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    char block[4096];
    struct buf text = {0};
    if (!file && list && *list)
        file = arena_str(a, (struct str){list, strcspn(list, ":")}).p;
    if (!file)
        file = arena_printf(a, "%s/.kube/config", home ? home : "").p;
    FILE *f = fopen(file, "re");
    if (!f)
        return err_set_errno(err, ERR_IO, errno, "open kubeconfig %s", file);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&text, block, n);
    fclose(f);
    int rc = kubeconfig_parse(a, arena_str(a, buf_str(&text)), file, ret, err);
    buf_free(&text);
    return rc < 0 ? err_context(err, "%s", file) : 0;
}

static int fetch(struct download *d, const struct kubeconfig *k, struct err *err)
{
    const char *endpoints[] = {k->server, NULL};
    struct tls_context *tls = NULL;
    struct http_client *client = NULL;
    int rc = tls_context_create(&(struct tls_options){.cert_pem = k->cert_pem,
                                                      .key_pem = k->key_pem,
                                                      .ca_pem = k->ca_pem,
                                                      .insecure = k->insecure,
                                                      .alpn_h2 = true,
                                                      .alpn_http1 = true},
                                &tls, err);
    if (rc == 0)
        rc = http_client_create(d->loop,
                                &(struct http_client_options){.endpoints = endpoints,
                                                              .tls = tls,
                                                              .server_name = k->server_name,
                                                              .token = k->token,
                                                              .user_agent = "skiff/" SKIFF_VERSION},
                                &client, err);
    if (rc == 0) {
        d->call = http_call_start(
            client, &(struct http_call_options){
                        .method = STR("GET"),
                        .path = d->identities ? STR("/skiff/snapshot?identities=true") : STR("/skiff/snapshot"),
                        .handler = {.on_response = on_response, .on_data = on_data, .on_done = on_done, .arg = d},
                    });
        loop_run(d->loop);
        rc = d->rc;
    }
    http_client_destroy(client);
    tls_context_destroy(tls);
    return rc;
}

int snapshot_download(const char *kubeconfig, bool identities, const char *path, snapshot_progress *progress, void *arg,
                      struct arena *a, struct snapshot_summary *ret, struct err *err)
{
    struct kubeconfig k;
    struct snapshot_file file;
    int rc = read_kubeconfig(a, kubeconfig, &k, err);
    if (rc == 0)
        rc = snapshot_file_create(&file, path, err);
    if (rc < 0)
        return rc;
    struct download d = {.loop = loop_create("snapshot"),
                         .file = &file,
                         .identities = identities,
                         .progress = progress,
                         .progress_arg = arg,
                         .err = err};
    rc = fetch(&d, &k, err);
    loop_destroy(d.loop);
    buf_free(&d.refusal);
    if (rc < 0) {
        snapshot_file_abandon(&file);
        return rc;
    }
    rc = snapshot_file_commit(&file, a, ret, err);
    if (rc == 0 && identities && !ret->identities.n)
        rc = err_set(err, ERR_NOT_FOUND, "%s is saved, but without identities: the server does not know of them", path);
    return rc;
}
