/* names: the syntax rules of names, keys and values that every API object obeys, with upstream's message for each
 * breach.
 *
 * A check appends what is wrong to a `struct name_faults` (empty = fine). The texts are literals that live for ever.
 */
#ifndef SKIFF_OPENAPI_META_NAMES_H
#define SKIFF_OPENAPI_META_NAMES_H

#include "base/str.h"
#include "openapi/schema.h"

#define NAME_FAULTS_MAX 6

struct name_faults {
    const char *items[NAME_FAULTS_MAX];
    size_t len;
};

typedef void name_check(struct name_faults *f, struct str s);

void name_check_dns1123_label(struct name_faults *f, struct str s);
void name_check_dns1123_subdomain(struct name_faults *f, struct str s);
void name_check_dns1123_subdomain_wildcard(struct name_faults *f, struct str s); /* "*.example.com" */
void name_check_dns1123_subdomain_underscore(struct name_faults *f, struct str s);
void name_check_dns1035_label(struct name_faults *f, struct str s);
void name_check_qualified(struct name_faults *f, struct str s); /* "example.com/name"; label keys too */
void name_check_label_value(struct name_faults *f, struct str s);
void name_check_port(struct name_faults *f, struct str s); /* IANA service name, at most 15 characters */
void name_check_config_key(struct name_faults *f, struct str s);
void name_check_env(struct name_faults *f, struct str s); /* printable ASCII except '=' */
void name_check_path_segment(struct name_faults *f, struct str s);
void name_check_c_identifier(struct name_faults *f, struct str s);
void name_check_http_header(struct name_faults *f, struct str s);
void name_check_domain_prefixed_path(struct name_faults *f,
                                     struct str s);        /* "example.com/path", finalizers of CSRs … */
void name_check_ip(struct name_faults *f, struct str s);   /* strict: no leading zeros, no mapped IPv4 */
void name_check_cidr(struct name_faults *f, struct str s); /* strict: host bits are zero */
/* By the schema's format; FORMAT_NONE and FORMAT_ABSOLUTE_PATH check nothing. */
void name_check_format(struct name_faults *f, enum field_format format, struct str s);

static inline bool name_ok(name_check *check, struct str s)
{
    struct name_faults f = {0};
    check(&f, s);
    return f.len == 0;
}

/* An address as text; false when it is none. `ret` has 16 bytes, IPv4 in the last four. */
bool name_parse_ip(struct str s, uint8_t ret[16], bool *ret_is_v6);
/* "10.0.0.0/8"; host bits may be set. */
bool name_parse_cidr(struct str s, uint8_t ret[16], bool *ret_is_v6, int *ret_prefix_len);

#endif
