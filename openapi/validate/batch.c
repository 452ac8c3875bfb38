/* Jobs, what schedules them, and autoscalers. */
#include "openapi/validate/rules.h"

#include "openapi/meta/selector.h"

static void check_job_spec(struct check *c, at_path at, const struct value *spec)
{
    const struct value *template = value_getz(spec, "template");
    struct str policy = value_path_str(template, "spec.restartPolicy");
    static const char *const counts[] = {"completions",          "activeDeadlineSeconds",
                                         "backoffLimit",         "ttlSecondsAfterFinished",
                                         "backoffLimitPerIndex", "maxFailedIndexes"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        check_not_negative(c, at, spec, counts[i]);
    bool indexed = text_is(spec, "completionMode", "Indexed");
    if (indexed && !has(spec, "completions"))
        bad_required(c, AT(at, "completions"), "when completion mode is Indexed");
    if (!indexed && has(spec, "backoffLimitPerIndex"))
        bad_invalid(c, AT(at, "backoffLimitPerIndex"), value_getz(spec, "backoffLimitPerIndex"),
                    "requires indexed completion mode");
    check_pod_template(c, AT(at, "template"), template);
    if (!one_of(policy, "OnFailure,Never"))
        bad_required(c, AT(AT(AT(at, "template"), "spec"), "restartPolicy"), "valid values: \"OnFailure\", \"Never\"");
    else if (has(spec, "podFailurePolicy") && !str_eqz(policy, "Never"))
        bad_invalid(c, AT(AT(AT(at, "template"), "spec"), "restartPolicy"), value_path(template, "spec.restartPolicy"),
                    "only \"Never\" is supported when podFailurePolicy is specified");
}

static void job(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *selector = value_getz(spec, "selector");
    at_path at = AT(NULL, "spec");
    struct label_selector s;
    struct err err = ERR_INIT;
    if (!has(spec, "selector"))
        bad_required(c, AT(at, "selector"), "");
    else
        check_label_selector(c, AT(at, "selector"), selector);
    if (has(spec, "selector") && label_selector_from_value(c->a, selector, &s, &err) == 0 &&
        !label_selector_matches_value(&s, value_path(spec, "template.metadata.labels")))
        bad_invalid(c, AT(AT(AT(at, "template"), "metadata"), "labels"), value_path(spec, "template.metadata.labels"),
                    "`selector` does not match template `labels`");
    check_job_spec(c, at, spec);
    if (text_is(spec, "completionMode", "Indexed") && int_of(spec, "completions") > 0) {
        struct str pod = arena_printf(c->a, STR_FMT "-%lld", STR_ARG(value_path_str(obj, "metadata.name")),
                                      (long long)int_of(spec, "completions") - 1);
        struct name_faults f = {0};
        name_check_dns1123_label(&f, pod);
        for (size_t i = 0; i < f.len; i++)
            bad_invalid(c, AT(AT(NULL, "metadata"), "name"), value_path(obj, "metadata.name"),
                        "will not able to create pod with invalid DNS label: " STR_FMT, STR_ARG(pod));
    }
}

static void job_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    const struct value *spec = value_getz(obj, "spec"), *old = value_getz(old_obj, "spec");
    at_path at = AT(NULL, "spec");
    static const char *const fixed[] = {"selector", "podFailurePolicy", "backoffLimitPerIndex", "managedBy",
                                        "successPolicy"};
    bool elastic =
        text_is(spec, "completionMode", "Indexed") && int_of(spec, "completions") == int_of(spec, "parallelism");
    if (!elastic)
        check_immutable(c, at, spec, old, "completions");
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        check_immutable(c, at, spec, old, fixed[i]);
    bool resumable = bool_of(old, "suspend") && !has(value_getz(old_obj, "status"), "startTime");
    if (resumable) { /* scheduling directives of a job that never ran may change */
        static const char *const directives[] = {"nodeSelector", "affinity", "tolerations", "schedulingGates"};
        struct value *now = value_copy(c->a, value_getz(spec, "template")),
                     *was = value_copy(c->a, value_getz(old, "template"));
        for (size_t i = 0; i < 4; i++) {
            value_remove(value_getz(now, "spec"), str_from(directives[i]));
            value_remove(value_getz(was, "spec"), str_from(directives[i]));
        }
        value_removez(now, "metadata");
        value_removez(was, "metadata");
        if (!value_semantic_equal(now, was))
            bad_invalid(c, AT(at, "template"), value_getz(spec, "template"), IMMUTABLE);
        return;
    }
    check_immutable(c, at, spec, old, "template");
}

/* One of five fields of a cron schedule: numbers, names, ranges, steps and lists within bounds. */
static bool cron_part(struct str part, int low, int high)
{
    struct str range, step, rest = part, word, bound;
    int64_t n = 0;
    if (part.len == 0 || !str_split(&rest, '/', &range))
        return false;
    step = rest;
    if (step.p && (!str_to_i64(step, &n) || n <= 0))
        return false;
    if (str_eqz(range, "*") || str_eqz(range, "?"))
        return true;
    for (word = range; str_split(&word, '-', &bound);) {
        bool name = bound.len == 3 && (bound.p[0] | 32) >= 'a' && (bound.p[0] | 32) <= 'z' && high <= 12;
        if (!name && (!str_to_i64(bound, &n) || n < low || n > high))
            return false;
    }
    return true;
}

