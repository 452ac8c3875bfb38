/* Sign-in and TLS: what an etcd asks of those who may. */
#include "storage/kv/etcd/store_for_test.h"

#include "base/net/tls.h"

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void sign_in(void **state)
{
    (void)state;
    struct kv *kv = open_store(""), *wrong;
    char options[256], path[128];

    put(kv, "k", "1", NULL);
    kv_close(kv);
    assert_int_equal(etcdctl("", "user add root:hush"), 0);
    assert_int_equal(etcdctl("", "auth enable"), 0);
    snprintf(path, sizeof path, "%s/pw", server.dir);
    write_file(path, "hush\n");
    snprintf(options, sizeof options, ";user=root;password-file=%s", path);
    kv = open_store(options);
    assert_string_equal(range(kv, "k", NULL), "k=1 ");
    put(kv, "k", "2", NULL);
    etcd_server_kill(&server, SIGKILL); /* its tokens go with it */
    etcd_server_start(&server);
    assert_string_equal(range(kv, "k", NULL), "k=2 ");
    put(kv, "k", "3", NULL);
    assert_string_equal(range(kv, "k", NULL), "k=3 ");
    write_file(path, "wrong\n");
    snprintf(options, sizeof options, "%s;user=root;password-file=%s", server.url, path);
    assert_true(kv_open_etcd_text(options, &wrong, &err) < 0);
    assert_non_null(strstr(err.message, "sign in as root"));
    kv_close(kv);
}

/* In `dir`: ca.pem, cert.pem, key.pem; the options that name them. */
static void make_certificates(const char *dir, char paths[3][128], char options[512])
{
    static const char *const ips[] = {"127.0.0.1", NULL};
    struct tls_cert_request ca = {.common_name = "etcd-ca", .ca = true, .valid_days = 2}, cert = {.common_name = "etcd",
                                                                                                  .ip_addresses = ips,
                                                                                                  .server_auth = true,
                                                                                                  .client_auth = true,
                                                                                                  .valid_days = 2};
    struct tls_pair ca_pair, pair;

    assert_int_equal(tls_cert_create(&ca, NULL, &ca_pair, &err), 0);
    assert_int_equal(tls_cert_create(&cert, &ca_pair, &pair, &err), 0);
    const char *const names[] = {"ca", "cert", "key"}, *const texts[] = {ca_pair.cert_pem, pair.cert_pem, pair.key_pem};
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], 128, "%s/%s.pem", dir, names[i]);
        write_file(paths[i], texts[i]);
    }
    snprintf(options, 512, ";ca=%s;cert=%s;key=%s", paths[0], paths[1], paths[2]);
    tls_pair_finish(&ca_pair);
    tls_pair_finish(&pair);
}

static void use_https(struct etcd_server *s)
{
    memmove(s->url + 5, s->url + 4, strlen(s->url + 4) + 1);
    s->url[4] = 's';
}

static void with_certificates(void **state)
{
    (void)state;
    char paths[3][128], options[512], text[640];
    struct kv *kv;

    etcd_server_remove(&server);
    etcd_server_prepare(&server, "one");
    make_certificates(server.dir, paths, options);
    use_https(&server);
    const char *const extra[] = {"--trusted-ca-file", paths[0], "--cert-file",        paths[1],
                                 "--key-file",        paths[2], "--client-cert-auth", NULL};
    server.extra = extra;
    etcd_server_start(&server);
    kv = open_store(options);
    put(kv, "k", "1", NULL);
    assert_string_equal(range(kv, "k", NULL), "k=1 ");
    kv_close(kv);
    snprintf(text, sizeof text, "%s;cert=%s;key=%s", server.url, paths[1], paths[2]);
    assert_true(kv_open_etcd_text(text, &kv, &err) < 0); /* its CA is not the system's */
    server.extra = NULL;
}

/* Certificates and a password, and one member after the other gone. */
static void three_secured_members(void **state)
{
    (void)state;
    static struct etcd_server members[3];
    char text[1024] = "", paths[3][128], options[512], flags[640], password[128];
    struct kv *kv = NULL;

    prepare_three(members);
    make_certificates(members[0].dir, paths, options);
    const char *const extra[] = {"--trusted-ca-file", paths[0], "--cert-file", paths[1], "--key-file", paths[2], NULL};
    for (int i = 0; i < 3; i++) {
        use_https(&members[i]);
        members[i].extra = extra;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? "," : "", members[i].url);
        etcd_server_start(&members[i]);
    }
    snprintf(password, sizeof password, "%s/pw", members[0].dir);
    write_file(password, "hush\n");
    server = members[0]; /* whom etcdctl asks */
    snprintf(flags, sizeof flags, "--insecure-transport=false --cacert=%s --cert=%s --key=%s", paths[0], paths[1],
             paths[2]);
    for (int i = 0; i < 50 && etcdctl(flags, "endpoint health") != 0; i++)
        usleep(20000);
    assert_int_equal(etcdctl(flags, "user add root:hush"), 0);
    assert_int_equal(etcdctl(flags, "user grant-role root root"), 0);
    assert_int_equal(etcdctl(flags, "auth enable"), 0);
    server = (struct etcd_server){0};
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s;user=root;password-file=%s", options, password);
    if (kv_open_etcd_text(text, &kv, &err) < 0)
        fail_msg("%s", err.message);
    put(kv, "k", "0", NULL);
    for (int i = 0; i < 3; i++) {
        char value[8];
        etcd_server_kill(&members[i], SIGKILL);
        snprintf(value, sizeof value, "%d", i + 1);
        struct arena *a = arena_create(0);
        struct kv_op op = {.kind = KV_PUT, .key = STR("k"), .value = str_from(value)};
        struct kv_txn txn = {.success = &op, .n_success = 1};
        struct kv_txn_result result;
        while (kv_txn_wait(kv, a, &txn, &result, &err) < 0) /* unknown, at the most, of what was under way */
            if (err.code != ERR_UNAVAILABLE && err.code != ERR_TIMEOUT)
                fail_msg("%s", err.message);
        arena_destroy(a);
        snprintf(value, sizeof value, "k=%d ", i + 1);
        for (int j = 0; j < 3 && kv_range(kv, STR("k"), STR_NULL, 0, 0, list_pair, &(struct text){0}, NULL, &err) < 0;
             j++)
            ; /* the members may be choosing a leader for longer than a call waits */
        assert_string_equal(range(kv, "k", NULL), value);
        etcd_server_start(&members[i]);
        server = members[i];
        for (int j = 0; j < 50 && etcdctl(flags, "endpoint health --user root:hush") != 0; j++)
            usleep(20000);
        server = (struct etcd_server){0};
    }
    kv_close(kv);
    for (int i = 0; i < 3; i++)
        etcd_server_remove(&members[i]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sign_in, fresh),
        cmocka_unit_test(with_certificates),
        cmocka_unit_test(three_secured_members),
    };
    return run_for_every_etcd(argc, argv, tests, sizeof tests / sizeof *tests);
}
