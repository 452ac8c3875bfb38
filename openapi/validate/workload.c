/* Deployments, replica sets, daemon sets, stateful sets: a selector that matches its template, and a way to roll out.
 */
#include "openapi/validate/rules.h"

#include "openapi/meta/selector.h"

/* `kind` as in the message about an empty selector; NULL says nothing about it. */
static void check_selector_and_template(struct check *c, at_path at, const struct value *spec, const char *kind)
{
    const struct value *selector = value_getz(spec, "selector"), *template = value_getz(spec, "template");
    const struct value *labels = value_path(template, "metadata.labels"), *pod = value_getz(template, "spec");
    struct label_selector s;
    struct err err = ERR_INIT;
    check_label_selector(c, AT(at, "selector"), selector);
    if (has(spec, "selector") && value_len(value_getz(selector, "matchLabels")) == 0 &&
        value_len(value_getz(selector, "matchExpressions")) == 0)
        bad_invalid(c, AT(at, "selector"), selector, "empty selector is invalid for %s", kind);
    at_path here = AT(at, "template");
    if (label_selector_from_value(c->a, selector, &s, &err) < 0)
        bad_invalid(c, AT(at, "selector"), selector, "invalid label selector");
    else if (!s.nothing && s.len && !label_selector_matches_value(&s, labels))
        bad_invalid(c, AT(AT(here, "metadata"), "labels"), labels ? labels : value_map(c->a),
                    "`selector` does not match template `labels`");
    check_pod_template(c, here, template);
    if (text_of(pod, "restartPolicy").len && one_of(text_of(pod, "restartPolicy"), "OnFailure,Never"))
        bad_unsupported(c, AT(AT(here, "spec"), "restartPolicy"), value_getz(pod, "restartPolicy"), "Always");
    if (has(pod, "activeDeadlineSeconds"))
        bad_forbidden(c, AT(AT(here, "spec"), "activeDeadlineSeconds"),
                      "activeDeadlineSeconds in ReplicaSet is not Supported");
}

static bool is_zero(const struct value *v, const char *key)
{
    return int_or_percent_of(v, key) == 0;
}

static void check_at_most_all(struct check *c, at_path at, const struct value *v, const char *key)
{
    if (is_percent(v, key) && int_or_percent_of(v, key) > 100)
        bad_invalid(c, AT_STR(at, str_from(key)), value_getz(v, key), "must not be greater than 100%%");
}

