#include "base/mem.h"
#include "conformance/history/history.h"

#include <stdlib.h>

const char *const op_kinds[OP_KINDS] = {"create", "replace",    "patch", "delete",
                                        "get",    "get-cached", "list",  "list-cached"};
const char *const outcomes[OUTCOMES] = {"ok", "fail", "unknown"};
const char *const event_types[EVENT_TYPES] = {"ADDED", "MODIFIED", "DELETED"};

#define WORDS_MAX 16

struct line {
    struct history *h;
    struct str words[WORDS_MAX];
    size_t n, at;
    int number;
    bool bad;
};

static int name_number(struct history *h, struct names *names, struct str text)
{
    if (str_eqz(text, "-"))
        return 0;
    intptr_t number = (intptr_t)map_get(&names->numbers, text);
    if (!number) {
        number = (intptr_t)names->texts.len;
        vec_push(&names->texts, arena_str(h->arena, text).p);
        map_put(&names->numbers, text, (void *)number);
    }
    return (int)number;
}

static struct str next(struct line *l)
{
    if (l->at < l->n)
        return l->words[l->at++];
    l->bad = true;
    return STR("");
}

static int64_t number(struct line *l)
{
    int64_t n = 0;
    if (!str_to_i64(next(l), &n))
        l->bad = true;
    return n;
}

static int word_of(struct line *l, const char *const *list, int n)
{
    struct str word = next(l);
    for (int i = 0; i < n; i++) {
        if (str_eqz(word, list[i]))
            return i;
    }
    l->bad = true;
    return 0;
}

static int key(struct line *l)
{
    return name_number(l->h, &l->h->keys, next(l));
}

static int scope(struct line *l)
{
    return name_number(l->h, &l->h->scopes, next(l));
}

static int uid(struct line *l)
{
    return name_number(l->h, &l->h->uids, next(l));
}

static int word(struct line *l)
{
    return name_number(l->h, &l->h->words, next(l));
}

static int64_t value(struct line *l, const char **ret_torn)
{
    if (l->at < l->n && str_starts(l->words[l->at], STR("!"))) {
        *ret_torn = arena_str(l->h->arena, next(l)).p;
        return 0;
    }
    *ret_torn = NULL;
    return number(l);
}

static void take_op(struct line *l)
{
    struct op op = {.line = l->number, .client = (int)number(l), .server = (int)number(l)};
    op.begin_us = number(l);
    op.end_us = number(l);
    op.kind = (enum op_kind)word_of(l, op_kinds, OP_KINDS);
    op.key = op.kind >= OP_LIST ? scope(l) : key(l);
    op.expect = number(l);
    op.value = value(l, &op.torn);
    op.outcome = (enum outcome)word_of(l, outcomes, OUTCOMES);
    op.revision = number(l);
    op.uid = uid(l);
    op.status = (int)number(l);
    op.first_item = l->h->items.len;
    vec_push(&l->h->ops, op);
}

static struct item take_item(struct line *l)
{
    struct item item = {.line = l->number, .key = key(l), .revision = number(l)};
    item.value = value(l, &item.torn);
    item.uid = uid(l);
    return item;
}

static void take_step(struct line *l, enum step_kind kind)
{
    struct step s = {.line = l->number, .kind = kind, .watcher = (int)number(l), .server = (int)number(l)};
    s.begin_us = s.time_us = number(l);
    if (kind == STEP_RELIST)
        s.time_us = number(l);
    if (kind == STEP_RELIST || kind == STEP_WATCH)
        s.scope = scope(l);
    if (kind == STEP_SEEN) {
        s.type = (enum event_type)word_of(l, event_types, EVENT_TYPES);
        s.object = take_item(l);
        s.revision = s.object.revision;
    } else if (kind == STEP_LOST) {
        l->at = l->n; /* the reason is for people */
    } else {
        s.revision = number(l);
    }
    s.first_item = l->h->items.len;
    vec_push(&l->h->steps, s);
}

