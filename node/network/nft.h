/* nft: nf_tables over netlink (libmnl), without libnftables: a batch is one atomic change of the rule set.
 *
 * A batch is filled with messages and sent once; the kernel takes all of it or nothing. Rules are written as the
 * kernel's own expressions: nft_rule_begin, expressions in order, nft_rule_end. Registers are the 4-byte ones, from 0
 * to 15. Everything lives in one table of family ip, named at creation.
 */
#ifndef SKIFF_NODE_NETWORK_NFT_H
#define SKIFF_NODE_NETWORK_NFT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nft; /* a socket and the batch being filled */

int nft_open(const char *table, struct nft **ret, struct err *err);
void nft_close(struct nft *n);
/* Send what was added since the last send. Nothing was added: nothing happens. */
int nft_send(struct nft *n, struct err *err);
size_t nft_pending_bytes(const struct nft *n);

void nft_table_add(struct nft *n);
void nft_table_del(struct nft *n); /* with everything in it; it must exist */

struct nft_hook {
    const char *type; /* "nat", "filter" */
    int hook;         /* NF_INET_… */
    int priority;
};
void nft_chain_add(struct nft *n, const char *name, const struct nft_hook *hook); /* hook NULL = a chain to jump to */
void nft_chain_flush(struct nft *n, const char *name);
void nft_chain_del(struct nft *n, const char *name);

enum nft_set_kind { NFT_PLAIN, NFT_VERDICTS, NFT_DATA };
/* key_len and data_len in bytes, each field of a concatenation padded to 4. */
void nft_set_add(struct nft *n, const char *name, enum nft_set_kind kind, uint32_t key_len, uint32_t data_len);
void nft_set_del(struct nft *n, const char *name);
void nft_elem_add(struct nft *n, const char *set, const void *key, uint32_t key_len, const void *data,
                  uint32_t data_len);
void nft_elem_add_goto(struct nft *n, const char *set, const void *key, uint32_t key_len, const char *chain);
void nft_elem_del(struct nft *n, const char *set, const void *key, uint32_t key_len);

void nft_rule_begin(struct nft *n, const char *chain);
void nft_rule_end(struct nft *n);

enum nft_base { NFT_BASE_NETWORK = 1, NFT_BASE_TRANSPORT = 2 };
void nft_expr_payload(struct nft *n, enum nft_base base, uint32_t offset, uint32_t len, unsigned reg);
void nft_expr_meta(struct nft *n, uint32_t key, unsigned reg);     /* NFT_META_…: load */
void nft_expr_meta_set(struct nft *n, uint32_t key, unsigned reg); /* store */
void nft_expr_ct_status(struct nft *n, unsigned reg);
void nft_expr_fib_daddr_type(struct nft *n, unsigned reg); /* RTN_LOCAL … */
void nft_expr_bitwise(struct nft *n, unsigned reg, uint32_t len, const void *mask, const void *xor_);
void nft_expr_cmp(struct nft *n, bool equal, unsigned reg, const void *data, uint32_t len);
void nft_expr_lookup(struct nft *n, const char *set, unsigned reg, bool invert); /* goes on when (not) in the set */
void nft_expr_lookup_verdict(struct nft *n, const char *set, unsigned reg);
void nft_expr_lookup_data(struct nft *n, const char *set, unsigned reg, unsigned to_reg);
void nft_expr_random(struct nft *n, uint32_t modulus, unsigned reg); /* 0 … modulus-1 */
void nft_expr_dnat(struct nft *n, unsigned address_reg, unsigned port_reg);
void nft_expr_masquerade(struct nft *n);
void nft_expr_reject(struct nft *n, bool tcp_reset); /* else ICMP port unreachable */
void nft_expr_immediate(struct nft *n, unsigned reg, const void *data, uint32_t len);
void nft_expr_goto(struct nft *n, const char *chain);
void nft_expr_return(struct nft *n);

#endif
