/* versions: every state of every key that anybody was told of, in the order of their revisions, and what was known
 * when.
 *
 * A version is known from the answer to the write that made it, from a read, from a list, or from a watch; all of them
 * must agree on what the revision holds, or that is a finding.
 */
#ifndef SKIFF_CONFORMANCE_HISTORY_VERSIONS_H
#define SKIFF_CONFORMANCE_HISTORY_VERSIONS_H

#include "conformance/history/history.h"

struct version {
    int64_t revision, value; /* of a deletion: the value that was deleted, 0 when nobody said */
    int key, uid, line;      /* line: who said so first */
    bool deleted;
    int created;         /* 1 = did not exist before, 0 = did, -1 = nobody said */
    int64_t known_us;    /* told first at that time */
    const struct op *op; /* the write that made it; NULL when unknown (deletions without an answer) */
};

struct versions {
    const struct history *h;
    VEC(struct version) all; /* by revision */
    struct key_versions {
        VEC(size_t) at;             /* in `all` */
    } * keys;                       /* by number of the key */
    VEC(const struct op *) writes;  /* with a value of their own, by value */
    VEC(const struct op *) deletes; /* not refused, by key, then by uid */
    VEC(struct told) told;          /* by time; revision: the highest so far */
};

struct told {
    int64_t time_us, revision;
};

void versions_build(struct versions *v, const struct history *h, struct findings *f);
void versions_finish(struct versions *v);

/* The newest revision that anybody had been told of before that time. */
int64_t versions_told_before(const struct versions *v, int64_t time_us);
/* Of that key, the newest with a revision of at most `revision`, the one with exactly that revision, and the one
 * after; NULL when there is none. */
const struct version *versions_at(const struct versions *v, int key, int64_t revision);
const struct version *versions_exact(const struct versions *v, int key, int64_t revision);
const struct version *versions_after(const struct versions *v, int key, int64_t revision);

const struct op *versions_write_of(const struct versions *v, int64_t value);
/* Deletions of a key that were carried out, or perhaps: [0, *ret_n) by uid, those without an answer first (uid 0). */
const struct op *const *versions_deletes(const struct versions *v, int key, size_t *ret_n);
/* The deletion of that very object that was acknowledged, or NULL. */
const struct op *versions_delete_of(const struct versions *v, int key, int uid);

#endif
