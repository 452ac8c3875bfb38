#include "node/network/nft.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGE_MAX 16384u /* room kept for the message being written */
#define SOCKET_BUFFER (8 << 20)

struct nft {
    struct mnl_socket *socket;
    char table[32];
    char *batch;
    size_t len, cap, last_at; /* last_at: where the last message begins */
    uint32_t seq, first_seq;
    unsigned set_id;
    struct nlmsghdr *message;   /* being written, inside batch */
    struct nlattr *expressions; /* of the rule being written */
};

int nft_open(const char *table, struct nft **ret, struct err *err)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!socket)
        return err_set_errno(err, ERR_IO, errno, "open a netfilter socket");
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int errnum = errno;
        mnl_socket_close(socket);
        return err_set_errno(err, ERR_IO, errnum, "bind a netfilter socket");
    }
    int size = SOCKET_BUFFER;
    setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    struct nft *n = calloc(1, sizeof *n);
    assert(n);
    n->socket = socket;
    snprintf(n->table, sizeof n->table, "%s", table);
    *ret = n;
    return 0;
}

void nft_close(struct nft *n)
{
    if (!n)
        return;
    mnl_socket_close(n->socket);
    free(n->batch);
    free(n);
}

size_t nft_pending_bytes(const struct nft *n)
{
    return n->len;
}

/* ---- the batch ---- */

static struct nlmsghdr *put_header(struct nft *n, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
    if (n->cap - n->len < MESSAGE_MAX) {
        n->cap = n->cap ? n->cap * 2 : 4 * MESSAGE_MAX;
        n->batch = realloc(n->batch, n->cap);
        assert(n->batch);
    }
    struct nlmsghdr *h = mnl_nlmsg_put_header(n->batch + n->len);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = ++n->seq;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);
    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
    g->res_id = htons(res_id);
    return h;
}

static void end_message(struct nft *n, struct nlmsghdr *h)
{
    n->last_at = n->len;
    n->len += MNL_ALIGN(h->nlmsg_len);
}

static struct nlmsghdr *begin(struct nft *n, uint16_t type, uint16_t flags)
{
    if (n->len == 0) {
        struct nlmsghdr *b = put_header(n, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
        n->first_seq = n->seq;
        end_message(n, b);
    }
    return put_header(n, (uint16_t)((NFNL_SUBSYS_NFTABLES << 8) | type), flags, NFPROTO_IPV4, 0);
}

/* The answers to one batch: errors name the message by its sequence number; silence means taken. */
static int collect(struct nft *n, uint32_t last_seq)
{
    char in[16384];
    int first_error = 0;
    uint32_t port = mnl_socket_get_portid(n->socket);
    for (;;) {
        ssize_t got = mnl_socket_recvfrom(n->socket, in, sizeof in);
        if (got < 0)
            return errno == ENOBUFS && first_error ? first_error : -errno;
        const struct nlmsghdr *h = (const struct nlmsghdr *)in;
        int left = (int)got;
        bool done = false;
        for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_pid != port)
                continue;
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            if (e->error && !first_error)
                first_error = e->error;
            done = done || h->nlmsg_seq == last_seq || h->nlmsg_seq == n->first_seq;
        }
        if (done)
            return first_error;
    }
}

int nft_send(struct nft *n, struct err *err)
{
    if (n->len == 0)
        return 0;
    /* the acknowledgement of the last message marks the end of the answers (older kernels do not answer batch marks) */
    struct nlmsghdr *last = (struct nlmsghdr *)(n->batch + n->last_at);
    last->nlmsg_flags |= NLM_F_ACK;
    uint32_t last_seq = n->seq;
    end_message(n, put_header(n, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
    ssize_t sent = mnl_socket_sendto(n->socket, n->batch, n->len);
    n->len = 0;
    if (sent < 0)
        return err_set_errno(err, ERR_IO, errno, "send rules to the kernel");
    struct pollfd wait = {.fd = mnl_socket_get_fd(n->socket), .events = POLLIN};
    if (poll(&wait, 1, 5000) <= 0)
        return err_set(err, ERR_TIMEOUT, "the kernel did not answer a change of rules");
    int rc = collect(n, last_seq);
    /* drain what is left, so that the next batch reads its own answers */
    char rest[16384];
    while (recv(mnl_socket_get_fd(n->socket), rest, sizeof rest, MSG_DONTWAIT) > 0) {
    }
    return rc < 0 ? err_set_errno(err, ERR_IO, -rc, "change the rules of table ip %s", n->table) : 0;
}

/* ---- tables, chains, sets ---- */

void nft_table_add(struct nft *n)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    mnl_attr_put_strz(h, NFTA_TABLE_NAME, n->table);
    end_message(n, h);
}

void nft_table_del(struct nft *n)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_DELTABLE, 0);
    mnl_attr_put_strz(h, NFTA_TABLE_NAME, n->table);
    end_message(n, h);
}

