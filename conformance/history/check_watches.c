/* Each watcher saw each event of its scope once, in order, across its sessions. */
#include "conformance/history/check.h"

#include <inttypes.h>
#include <stdlib.h>

struct watcher {
    int number, scope;
    bool listed;
    int64_t last;  /* revision up to which everything has been seen */
    size_t at;     /* in versions.all: the first later than `last` */
    bool *present; /* by key */
};

static void skip_to(struct watcher *w, const struct versions *v, int64_t revision)
{
    w->last = revision;
    while (w->at < v->all.len && v->all.items[w->at].revision <= revision)
        w->at++;
}

/* All that lies between the last revision and `until` is somebody else's, or was left out. */
static void pass(struct watcher *w, const struct versions *v, int64_t until, int line, struct findings *f)
{
    for (; w->at < v->all.len && v->all.items[w->at].revision < until; w->at++) {
        const struct version *one = &v->all.items[w->at];
        if (history_in_scope(v->h, one->key, w->scope))
            finding(f, FINDING_WATCH_GAP, line,
                    "watcher %d of %s was not told of %s at revision %" PRId64 " (line %d), between %" PRId64
                    " and %" PRId64,
                    w->number, v->h->scopes.texts.items[w->scope], key_text(v, one->key), one->revision, one->line,
                    w->last, until);
    }
}

static void relist(struct watcher *w, const struct versions *v, const struct step *s, struct findings *f)
{
    if (w->listed && s->revision < w->last)
        finding(f, FINDING_WATCH_REORDERED, s->line,
                "watcher %d had seen revision %" PRId64 ", and was given a list of %" PRId64, w->number, w->last,
                s->revision);
    w->listed = true;
    w->scope = s->scope;
    w->at = 0;
    skip_to(w, v, s->revision);
    for (size_t i = 0; i < v->h->keys.texts.len; i++)
        w->present[i] = false;
    for (size_t i = 0; i < s->n_items; i++)
        w->present[v->h->items.items[s->first_item + i].key] = true;
}

static bool seen_before(const struct watcher *w, const struct versions *v, const struct step *s)
{
    for (const struct step *one = v->h->steps.items; one < s; one++) {
        if (one->watcher == w->number && one->kind == STEP_SEEN && one->revision == s->revision)
            return true;
    }
    return false;
}

static void seen(struct watcher *w, const struct versions *v, const struct step *s, struct findings *f)
{
    const char *key = key_text(v, s->object.key);
    if (s->revision <= w->last) {
        bool twice = seen_before(w, v, s);
        finding(f, twice ? FINDING_WATCH_TWICE : FINDING_WATCH_REORDERED, s->line,
                "watcher %d was told of %s at revision %" PRId64 " after revision %" PRId64 "%s", w->number, key,
                s->revision, w->last, twice ? ", and not for the first time" : "");
        return;
    }
    pass(w, v, s->revision, s->line, f);
    skip_to(w, v, s->revision);
    if (!history_in_scope(v->h, s->object.key, w->scope))
        finding(f, FINDING_WATCH_TYPE, s->line, "watcher %d of %s was told of %s", w->number,
                v->h->scopes.texts.items[w->scope], key);
    else if (w->present[s->object.key] != (s->type != EVENT_ADDED))
        finding(f, FINDING_WATCH_TYPE, s->line, "watcher %d was told that %s is %s; it was %sthere", w->number, key,
                event_types[s->type], w->present[s->object.key] ? "" : "not ");
    w->present[s->object.key] = s->type != EVENT_DELETED;
}

static void mark(struct watcher *w, const struct versions *v, const struct step *s, struct findings *f)
{
    if (s->revision < w->last) {
        finding(f, FINDING_WATCH_REORDERED, s->line, "watcher %d: a bookmark of revision %" PRId64 " after %" PRId64,
                w->number, s->revision, w->last);
        return;
    }
    pass(w, v, s->revision + 1, s->line, f);
    w->last = s->revision;
}

static void open_session(struct watcher *w, const struct step *s, struct findings *f)
{
    if (s->revision != w->last)
        finding(f, FINDING_WATCH_GAP, s->line, "watcher %d went on from %" PRId64 ", and had seen %" PRId64, w->number,
                s->revision, w->last);
}

static void check_watcher(const struct versions *v, int number, struct findings *f)
{
    struct watcher w = {.number = number, .present = calloc(v->h->keys.texts.len, sizeof(bool))};
    int line = 0;
    for (size_t i = 0; i < v->h->steps.len; i++) {
        const struct step *s = &v->h->steps.items[i];
        if (s->watcher != number)
            continue;
        line = s->line;
        if (s->kind == STEP_RELIST)
            relist(&w, v, s, f);
        else if (s->kind == STEP_WATCH)
            open_session(&w, s, f);
        else if (s->kind == STEP_SEEN)
            seen(&w, v, s, f);
        else if (s->kind == STEP_MARK)
            mark(&w, v, s, f);
    }
    if (v->h->final_us && w.listed)
        pass(&w, v, INT64_MAX, line, f);
    free(w.present);
}

void check_watches(const struct versions *v, struct findings *f)
{
    int most = 0;
    for (size_t i = 0; i < v->h->steps.len; i++) {
        if (v->h->steps.items[i].watcher > most)
            most = v->h->steps.items[i].watcher;
    }
    bool *there = calloc((size_t)most + 1, sizeof *there);
    for (size_t i = 0; i < v->h->steps.len; i++)
        there[v->h->steps.items[i].watcher] = true;
    for (int i = 0; i <= most; i++) {
        if (there[i])
            check_watcher(v, i, f);
    }
    free(there);
}
