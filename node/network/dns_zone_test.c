#include "node/network/dns_zone.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena *arena;
static struct dns_zone zone;
static struct service services[4];
static struct service_table table = {services, 4, 4};
static struct service_port web_ports[] = {{.name = {"http", 4}, .protocol = IPPROTO_TCP, .port = 80}};
static struct service_port db_ports[] = {{.name = {"sql", 3}, .protocol = IPPROTO_TCP, .port = 5432}};
static struct endpoint db_pods[] = {{.address = 0x0af40105u, .port = 5432, .ready = true, .hostname = {"db-0", 4}},
                                    {.address = 0x0af40206u, .port = 5432, .ready = true}};

static int make_zone(void **state)
{
    (void)state;
    arena = arena_create(0);
    db_ports[0].endpoints = (struct endpoint_list){db_pods, 2, 2};
    services[0] = (struct service){
        .namespace_ = STR("default"), .name = STR("web"), .cluster_ip = 0x0a600102u, .ports = web_ports, .n_ports = 1};
    services[1] = (struct service){.namespace_ = STR("default"),
                                   .name = STR("db"),
                                   .headless = true,
                                   .ports = db_ports,
                                   .n_ports = 1,
                                   .addresses = {db_pods, 2, 2}};
    services[2] = (struct service){.namespace_ = STR("other"), .name = STR("out"), .external_name = STR("example.com")};
    services[3] = (struct service){.namespace_ = STR("other"), .name = STR("none"), .headless = true};
    dns_zone_init(&zone, arena, "cluster.local", 0x0a60000au, &table, 7);
    return 0;
}

static int drop_zone(void **state)
{
    (void)state;
    dns_zone_finish(&zone);
    arena_destroy(arena);
    return 0;
}

static struct buf question(const char *name, uint16_t type)
{
    struct buf b = {0};
    buf_add(&b, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
    while (*name) {
        size_t n = strcspn(name, ".");
        buf_add_char(&b, (char)n);
        buf_add(&b, name, n);
        name += n + (name[n] == '.');
    }
    buf_add(&b, "\0", 1);
    buf_add(&b, (char[]){(char)(type >> 8), (char)type, 0, 1}, 4);
    return b;
}

static void names_have_the_records_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t type;
        bool ours;
        int code, n_answers;
        const char *data; /* of the first answer, hexadecimal; NULL = any */
    } rows[] = {
        {"web.default.svc.cluster.local", DNS_A, true, 0, 1, "0a600102"},
        {"WEB.Default.svc.cluster.local", DNS_A, true, 0, 1, "0a600102"},
        {"web.default.svc.cluster.local", DNS_AAAA, true, 0, 0, NULL},
        {"nothing.default.svc.cluster.local", DNS_A, true, 3, 0, NULL},
        {"web.nowhere.svc.cluster.local", DNS_A, true, 3, 0, NULL},
        {"default.svc.cluster.local", DNS_A, true, 0, 0, NULL},
        {"nowhere.svc.cluster.local", DNS_A, true, 3, 0, NULL},
        {"db.default.svc.cluster.local", DNS_A, true, 0, 2, NULL},
        {"db-0.db.default.svc.cluster.local", DNS_A, true, 0, 1, "0af40105"},
        {"10-244-2-6.db.default.svc.cluster.local", DNS_A, true, 0, 1, "0af40206"},
        {"db-9.db.default.svc.cluster.local", DNS_A, true, 3, 0, NULL},
        {"_http._tcp.web.default.svc.cluster.local", DNS_SRV, true, 0, 1, NULL},
        {"_http._udp.web.default.svc.cluster.local", DNS_SRV, true, 3, 0, NULL},
        {"_sql._tcp.db.default.svc.cluster.local", DNS_SRV, true, 0, 2, NULL},
        {"out.other.svc.cluster.local", DNS_A, true, 0, 1, "076578616d706c6503636f6d00"},
        {"none.other.svc.cluster.local", DNS_A, true, 0, 0, NULL},
        {"10-1-2-3.default.pod.cluster.local", DNS_A, true, 0, 1, "0a010203"},
        {"10-1-2.default.pod.cluster.local", DNS_A, true, 3, 0, NULL},
        {"dns-version.cluster.local", DNS_TXT, true, 0, 1, "05312e312e30"},
        {"2.1.96.10.in-addr.arpa", DNS_PTR, true, 0, 1, NULL},
        {"4.3.2.1.in-addr.arpa", DNS_PTR, false, 0, 0, NULL},
        {"example.com", DNS_A, false, 0, 0, NULL},
        {"xcluster.local", DNS_A, false, 0, 0, NULL},
        {"cluster.local", DNS_A, true, 0, 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf message = question(rows[i].name, rows[i].type);
        struct dns_question q;
        struct dns_answer a;
        enum dns_code code;
        assert_true(dns_parse_question(buf_str(&message), &q, &code));
        assert_int_equal(code, DNS_OK);
        dns_answer_begin(&a, &q, buf_str(&message));
        bool ours = dns_zone_answer(&zone, &q, &a, &code);
        if (ours != rows[i].ours || (ours && ((int)code != rows[i].code || a.n_answers != rows[i].n_answers)))
            fail_msg("%s type %u: ours %d, code %d, %u answers", rows[i].name, rows[i].type, ours, (int)code,
                     a.n_answers);
        assert_int_equal(a.n_authority, ours && !a.n_answers); /* what is not there is not there for five seconds */
        if (rows[i].data) {
            char hex[128] = "";
            size_t at = q.wire_len + 12; /* pointer, type, class, time to live, length */
            for (size_t j = at; j < a.out.len && j < at + strlen(rows[i].data) / 2; j++)
                snprintf(hex + 2 * (j - at), 3, "%02x", (unsigned char)a.out.p[j]);
            assert_string_equal(hex, rows[i].data);
        }
        buf_free(&a.out);
        buf_free(&message);
    }
}

static void long_answers_are_cut_for_udp(void **state)
{
    (void)state;
    struct buf message = question("db.default.svc.cluster.local", DNS_A);
    struct dns_question q;
    struct dns_answer a;
    enum dns_code code;
    dns_parse_question(buf_str(&message), &q, &code);
    dns_answer_begin(&a, &q, buf_str(&message));
    assert_true(dns_zone_answer(&zone, &q, &a, &code));
    struct buf out = dns_answer_end(&a, &q, code, true, 60);
    assert_int_equal(out.len, q.wire_len);
    assert_true((unsigned char)out.p[2] & 0x02); /* TC */
    assert_int_equal(out.p[7], 0);
    buf_free(&out);
    buf_free(&message);
}

static void what_is_no_question_is_dropped_or_refused(void **state)
{
    (void)state;
    struct dns_question q;
    enum dns_code code;
    assert_false(dns_parse_question(STR("short"), &q, &code));
    assert_false(
        dns_parse_question((struct str){"\0\1\x80\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17}, &q, &code)); /* an answer */
    assert_true(dns_parse_question((struct str){"\0\1\0\0\0\1\0\0\0\0\0\0\x3f"
                                                "abc",
                                                16},
                                   &q, &code)); /* label runs out */
    assert_int_equal(code, DNS_FORMAT_ERROR);
    assert_true(
        dns_parse_question((struct str){"\0\1\x28\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17}, &q, &code)); /* an update */
    assert_int_equal(code, DNS_NOT_IMPLEMENTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_the_records_of_the_specification),
        cmocka_unit_test(long_answers_are_cut_for_udp),
        cmocka_unit_test(what_is_no_question_is_dropped_or_refused),
    };
    return cmocka_run_group_tests(tests, make_zone, drop_zone);
}
