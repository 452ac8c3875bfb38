#include "openapi/meta/names.h"

#include <arpa/inet.h>

/* The patterns as upstream quotes them in its messages; the checks below are hand-written scanners of the same
 * languages, because names are checked on every write. */
#define RE_LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define RE_SUBDOMAIN RE_LABEL "(\\." RE_LABEL ")*"
#define RE_LABEL_UNDERSCORE "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
#define RE_KEY "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

#define MAX_LEN(n) "must be no more than " #n " bytes"
#define EMPTY "must be non-empty"
#define WITH_1(e1, re) " (e.g. '" e1 "', regex used for validation is '" re "')"
#define WITH_2(e1, e2, re) " (e.g. '" e1 "',  or '" e2 "', regex used for validation is '" re "')"
#define WITH_3(e1, e2, e3, re) " (e.g. '" e1 "',  or '" e2 "',  or '" e3 "', regex used for validation is '" re "')"

#define LABEL_TEXT                                                                                                  \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end " \
    "with an alphanumeric character" WITH_2("my-name", "123-abc", RE_LABEL)
#define SUBDOMAIN_TEXT                                                                                               \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " \
    "and end with an alphanumeric character" WITH_1("example.com", RE_SUBDOMAIN)
#define UNDERSCORE_TEXT                                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must " \
    "start and end with an alphanumeric character" WITH_1("example.com",                                            \
                                                          RE_LABEL_UNDERSCORE "(\\." RE_LABEL_UNDERSCORE ")*")
#define WILDCARD_TEXT                                                                                               \
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of " \
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character" WITH_1(                 \
        "*.example.com", "\\*\\." RE_SUBDOMAIN)
#define DNS1035_TEXT                                                                                        \
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic " \
    "character, and end with an alphanumeric character" WITH_2("my-name", "abc-123", "[a-z]([-a-z0-9]*[a-z0-9])?")
#define KEY_TEXT                                                                                             \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " \
    "character" WITH_3("MyName", "my.name", "123-abc", RE_KEY)
#define VALUE_TEXT                                                                                                  \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start " \
    "and end with an alphanumeric character" WITH_3("MyValue", "my_value", "12345", "(" RE_KEY ")?")

static void fault(struct name_faults *f, const char *text)
{
    if (f->len < NAME_FAULTS_MAX)
        f->items[f->len++] = text;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower_alnum(char c)
{
    return is_lower(c) || is_digit(c);
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool label_ok(struct str s, bool underscore)
{
    size_t i = 0;
    if (underscore && s.len > 0 && s.p[0] == '_')
        i = 1;
    if (i >= s.len || !is_lower_alnum(s.p[i]) || !is_lower_alnum(s.p[s.len - 1]))
        return false;
    for (; i < s.len; i++) {
        if (!is_lower_alnum(s.p[i]) && s.p[i] != '-' && !(underscore && s.p[i] == '_'))
            return false;
    }
    return true;
}

static bool subdomain_ok(struct str s, bool underscore)
{
    size_t from = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.p[i] != '.')
            continue;
        if (!label_ok((struct str){s.p + from, i - from}, underscore))
            return false;
        from = i + 1;
    }
    return true;
}

