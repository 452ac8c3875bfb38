#include "api/health.h"

#include "api/server.h"
#include "storage/crypt/crypt.h"

enum probe { PROBE_HEALTHZ = 1, PROBE_LIVEZ = 2, PROBE_READYZ = 4 };

static const char *check_ping(const struct api_server *s)
{
    (void)s;
    return NULL;
}

static const char *check_store(const struct api_server *s)
{
    return kv_trouble(s->kv);
}

static const char *check_objects(const struct api_server *s)
{
    return s->bootstrapped ? NULL : "not finished";
}

static const char *check_shutdown(const struct api_server *s)
{
    return s->stopping ? "process is shutting down" : NULL;
}

static const char *check_key_services(const struct api_server *s)
{
    return crypt_trouble(s->crypt);
}

/* Told of where key management services are configured, or could come to be. */
static bool has_key_services(const struct api_server *s)
{
    return s->options.encryption_reload || crypt_has_services(s->crypt);
}

/* Named as upstream names them, the store's check included, since monitoring asks for these names. */
static const struct check {
    const char *name;
    unsigned probes;
    const char *(*run)(const struct api_server *s); /* NULL = fine, else why not */
    bool (*is_there)(const struct api_server *s);   /* NULL = always */
} checks[] = {
    {"ping", PROBE_HEALTHZ | PROBE_LIVEZ | PROBE_READYZ, check_ping},
    {"log", PROBE_HEALTHZ | PROBE_LIVEZ | PROBE_READYZ, check_ping},
    {"etcd", PROBE_HEALTHZ | PROBE_LIVEZ | PROBE_READYZ, check_store},
    {"etcd-readiness", PROBE_READYZ, check_store},
    {"informer-sync", PROBE_READYZ, check_objects},
    {"poststarthook/rbac/bootstrap-roles", PROBE_HEALTHZ | PROBE_LIVEZ | PROBE_READYZ, check_objects},
    {"poststarthook/scheduling/bootstrap-system-priority-classes", PROBE_HEALTHZ | PROBE_LIVEZ | PROBE_READYZ,
     check_objects},
    {"kms-providers", PROBE_HEALTHZ | PROBE_READYZ, check_key_services, has_key_services},
    {"shutdown", PROBE_READYZ, check_shutdown},
};

static bool applies(size_t check, enum probe probe, const struct api_server *s)
{
    return checks[check].probes & probe && (!checks[check].is_there || checks[check].is_there(s));
}

static bool query_has(struct chain_request *c, const char *want, struct str value_wanted)
{
    struct str query = c->query, name, value;
    while (http_query_next(c->req.arena, &query, &name, &value))
        if (str_eqz(name, want) && (!value_wanted.p || str_eq(value, value_wanted)))
            return true;
    return false;
}

static void run_all(struct chain_request *c, struct str probe_name, enum probe probe)
{
    struct buf out = {0};
    bool failed = false;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (!applies(i, probe, c->req.server))
            continue;
        const char *why = checks[i].run(c->req.server);
        if (query_has(c, "exclude", str_from(checks[i].name)))
            buf_printf(&out, "[+]%s excluded: ok\n", checks[i].name);
        else if (why)
            buf_printf(&out, "[-]%s failed: %s\n", checks[i].name, why);
        else
            buf_printf(&out, "[+]%s ok\n", checks[i].name);
        failed = failed || (why && !query_has(c, "exclude", str_from(checks[i].name)));
    }
    buf_printf(&out, STR_FMT " check %s\n", STR_ARG(probe_name), failed ? "failed" : "passed");
    bool verbose = failed || query_has(c, "verbose", STR_NULL);
    chain_answer_text(c, failed ? 500 : 200, "text/plain; charset=utf-8", verbose ? buf_str(&out) : STR("ok"));
    buf_free(&out);
}

bool health_run(struct chain_request *c)
{
    static const char *const names[] = {"healthz", "livez", "readyz"};
    static const enum probe probes[] = {PROBE_HEALTHZ, PROBE_LIVEZ, PROBE_READYZ};
    struct str path = str_sub(c->route.path, 1, c->route.path.len), head;
    while (str_ends(path, STR("/")))
        path.len--;
    str_split(&path, '/', &head);
    for (size_t p = 0; p < 3; p++) {
        if (!str_eqz(head, names[p]))
            continue;
        if (!path.p) {
            run_all(c, head, probes[p]);
            return true;
        }
        for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
            if (!applies(i, probes[p], c->req.server) || !str_eqz(path, checks[i].name))
                continue;
            const char *why = checks[i].run(c->req.server);
            struct str text = why ? arena_printf(c->req.arena, "internal server error: %s\n", why) : STR("ok");
            chain_answer_text(c, why ? 500 : 200, "text/plain; charset=utf-8", text);
            return true;
        }
        return false;
    }
    return false;
}
