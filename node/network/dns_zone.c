#include "node/network/dns_zone.h"

#include "base/clock.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static struct str service_key(struct arena *a, const struct service *s)
{
    return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(s->name), STR_ARG(s->namespace_));
}

static void address_label(const struct endpoint *e, char ret[64])
{
    if (e->hostname.len && e->hostname.len < 64)
        snprintf(ret, 64, STR_FMT, STR_ARG(e->hostname));
    else
        snprintf(ret, 64, "%u-%u-%u-%u", e->address >> 24, e->address >> 16 & 255, e->address >> 8 & 255,
                 e->address & 255);
}

static void add_reverse(struct dns_zone *z, uint32_t address, struct str name)
{
    map_put(&z->reverse, (struct str){(const char *)&address, 4}, (void *)name.p);
}

void dns_zone_init(struct dns_zone *z, struct arena *a, const char *domain, uint32_t dns_ip,
                   const struct service_table *table, uint32_t serial)
{
    *z = (struct dns_zone){.domain = domain, .dns_ip = dns_ip, .table = table, .serial = serial};
    for (size_t i = 0; i < table->len; i++) {
        const struct service *s = &table->items[i];
        if (!s->cluster_ip && !s->headless && !s->external_name.len)
            continue; /* a host port has no name */
        map_put(&z->services, service_key(a, s), (void *)s);
        map_put(&z->namespaces, s->namespace_, (void *)s);
        if (s->cluster_ip)
            add_reverse(
                z, s->cluster_ip,
                arena_printf(a, STR_FMT "." STR_FMT ".svc.%s", STR_ARG(s->name), STR_ARG(s->namespace_), domain));
        for (size_t j = 0; s->headless && j < s->addresses.len; j++) {
            char label[64];
            address_label(&s->addresses.items[j], label);
            add_reverse(z, s->addresses.items[j].address,
                        arena_printf(a, "%s." STR_FMT "." STR_FMT ".svc.%s", label, STR_ARG(s->name),
                                     STR_ARG(s->namespace_), domain));
        }
    }
}

void dns_zone_finish(struct dns_zone *z)
{
    map_finish(&z->services);
    map_finish(&z->namespaces);
    map_finish(&z->reverse);
    memset(z, 0, sizeof *z);
}

/* The labels of `name` in front of the domain; false when it is not below it. */
static bool strip_domain(const char *name, const char *domain, struct str *ret)
{
    size_t n = strlen(name), d = strlen(domain);
    if (n == d && memcmp(name, domain, d) == 0) {
        *ret = STR("");
        return true;
    }
    if (n <= d + 1 || name[n - d - 1] != '.' || memcmp(name + n - d, domain, d) != 0)
        return false;
    *ret = (struct str){name, n - d - 1};
    return true;
}

/* The last label is cut off. */
static struct str pop_label(struct str *s)
{
    size_t at = s->len;
    while (at > 0 && s->p[at - 1] != '.')
        at--;
    struct str label = {s->p + at, s->len - at};
    s->len = at ? at - 1 : 0;
    return label;
}

static bool wants(const struct dns_question *q, enum dns_type type)
{
    return q->type == type || q->type == DNS_ANY;
}

/* Every address once, beginning somewhere else each time, so that clients that take the first one spread. */
static void answer_addresses(const struct endpoint_list *list, const struct dns_question *q, struct dns_answer *out)
{
    size_t from = list->len ? (size_t)clock_mono_us() % list->len : 0;
    for (size_t i = 0; wants(q, DNS_A) && i < list->len; i++) {
        const struct endpoint *e = &list->items[(from + i) % list->len];
        dns_answer_a(out, NULL, DNS_TTL_S, e->address, false);
    }
}

static bool answer_srv(const struct dns_zone *z, const struct service *s, struct str port_name, struct str protocol,
                       const struct dns_question *q, struct dns_answer *out)
{
    char target[DNS_NAME_MAX + 1];
    bool found = false;
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct service_port *p = &s->ports[i];
        const char *name = p->protocol == IPPROTO_UDP ? "udp" : p->protocol == IPPROTO_SCTP ? "sctp" : "tcp";
        if (port_name.p && (!str_eq(p->name, port_name) || !str_eqz(protocol, name)))
            continue;
        found = true;
        if (!wants(q, DNS_SRV))
            continue;
        if (!s->headless) {
            snprintf(target, sizeof target, STR_FMT "." STR_FMT ".svc.%s", STR_ARG(s->name), STR_ARG(s->namespace_),
                     z->domain);
            dns_answer_srv(out, DNS_TTL_S, p->port, target);
            continue;
        }
        for (size_t j = 0; j < p->endpoints.len; j++) {
            char label[64];
            address_label(&p->endpoints.items[j], label);
            snprintf(target, sizeof target, "%s." STR_FMT "." STR_FMT ".svc.%s", label, STR_ARG(s->name),
                     STR_ARG(s->namespace_), z->domain);
            dns_answer_srv(out, DNS_TTL_S, p->endpoints.items[j].port, target);
        }
    }
    return found;
}

