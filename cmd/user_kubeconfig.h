/* user kubeconfig: the file kubectl reads (--kubeconfig, else the first of $KUBECONFIG, else ~/.kube/config), into
 * which `skiff up` merges its context and from which `skiff down` takes it out again. Everything else in it stays. The
 * file is replaced in one step and keeps mode 0600.
 */
#ifndef SKIFF_CMD_USER_KUBECONFIG_H
#define SKIFF_CMD_USER_KUBECONFIG_H

#include "base/err.h"

/* `from` is a kubeconfig with one context; it is merged under the name `context` (cluster and user too) and made the
 * current one. file NULL = the user's own. */
int user_kubeconfig_merge(const char *file, const char *from, const char *context, struct err *err);
int user_kubeconfig_remove(const char *file, const char *context, struct err *err);

#endif
