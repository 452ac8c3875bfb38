#include "api/client/kubeconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CLUSTERS \
    "clusters:\n- name: k\n  cluster:\n    server: https://10.0.0.1:6443\n    certificate-authority-data: Q0E=\n"
#define CONTEXTS "contexts:\n- name: c\n  context: {cluster: k, user: u, namespace: team}\n"

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"current-context: c\n" CLUSTERS CONTEXTS "users:\n- name: u\n  user: {token: t}\n",
         "https://10.0.0.1:6443 ca=CA token=t ns=team"},
        {"current-context: c\n" CLUSTERS CONTEXTS
         "users:\n- name: u\n  user: {client-certificate-data: Q1I=, client-key-data: "
         "S0VZ}\n",
         "https://10.0.0.1:6443 ca=CA cert=CR key=KEY ns=team"},
        {"current-context: c\n" CLUSTERS CONTEXTS, "https://10.0.0.1:6443 ca=CA ns=team"},
        {CLUSTERS CONTEXTS, "error: current-context is not set"},
        {"current-context: x\n" CLUSTERS CONTEXTS, "error: context \"x\" does not exist"},
        {"current-context: c\n" CONTEXTS, "error: cluster \"k\" does not exist"},
        {"current-context: c\n" CLUSTERS CONTEXTS "users:\n- name: u\n  user: {exec: {command: x}}\n",
         "error: user \"u\" uses a credential plugin, which is not supported"},
        {"current-context: c\n" CLUSTERS CONTEXTS "users:\n- name: u\n  user: {client-key-data: '*'}\n",
         "error: client-key-data is not base64"},
        {"current-context: c\n" CLUSTERS CONTEXTS "users:\n- name: u\n  user: {client-key: none.pem}\n",
         "error: open /nowhere/none.pem: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct kubeconfig k;
        struct err err = ERR_INIT;
        char got[256];
        if (kubeconfig_parse(a, str_from(rows[i].text), "/nowhere/config", &k, &err) < 0)
            snprintf(got, sizeof got, "error: %.200s", err.message);
        else
            snprintf(got, sizeof got, "%s ca=%s%s%s%s%s%s%s ns=%s", k.server, k.ca_pem, k.cert_pem ? " cert=" : "",
                     k.cert_pem ? k.cert_pem : "", k.key_pem ? " key=" : "", k.key_pem ? k.key_pem : "",
                     k.token ? " token=" : "", k.token ? k.token : "", k.namespace_);
        assert_string_equal(got, rows[i].want);
        arena_destroy(a);
    }
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/skiff-kubeconfig-XXXXXX", path[128], config[128];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/token", dir);
    snprintf(config, sizeof config, "%s/config", dir);
    FILE *f = fopen(path, "w");
    fputs("secret\n", f);
    fclose(f);
    struct arena *a = arena_create(0);
    struct kubeconfig k;
    struct err err = ERR_INIT;
    assert_int_equal(kubeconfig_parse(a,
                                      STR("current-context: c\n" CLUSTERS CONTEXTS
                                          "users:\n- name: u\n  user: {tokenFile: token}\n"),
                                      config, &k, &err),
                     0);
    assert_string_equal(k.token, "secret");
    arena_destroy(a);
    unlink(path);
    rmdir(dir);
}

/* kubectl's server first, then the others, each once. */
static void test_servers(void **state)
{
    (void)state;
    static const struct {
        const char *more, *want;
    } rows[] = {
        {"", "https://a:1"},
        {"    extensions:\n    - extension: {servers: ['https://a:1', 'https://b:2', 'https://c:3']}\n"
         "      name: " KUBECONFIG_SERVERS "\n",
         "https://a:1 https://b:2 https://c:3"},
        {"    extensions:\n    - {name: somebody-else, extension: {servers: ['https://b:2']}}\n", "https://a:1"},
        {"    extensions:\n    - {name: " KUBECONFIG_SERVERS ", extension: {servers: [7, 'https://b:2']}}\n",
         "https://a:1 https://b:2"},
        {"    extensions:\n    - {name: " KUBECONFIG_SERVERS ", extension: {servers: https://b:2}}\n", "https://a:1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct kubeconfig k;
        struct err err = ERR_INIT;
        char got[256] = "";
        struct str text = arena_printf(a,
                                       "current-context: c\nclusters:\n- name: k\n  cluster:\n    server: "
                                       "https://a:1\n%s" CONTEXTS,
                                       rows[i].more);
        assert_int_equal(kubeconfig_parse(a, text, "/nowhere/config", &k, &err), 0);
        for (size_t n = 0; k.servers[n]; n++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", n ? " " : "", k.servers[n]);
        assert_string_equal(got, rows[i].want);
        arena_destroy(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_servers),
                                       cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