static void deployment(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *strategy = value_getz(spec, "strategy");
    const struct value *rolling = value_getz(strategy, "rollingUpdate"),
                       *deadline = value_getz(spec, "progressDeadlineSeconds");
    at_path at = AT(NULL, "spec"), here = AT(at, "strategy"), rolling_at = AT(here, "rollingUpdate");
    check_selector_and_template(c, at, spec, "deployment");
    if (text_is(strategy, "type", "Recreate")) {
        if (value_is(rolling, VALUE_MAP))
            bad_forbidden(c, rolling_at, "may not be specified when strategy `type` is 'Recreate'");
    } else if (text_is(strategy, "type", "RollingUpdate")) {
        check_int_or_percent(c, rolling_at, rolling, "maxUnavailable");
        check_int_or_percent(c, rolling_at, rolling, "maxSurge");
        if (is_zero(rolling, "maxUnavailable") && is_zero(rolling, "maxSurge"))
            bad_invalid(c, AT(rolling_at, "maxUnavailable"), value_getz(rolling, "maxUnavailable"),
                        "may not be 0 when `maxSurge` is 0");
        check_at_most_all(c, rolling_at, rolling, "maxUnavailable");
    }
    if (value_is(deadline, VALUE_INT)) {
        check_not_negative(c, at, spec, "progressDeadlineSeconds");
        if (deadline->integer <= int_of(spec, "minReadySeconds"))
            bad_invalid(c, AT(at, "progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
    }
}

static void replica_set(struct check *c, const struct value *obj)
{
    check_selector_and_template(c, AT(NULL, "spec"), value_getz(obj, "spec"), "deployment");
}

static void selector_update(struct check *c, const struct value *obj, const struct value *old)
{
    check_immutable(c, AT(NULL, "spec"), value_getz(obj, "spec"), value_getz(old, "spec"), "selector");
}

static void daemon_set(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *rolling = value_path(spec, "updateStrategy.rollingUpdate");
    at_path at = AT(NULL, "spec"), here = AT(AT(at, "updateStrategy"), "rollingUpdate");
    check_selector_and_template(c, at, spec, "daemonset");
    if (!str_eqz(value_path_str(spec, "updateStrategy.type"), "RollingUpdate"))
        return;
    check_int_or_percent(c, here, rolling, "maxUnavailable");
    check_int_or_percent(c, here, rolling, "maxSurge");
    check_at_most_all(c, here, rolling, "maxUnavailable");
    check_at_most_all(c, here, rolling, "maxSurge");
    bool unavailable = !is_zero(rolling, "maxUnavailable"), surge = !is_zero(rolling, "maxSurge");
    if (unavailable && surge)
        bad_invalid(c, AT(here, "maxSurge"), value_getz(rolling, "maxSurge"),
                    "may not be set when maxUnavailable is non-zero");
    else if (!unavailable && !surge)
        bad_required(c, AT(here, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
}

static void stateful_set(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *strategy = value_getz(spec, "updateStrategy");
    const struct value *rolling = value_getz(strategy, "rollingUpdate"),
                       *retention = value_getz(spec, "persistentVolumeClaimRetentionPolicy");
    at_path at = AT(NULL, "spec"), here = AT(at, "updateStrategy");
    struct str management = text_of(spec, "podManagementPolicy"), type = text_of(strategy, "type");
    if (management.len && !one_of(management, "OrderedReady,Parallel"))
        bad_invalid(c, AT(at, "podManagementPolicy"), value_getz(spec, "podManagementPolicy"),
                    "must be 'OrderedReady' or 'Parallel'");
    if (type.len && !one_of(type, "RollingUpdate,OnDelete"))
        bad_invalid(c, here, strategy, "must be 'RollingUpdate' or 'OnDelete'");
    if (str_eqz(type, "OnDelete") && value_is(rolling, VALUE_MAP))
        bad_invalid(c, AT(here, "rollingUpdate"), rolling, "only allowed for updateStrategy 'RollingUpdate'");
    check_not_negative(c, AT(here, "rollingUpdate"), rolling, "partition");
    static const char *const when[] = {"whenDeleted", "whenScaled"};
    for (size_t i = 0; i < 2 && value_is(retention, VALUE_MAP); i++) {
        if (!one_of(text_of(retention, when[i]), "Retain,Delete"))
            bad_unsupported(c, AT_STR(AT(at, "persistentVolumeClaimRetentionPolicy"), str_from(when[i])),
                            value_getz(retention, when[i]), "Delete,Retain");
    }
    check_selector_and_template(c, at, spec, "statefulset");
}

static void stateful_set_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    static const char *const free_fields[] = {"replicas",
                                              "ordinals",
                                              "template",
                                              "updateStrategy",
                                              "revisionHistoryLimit",
                                              "persistentVolumeClaimRetentionPolicy",
                                              "minReadySeconds"};
    struct value *now = value_copy(c->a, value_getz(obj, "spec")), *was = value_copy(c->a, value_getz(old_obj, "spec"));
    for (size_t i = 0; i < sizeof free_fields / sizeof *free_fields; i++) {
        value_removez(now, free_fields[i]);
        value_removez(was, free_fields[i]);
    }
    if (!value_semantic_equal(now, was))
        bad_forbidden(
            c, AT(NULL, "spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

static void replication_controller(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *template = value_getz(spec, "template");
    at_path at = AT(NULL, "spec");
    struct label_selector s;
    if (value_len(value_getz(spec, "selector")) == 0)
        bad_required(c, AT(at, "selector"), "");
    label_selector_from_map(c->a, value_getz(spec, "selector"), &s);
    if (s.len && has(spec, "template") && !label_selector_matches_value(&s, value_path(template, "metadata.labels")))
        bad_invalid(c, AT(AT(AT(at, "template"), "metadata"), "labels"), value_path(template, "metadata.labels"),
                    "`selector` does not match template `labels`");
    if (has(spec, "template"))
        check_pod_template(c, AT(at, "template"), template);
    if (one_of(value_path_str(template, "spec.restartPolicy"), "OnFailure,Never"))
        bad_unsupported(c, AT(AT(AT(at, "template"), "spec"), "restartPolicy"),
                        value_path(template, "spec.restartPolicy"), "Always");
}

static void controller_revision_update(struct check *c, const struct value *obj, const struct value *old)
{
    check_immutable(c, NULL, obj, old, "data");
}

const struct kind_rules workload_kinds[] = {
    {"apps", "Deployment", deployment, NULL, NULL},
    {"apps", "ReplicaSet", replica_set, selector_update, NULL},
    {"apps", "DaemonSet", daemon_set, selector_update, NULL},
    {"apps", "StatefulSet", stateful_set, stateful_set_update, NULL},
    {"apps", "ControllerRevision", NULL, controller_revision_update, NULL},
    {"", "ReplicationController", replication_controller, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