void nft_chain_add(struct nft *n, const char *name, const struct nft_hook *hook)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, n->table);
    mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
    if (hook) {
        struct nlattr *nest = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
        mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl((uint32_t)hook->hook));
        mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl((uint32_t)hook->priority));
        mnl_attr_nest_end(h, nest);
        mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, hook->type);
    }
    end_message(n, h);
}

void nft_chain_flush(struct nft *n, const char *name)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_DELRULE, 0);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, n->table);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, name);
    end_message(n, h);
}

void nft_chain_del(struct nft *n, const char *name)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_DELCHAIN, 0);
    mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, n->table);
    mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
    end_message(n, h);
}

/* Types are nftables' own numbers for display (libnftables reads them); the kernel only compares lengths. */
#define TYPE_VERDICT 0xffffff00u
#define TYPE_INTEGER 4u

void nft_set_add(struct nft *n, const char *name, enum nft_set_kind kind, uint32_t key_len, uint32_t data_len)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_NEWSET, NLM_F_CREATE);
    mnl_attr_put_strz(h, NFTA_SET_TABLE, n->table);
    mnl_attr_put_strz(h, NFTA_SET_NAME, name);
    mnl_attr_put_u32(h, NFTA_SET_ID, htonl(++n->set_id));
    mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(kind == NFT_PLAIN ? 0 : NFT_SET_MAP));
    mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(TYPE_INTEGER));
    mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl(key_len));
    if (kind != NFT_PLAIN) {
        mnl_attr_put_u32(h, NFTA_SET_DATA_TYPE, htonl(kind == NFT_VERDICTS ? TYPE_VERDICT : TYPE_INTEGER));
        mnl_attr_put_u32(h, NFTA_SET_DATA_LEN, htonl(kind == NFT_VERDICTS ? 16 : data_len));
    }
    end_message(n, h);
}

void nft_set_del(struct nft *n, const char *name)
{
    struct nlmsghdr *h = begin(n, NFT_MSG_DELSET, 0);
    mnl_attr_put_strz(h, NFTA_SET_TABLE, n->table);
    mnl_attr_put_strz(h, NFTA_SET_NAME, name);
    end_message(n, h);
}

static void put_data(struct nlmsghdr *h, uint16_t type, const void *data, uint32_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(h, type);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, data);
    mnl_attr_nest_end(h, nest);
}

static void put_verdict(struct nlmsghdr *h, uint16_t type, int32_t code, const char *chain)
{
    struct nlattr *nest = mnl_attr_nest_start(h, type), *verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
    mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl((uint32_t)code));
    if (chain)
        mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
    mnl_attr_nest_end(h, verdict);
    mnl_attr_nest_end(h, nest);
}

static void element(struct nft *n, uint16_t message, uint16_t flags, const char *set, const void *key, uint32_t key_len,
                    const void *data, uint32_t data_len, const char *chain)
{
    struct nlmsghdr *h = begin(n, message, flags);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, n->table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *elem = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    put_data(h, NFTA_SET_ELEM_KEY, key, key_len);
    if (data)
        put_data(h, NFTA_SET_ELEM_DATA, data, data_len);
    if (chain)
        put_verdict(h, NFTA_SET_ELEM_DATA, NFT_GOTO, chain);
    mnl_attr_nest_end(h, elem);
    mnl_attr_nest_end(h, list);
    end_message(n, h);
}

