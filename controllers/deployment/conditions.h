/* conditions: the list under status.conditions as upstream's Deployment controller edits it: a condition that changes
 * moves to the end, one that stays as it is stays where it is.
 */
#ifndef SKIFF_CONTROLLERS_DEPLOYMENT_CONDITIONS_H
#define SKIFF_CONTROLLERS_DEPLOYMENT_CONDITIONS_H

#include "openapi/value.h"

struct condition {
    const char *type, *status, *reason;
    struct str message;
    bool renew; /* say it again even when status and reason are the same: lastUpdateTime moves on */
};

void condition_set(struct arena *a, struct value *list, const struct condition *c, int64_t now_ms);
bool condition_remove(struct value *list, const char *type);
struct value *condition_find(const struct value *list, const char *type); /* NULL = none */
bool condition_has_reason(const struct value *list, const char *type, const char *reason);

#endif
