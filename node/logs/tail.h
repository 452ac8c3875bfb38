/* tail: the last lines of a container's log file as plain text (without times and streams), for termination messages.
 */
#ifndef SKIFF_NODE_LOGS_TAIL_H
#define SKIFF_NODE_LOGS_TAIL_H

#include "base/arena.h"

/* NULL when there is nothing. */
const char *log_tail_text(struct arena *a, const char *path, int lines, size_t max_bytes);

#endif
