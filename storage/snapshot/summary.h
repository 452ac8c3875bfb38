/* summary: what a snapshot file holds, from reading the whole of it: whoever has a summary has an intact file. */
#ifndef SKIFF_STORAGE_SNAPSHOT_SUMMARY_H
#define SKIFF_STORAGE_SNAPSHOT_SUMMARY_H

#include "base/arena.h"
#include "storage/snapshot/identities.h"
#include "storage/snapshot/reader.h"

struct snapshot_count {
    struct str name; /* "deployments.apps"; what is no resource by its prefix ("/registry/ranges") */
    int64_t n, bytes;
};

struct snapshot_key_use {
    struct str id; /* "aesgcm:key-1" */
    int64_t n;
};

struct snapshot_summary {
    struct snapshot_head head;
    uint64_t size;
    int64_t n_entries, n_sealed;
    char sha256[65];
    struct snapshot_count *counts; /* sorted by name */
    size_t n_counts, cap_counts;
    struct snapshot_key_use *keys; /* that sealed values need */
    size_t n_keys, cap_keys;
    struct snapshot_identities identities;
    bool *identities_made;           /* by restoring: those that were not there */
    struct snapshot_count *left_out; /* of an etcd's file, by what it was: filled by restoring */
    size_t n_left_out, cap_left_out;
};

/* `progress` is called now and then with the bytes read; NULL = nobody asks. All texts are in the arena. */
int snapshot_summarize(struct arena *a, const char *file, void (*progress)(void *arg, uint64_t bytes), void *arg,
                       struct snapshot_summary *ret, struct err *err);

#endif
