/* history: what a number of clients asked of one cluster and what each was answered, in a file of lines.
 *
 * The recorder appends a line when an answer has come (or will not come any more), so lines are in the order of their
 * ends. Times are microseconds of the machine's monotonic clock: logs of several recorders on one machine may be read
 * into one history. Words of a line are separated by single spaces:
 *
 *   op CLIENT SERVER BEGIN END KIND KEY EXPECT VALUE OUTCOME REVISION UID STATUS
 *   item KEY REVISION VALUE UID                     of the list or relist above it
 *   relist WATCHER SERVER BEGIN END SCOPE REVISION  a watcher's state anew, by a consistent list
 *   watch WATCHER SERVER TIME SCOPE REVISION        a session opened: what came after REVISION is asked for
 *   seen WATCHER SERVER TIME TYPE KEY REVISION VALUE UID
 *   mark WATCHER SERVER TIME REVISION               a bookmark
 *   lost WATCHER SERVER TIME REASON                 a session ended
 *   lease SERVER TIME TYPE NAME REVISION HOLDER RENEWED DURATION  (watched; wall microseconds, seconds; - is nobody)
 *   held TIME TYPE KIND KEY REVISION UID TOKENS     (watched; what an object holds alone, with commas; - is nothing)
 *   relisted TIME KIND REVISION                     what of that kind is not listed by the lines below is gone
 *   final TIME                                      all watchers had time to see everything above
 *
 * KEY is RESOURCE/NAME. SCOPE is RESOURCE or KEY. EXPECT is the resourceVersion a write was conditional on, 0 for none.
 * VALUE is the number an object holds, unlike that of any other write; 0 for none; !TEXT for an object that does not
 * hold together (half of a write). REVISION of an op is the one answered: of the object, of a list; 0 for none (errors,
 * objects that are not there, deletions). OUTCOME: ok; fail, certainly not carried out; unknown.
 * TOKENS: ip:ADDRESS, port:NUMBER; a node's range:CIDR; a pod's of:UID while it counts for that ReplicaSet; a
 * ReplicaSet's most:REPLICAS.
 */
#ifndef SKIFF_CONFORMANCE_HISTORY_HISTORY_H
#define SKIFF_CONFORMANCE_HISTORY_HISTORY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "base/vec.h"

enum op_kind { OP_CREATE, OP_REPLACE, OP_PATCH, OP_DELETE, OP_GET, OP_GET_CACHED, OP_LIST, OP_LIST_CACHED, OP_KINDS };
enum outcome { OUTCOME_OK, OUTCOME_FAIL, OUTCOME_UNKNOWN, OUTCOMES };
enum event_type { EVENT_ADDED, EVENT_MODIFIED, EVENT_DELETED, EVENT_TYPES };
extern const char *const op_kinds[OP_KINDS], *const outcomes[OUTCOMES], *const event_types[EVENT_TYPES];

static inline bool op_writes(enum op_kind kind)
{
    return kind <= OP_DELETE;
}

struct op {
    int line, client, server;
    int64_t begin_us, end_us;
    enum op_kind kind;
    int key; /* number of the key; of a list, of the scope (history.scopes) */
    int64_t expect, value, revision;
    const char *torn; /* what the answer held when it does not hold together, or NULL */
    enum outcome outcome;
    int uid; /* number, 0 = none */
    int status;
    size_t first_item, n_items; /* in history.items */
};

struct item {
    int line, key;
    int64_t revision, value;
    const char *torn;
    int uid;
};

enum step_kind { STEP_RELIST, STEP_WATCH, STEP_SEEN, STEP_MARK, STEP_LOST, STEP_FINAL };

struct step { /* of a watcher */
    int line, watcher, server;
    enum step_kind kind;
    int64_t begin_us, time_us;
    int scope; /* relist, watch */
    int64_t revision;
    struct item object; /* seen */
    enum event_type type;
    size_t first_item, n_items; /* relist */
};

struct lease_step {
    int line, name, holder; /* numbers of their texts; holder 0 = nobody */
    int64_t time_us, revision, renewed_us, duration_ms;
    enum event_type type;
};

struct held_step {
    int line, kind, key, uid; /* kind and key: words */
    int64_t time_us, revision;
    enum event_type type;
    bool relisted;      /* the others of its kind are gone */
    const char *tokens; /* "" for nothing */
};

struct names { /* texts as small numbers from 1 on */
    struct map numbers;
    VEC(const char *) texts; /* [0] is "-" */
};

struct history {
    struct arena *arena;
    struct names keys, uids, scopes, words;
    VEC(struct op) ops;
    VEC(struct item) items;
    VEC(struct step) steps;
    VEC(struct lease_step) leases;
    VEC(struct held_step) held;
    int lines;
    int64_t final_us; /* 0 = the log has no end */
};

void history_init(struct history *h);
void history_finish(struct history *h);
/* One whole log's text. ERR_BAD_REQUEST names the line. May be called again for the next log. */
int history_parse(struct history *h, struct str text, struct err *err);
bool history_in_scope(const struct history *h, int key, int scope);

/* What is wrong with a history, a kind of its own for each promise that was broken. */
enum finding_kind {
    FINDING_TORN,             /* an object that is half of a write */
    FINDING_REVISION_REUSED,  /* one revision, two different contents */
    FINDING_NOBODY_WROTE,     /* content that no write has */
    FINDING_FAILED_BUT_THERE, /* a write that was refused and is there */
    FINDING_APPLIED_TWICE,    /* one write, two revisions; one object deleted twice */
    FINDING_LOST_WRITE,       /* acknowledged, and not there */
    FINDING_LOST_UPDATE,      /* a conditional write that did not follow the revision it named */
    FINDING_CREATED_TWICE,    /* created while it was there */
    FINDING_RESURRECTED,      /* changed after its deletion */
    FINDING_ORDER,            /* a later write with an earlier revision */
    FINDING_STALE_READ,       /* a consistent read older than what was known when it began */
    FINDING_FUTURE_READ,      /* read or seen before it was written */
    FINDING_LIST_MIXED,       /* a list that is not the state at its revision */
    FINDING_WATCH_REORDERED,  /* an event behind a later one */
    FINDING_WATCH_TWICE,      /* an event seen before */
    FINDING_WATCH_GAP,        /* an event left out */
    FINDING_WATCH_TYPE,       /* ADDED for what was there, MODIFIED or DELETED for what was not; a value that is not */
    FINDING_TWO_HOLDERS,      /* a lease taken while the holder's time was not over */
    FINDING_HELD_TWICE,       /* an address or a port that two objects have at once */
    FINDING_TOO_MANY,         /* a pod made for a ReplicaSet that had all it ever wanted */
    FINDING_KINDS
};
extern const char *const finding_kinds[FINDING_KINDS];

struct findings {
    int counts[FINDING_KINDS];
    int total, shown_of_a_kind; /* shown_of_a_kind: the first so many are printed */
    struct buf text;            /* a line each */
};
void findings_finish(struct findings *f);
void finding(struct findings *f, enum finding_kind kind, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

void history_check(struct history *h, struct findings *ret);

#endif