static void take_lease(struct line *l)
{
    struct lease_step s = {.line = l->number};
    number(l);
    s.time_us = number(l);
    s.type = (enum event_type)word_of(l, event_types, EVENT_TYPES);
    s.name = word(l);
    s.revision = number(l);
    s.holder = word(l);
    s.renewed_us = number(l);
    s.duration_ms = number(l) * 1000;
    vec_push(&l->h->leases, s);
}

static void take_held(struct line *l)
{
    struct held_step s = {.line = l->number, .time_us = number(l)};
    s.type = (enum event_type)word_of(l, event_types, EVENT_TYPES);
    s.kind = word(l);
    s.key = word(l);
    s.revision = number(l);
    s.uid = uid(l);
    struct str tokens = next(l);
    s.tokens = str_eqz(tokens, "-") ? "" : arena_str(l->h->arena, tokens).p;
    vec_push(&l->h->held, s);
}

static void take_relisted(struct line *l)
{
    struct held_step s = {.line = l->number, .relisted = true, .time_us = number(l)};
    s.kind = word(l);
    s.revision = number(l);
    vec_push(&l->h->held, s);
}

/* Items belong to the line that stands above them. */
static size_t *items_of(struct history *h, bool of_step)
{
    if (of_step)
        return h->steps.len ? &h->steps.items[h->steps.len - 1].n_items : NULL;
    return h->ops.len ? &h->ops.items[h->ops.len - 1].n_items : NULL;
}

static void take(struct line *l, bool *of_step)
{
    static const struct {
        const char *word;
        enum step_kind kind;
    } steps[] = {
        {"relist", STEP_RELIST}, {"watch", STEP_WATCH}, {"seen", STEP_SEEN}, {"mark", STEP_MARK}, {"lost", STEP_LOST}};
    struct str first = next(l);
    size_t *n_items;
    if (str_eqz(first, "op")) {
        take_op(l);
        *of_step = false;
    } else if (str_eqz(first, "item") && (n_items = items_of(l->h, *of_step))) {
        vec_push(&l->h->items, take_item(l));
        (*n_items)++;
    } else if (str_eqz(first, "final")) {
        l->h->final_us = number(l);
    } else if (str_eqz(first, "lease")) {
        take_lease(l);
    } else if (str_eqz(first, "held")) {
        take_held(l);
    } else if (str_eqz(first, "relisted")) {
        take_relisted(l);
    } else {
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            if (str_eqz(first, steps[i].word)) {
                take_step(l, steps[i].kind);
                *of_step = true;
                return;
            }
        }
        l->bad = true;
    }
}

int history_parse(struct history *h, struct str text, struct err *err)
{
    struct str one;
    bool of_step = false;
    while (str_split(&text, '\n', &one)) {
        struct line l = {.h = h, .number = ++h->lines};
        struct str rest = one, word;
        if (!one.len)
            continue;
        while (l.n < WORDS_MAX && str_split(&rest, ' ', &word))
            l.words[l.n++] = word;
        take(&l, &of_step);
        if (l.bad || l.at != l.n)
            return err_set(err, ERR_BAD_REQUEST, "line %d: " STR_FMT, l.number, STR_ARG(one));
    }
    return 0;
}

bool history_in_scope(const struct history *h, int key_number, int scope_number)
{
    struct str k = str_from(h->keys.texts.items[key_number]), s = str_from(h->scopes.texts.items[scope_number]);
    return str_eq(k, s) || (k.len > s.len && k.p[s.len] == '/' && str_starts(k, s));
}

void history_init(struct history *h)
{
    *h = (struct history){.arena = arena_create(0)};
    vec_push(&h->keys.texts, "-");
    vec_push(&h->uids.texts, "-");
    vec_push(&h->scopes.texts, "-");
    vec_push(&h->words.texts, "-");
}

static void names_finish(struct names *n)
{
    map_finish(&n->numbers);
    vec_free(&n->texts);
}

void history_finish(struct history *h)
{
    names_finish(&h->keys);
    names_finish(&h->uids);
    names_finish(&h->scopes);
    names_finish(&h->words);
    vec_free(&h->ops);
    vec_free(&h->items);
    vec_free(&h->steps);
    vec_free(&h->leases);
    vec_free(&h->held);
    arena_destroy(h->arena);
}