static bool key_ok(struct str s)
{
    if (s.len == 0 || !is_alnum(s.p[0]) || !is_alnum(s.p[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return false;
    }
    return true;
}

void name_check_dns1123_label(struct name_faults *f, struct str s)
{
    if (s.len > 63)
        fault(f, MAX_LEN(63));
    if (!label_ok(s, false))
        fault(f, subdomain_ok(s, false) ? "must not contain dots" : LABEL_TEXT);
}

void name_check_dns1123_subdomain(struct name_faults *f, struct str s)
{
    if (s.len > 253)
        fault(f, MAX_LEN(253));
    if (!subdomain_ok(s, false))
        fault(f, SUBDOMAIN_TEXT);
}

void name_check_dns1123_subdomain_underscore(struct name_faults *f, struct str s)
{
    if (s.len > 253)
        fault(f, MAX_LEN(253));
    if (!subdomain_ok(s, true))
        fault(f, UNDERSCORE_TEXT);
}

void name_check_dns1123_subdomain_wildcard(struct name_faults *f, struct str s)
{
    if (s.len > 253)
        fault(f, MAX_LEN(253));
    if (!str_starts(s, STR("*.")) || !subdomain_ok(str_sub(s, 2, s.len), false))
        fault(f, WILDCARD_TEXT);
}

void name_check_dns1035_label(struct name_faults *f, struct str s)
{
    if (s.len > 63)
        fault(f, MAX_LEN(63));
    if (!label_ok(s, false) || !is_lower(s.p[0]))
        fault(f, DNS1035_TEXT);
}

void name_check_qualified(struct name_faults *f, struct str s)
{
    struct str name = s;
    size_t slash = 0;
    if (str_index(s, '/', &slash)) {
        struct str prefix = str_sub(s, 0, slash);
        name = str_sub(s, slash + 1, s.len);
        size_t second = 0;
        if (str_index(name, '/', &second)) {
            fault(f, "a valid label key " KEY_TEXT
                     " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return;
        }
        if (prefix.len == 0) {
            fault(f, "prefix part " EMPTY);
        } else {
            if (prefix.len > 253)
                fault(f, "prefix part " MAX_LEN(253));
            if (!subdomain_ok(prefix, false))
                fault(f, "prefix part " SUBDOMAIN_TEXT);
        }
    }
    if (name.len == 0)
        fault(f, "name part " EMPTY);
    else if (name.len > 63)
        fault(f, "name part " MAX_LEN(63));
    if (!key_ok(name))
        fault(f, "name part " KEY_TEXT);
}

void name_check_label_value(struct name_faults *f, struct str s)
{
    if (s.len > 63)
        fault(f, MAX_LEN(63));
    if (s.len > 0 && !key_ok(s))
        fault(f, VALUE_TEXT);
}

void name_check_port(struct name_faults *f, struct str s)
{
    bool letter = false, other = s.len == 0;
    for (size_t i = 0; i < s.len; i++) {
        letter |= is_lower(s.p[i]);
        other |= !is_lower_alnum(s.p[i]) && s.p[i] != '-';
    }
    if (s.len > 15)
        fault(f, MAX_LEN(15));
    if (other)
        fault(f, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    if (!letter)
        fault(f, "must contain at least one letter (a-z)");
    if (str_contains(s, STR("--")))
        fault(f, "must not contain consecutive hyphens");
    if (s.len > 0 && (s.p[0] == '-' || s.p[s.len - 1] == '-'))
        fault(f, "must not begin or end with a hyphen");
}

static void check_no_parent_dir(struct name_faults *f, struct str s)
{
    if (str_eqz(s, "."))
        fault(f, "must not be '.'");
    else if (str_eqz(s, ".."))
        fault(f, "must not be '..'");
    else if (str_starts(s, STR("..")))
        fault(f, "must not start with '..'");
}

void name_check_config_key(struct name_faults *f, struct str s)
{
    bool ok = s.len > 0;
    for (size_t i = 0; i < s.len; i++)
        ok &= is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.';
    if (s.len > 253)
        fault(f, MAX_LEN(253));
    if (!ok) {
        fault(f, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'" WITH_3(
                     "key.name", "KEY_NAME", "key-name", "[-._a-zA-Z0-9]+"));
    }
    check_no_parent_dir(f, s);
}

void name_check_env(struct name_faults *f, struct str s)
{
    if (s.len == 0)
        fault(f, "environment variable name " EMPTY);
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '=') {
            fault(f, "a valid environment variable name must consist only of printable ASCII characters other than "
                     "'='");
            return;
        }
    }
}

void name_check_path_segment(struct name_faults *f, struct str s)
{
    size_t at = 0;
    if (str_eqz(s, ".")) {
        fault(f, "may not be '.'");
        return;
    }
    if (str_eqz(s, "..")) {
        fault(f, "may not be '..'");
        return;
    }
    if (str_index(s, '/', &at))
        fault(f, "may not contain '/'");
    if (str_index(s, '%', &at))
        fault(f, "may not contain '%'");
}

void name_check_c_identifier(struct name_faults *f, struct str s)
{
    bool ok = s.len > 0 && !is_digit(s.p[0]);
    for (size_t i = 0; i < s.len; i++)
        ok &= is_alnum(s.p[i]) || s.p[i] == '_';
    if (!ok) {
        fault(f, "a valid C identifier must start with alphabetic character or '_', followed by a string of "
                 "alphanumeric characters or '_'" WITH_3("my_name", "MY_NAME", "MyName", "[A-Za-z_][A-Za-z0-9_]*"));
    }
}

void name_check_http_header(struct name_faults *f, struct str s)
{
    bool ok = s.len > 0;
    for (size_t i = 0; i < s.len; i++)
        ok &= is_alnum(s.p[i]) || s.p[i] == '-';
    if (!ok) {
        fault(f, "a valid HTTP header must consist of alphanumeric characters or '-'" WITH_1("X-Header-Name",
                                                                                             "[-A-Za-z0-9]+"));
    }
}

void name_check_domain_prefixed_path(struct name_faults *f, struct str s)
{
    size_t slash = 0;
    if (!str_index(s, '/', &slash) || slash == 0 || slash + 1 == s.len) {
        fault(f, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    }
    name_check_dns1123_subdomain(f, str_sub(s, 0, slash));
    for (size_t i = slash + 1; i < s.len; i++) {
        if (!is_alnum(s.p[i]) && !(s.p[i] && strchr("/-._~%!$&'()*+,;=:", s.p[i]))) {
            fault(f, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
            return;
        }
    }
}

bool name_parse_ip(struct str s, uint8_t ret[16], bool *ret_is_v6)
{
    char text[INET6_ADDRSTRLEN + 1];
    size_t at = 0;
    if (s.len == 0 || s.len >= sizeof text || memchr(s.p, 0, s.len))
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    memset(ret, 0, 16);
    *ret_is_v6 = str_index(s, ':', &at);
    if (*ret_is_v6)
        return inet_pton(AF_INET6, text, ret) == 1;
    return inet_pton(AF_INET, text, ret + 12) == 1;
}

bool name_parse_cidr(struct str s, uint8_t ret[16], bool *ret_is_v6, int *ret_prefix_len)
{
    size_t slash = 0;
    uint64_t bits = 0;
    if (!str_index(s, '/', &slash) || !name_parse_ip(str_sub(s, 0, slash), ret, ret_is_v6))
        return false;
    struct str tail = str_sub(s, slash + 1, s.len);
    if (tail.len == 0 || tail.len > 3 || !is_digit(tail.p[0]) || (tail.len > 1 && tail.p[0] == '0') ||
        !str_to_u64(tail, &bits) || bits > (*ret_is_v6 ? 128U : 32U))
        return false;
    *ret_prefix_len = (int)bits;
    return true;
}

static bool is_mapped_v4(const uint8_t ip[16])
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(ip, prefix, sizeof prefix) == 0;
}

void name_check_ip(struct name_faults *f, struct str s)
{
    uint8_t ip[16];
    bool v6 = false;
    if (!name_parse_ip(s, ip, &v6))
        fault(f, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    else if (v6 && is_mapped_v4(ip))
        fault(f, "must not be an IPv4-mapped IPv6 address");
}

void name_check_cidr(struct name_faults *f, struct str s)
{
    uint8_t ip[16];
    bool v6 = false;
    int bits = 0;
    if (!name_parse_cidr(s, ip, &v6, &bits)) {
        fault(f, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        return;
    }
    int from = v6 ? bits : 96 + bits;
    for (int i = from; i < 128; i++) {
        if (ip[i / 8] & (0x80 >> (i % 8))) {
            fault(f, "must not have bits set beyond the prefix length");
            return;
        }
    }
    if (v6 && is_mapped_v4(ip))
        fault(f, "must not have an IPv4-mapped IPv6 address");
}

void name_check_format(struct name_faults *f, enum field_format format, struct str s)
{
    static name_check *const checks[] = {
        [FORMAT_DNS1123_LABEL] = name_check_dns1123_label,
        [FORMAT_DNS1123_SUBDOMAIN] = name_check_dns1123_subdomain,
        [FORMAT_DNS1035_LABEL] = name_check_dns1035_label,
        [FORMAT_QUALIFIED_NAME] = name_check_qualified,
        [FORMAT_LABEL_KEY] = name_check_qualified,
        [FORMAT_LABEL_VALUE] = name_check_label_value,
        [FORMAT_IP] = name_check_ip,
        [FORMAT_CIDR] = name_check_cidr,
        [FORMAT_PORT_NAME] = name_check_port,
        [FORMAT_CONFIG_KEY] = name_check_config_key,
        [FORMAT_ENV_NAME] = name_check_env,
        [FORMAT_PATH_SEGMENT] = name_check_path_segment,
    };
    if ((size_t)format < sizeof checks / sizeof *checks && checks[format])
        checks[format](f, s);
}
