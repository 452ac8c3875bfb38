/* metric: counters, gauges and histograms, and their text in the Prometheus exposition format 0.0.4.
 *
 * Metrics are static objects registered once; updates are relaxed atomics and cost a few nanoseconds.
 * Labelled families keep a bounded table of label values; past the bound they count under "other".
 */
#ifndef SKIFF_BASE_METRIC_H
#define SKIFF_BASE_METRIC_H

#include "base/str.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric; /* one family */

/* `label_names` is comma-separated or NULL; `buckets` (histograms, seconds) ends with a negative number.
 * The names and help texts must be literals. Calls at start-up only. */
struct metric *metric_register(enum metric_kind kind, const char *name, const char *help, const char *label_names,
                               const double *buckets);
/* `label_values` is comma-separated as label_names, or NULL. */
void metric_add(struct metric *m, const char *label_values, double by);
void metric_set(struct metric *m, const char *label_values, double to);
void metric_observe(struct metric *m, const char *label_values, double seconds);
void metric_render(struct buf *out);

#endif
