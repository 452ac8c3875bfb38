/* dns message: questions in, answers out, in the wire format of RFC 1035 with EDNS(0) (RFC 6891). Pure: bytes only.
 * Answers do not use name compression except for the question's own name. Bounded: one question, 255-byte names.
 */
#ifndef SKIFF_NODE_NETWORK_DNS_MESSAGE_H
#define SKIFF_NODE_NETWORK_DNS_MESSAGE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_ANY = 255
};
enum dns_code {
    DNS_OK = 0,
    DNS_FORMAT_ERROR = 1,
    DNS_SERVER_FAILURE = 2,
    DNS_NO_NAME = 3,
    DNS_NOT_IMPLEMENTED = 4,
    DNS_REFUSED = 5
};

#define DNS_NAME_MAX 255
#define DNS_UDP_MIN 512

struct dns_question {
    uint16_t id, flags, type, class_;
    char name[DNS_NAME_MAX + 1]; /* lower case, dotted, no dot at the end */
    size_t wire_len;             /* header and question: what every answer repeats */
    uint16_t udp_size;           /* how large a UDP answer may be */
};

/* false: not a question that can be answered (drop it). A question with a fault that deserves an answer sets *ret_code.
 */
bool dns_parse_question(struct str message, struct dns_question *ret, enum dns_code *ret_code);

struct dns_answer { /* being written */
    struct buf out;
    uint16_t n_answers, n_authority, n_additional;
};
void dns_answer_begin(struct dns_answer *a, const struct dns_question *q, struct str question_message);
/* `name` NULL = the question's own. */
void dns_answer_a(struct dns_answer *a, const char *name, uint32_t ttl_s, uint32_t address, bool additional);
void dns_answer_name(struct dns_answer *a, const char *name, enum dns_type type, uint32_t ttl_s, const char *target);
void dns_answer_srv(struct dns_answer *a, uint32_t ttl_s, uint16_t port, const char *target);
void dns_answer_txt(struct dns_answer *a, uint32_t ttl_s, const char *text);
void dns_answer_soa(struct dns_answer *a, const char *zone, uint32_t serial); /* into the authority section */
/* Fills in counts and flags. Longer than max_len: cut to the question with the TC bit set. The buffer is the caller's.
 */
struct buf dns_answer_end(struct dns_answer *a, const struct dns_question *q, enum dns_code code, bool authoritative,
                          size_t max_len);

#endif
