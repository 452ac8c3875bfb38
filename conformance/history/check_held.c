/* What can have one owner has one at every revision, and nobody makes more pods than were ever wanted: two controllers
 * at work at once would. One revision orders objects of all kinds. */
#include "conformance/history/check.h"

#include <inttypes.h>
#include <stdlib.h>

struct owner { /* of a token, or a ReplicaSet's pods */
    const struct held_step *step;
    int64_t most, pods;
};

struct holders {
    const struct history *h;
    struct findings *f;
    struct map tokens;             /* "ip:10.0.0.1" -> owner */
    struct map sets;               /* uid of a ReplicaSet -> owner */
    const struct held_step **last; /* by number of the uid: what it holds */
    struct arena *arena;
};

static int by_revision(const void *a, const void *b)
{
    const struct held_step *x = a, *y = b;
    if (x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    if (x->relisted != y->relisted) /* what a list holds comes behind it */
        return x->relisted ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static struct owner *owner_of(struct holders *hs, struct map *map, struct str name)
{
    struct owner *o = map_get(map, name);
    if (!o) {
        o = ARENA_NEW(hs->arena, struct owner);
        map_put(map, name, o);
    }
    return o;
}

static void give_back(struct holders *hs, const struct held_step *s)
{
    struct str tokens = str_from(s->tokens), one;
    while (tokens.len && str_split(&tokens, ',', &one)) {
        if (str_starts(one, STR("of:")))
            owner_of(hs, &hs->sets, str_sub(one, 3, one.len))->pods--;
        else if (!str_starts(one, STR("most:")))
            owner_of(hs, &hs->tokens, one)->step = NULL;
    }
}

static void take_one(struct holders *hs, const struct held_step *s, struct str one, bool new_pod)
{
    const struct names *words = &hs->h->words;
    if (str_starts(one, STR("of:"))) {
        struct owner *set = owner_of(hs, &hs->sets, str_sub(one, 3, one.len));
        if (++set->pods > set->most && set->most && new_pod)
            finding(hs->f, FINDING_TOO_MANY, s->line,
                    "pod %s was made at revision %" PRId64 " as number %" PRId64
                    " of a ReplicaSet that never wanted more"
                    " than %" PRId64,
                    words->texts.items[s->key], s->revision, set->pods, set->most);
    } else if (str_starts(one, STR("most:"))) {
        struct owner *set = owner_of(hs, &hs->sets, str_from(hs->h->uids.texts.items[s->uid]));
        int64_t most = 0;
        str_to_i64(str_sub(one, 5, one.len), &most);
        if (most > set->most)
            set->most = most;
    } else {
        struct owner *o = owner_of(hs, &hs->tokens, one);
        if (o->step && o->step->uid != s->uid)
            finding(hs->f, FINDING_HELD_TWICE, s->line,
                    "%s has " STR_FMT " at revision %" PRId64 ", which %s has had since %" PRId64,
                    words->texts.items[s->key], STR_ARG(one), s->revision, words->texts.items[o->step->key],
                    o->step->revision);
        o->step = s;
    }
}

static void step(struct holders *hs, const struct held_step *s)
{
    bool known = hs->last[s->uid] != NULL;
    if (known)
        give_back(hs, hs->last[s->uid]);
    hs->last[s->uid] = NULL;
    if (s->type == EVENT_DELETED)
        return;
    struct str tokens = str_from(s->tokens), one;
    while (tokens.len && str_split(&tokens, ',', &one))
        take_one(hs, s, one, !known);
    hs->last[s->uid] = s;
}

static void relist(struct holders *hs, const struct held_step *s)
{
    for (size_t i = 0; i < hs->h->uids.texts.len; i++) {
        if (hs->last[i] && hs->last[i]->kind == s->kind) {
            give_back(hs, hs->last[i]);
            hs->last[i] = NULL;
        }
    }
}

void check_held(const struct history *h, struct findings *f)
{
    struct holders hs = {.h = h, .f = f, .arena = arena_create(0)};
    size_t n = h->held.len;
    struct held_step *sorted = calloc(n + 1, sizeof *sorted);
    hs.last = calloc(h->uids.texts.len, sizeof *hs.last);
    for (size_t i = 0; i < n; i++)
        sorted[i] = h->held.items[i];
    if (n)
        qsort(sorted, n, sizeof *sorted, by_revision);
    for (size_t i = 0; i < n; i++) {
        if (sorted[i].relisted)
            relist(&hs, &sorted[i]);
        else
            step(&hs, &sorted[i]);
    }
    map_finish(&hs.tokens);
    map_finish(&hs.sets);
    arena_destroy(hs.arena);
    free(hs.last);
    free(sorted);
}
