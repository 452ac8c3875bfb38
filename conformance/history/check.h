/* check: the parts of history_check, each over all versions (private to this folder). */
#ifndef SKIFF_CONFORMANCE_HISTORY_CHECK_H
#define SKIFF_CONFORMANCE_HISTORY_CHECK_H

#include "conformance/history/versions.h"

void check_writes(const struct versions *v, struct findings *f);
void check_reads(const struct versions *v, struct findings *f);
void check_watches(const struct versions *v, struct findings *f);
void check_leases(const struct history *h, struct findings *f);
void check_held(const struct history *h, struct findings *f);

static inline const char *key_text(const struct versions *v, int key)
{
    return v->h->keys.texts.items[key];
}

#endif
