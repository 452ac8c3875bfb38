/* defaults_rules: inside of defaults: the conditional rules by message, a file per family of kinds. */
#ifndef SKIFF_OPENAPI_DEFAULTS_RULES_H
#define SKIFF_OPENAPI_DEFAULTS_RULES_H

#include "openapi/messages.h"
#include "openapi/schema.h"
#include "openapi/value.h"

struct defaulting {
    struct arena *a;
    bool in_pod;      /* inside a Pod object, not a template of one */
    bool in_cron_job; /* a Job's own defaults do not apply to a template of one */
    bool host_network;
    bool load_balancer; /* the service around a status */
};

/* Runs after the table's defaults of the message itself and before its fields are visited. */
typedef void defaults_rule(struct defaulting *d, struct value *v);

struct defaults_entry {
    const struct schema_message *message;
    defaults_rule *rule;
};
extern const struct defaults_entry defaults_pod_entries[], defaults_core_entries[], defaults_workload_entries[],
    defaults_policy_entries[]; /* each ends with a NULL message */

/* True and set when absent or null. */
bool defaults_set(struct defaulting *d, struct value *v, const char *key, struct value *to);
bool defaults_set_str(struct defaulting *d, struct value *v, const char *key, const char *to); /* also when "" */
bool defaults_set_int(struct defaulting *d, struct value *v, const char *key, int64_t to);
bool defaults_missing(const struct value *v, const char *key);                      /* absent, null or "" */
struct value *defaults_map(struct defaulting *d, struct value *v, const char *key); /* made when missing */

#endif
