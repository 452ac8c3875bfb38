/* server address: the names and addresses under which the server can be reached, from --listen and the machine. */
#ifndef SKIFF_API_SERVER_ADDRESS_H
#define SKIFF_API_SERVER_ADDRESS_H

#include "base/err.h"

#include <stddef.h>

struct server_names {
    const char **dns, **ips; /* NULL-terminated; malloc'd strings */
    size_t n_dns, n_ips;
};

/* What the server's certificate must hold. `tls_san`: more of both, comma-separated, or NULL. */
int server_names_read(struct server_names *n, const char *listen, const char *service_cidr, const char *tls_san,
                      struct err *err);
void server_names_finish(struct server_names *n);

/* "host:port" for the kubernetes endpoints: the advertised address, else the one listened on, else the machine's first.
 */
void server_address(const char *listen, const char *advertise, int port, char *ret, size_t cap);
/* "https://host:port" for clients on this machine. */
void server_local_url(const char *listen, int port, char *ret, size_t cap);

#endif
