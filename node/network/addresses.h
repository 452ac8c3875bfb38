/* addresses: which address of the node's pod range belongs to which pod: one file per address in a directory, so that a
 * plugin process that lives for five milliseconds, a crash and a reboot all find the same truth.
 */
#ifndef SKIFF_NODE_NETWORK_ADDRESSES_H
#define SKIFF_NODE_NETWORK_ADDRESSES_H

#include "base/err.h"

#include <stdint.h>

struct subnet {       /* IPv4 */
    uint32_t network; /* host byte order */
    unsigned prefix_len;
};
int subnet_parse(const char *text, struct subnet *ret, struct err *err); /* "10.244.1.0/24" */
void address_format(uint32_t address, char ret[16]);

/* The address of `owner` ("CONTAINERID IFNAME"): the one it has already, else the next free one after the one given
 * last, so that a freed address rests as long as possible. The network's own, the gateway's (first) and the broadcast
 * address are never given. ERR_NO_SPACE when none is left. */
int address_take(const char *data_dir, const struct subnet *subnet, const char *owner, uint32_t *ret, struct err *err);
/* Free every address of `owner`; fine when it has none. */
int address_release(const char *data_dir, const char *owner, struct err *err);

#endif
