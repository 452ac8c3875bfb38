#include "openapi/meta/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SUBDOMAIN                                                                                                    \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " \
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "                      \
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define LABEL                                                                                                       \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end " \
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "                  \
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define KEY                                                                                                            \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " \
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "                                      \
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define S63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_names(void **state)
{
    (void)state;
    static const struct {
        name_check *check;
        const char *given;
        const char *want[3];
    } rows[] = {
        {name_check_dns1123_label, "web-1", {0}},
        {name_check_dns1123_label, "Web", {LABEL}},
        {name_check_dns1123_label, "a.b", {"must not contain dots"}},
        {name_check_dns1123_label, "", {LABEL}},
        {name_check_dns1123_label, S63 "a", {"must be no more than 63 bytes"}},
        {name_check_dns1123_subdomain, "a.b-c.9", {0}},
        {name_check_dns1123_subdomain, "a..b", {SUBDOMAIN}},
        {name_check_dns1123_subdomain, "-a", {SUBDOMAIN}},
        {name_check_dns1035_label, "a9", {0}},
        {name_check_dns1035_label,
         "9a",
         {"a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
          "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
          "is '[a-z]([-a-z0-9]*[a-z0-9])?')"}},
        {name_check_qualified, "app.kubernetes.io/name", {0}},
        {name_check_qualified, "Name_1", {0}},
        {name_check_qualified, "/x", {"prefix part must be non-empty"}},
        {name_check_qualified, "A/x", {"prefix part " SUBDOMAIN}},
        {name_check_qualified, "a/", {"name part must be non-empty", "name part " KEY}},
        {name_check_qualified,
         "a/b/c",
         {"a valid label key " KEY " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"}},
        {name_check_label_value, "", {0}},
        {name_check_label_value, "a_B.9", {0}},
        {name_check_label_value,
         "a b",
         {"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
          "start "
          "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
          "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"}},
        {name_check_port, "http", {0}},
        {name_check_port, "80", {"must contain at least one letter (a-z)"}},
        {name_check_port, "a--b", {"must not contain consecutive hyphens"}},
        {name_check_config_key, "a.txt", {0}},
        {name_check_config_key, "..", {"must not be '..'"}},
        {name_check_config_key, "..a", {"must not start with '..'"}},
        {name_check_env, "1 A", {0}},
        {name_check_env, "", {"environment variable name must be non-empty"}},
        {name_check_path_segment, "a/b%", {"may not contain '/'", "may not contain '%'"}},
        {name_check_ip, "10.0.0.1", {0}},
        {name_check_ip, "::1", {0}},
        {name_check_ip, "10.0.0", {"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"}},
        {name_check_ip, "::ffff:1.2.3.4", {"must not be an IPv4-mapped IPv6 address"}},
        {name_check_cidr, "10.0.0.0/8", {0}},
        {name_check_cidr, "10.0.0.0/33", {"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"}},
        {name_check_cidr, "10.0.0.1/8", {"must not have bits set beyond the prefix length"}},
        {name_check_dns1123_subdomain_wildcard, "*.a.b", {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct name_faults f = {0};
        rows[i].check(&f, str_from(rows[i].given));
        for (size_t j = 0; j < f.len; j++) {
            if (!rows[i].want[j])
                fail_msg("%s: %s", rows[i].given, f.items[j]);
            assert_string_equal(f.items[j], rows[i].want[j]);
        }
        if (rows[i].want[f.len])
            fail_msg("%s: no \"%s\"", rows[i].given, rows[i].want[f.len]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
