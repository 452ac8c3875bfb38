/* The paths that are no resources. */
#include "api/chain/chain.h"
#include "api/chain/token.h"
#include "api/discovery.h"
#include "api/health.h"
#include "api/metrics_endpoint.h"
#include "api/openapi_endpoint.h"
#include "api/server.h"
#include "api/snapshot_endpoint.h"

#ifdef __clang__
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif
#ifdef __aarch64__
#define MACHINE "arm64"
#else
#define MACHINE "amd64"
#endif

struct str endpoint_version(void)
{
    return STR("{\n"
               "  \"major\": \"1\",\n"
               "  \"minor\": \"36\",\n"
               "  \"emulationMajor\": \"1\",\n"
               "  \"emulationMinor\": \"36\",\n"
               "  \"minCompatibilityMajor\": \"1\",\n"
               "  \"minCompatibilityMinor\": \"35\",\n"
               "  \"gitVersion\": \"v1.36.2+skiff-" SKIFF_VERSION "\",\n"
               "  \"gitCommit\": \"\",\n"
               "  \"gitTreeState\": \"clean\",\n"
               "  \"buildDate\": \"1970-01-01T00:00:00Z\",\n"
               "  \"goVersion\": \"none\",\n"
               "  \"compiler\": \"" COMPILER "\",\n"
               "  \"platform\": \"linux/" MACHINE "\"\n"
               "}");
}

static void answer_version(struct chain_request *c)
{
    chain_answer_text(c, 200, "application/json", endpoint_version());
}

static void answer_metrics(struct chain_request *c)
{
    struct buf out = {0};
    metrics_text(&out);
    chain_answer_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out));
    buf_free(&out);
}

static void answer_openid(struct chain_request *c)
{
    struct str text =
        arena_printf(c->req.arena,
                     "{\"issuer\":\"" TOKEN_ISSUER "\",\"jwks_uri\":\"https://%s/openid/v1/jwks\","
                     "\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
                     "\"id_token_signing_alg_values_supported\":[\"ES256\"]}",
                     c->req.server->address);
    chain_answer_text(c, 200, "application/json", text);
}

static void answer_jwks(struct chain_request *c)
{
    chain_answer_text(c, 200, "application/jwk-set+json", token_jwks(c->req.server->signer, c->req.arena));
}

static const struct {
    const char *path;
    void (*answer)(struct chain_request *c);
} endpoints[] = {
    {"/version", answer_version},
    {"/metrics", answer_metrics},
    {"/.well-known/openid-configuration", answer_openid},
    {"/openid/v1/jwks", answer_jwks},
    {"/skiff/snapshot", answer_snapshot},
};

static void answer_root(struct chain_request *c)
{
    struct buf out = {0};
    size_t n;
    struct str last = STR_NULL;
    const struct resource *const *all = resources_builtin(&n);
    buf_addz(&out, "{\"paths\":[\"/.well-known/openid-configuration\",\"/api\",\"/api/v1\",\"/apis\",\"/apis/\"");
    for (size_t i = 0; i < n; i++) {
        if (!all[i]->group.len || str_eq(all[i]->group, last))
            continue;
        last = all[i]->group;
        buf_printf(&out, ",\"/apis/" STR_FMT "\"", STR_ARG(last));
        for (const struct resource_version *v = all[i]->versions; v->version.p; v++)
            buf_printf(&out, ",\"/apis/" STR_FMT "/" STR_FMT "\"", STR_ARG(last), STR_ARG(v->version));
    }
    buf_addz(&out, ",\"/healthz\",\"/livez\",\"/metrics\",\"/openapi/v2\",\"/openapi/v3\",\"/openapi/v3/\","
                   "\"/openid/v1/jwks\",\"/readyz\",\"/version\"]}");
    chain_answer_json(c, 200, "application/json", buf_str(&out), NULL, 0);
    buf_free(&out);
}

void endpoint_run(struct chain_request *c)
{
    struct str path = c->route.path;
    if (c->mutating) {
        chain_answer_text(c, 405, "text/plain; charset=utf-8", STR("405: Method Not Allowed"));
        return;
    }
    while (path.len > 1 && str_ends(path, STR("/")))
        path.len--;
    if (str_eq(path, STR("/"))) {
        answer_root(c);
        return;
    }
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        if (str_eqz(path, endpoints[i].path)) {
            endpoints[i].answer(c);
            return;
        }
    if (!discovery_run(c) && !health_run(c) && !openapi_run(c))
        chain_answer_not_found(c);
}
