/* bootstrap: the objects of a fresh cluster, and those that speak of this server (the kubernetes Service and its
 * endpoints). What exists is left as it is; what is missing is created in one transaction.
 */
#ifndef SKIFF_API_BOOTSTRAP_H
#define SKIFF_API_BOOTSTRAP_H

#include "api/server.h"

/* Waits for the commit: not on a loop's thread. */
int bootstrap_run(struct api_server *s, struct err *err);

/* What speaks of this server is put back every ten seconds when somebody has taken it away, as upstream does. Where
 * several servers share a store, the endpoints list those that live (masterleases.h). */
struct bootstrap_keeper;
struct bootstrap_keeper *bootstrap_keeper_start(struct api_server *s);
void bootstrap_keeper_stop(struct bootstrap_keeper *k); /* takes NULL; waits for a round under way */

/* The n-th address of a CIDR ("10.96.0.0/16", 1 → "10.96.0.1"). */
int bootstrap_cidr_address(const char *cidr, unsigned n, char *ret, size_t cap, struct err *err);

#endif