/* HOST.SERVICE.NAMESPACE.svc: one pod of a headless Service. */
static bool answer_host(const struct service *s, struct str host, const struct dns_question *q, struct dns_answer *out)
{
    bool found = false;
    for (size_t i = 0; s->headless && i < s->addresses.len; i++) {
        char label[64];
        address_label(&s->addresses.items[i], label);
        if (!str_eqz(host, label))
            continue;
        found = true;
        if (wants(q, DNS_A))
            dns_answer_a(out, NULL, DNS_TTL_S, s->addresses.items[i].address, false);
    }
    return found;
}

static bool answer_service(const struct dns_zone *z, struct str rest, const struct dns_question *q,
                           struct dns_answer *out)
{
    struct str namespace_ = pop_label(&rest);
    if (!namespace_.len)
        return true; /* svc.DOMAIN exists and has no records */
    if (!rest.len)
        return map_get(&z->namespaces, namespace_) != NULL;
    struct str name = pop_label(&rest);
    char key[DNS_NAME_MAX + 1];
    snprintf(key, sizeof key, STR_FMT "." STR_FMT, STR_ARG(name), STR_ARG(namespace_));
    const struct service *s = map_get(&z->services, str_from(key));
    if (!s)
        return false;
    if (!rest.len) {
        if (s->external_name.len && s->external_name.len <= DNS_NAME_MAX) {
            char target[DNS_NAME_MAX + 1];
            snprintf(target, sizeof target, STR_FMT, STR_ARG(s->external_name));
            dns_answer_name(out, NULL, DNS_CNAME, DNS_TTL_S, target);
        } else if (s->headless) {
            answer_addresses(&s->addresses, q, out);
        } else if (wants(q, DNS_A)) {
            dns_answer_a(out, NULL, DNS_TTL_S, s->cluster_ip, false);
        }
        if (q->type == DNS_SRV)
            answer_srv(z, s, STR_NULL, STR_NULL, q, out);
        return true;
    }
    struct str label = pop_label(&rest);
    if (label.p[0] == '_' && rest.len > 1 && rest.p[0] == '_' && !memchr(rest.p, '.', rest.len))
        return answer_srv(z, s, str_sub(rest, 1, rest.len), str_sub(label, 1, label.len), q, out);
    return !rest.len && answer_host(s, label, q, out);
}

/* A-B-C-D.NAMESPACE.pod */
static bool answer_pod(struct str rest, const struct dns_question *q, struct dns_answer *out)
{
    struct str namespace_ = pop_label(&rest);
    char text[64];
    uint32_t address;
    if (!namespace_.len || !rest.len)
        return true;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(rest));
    for (char *p = text; *p; p++)
        *p = *p == '-' ? '.' : *p;
    if (!ipv4_parse(str_from(text), &address))
        return false;
    if (wants(q, DNS_A))
        dns_answer_a(out, NULL, DNS_TTL_S, address, false);
    return true;
}

/* D.C.B.A.in-addr.arpa; false when it is not an address of ours (it may be somebody else's). */
static bool answer_reverse(const struct dns_zone *z, struct str rest, const struct dns_question *q,
                           struct dns_answer *out)
{
    uint32_t address = 0;
    for (int i = 0; i < 4; i++) {
        struct str label = pop_label(&rest);
        uint64_t byte;
        if (!str_to_u64(label, &byte) || byte > 255)
            return false;
        address = address << 8 | (uint32_t)byte;
    }
    const char *name = rest.len ? NULL : map_get(&z->reverse, (struct str){(const char *)&address, 4});
    if (!name)
        return false;
    if (wants(q, DNS_PTR))
        dns_answer_name(out, NULL, DNS_PTR, DNS_TTL_S, name);
    return true;
}

bool dns_zone_answer(const struct dns_zone *z, const struct dns_question *q, struct dns_answer *answer,
                     enum dns_code *ret_code)
{
    struct str rest;
    bool exists;
    *ret_code = DNS_OK;
    if (strip_domain(q->name, "in-addr.arpa", &rest) && rest.len)
        return answer_reverse(z, rest, q, answer);
    if (!strip_domain(q->name, z->domain, &rest))
        return false;
    struct str kind = pop_label(&rest);
    if (str_eqz(kind, "svc"))
        exists = answer_service(z, rest, q, answer);
    else if (str_eqz(kind, "pod"))
        exists = answer_pod(rest, q, answer);
    else if (str_eqz(kind, "dns-version") && !rest.len) {
        exists = true;
        if (wants(q, DNS_TXT))
            dns_answer_txt(answer, DNS_TTL_S, "1.1.0");
    } else
        exists = !kind.len;
    if (!exists)
        *ret_code = DNS_NO_NAME;
    if (!answer->n_answers)
        dns_answer_soa(answer, z->domain, z->serial);
    return true;
}
