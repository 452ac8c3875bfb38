/* metrics: what the process knows of itself, in the Prometheus text format. */
#ifndef SKIFF_API_METRICS_ENDPOINT_H
#define SKIFF_API_METRICS_ENDPOINT_H

#include "base/str.h"

void metrics_register(void); /* once, at start */
void metrics_text(struct buf *out);

#endif