static struct str cron_fault(struct check *c, struct str schedule)
{
    static const int bounds[][2] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
    static const char words[] = "@yearly,@annually,@monthly,@weekly,@daily,@midnight,@hourly";
    struct str rest = str_trim(schedule), field, fields[8];
    size_t n = 0;
    if (one_of(rest, words) || str_starts(rest, STR("@every ")))
        return STR("");
    if (rest.len && rest.p[0] == '@')
        return arena_printf(c->a, "unrecognized descriptor: " STR_FMT, STR_ARG(rest));
    while (str_split(&rest, ' ', &field)) {
        if (field.len && n < 8)
            fields[n++] = field;
    }
    if (n != 5)
        return arena_printf(c->a, "expected exactly 5 fields, found %zu: [" STR_FMT "]", n,
                            STR_ARG(str_trim(schedule)));
    for (size_t i = 0; i < 5; i++) {
        struct str list = fields[i], part;
        while (str_split(&list, ',', &part)) {
            if (!cron_part(part, bounds[i][0], bounds[i][1]))
                return arena_printf(
                    c->a, "failed to parse int from " STR_FMT ": strconv.Atoi: parsing \"" STR_FMT "\": invalid syntax",
                    STR_ARG(part), STR_ARG(part));
        }
    }
    return STR("");
}

static void cron_job(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec");
    at_path at = AT(NULL, "spec");
    struct str schedule = text_of(spec, "schedule"), name = value_path_str(obj, "metadata.name");
    if (!c->old && name.len > 52)
        bad_invalid(c, AT(AT(NULL, "metadata"), "name"), value_path(obj, "metadata.name"),
                    "must be no more than 52 characters");
    if (schedule.len == 0) {
        bad_required(c, AT(at, "schedule"), "");
    } else {
        struct str wrong = cron_fault(c, schedule);
        if (wrong.len)
            bad_invalid(c, AT(at, "schedule"), value_getz(spec, "schedule"), STR_FMT, STR_ARG(wrong));
        if (str_contains(schedule, STR("TZ")))
            bad_invalid(c, AT(at, "schedule"), value_getz(spec, "schedule"),
                        "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
    check_not_negative(c, at, spec, "startingDeadlineSeconds");
    at_path job_at = AT(AT(at, "jobTemplate"), "spec");
    if (bool_of(value_path(spec, "jobTemplate.spec"), "manualSelector"))
        bad_unsupported(c, AT(job_at, "manualSelector"), value_path(spec, "jobTemplate.spec.manualSelector"),
                        "nil,false");
    if (has(value_path(spec, "jobTemplate.spec"), "selector"))
        bad_invalid(c, AT(job_at, "selector"), value_path(spec, "jobTemplate.spec.selector"),
                    "`selector` will be auto-generated");
    check_job_spec(c, job_at, value_path(spec, "jobTemplate.spec"));
}

static void check_target(struct check *c, at_path at, const struct value *target, bool utilization)
{
    int n = has(target, "value") + has(target, "averageValue") + has(target, "averageUtilization");
    if (n == 0)
        bad_required(c, utilization ? AT(at, "averageUtilization") : AT(at, "averageValue"),
                     utilization ? "must set either a target raw value or a target utilization"
                                 : "must specify a positive target averageValue");
    if (has(target, "averageUtilization") && int_of(target, "averageUtilization") < 1)
        bad_invalid(c, AT(at, "averageUtilization"), value_getz(target, "averageUtilization"),
                    "must be greater than 0");
    if (utilization && has(target, "averageUtilization") && has(target, "averageValue"))
        bad_forbidden(c, AT(at, "averageValue"), "may not set both a target raw value and a target utilization");
}

static void autoscaler(struct check *c, const struct value *obj)
{
    static const char *const sources[][2] = {{"Resource", "resource"},
                                             {"ContainerResource", "containerResource"},
                                             {"Pods", "pods"},
                                             {"Object", "object"},
                                             {"External", "external"}};
    const struct value *spec = value_getz(obj, "spec"), *min = value_getz(spec, "minReplicas");
    const struct value *target = value_getz(spec, "scaleTargetRef"), *metrics = value_getz(spec, "metrics");
    at_path at = AT(NULL, "spec");
    int64_t max = int_of(spec, "maxReplicas");
    if (value_is(min, VALUE_INT) && min->integer < 1)
        bad_invalid(c, AT(at, "minReplicas"), min, "must be greater than or equal to 1");
    if (max < 1)
        bad_invalid(c, AT(at, "maxReplicas"), value_int(c->a, max), "must be greater than 0");
    if (value_is(min, VALUE_INT) && max < min->integer)
        bad_invalid(c, AT(at, "maxReplicas"), value_int(c->a, max), "must be greater than or equal to `minReplicas`");
    static const char *const parts[] = {"kind", "name"};
    for (size_t i = 0; i < 2; i++) {
        if (text_of(target, parts[i]).len == 0)
            bad_required(c, AT_STR(AT(at, "scaleTargetRef"), str_from(parts[i])), "");
        else
            bad_name(c, AT_STR(AT(at, "scaleTargetRef"), str_from(parts[i])), name_check_path_segment,
                     text_of(target, parts[i]));
    }
    for (size_t i = 0; i < value_len(metrics); i++) {
        const struct value *m = value_at(metrics, i);
        at_path here = AT_INDEX(AT(at, "metrics"), i);
        if (text_of(m, "type").len == 0)
            bad_required(c, AT(here, "type"), "must specify a metric source type");
        for (size_t s = 0; s < 5; s++) {
            if (!text_is(m, "type", sources[s][0]))
                continue;
            at_path source = AT_STR(here, str_from(sources[s][1]));
            if (!has(m, sources[s][1]))
                bad_required(c, source, "must populate information for the given metric source");
            else
                check_target(c, AT(source, "target"), value_getz(value_getz(m, sources[s][1]), "target"), s < 2);
        }
    }
}

const struct kind_rules batch_kinds[] = {
    {"batch", "Job", job, job_update, NULL},
    {"batch", "CronJob", cron_job, NULL, NULL},
    {"autoscaling", "HorizontalPodAutoscaler", autoscaler, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
