/* snapshot: what the files of `skiff snapshot` share. */
#ifndef SKIFF_CMD_SNAPSHOT_H
#define SKIFF_CMD_SNAPSHOT_H

#include "storage/snapshot/file.h"

/* From the server that a kubeconfig names (NULL: the user's own) to a file. */
int snapshot_download(const char *kubeconfig, bool identities, const char *path, snapshot_progress *progress, void *arg,
                      struct arena *a, struct snapshot_summary *ret, struct err *err);

struct command;
extern const struct command snapshot_export; /* cmd/snapshot_export.c */

#endif
