/* A lease changes hands when its holder has given it up, or when its time was over by the clock that both can see. */
#include "conformance/history/check.h"

#include <inttypes.h>
#include <stdlib.h>

static int by_name_and_revision(const void *a, const void *b)
{
    const struct lease_step *x = a, *y = b;
    if (x->name != y->name)
        return x->name < y->name ? -1 : 1;
    if (x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static void check_lease_pair(const struct history *h, const struct lease_step *a, const struct lease_step *b,
                             struct findings *f)
{
    const char *name = h->words.texts.items[b->name];
    if (a->revision == b->revision) {
        if (a->holder != b->holder || a->renewed_us != b->renewed_us)
            finding(f, FINDING_REVISION_REUSED, b->line, "lease %s at revision %" PRId64 " differs from line %d", name,
                    b->revision, a->line);
        return;
    }
    if (a->type == EVENT_DELETED || b->type == EVENT_DELETED || !a->holder || !b->holder || a->holder == b->holder)
        return;
    int64_t over_us = a->renewed_us + a->duration_ms * 1000;
    if (b->renewed_us < over_us)
        finding(f, FINDING_TWO_HOLDERS, b->line,
                "lease %s was taken by %s %" PRId64 " ms before the time of %s was over", name,
                h->words.texts.items[b->holder], (over_us - b->renewed_us) / 1000, h->words.texts.items[a->holder]);
}

void check_leases(const struct history *h, struct findings *f)
{
    size_t n = h->leases.len;
    if (n < 2)
        return;
    struct lease_step *sorted = malloc(n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = h->leases.items[i];
    qsort(sorted, n, sizeof *sorted, by_name_and_revision);
    for (size_t i = 1; i < n; i++) {
        if (sorted[i].name == sorted[i - 1].name)
            check_lease_pair(h, &sorted[i - 1], &sorted[i], f);
    }
    free(sorted);
}
