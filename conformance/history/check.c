/* What an answer promises, checked over everything that was answered.
 *
 * Revisions give the order: they say in which order writes happened, so that linearizability needs no search. It is
 * left to check that the order is one that the clients could have seen: that it agrees with real time (nothing older
 * than what somebody had been told of may be answered to a request that began later), that every conditional write
 * follows what it was conditional on, and that whoever reads at a revision reads what stands there. Writes without an
 * answer may have happened or not; once anybody has seen one it has happened, once, and after it had begun.
 *
 * A deletion's answer has no revision: it is known from watchers, which are told the object's uid. */
#include "conformance/history/check.h"

#include <inttypes.h>

static void check_torn(const struct history *h, struct findings *f)
{
    for (size_t i = 0; i < h->ops.len; i++) {
        if (h->ops.items[i].torn)
            finding(f, FINDING_TORN, h->ops.items[i].line, "%s", h->ops.items[i].torn);
    }
    for (size_t i = 0; i < h->items.len; i++) {
        if (h->items.items[i].torn)
            finding(f, FINDING_TORN, h->items.items[i].line, "%s", h->items.items[i].torn);
    }
    for (size_t i = 0; i < h->steps.len; i++) {
        if (h->steps.items[i].object.torn)
            finding(f, FINDING_TORN, h->steps.items[i].line, "%s", h->steps.items[i].object.torn);
    }
}

void history_check(struct history *h, struct findings *ret)
{
    struct versions v;
    check_torn(h, ret);
    versions_build(&v, h, ret);
    check_writes(&v, ret);
    check_reads(&v, ret);
    check_watches(&v, ret);
    check_leases(h, ret);
    check_held(h, ret);
    versions_finish(&v);
}
