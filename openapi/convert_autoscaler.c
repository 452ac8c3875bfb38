/* HorizontalPodAutoscaler v1 and v2. v1 has one field for CPU; everything else v2 says travels through v1 in
 * annotations, as JSON of the metrics in v1's flat shape ("targetAverageUtilization" for v2's
 * target.averageUtilization). */
#include "openapi/convert_rules.h"

#include "openapi/json.h"
#include "openapi/messages.h"
#include "openapi/normalize.h"

#define PREFIX "autoscaling.alpha.kubernetes.io/"
#define METRICS PREFIX "metrics"
#define BEHAVIOR PREFIX "behavior"
#define CONDITIONS PREFIX "conditions"
#define CURRENT PREFIX "current-metrics"

/* One kind of metric: where v1 keeps what v2 holds in target/current. NULL = v1 has no place for it. */
static const struct shape {
    const char *type, *source;
    const char *utilization, *average, *value; /* behind "target" or "current" */
    const char *selector;                      /* of the metric */
    bool plain_average;                        /* "averageValue" without a prefix (Object) */
} shapes[] = {
    {"Resource", "resource", "AverageUtilization", "AverageValue", NULL, NULL, false},
    {"ContainerResource", "containerResource", "AverageUtilization", "AverageValue", NULL, NULL, false},
    {"Pods", "pods", NULL, "AverageValue", NULL, "selector", false},
    {"Object", "object", NULL, "averageValue", "Value", "selector", true},
    {"External", "external", NULL, "AverageValue", "Value", "metricSelector", false},
};

static const struct shape *shape_of(const struct value *metric)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (str_eqz(value_str(value_getz(metric, "type")), shapes[i].type))
            return &shapes[i];
    }
    return NULL;
}

static void move(struct arena *a, const struct value *from, struct str from_key, struct value *to, struct str to_key)
{
    struct value *v = value_get(from, from_key);
    if (v && v->kind != VALUE_NULL)
        value_set(a, to, to_key, v);
}

static struct str joined(struct arena *a, const char *head, const char *tail)
{
    return arena_printf(a, "%s%s", head, tail);
}

/* v2 → v1; `side` is "target" in a spec and "current" in a status */
static struct value *flatten(struct arena *a, const struct value *metric, const char *side)
{
    const struct shape *s = shape_of(metric);
    const struct value *in = s ? value_getz(metric, s->source) : NULL;
    struct value *out = value_map(a), *flat = value_map(a);
    value_setz(a, out, "type", value_string(a, value_str(value_getz(metric, "type"))));
    if (!value_is(in, VALUE_MAP))
        return out;
    const struct value *amounts = value_getz(in, side);
    move(a, in, STR("name"), flat, STR("name"));
    move(a, in, STR("describedObject"), flat, STR("target"));
    move(a, value_getz(in, "metric"), STR("name"), flat, STR("metricName"));
    if (s->selector)
        move(a, value_getz(in, "metric"), STR("selector"), flat, str_from(s->selector));
    if (s->utilization)
        move(a, amounts, STR("averageUtilization"), flat, joined(a, side, s->utilization));
    if (s->value)
        move(a, amounts, STR("value"), flat, joined(a, side, s->value));
    move(a, amounts, STR("averageValue"), flat, joined(a, s->plain_average ? "" : side, s->average));
    move(a, in, STR("container"), flat, STR("container"));
    value_setz(a, out, s->source, flat);
    return out;
}

/* v1 → v2 */
static struct value *unflatten(struct arena *a, const struct value *metric, const char *side)
{
    const struct shape *s = shape_of(metric);
    const struct value *flat = s ? value_getz(metric, s->source) : NULL;
    struct value *out = value_map(a), *in = value_map(a), *amounts = value_map(a), *name = value_map(a);
    value_setz(a, out, "type", value_string(a, value_str(value_getz(metric, "type"))));
    if (!value_is(flat, VALUE_MAP))
        return out;
    move(a, flat, STR("name"), in, STR("name"));
    move(a, flat, STR("target"), in, STR("describedObject"));
    move(a, flat, STR("metricName"), name, STR("name"));
    if (s->selector)
        move(a, flat, str_from(s->selector), name, STR("selector"));
    if (value_len(name) > 0)
        value_setz(a, in, "metric", name);
    if (s->utilization)
        move(a, flat, joined(a, side, s->utilization), amounts, STR("averageUtilization"));
    if (s->value)
        move(a, flat, joined(a, side, s->value), amounts, STR("value"));
    move(a, flat, joined(a, s->plain_average ? "" : side, s->average), amounts, STR("averageValue"));
    if (str_eqz(str_from(side), "target")) {
        const char *type = value_getz(amounts, "averageUtilization") ? "Utilization"
                           : value_getz(amounts, "averageValue")     ? "AverageValue"
                                                                     : "Value";
        value_setz(a, amounts, "type", value_stringz(a, type));
    }
    value_setz(a, in, side, amounts);
    move(a, flat, STR("container"), in, STR("container"));
    value_setz(a, out, s->source, in);
    return out;
}

static void annotate(struct arena *a, struct value *obj, const char *key, const struct value *v)
{
    struct buf text = {0};
    json_encode(&text, v);
    struct value *annotations = value_ensure_map(a, obj, "metadata.annotations");
    value_set(a, annotations, str_from(key), value_string(a, arena_str(a, buf_str(&text))));
    buf_free(&text);
}

