/* verb: what the verbs share: selections, bodies, and one way to write.
 *
 * Every verb starts with a `struct api_request` that may do what it asks, and ends it with one answer.
 */
#ifndef SKIFF_API_VERBS_VERB_H
#define SKIFF_API_VERBS_VERB_H

#include "api/answer.h"
#include "api/request.h"
#include "api/server.h"
#include "api/status.h"
#include "openapi/meta/selector.h"
#include "openapi/problems.h"

void verb_get(struct api_request *req);
void verb_list(struct api_request *req);
void verb_watch(struct api_request *req);
void verb_create(struct api_request *req);
void verb_update(struct api_request *req);
void verb_patch(struct api_request *req);
void verb_delete(struct api_request *req);
void verb_delete_collection(struct api_request *req);
/* Subresources and kinds without storage; false: not one of these. */
bool verb_subresource(struct api_request *req);
bool verb_virtual(struct api_request *req);
bool verb_is_virtual(const struct resource *r);

/* ---- what a list or a watch selects ---- */

struct selection {
    struct label_selector labels;
    struct field_selector fields;
    struct str name;       /* demanded by the path or metadata.name=, STR_NULL = any */
    struct str namespace_; /* empty = all */
    bool all;              /* nothing but the namespace is asked */
    bool impossible;       /* demands that exclude each other */
};
int selection_parse(struct api_request *req, struct selection *ret, struct err *err);
bool selection_matches(const struct selection *s, const struct object *o);

/* A resourceVersion parameter: 0 when absent or "0". */
int revision_parse(struct str s, int64_t *ret, struct err *err);
/* Go on once `revision` is published; answers the Timeout itself when it stays away. */
void verb_after_revision(struct api_request *req, int64_t revision, void (*then)(struct api_request *req));

#define VERB_NEWEST_MS 3000
/* The store failed. Towards clients that is upstream's 500 without a reason: what became of a write is not known. */
void verb_answer_store_err(struct api_request *req, const struct err *err);

/* ---- bodies ---- */

/* The body as a fresh tree of `schema`, with kind and apiVersion checked against what is expected. */
int body_decode(struct api_request *req, const struct schema_message *schema, struct str kind, struct str api_version,
                struct value **ret, struct err *err);
/* A body of any encoding by its schema alone, without a check of its type (DeleteOptions). */
int body_plain(struct api_request *req, const struct schema_message *schema, struct value **ret, struct err *err);
/* The resource's own body: decoded, defaulted, in the storage version. */
int body_object(struct api_request *req, struct value **ret, struct err *err);
/* From the version asked for to the stored form: defaults, then conversion. */
int body_to_storage(struct api_request *req, struct value *v, struct value **ret, struct err *err);
/* Text in the style of body_decode for trees that came about otherwise (patches): through the schema, strictly or not.
 */
int body_recode(struct api_request *req, const struct schema_message *schema, const struct value *v, struct value **ret,
                struct err *err);
/* The body of a subresource. */
int body_subresource(struct api_request *req, struct value **ret, struct err *err);

/* ---- writing ----
 * One write: computed from what is stored, committed, and computed again when something else was faster. Everything it
 * holds lives in the request's arena. */

#define WRITE_EXTRA_MAX 24
#define WRITE_SOON 1

struct write {
    struct api_request *req;
    const struct resource *resource;                         /* what is stored */
    int (*compute)(struct write *w, struct err *err);        /* WRITE_SOON: once more in a moment */
    void (*answer)(struct write *w, const struct object *o); /* NULL: the object with `status` */
    bool (*exists)(struct write *w);                         /* a creation met an existing key: true = compute again */
    bool retry;                                              /* compute again on conflict */
    bool fresh; /* what is here was the newest when this write began (or later) */
    int status;
    int attempts;
    /* what compute found and decided */
    const struct object *old; /* NULL: creation */
    struct value *old_value;  /* of old, in the storage version */
    struct value *now;        /* to be stored; NULL with `remove` */
    bool remove;
    bool nothing; /* as it is: answer old */
    int64_t ttl_s;
    struct cache_write extra[WRITE_EXTRA_MAX];
    size_t n_extra;
    struct kv_compare compares[WRITE_EXTRA_MAX];
    size_t n_compares;
    struct kv_op ops[WRITE_EXTRA_MAX];
    size_t n_ops;
    int64_t revision; /* of the commit */
    struct timer soon;
    int waits;
    void *arg;
};
struct write *write_create(struct api_request *req, int (*compute)(struct write *w, struct err *err));
void write_run(struct write *w);
/* Find what is stored under the request's name; the reference is the arena's. NULL when absent. */
const struct object *write_find(struct api_request *req, const struct resource *r, struct str namespace_,
                                struct str name);
/* Load w->old and w->old_value by the request's name: ERR_NOT_FOUND with its sentence. */
int write_load(struct write *w, struct err *err);
/* Further writes of the same transaction. `v` is a whole object in the storage version. */
int write_also_create(struct write *w, const struct resource *r, struct value *v, struct err *err);
int write_also_update(struct write *w, const struct resource *r, const struct object *old, struct value *v,
                      struct err *err);
void write_also_delete(struct write *w, const struct object *old);
/* Claim or release a key of its own (node ports). */
void write_claim(struct write *w, struct str key, struct str value);
void write_release(struct write *w, struct str key);

/* The new state of an existing object: everything between a client's (or a patch's) `v` and what may be stored. */
int update_compute(struct write *w, struct value *v, struct err *err);
/* Whether an update leaves an object that was only waiting for this (last finalizer gone). */
bool update_completes_deletion(const struct write *w);
/* Everything between a decoded object and what may be stored as new: w->now. */
int create_compute(struct write *w, struct value *v, struct err *err);
bool create_exists(struct write *w);
void create_answer_exists(struct api_request *req, const struct object *existing);

/* ---- delete ---- */
struct delete_options {
    int64_t grace_period_s; /* -1 = not given */
    struct str propagation_policy;
    bool has_orphan, orphan;
    struct str uid;
    int64_t revision; /* precondition; 0 = none */
    struct str revision_text;
    bool dry_run;
};
int delete_options_parse(struct api_request *req, struct delete_options *ret, struct err *err);
/* Compute a deletion of w->old: an update that marks it, its removal, or nothing. */
int delete_compute(struct write *w, const struct delete_options *opt, struct err *err);

#endif
