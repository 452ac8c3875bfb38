/* Events: one object under two names for most of its fields. */
#include "openapi/convert_rules.h"

#include "openapi/messages.h"
#include "openapi/normalize.h"

static const struct {
    const char *core, *events;
} names[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

static void rename_members(struct value *obj, bool to_core)
{
    for (size_t i = 0; i < obj->map.len; i++) {
        for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
            if (str_eqz(obj->map.members[i].key, to_core ? names[j].events : names[j].core)) {
                obj->map.members[i].key = str_from(to_core ? names[j].core : names[j].events);
                break;
            }
        }
    }
}

static void to_core(struct arena *a, struct value *obj)
{
    rename_members(obj, true);
    normalize(a, &schema_core_v1_event, obj);
}

static void to_events(struct arena *a, struct value *obj)
{
    rename_members(obj, false);
    normalize(a, &schema_events_v1_event, obj);
}

const struct convert_rule convert_rules[] = {
    {"events.k8s.io/v1", "v1", to_core},
    {"v1", "events.k8s.io/v1", to_events},
    {"autoscaling/v1", "autoscaling/v2", convert_autoscaler_v1_to_v2},
    {"autoscaling/v2", "autoscaling/v1", convert_autoscaler_v2_to_v1},
    {NULL, NULL, NULL},
};