void nft_elem_add(struct nft *n, const char *set, const void *key, uint32_t key_len, const void *data,
                  uint32_t data_len)
{
    element(n, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, key, key_len, data, data_len, NULL);
}

void nft_elem_add_goto(struct nft *n, const char *set, const void *key, uint32_t key_len, const char *chain)
{
    element(n, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, key, key_len, NULL, 0, chain);
}

void nft_elem_del(struct nft *n, const char *set, const void *key, uint32_t key_len)
{
    element(n, NFT_MSG_DELSETELEM, 0, set, key, key_len, NULL, 0, NULL);
}

/* ---- rules ---- */

void nft_rule_begin(struct nft *n, const char *chain)
{
    assert(!n->message);
    n->message = begin(n, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    mnl_attr_put_strz(n->message, NFTA_RULE_TABLE, n->table);
    mnl_attr_put_strz(n->message, NFTA_RULE_CHAIN, chain);
    n->expressions = mnl_attr_nest_start(n->message, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft *n)
{
    mnl_attr_nest_end(n->message, n->expressions);
    end_message(n, n->message);
    n->message = NULL;
}

struct expression {
    struct nlattr *elem, *data;
};

static struct expression begin_expr(struct nft *n, const char *name)
{
    struct expression e;
    e.elem = mnl_attr_nest_start(n->message, NFTA_LIST_ELEM);
    mnl_attr_put_strz(n->message, NFTA_EXPR_NAME, name);
    e.data = mnl_attr_nest_start(n->message, NFTA_EXPR_DATA);
    return e;
}

static void end_expr(struct nft *n, struct expression e)
{
    mnl_attr_nest_end(n->message, e.data);
    mnl_attr_nest_end(n->message, e.elem);
}

static void put_u32(struct nft *n, uint16_t type, uint32_t v)
{
    mnl_attr_put_u32(n->message, type, htonl(v));
}

static uint32_t reg_number(unsigned reg)
{
    return (uint32_t)(NFT_REG32_00 + reg);
}

void nft_expr_payload(struct nft *n, enum nft_base base, uint32_t offset, uint32_t len, unsigned reg)
{
    struct expression e = begin_expr(n, "payload");
    put_u32(n, NFTA_PAYLOAD_DREG, reg_number(reg));
    put_u32(n, NFTA_PAYLOAD_BASE, (uint32_t)base);
    put_u32(n, NFTA_PAYLOAD_OFFSET, offset);
    put_u32(n, NFTA_PAYLOAD_LEN, len);
    end_expr(n, e);
}

void nft_expr_meta(struct nft *n, uint32_t key, unsigned reg)
{
    struct expression e = begin_expr(n, "meta");
    put_u32(n, NFTA_META_DREG, reg_number(reg));
    put_u32(n, NFTA_META_KEY, key);
    end_expr(n, e);
}

void nft_expr_meta_set(struct nft *n, uint32_t key, unsigned reg)
{
    struct expression e = begin_expr(n, "meta");
    put_u32(n, NFTA_META_KEY, key);
    put_u32(n, NFTA_META_SREG, reg_number(reg));
    end_expr(n, e);
}

void nft_expr_ct_status(struct nft *n, unsigned reg)
{
    struct expression e = begin_expr(n, "ct");
    put_u32(n, NFTA_CT_DREG, reg_number(reg));
    put_u32(n, NFTA_CT_KEY, NFT_CT_STATUS);
    end_expr(n, e);
}

void nft_expr_fib_daddr_type(struct nft *n, unsigned reg)
{
    struct expression e = begin_expr(n, "fib");
    put_u32(n, NFTA_FIB_DREG, reg_number(reg));
    put_u32(n, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    put_u32(n, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    end_expr(n, e);
}

void nft_expr_bitwise(struct nft *n, unsigned reg, uint32_t len, const void *mask, const void *xor_)
{
    struct expression e = begin_expr(n, "bitwise");
    put_u32(n, NFTA_BITWISE_SREG, reg_number(reg));
    put_u32(n, NFTA_BITWISE_DREG, reg_number(reg));
    put_u32(n, NFTA_BITWISE_LEN, len);
    put_data(n->message, NFTA_BITWISE_MASK, mask, len);
    put_data(n->message, NFTA_BITWISE_XOR, xor_, len);
    end_expr(n, e);
}

void nft_expr_cmp(struct nft *n, bool equal, unsigned reg, const void *data, uint32_t len)
{
    struct expression e = begin_expr(n, "cmp");
    put_u32(n, NFTA_CMP_SREG, reg_number(reg));
    put_u32(n, NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
    put_data(n->message, NFTA_CMP_DATA, data, len);
    end_expr(n, e);
}

static void lookup(struct nft *n, const char *set, unsigned reg, const uint32_t *to, bool invert)
{
    struct expression e = begin_expr(n, "lookup");
    mnl_attr_put_strz(n->message, NFTA_LOOKUP_SET, set);
    put_u32(n, NFTA_LOOKUP_SREG, reg_number(reg));
    if (to)
        put_u32(n, NFTA_LOOKUP_DREG, *to);
    if (invert)
        put_u32(n, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    end_expr(n, e);
}

void nft_expr_lookup(struct nft *n, const char *set, unsigned reg, bool invert)
{
    lookup(n, set, reg, NULL, invert);
}

void nft_expr_lookup_verdict(struct nft *n, const char *set, unsigned reg)
{
    uint32_t verdict = NFT_REG_VERDICT;
    lookup(n, set, reg, &verdict, false);
}

void nft_expr_lookup_data(struct nft *n, const char *set, unsigned reg, unsigned to_reg)
{
    uint32_t to = reg_number(to_reg);
    lookup(n, set, reg, &to, false);
}

void nft_expr_random(struct nft *n, uint32_t modulus, unsigned reg)
{
    struct expression e = begin_expr(n, "numgen");
    put_u32(n, NFTA_NG_DREG, reg_number(reg));
    put_u32(n, NFTA_NG_MODULUS, modulus);
    put_u32(n, NFTA_NG_TYPE, NFT_NG_RANDOM);
    end_expr(n, e);
}

void nft_expr_dnat(struct nft *n, unsigned address_reg, unsigned port_reg)
{
    struct expression e = begin_expr(n, "nat");
    put_u32(n, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    put_u32(n, NFTA_NAT_FAMILY, NFPROTO_IPV4);
    put_u32(n, NFTA_NAT_REG_ADDR_MIN, reg_number(address_reg));
    put_u32(n, NFTA_NAT_REG_PROTO_MIN, reg_number(port_reg));
    end_expr(n, e);
}

void nft_expr_masquerade(struct nft *n)
{
    struct expression e = begin_expr(n, "masq");
    put_u32(n, NFTA_MASQ_FLAGS, 0x10 /* NF_NAT_RANGE_PROTO_RANDOM_FULLY: two clients never fight for a port */);
    end_expr(n, e);
}

void nft_expr_reject(struct nft *n, bool tcp_reset)
{
    uint8_t code = 3; /* port unreachable */
    struct expression e = begin_expr(n, "reject");
    put_u32(n, NFTA_REJECT_TYPE, tcp_reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMP_UNREACH);
    mnl_attr_put_u8(n->message, NFTA_REJECT_ICMP_CODE, code);
    end_expr(n, e);
}

void nft_expr_immediate(struct nft *n, unsigned reg, const void *data, uint32_t len)
{
    struct expression e = begin_expr(n, "immediate");
    put_u32(n, NFTA_IMMEDIATE_DREG, reg_number(reg));
    put_data(n->message, NFTA_IMMEDIATE_DATA, data, len);
    end_expr(n, e);
}

static void verdict(struct nft *n, int32_t code, const char *chain)
{
    struct expression e = begin_expr(n, "immediate");
    put_u32(n, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    put_verdict(n->message, NFTA_IMMEDIATE_DATA, code, chain);
    end_expr(n, e);
}

void nft_expr_goto(struct nft *n, const char *chain)
{
    verdict(n, NFT_GOTO, chain);
}

void nft_expr_return(struct nft *n)
{
    verdict(n, NFT_RETURN, NULL);
}
