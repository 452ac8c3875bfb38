/* cgroup: the directories above containers: <root>/kubepods[/burstable|/besteffort]/pod<uid>, on cgroup v2 or v1, with
 * the pod's limits. containerd (with its cgroupfs driver) puts containers below; nobody else removes these directories.
 * Short file operations: called from the loop's pool.
 */
#ifndef SKIFF_NODE_POD_CGROUP_H
#define SKIFF_NODE_POD_CGROUP_H

#include "base/err.h"
#include "node/pod/resources.h"

/* "/kubepods/burstable/pod<uid>" below `root` ("" or "/skiff/a"); the buffer is the caller's. */
void cgroup_pod_path(char *out, size_t size, const char *root, enum qos qos, const char *uid);
/* kubepods and the classes of service. */
int cgroup_prepare(const char *root, struct err *err);
int cgroup_pod_create(const char *path, const struct amounts *amounts, struct err *err);
/* Kills what is left in it, then removes it and everything below. */
void cgroup_remove(const char *path);
/* Removes pod directories below `root` for which keep() answers false. */
void cgroup_sweep(const char *root, bool (*keep)(void *arg, const char *uid), void *arg);

#endif
