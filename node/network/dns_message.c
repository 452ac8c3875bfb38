#include "node/network/dns_message.h"

#include <ctype.h>
#include <stdio.h>

#define HEADER 12
#define FLAG_RESPONSE 0x8000u
#define FLAG_OPCODE 0x7800u
#define FLAG_AUTHORITATIVE 0x0400u
#define FLAG_TRUNCATED 0x0200u
#define FLAG_RECURSION_DESIRED 0x0100u
#define FLAG_RECURSION_AVAILABLE 0x0080u
#define POINTER_TO_QUESTION 0xc00cu

static uint16_t get16(struct str m, size_t at)
{
    return (uint16_t)((unsigned char)m.p[at] << 8 | (unsigned char)m.p[at + 1]);
}

/* A name without compression (a question's never is). Answers the offset behind it, 0 = malformed. */
static size_t parse_name(struct str m, size_t at, char ret[DNS_NAME_MAX + 1])
{
    size_t len = 0;
    for (;;) {
        if (at >= m.len)
            return 0;
        size_t label = (unsigned char)m.p[at++];
        if (label == 0)
            break;
        if (label > 63 || at + label > m.len || len + label + 1 > DNS_NAME_MAX)
            return 0;
        if (len)
            ret[len++] = '.';
        for (size_t i = 0; i < label; i++) {
            if (m.p[at + i] == 0 || m.p[at + i] == '.')
                return 0;
            ret[len++] = (char)tolower((unsigned char)m.p[at + i]);
        }
        at += label;
    }
    ret[len] = 0;
    return at;
}

static uint16_t edns_size(struct str m, size_t at, unsigned n_additional)
{
    /* only an OPT record first among the additional ones matters, and resolvers put it there */
    if (n_additional == 0 || at + 11 > m.len || m.p[at] != 0 || get16(m, at + 1) != DNS_OPT)
        return DNS_UDP_MIN;
    uint16_t size = get16(m, at + 3);
    return size < DNS_UDP_MIN ? DNS_UDP_MIN : size > 4096 ? 4096 : size;
}

bool dns_parse_question(struct str message, struct dns_question *ret, enum dns_code *ret_code)
{
    memset(ret, 0, sizeof *ret);
    *ret_code = DNS_OK;
    ret->udp_size = DNS_UDP_MIN;
    ret->wire_len = HEADER;
    if (message.len < HEADER)
        return false;
    ret->id = get16(message, 0);
    ret->flags = get16(message, 2);
    if (ret->flags & FLAG_RESPONSE)
        return false;
    if (ret->flags & FLAG_OPCODE) {
        *ret_code = DNS_NOT_IMPLEMENTED;
        return true;
    }
    size_t at = get16(message, 4) == 1 ? parse_name(message, HEADER, ret->name) : 0;
    if (!at || at + 4 > message.len) {
        *ret_code = DNS_FORMAT_ERROR;
        return true;
    }
    ret->type = get16(message, at);
    ret->class_ = get16(message, at + 2);
    ret->wire_len = at + 4;
    if (get16(message, 6) == 0 && get16(message, 8) == 0)
        ret->udp_size = edns_size(message, at + 4, get16(message, 10));
    return true;
}

/* ---- answers ---- */

static void put16(struct buf *b, unsigned v)
{
    char bytes[2] = {(char)(v >> 8), (char)v};
    buf_add(b, bytes, 2);
}

static void put32(struct buf *b, uint32_t v)
{
    put16(b, v >> 16);
    put16(b, v & 0xffff);
}

static void put_name(struct buf *b, const char *name)
{
    while (*name) {
        size_t label = strcspn(name, ".");
        if (label > 63)
            label = 63;
        buf_add_char(b, (char)label);
        buf_add(b, name, label);
        name += label;
        if (*name == '.')
            name++;
    }
    buf_add_char(b, 0);
}

void dns_answer_begin(struct dns_answer *a, const struct dns_question *q, struct str question_message)
{
    memset(a, 0, sizeof *a);
    buf_add(&a->out, question_message.p, q->wire_len);
}

/* Owner, type, class, TTL; answers where the length of the data goes. */
static size_t begin_record(struct dns_answer *a, const char *name, enum dns_type type, uint32_t ttl_s)
{
    if (name)
        put_name(&a->out, name);
    else
        put16(&a->out, POINTER_TO_QUESTION);
    put16(&a->out, type);
    put16(&a->out, 1);
    put32(&a->out, ttl_s);
    put16(&a->out, 0);
    return a->out.len - 2;
}

static void end_record(struct dns_answer *a, size_t at)
{
    size_t len = a->out.len - at - 2;
    a->out.p[at] = (char)(len >> 8);
    a->out.p[at + 1] = (char)len;
}

void dns_answer_a(struct dns_answer *a, const char *name, uint32_t ttl_s, uint32_t address, bool additional)
{
    size_t at = begin_record(a, name, DNS_A, ttl_s);
    put32(&a->out, address);
    end_record(a, at);
    if (additional)
        a->n_additional++;
    else
        a->n_answers++;
}

void dns_answer_name(struct dns_answer *a, const char *name, enum dns_type type, uint32_t ttl_s, const char *target)
{
    size_t at = begin_record(a, name, type, ttl_s);
    put_name(&a->out, target);
    end_record(a, at);
    a->n_answers++;
}

void dns_answer_srv(struct dns_answer *a, uint32_t ttl_s, uint16_t port, const char *target)
{
    size_t at = begin_record(a, NULL, DNS_SRV, ttl_s);
    put16(&a->out, 0);
    put16(&a->out, 100);
    put16(&a->out, port);
    put_name(&a->out, target);
    end_record(a, at);
    a->n_answers++;
}

void dns_answer_txt(struct dns_answer *a, uint32_t ttl_s, const char *text)
{
    size_t at = begin_record(a, NULL, DNS_TXT, ttl_s);
    buf_add_char(&a->out, (char)strlen(text));
    buf_addz(&a->out, text);
    end_record(a, at);
    a->n_answers++;
}

void dns_answer_soa(struct dns_answer *a, const char *zone, uint32_t serial)
{
    char name[DNS_NAME_MAX + 32];
    size_t at = begin_record(a, zone, DNS_SOA, 5);
    snprintf(name, sizeof name, "ns.dns.%s", zone);
    put_name(&a->out, name);
    snprintf(name, sizeof name, "hostmaster.%s", zone);
    put_name(&a->out, name);
    put32(&a->out, serial);
    put32(&a->out, 7200);  /* refresh */
    put32(&a->out, 1800);  /* retry */
    put32(&a->out, 86400); /* expire */
    put32(&a->out, 5);     /* how long "no such name" may be remembered */
    end_record(a, at);
    a->n_authority++;
}

struct buf dns_answer_end(struct dns_answer *a, const struct dns_question *q, enum dns_code code, bool authoritative,
                          size_t max_len)
{
    unsigned flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | (q->flags & FLAG_RECURSION_DESIRED) | (unsigned)code;
    if (authoritative)
        flags |= FLAG_AUTHORITATIVE;
    if (a->out.len > max_len) {
        flags |= FLAG_TRUNCATED;
        a->out.len = q->wire_len;
        a->n_answers = a->n_authority = a->n_additional = 0;
    }
    const unsigned words[] = {q->id, flags, q->wire_len > HEADER, a->n_answers, a->n_authority, a->n_additional};
    for (size_t i = 0; i < 6; i++) {
        a->out.p[2 * i] = (char)(words[i] >> 8);
        a->out.p[2 * i + 1] = (char)words[i];
    }
    return a->out;
}
