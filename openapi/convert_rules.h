/* convert_rules: inside of convert: the pairs of versions whose shapes differ. */
#ifndef SKIFF_OPENAPI_CONVERT_RULES_H
#define SKIFF_OPENAPI_CONVERT_RULES_H

#include "openapi/value.h"

struct convert_rule {
    const char *from, *to; /* apiVersions */
    void (*fn)(struct arena *a, struct value *obj);
};
extern const struct convert_rule convert_rules[]; /* ends with a NULL from */

void convert_autoscaler_v1_to_v2(struct arena *a, struct value *obj);
void convert_autoscaler_v2_to_v1(struct arena *a, struct value *obj);

#endif
