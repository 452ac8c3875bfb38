/* Servers a client learns of: the endpoints of the kubernetes Service list those of the cluster that live. They are
 * asked for now and then and stand behind those that were configured, so that a client whose own servers are all gone
 * finds the others, also those that came after it was started. */
#include "api/client/remote.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define FIRST_MS 2000 /* short-lived clients never ask */
#define INTERVAL_MS 60000
#define AGAIN_MS 10000
#define SERVERS_MAX 32
/* With somewhere else to go nobody waits long for a server that is silent. */
#define CONNECT_TIMEOUT_MS 4000
#define PING_INTERVAL_MS 3000

static void ask(void *arg);

static void ask_later(struct remote *c, int64_t ms)
{
    int64_t spread = (clock_mono_us() ^ (int64_t)((uintptr_t)c >> 4)) % (ms / 4 + 1);
    timer_start(&c->ask_servers, c->loop, ms - spread, ask, c);
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

static bool listed(const char *const *list, size_t n, const char *url)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], url) == 0)
            return true;
    return false;
}

static size_t add_subset(struct arena *a, const struct value *subset, const char **list, size_t n)
{
    const struct value *addresses = value_getz(subset, "addresses"), *ports = value_getz(subset, "ports");
    int64_t port = 0;
    for (size_t i = 0; i < value_len(ports); i++)
        if (str_eqz(value_path_str(value_at(ports, i), "name"), "https"))
            port = value_path_int(value_at(ports, i), "port", 0);
    for (size_t i = 0; port && i < value_len(addresses) && n < SERVERS_MAX; i++) {
        struct str ip = value_path_str(value_at(addresses, i), "ip");
        size_t ignored;
        const char *fmt = str_index(ip, ':', &ignored) ? "https://[" STR_FMT "]:%lld" : "https://" STR_FMT ":%lld";
        const char *url = arena_printf(a, fmt, STR_ARG(ip), (long long)port).p;
        if (!listed(list, n, url))
            list[n++] = url;
    }
    return n;
}

static void on_endpoints(void *arg, const struct client_answer *answer)
{
    struct remote *c = arg;
    if (answer->rc < 0) { /* not everybody may ask, and no cluster must have them */
        ask_later(c, answer->rc == ERR_UNAVAILABLE ? AGAIN_MS : INTERVAL_MS);
        return;
    }
    struct arena *a = arena_create(0);
    struct err ignored = ERR_INIT;
    const char *list[SERVERS_MAX + 1] = {NULL};
    size_t n = 0, known = count((const char *const *)c->servers);
    for (; n < known && n < SERVERS_MAX; n++)
        list[n] = c->servers[n];
    const struct value *v = answer->object ? object_value(a, answer->object) : NULL;
    const struct value *subsets = value_getz(v, "subsets");
    for (size_t i = 0; i < value_len(subsets); i++)
        n = add_subset(a, value_at(subsets, i), list, n);
    list[n] = NULL;
    http_client_set_endpoints(c->http, list, &ignored);
    servers_set_patience(c, n);
    ask_later(c, INTERVAL_MS);
    arena_destroy(a);
}

static void ask(void *arg)
{
    struct remote *c = arg;
    struct client_call call = {.verb = VERB_GET,
                               .resource = resource_find(STR(""), STR("endpoints")),
                               .namespace_ = STR("default"),
                               .name = STR("kubernetes"),
                               .grace_period_s = -1};
    client_send(&c->base, &call, on_endpoints, c);
}

void servers_set_patience(struct remote *c, size_t n)
{
    if (n > 1)
        http_client_set_patience(c->http, CONNECT_TIMEOUT_MS, PING_INTERVAL_MS);
}

void servers_learn(struct remote *c, const char *const *configured)
{
    size_t n = count(configured);
    c->servers = MEM_ARRAY(char *, n + 1);
    for (size_t i = 0; i < n; i++)
        c->servers[i] = mem_strdup(configured[i]);
    ask_later(c, FIRST_MS);
}

void servers_finish(struct remote *c)
{
    timer_stop(&c->ask_servers);
    for (char **s = c->servers; s && *s; s++)
        free(*s);
    free(c->servers);
}