/* The annotation's JSON, NULL when absent or broken; the annotation goes either way. */
static struct value *take_annotation(struct arena *a, struct value *obj, const char *key)
{
    struct value *annotations = value_path(obj, "metadata.annotations"), *v = NULL;
    struct str text = value_str(value_getz(annotations, key));
    struct err err = ERR_INIT;
    struct json_options opt = {0};
    if (!text.p)
        return NULL;
    value_remove(annotations, str_from(key));
    if (value_len(annotations) == 0)
        value_remove_path(obj, "metadata.annotations");
    return json_decode(a, text, &opt, &v, &err) == 0 ? v : NULL;
}

static bool is_cpu_utilization(const struct value *metric, const char *side)
{
    const struct value *in = value_getz(metric, "resource");
    return str_eqz(value_str(value_getz(metric, "type")), "Resource") &&
           str_eqz(value_str(value_getz(in, "name")), "cpu") &&
           value_is(value_getz(value_getz(in, side), "averageUtilization"), VALUE_INT);
}

void convert_autoscaler_v2_to_v1(struct arena *a, struct value *obj)
{
    struct value *spec = value_getz(obj, "spec"), *status = value_getz(obj, "status");
    const struct value *metrics = value_getz(spec, "metrics"), *current = value_getz(status, "currentMetrics");
    const struct value *behavior = value_getz(spec, "behavior"), *conditions = value_getz(status, "conditions");
    struct value *others = value_list(a), *flat_current = value_list(a);
    for (size_t i = 0; i < value_len(metrics); i++) {
        const struct value *m = value_at(metrics, i);
        if (is_cpu_utilization(m, "target"))
            value_setz(a, spec, "targetCPUUtilizationPercentage", value_path(m, "resource.target.averageUtilization"));
        else
            value_append(a, others, flatten(a, m, "target"));
    }
    for (size_t i = 0; i < value_len(current); i++) {
        const struct value *m = value_at(current, i);
        if (is_cpu_utilization(m, "current"))
            value_setz(a, status, "currentCPUUtilizationPercentage",
                       value_path(m, "resource.current.averageUtilization"));
        value_append(a, flat_current, flatten(a, m, "current"));
    }
    static const char *const keys[] = {METRICS, CURRENT, BEHAVIOR, CONDITIONS};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        take_annotation(a, obj, keys[i]);
    if (value_len(others) > 0)
        annotate(a, obj, METRICS, others);
    if (value_len(flat_current) > 0)
        annotate(a, obj, CURRENT, flat_current);
    if (value_is(behavior, VALUE_MAP))
        annotate(a, obj, BEHAVIOR, behavior);
    if (value_len(conditions) > 0)
        annotate(a, obj, CONDITIONS, conditions);
    if (value_is(spec, VALUE_MAP)) {
        value_removez(spec, "metrics");
        value_removez(spec, "behavior");
    }
    if (value_is(status, VALUE_MAP)) {
        value_removez(status, "currentMetrics");
        value_removez(status, "conditions");
    }
    normalize(a, &schema_autoscaling_v1_horizontal_pod_autoscaler, obj);
}

static struct value *cpu_metric(struct arena *a, struct value *percentage)
{
    struct value *m = value_map(a);
    value_setz(a, m, "type", value_stringz(a, "Resource"));
    value_set_path(a, m, "resource.name", value_stringz(a, "cpu"));
    value_set_path(a, m, "resource.target.type", value_stringz(a, "Utilization"));
    value_set_path(a, m, "resource.target.averageUtilization", percentage);
    return m;
}

static struct value *unflatten_list(struct arena *a, const struct value *flat, const char *side)
{
    struct value *out = value_list(a);
    for (size_t i = 0; i < value_len(flat); i++)
        value_append(a, out, unflatten(a, value_at(flat, i), side));
    return out;
}

void convert_autoscaler_v1_to_v2(struct arena *a, struct value *obj)
{
    struct value *spec = value_ensure_map(a, obj, "spec"), *status = value_ensure_map(a, obj, "status");
    struct value *cpu = value_getz(spec, "targetCPUUtilizationPercentage");
    struct value *metrics = unflatten_list(a, take_annotation(a, obj, METRICS), "target");
    struct value *current = unflatten_list(a, take_annotation(a, obj, CURRENT), "current");
    struct value *behavior = take_annotation(a, obj, BEHAVIOR), *conditions = take_annotation(a, obj, CONDITIONS);
    struct value *current_cpu = value_getz(status, "currentCPUUtilizationPercentage");
    if (value_is(cpu, VALUE_INT))
        value_append(a, metrics, cpu_metric(a, cpu));
    if (value_len(metrics) > 0)
        value_setz(a, spec, "metrics", metrics);
    if (value_is(behavior, VALUE_MAP))
        value_setz(a, spec, "behavior", behavior);
    if (value_is(current_cpu, VALUE_INT) && value_len(current) == 0) {
        struct value *m = value_map(a);
        value_setz(a, m, "type", value_stringz(a, "Resource"));
        value_set_path(a, m, "resource.name", value_stringz(a, "cpu"));
        value_set_path(a, m, "resource.current.averageUtilization", current_cpu);
        value_append(a, current, m);
    }
    if (value_len(current) > 0)
        value_setz(a, status, "currentMetrics", current);
    if (value_is(conditions, VALUE_LIST))
        value_setz(a, status, "conditions", conditions);
    value_removez(spec, "targetCPUUtilizationPercentage");
    value_removez(status, "currentCPUUtilizationPercentage");
    normalize(a, &schema_autoscaling_v2_horizontal_pod_autoscaler, obj);
}
