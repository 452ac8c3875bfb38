/* leader: election over a Lease in kube-system, as client-go does it, so that stock components and Skiff's can stand
 * for the same lease.
 *
 * A candidate watches the Lease. Whether it is held is told by when its record last changed here, by this process's
 * clock; the times in it are for people. Once it has run out, or was released, every candidate writes itself into it,
 * and the compare on its revision lets one through. The leader renews every retry period; when no renewal has succeeded
 * for the renew deadline, or somebody else's name is seen, the term ends at once and the process stands again.
 *
 * A term has the revision of the write that began it, which is also that of the lease's fence (client.h): what a leader
 * writes behind it cannot come after another's term has begun.
 */
#ifndef SKIFF_CONTROLLERS_RUNTIME_LEADER_H
#define SKIFF_CONTROLLERS_RUNTIME_LEADER_H

#include "api/client/client.h"

struct leader;
struct leader_times {
    int64_t lease_duration_ms; /* written in whole seconds */
    int64_t renew_deadline_ms, retry_period_ms;
};
#define LEADER_TIMES_DEFAULT ((struct leader_times){15000, 10000, 2000})
/* NULL, or what is wrong with them, as upstream's flags are checked: "lease duration must be greater than …". */
const char *leader_times_objection(const struct leader_times *t);

struct leader_options {
    const char *lease;     /* "kube-scheduler"; borrowed, as all of these */
    const char *component; /* of its Events */
    struct leader_times times;
    void (*began)(void *arg, int64_t revision); /* a term; on the client's loop, as all callbacks */
    void (*ended)(void *arg);                   /* it: stop what runs now, before returning */
    void *arg;
};
/* Takes the client, which writes the lease and nothing else and has no fence. */
struct leader *leader_start(struct client *c, const struct leader_options *opt);
const char *leader_identity(const struct leader *l); /* HOSTNAME_UUID */
/* A write was refused by the fence: the term is over, whatever the lease looks like here. */
void leader_fenced(struct leader *l);
/* Stand no more, and give the lease back so that the next one takes it at once. `ended` is not called. `done` comes
 * when that is written, or after two seconds. */
void leader_resign(struct leader *l, void (*done)(void *arg), void *arg);
void leader_destroy(struct leader *l); /* without a word to anybody; NULL is fine */

#endif
