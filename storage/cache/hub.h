/* hub: the loops' side of watching. Everything here belongs to one loop's thread, except what hub_lock guards.
 *
 * The committer posts each batch once to every loop that has watchers. The loop finds those concerned through its own
 * index: watchers stand in exactly one list, the narrowest that their filter names (name, field value, namespace, all),
 * so an event looks up a handful of lists however many watchers there are.
 */
#ifndef SKIFF_STORAGE_CACHE_HUB_H
#define SKIFF_STORAGE_CACHE_HUB_H

#include "storage/cache/cache_internal.h"

enum { HUB_FIELDS_MAX = 32 };

struct watch_list {
    struct watch *first;
};

struct store_index { /* of one resource on one loop */
    struct watch_list all;
    struct map by_key; /* "n" namespace "/" name, "s" namespace, "f" index value -> struct watch_list * */
    uint32_t field_watches[HUB_FIELDS_MAX];
    uint32_t n_named, n_namespaced;
};

struct hub_loop {
    struct cache *cache;
    struct loop *loop;
    bool active;      /* hub_lock: gets batches */
    int64_t revision; /* delivered up to here */
    size_t n_watches, n_bookmarks;
    struct watch *first; /* all of this loop */
    struct store_index *indexes[CACHE_RESOURCES_MAX];
    struct timer bookmark_timer;
    VEC(struct watch *) touched;
};

enum watch_state { WATCH_CATCHING_UP, WATCH_LIVE, WATCH_PAUSED, WATCH_ENDED };

struct watch {
    struct cache *cache;
    struct store *store;
    struct hub_loop *hub;
    struct watch_filter filter; /* strings copied behind */
    watch_fn *fn;
    void *arg;
    enum watch_state state;
    int64_t seen; /* not live: everything up to here was delivered; live: nothing up to here is */
    bool dead, bookmarks, bookmark_now, kicked, reading;
    unsigned refs;                      /* the caller, messages under way, a place among the touched */
    struct watch **link, *next;         /* index list */
    struct watch **hub_link, *hub_next; /* all of the loop */
    VEC(struct watch_delivery) out;
};

/* hub.c */
struct hub_loop *hub_loop_for(struct cache *c, struct loop *loop); /* any thread */
void hub_enter(struct watch *w);                                   /* on its loop */
void hub_leave(struct watch *w);
void hub_bookmarks(struct hub_loop *h); /* one of its watchers wants them */

/* watch.c */
/* What w sees of e; false = nothing. */
bool watch_classify(const struct watch *w, const struct watch_event *e, enum watch_type *ret);
void watch_queue(struct watch *w, struct watch_event *e, enum watch_type type);
void watch_flush(struct watch *w); /* hands over what was queued */
void watch_bookmark(struct watch *w);
void watch_release(struct watch *w);

#endif
