/* Defaults of the kinds that make pods, and of autoscaling. */
#include "openapi/defaults_rules.h"

static bool is(const struct value *v, const char *key, const char *text)
{
    return str_eqz(value_str(value_getz(v, key)), text);
}

static void deployment_spec(struct defaulting *d, struct value *v)
{
    struct value *strategy = defaults_map(d, v, "strategy");
    defaults_set_str(d, strategy, "type", "RollingUpdate");
    if (!is(strategy, "type", "RollingUpdate"))
        return;
    struct value *rolling = defaults_map(d, strategy, "rollingUpdate");
    defaults_set(d, rolling, "maxUnavailable", value_stringz(d->a, "25%"));
    defaults_set(d, rolling, "maxSurge", value_stringz(d->a, "25%"));
}

static void daemon_set_spec(struct defaulting *d, struct value *v)
{
    struct value *strategy = defaults_map(d, v, "updateStrategy");
    defaults_set_str(d, strategy, "type", "RollingUpdate");
    if (!is(strategy, "type", "RollingUpdate"))
        return;
    struct value *rolling = defaults_map(d, strategy, "rollingUpdate");
    defaults_set_int(d, rolling, "maxUnavailable", 1);
    defaults_set_int(d, rolling, "maxSurge", 0);
}

static void stateful_set_spec(struct defaulting *d, struct value *v)
{
    struct value *strategy = defaults_map(d, v, "updateStrategy");
    bool no_type = defaults_set_str(d, strategy, "type", "RollingUpdate");
    struct value *rolling = value_getz(strategy, "rollingUpdate");
    if (no_type && !value_is(rolling, VALUE_MAP))
        rolling = defaults_map(d, strategy, "rollingUpdate");
    if (is(strategy, "type", "RollingUpdate") && value_is(rolling, VALUE_MAP))
        defaults_set_int(d, rolling, "partition", 0);
    struct value *retention = defaults_map(d, v, "persistentVolumeClaimRetentionPolicy");
    defaults_set_str(d, retention, "whenDeleted", "Retain");
    defaults_set_str(d, retention, "whenScaled", "Retain");
    struct value *claims = value_getz(v, "volumeClaimTemplates");
    for (size_t i = 0; i < value_len(claims); i++) {
        if (!value_is(value_at(claims, i), VALUE_MAP))
            continue;
        value_setz(d->a, value_at(claims, i), "apiVersion", value_stringz(d->a, "v1"));
        value_setz(d->a, value_at(claims, i), "kind", value_stringz(d->a, "PersistentVolumeClaim"));
    }
}

static void job_template(struct defaulting *d, struct value *v)
{
    (void)v;
    d->in_cron_job = true;
}

static void job_spec(struct defaulting *d, struct value *v)
{
    const struct value *per_index = value_getz(v, "backoffLimitPerIndex");
    const struct value *failure_policy = value_getz(v, "podFailurePolicy");
    defaults_set_int(d, v, "backoffLimit", value_is(per_index, VALUE_INT) ? INT32_MAX : 6);
    defaults_set_str(d, v, "podReplacementPolicy",
                     value_is(failure_policy, VALUE_MAP) ? "Failed" : "TerminatingOrFailed");
}

/* A Job of neither count runs once; the table then fills in parallelism alone. The labels are one map in upstream too,
 * so what the registry adds to the template's later shows on the job: the node is shared on purpose. */
static void job(struct defaulting *d, struct value *v)
{
    struct value *spec = value_getz(v, "spec");
    const struct value *parallelism = value_getz(spec, "parallelism"), *completions = value_getz(spec, "completions");
    if (value_is(spec, VALUE_MAP) && !value_is(parallelism, VALUE_INT) && !value_is(completions, VALUE_INT))
        value_setz(d->a, spec, "completions", value_int(d->a, 1));
    struct value *labels = value_path(spec, "template.metadata.labels");
    if (value_len(labels) > 0 && value_len(value_path(v, "metadata.labels")) == 0)
        value_set_path(d->a, v, "metadata.labels", labels);
}

static struct value *policy(struct defaulting *d, const char *type, int64_t value)
{
    struct value *p = value_map(d->a);
    value_setz(d->a, p, "type", value_stringz(d->a, type));
    value_setz(d->a, p, "value", value_int(d->a, value));
    value_setz(d->a, p, "periodSeconds", value_int(d->a, 15));
    return p;
}

static void scaler_behavior(struct defaulting *d, struct value *v)
{
    struct value *up = defaults_map(d, v, "scaleUp"), *down = defaults_map(d, v, "scaleDown");
    defaults_set_int(d, up, "stabilizationWindowSeconds", 0);
    defaults_set_str(d, up, "selectPolicy", "Max");
    if (value_len(value_getz(up, "policies")) == 0) {
        struct value *policies = value_list(d->a);
        value_append(d->a, policies, policy(d, "Pods", 4));
        value_append(d->a, policies, policy(d, "Percent", 100));
        value_setz(d->a, up, "policies", policies);
    }
    defaults_set_str(d, down, "selectPolicy", "Max");
    if (value_len(value_getz(down, "policies")) == 0) {
        struct value *policies = value_list(d->a);
        value_append(d->a, policies, policy(d, "Percent", 100));
        value_setz(d->a, down, "policies", policies);
    }
}

static void scaler_v2_spec(struct defaulting *d, struct value *v)
{
    if (value_len(value_getz(v, "metrics")) > 0)
        return;
    struct value *metric = value_map(d->a), *metrics = value_list(d->a);
    value_setz(d->a, metric, "type", value_stringz(d->a, "Resource"));
    value_set_path(d->a, metric, "resource.name", value_stringz(d->a, "cpu"));
    value_set_path(d->a, metric, "resource.target.type", value_stringz(d->a, "Utilization"));
    value_set_path(d->a, metric, "resource.target.averageUtilization", value_int(d->a, 80));
    value_append(d->a, metrics, metric);
    value_setz(d->a, v, "metrics", metrics);
}

/* v1 says only CPU; a metrics annotation holds what else was asked for (convert.h). */
static void scaler_v1(struct defaulting *d, struct value *v)
{
    const struct value *annotations = value_path(v, "metadata.annotations");
    struct value *spec = value_getz(v, "spec");
    if (value_is(spec, VALUE_MAP) && !value_getz(annotations, "autoscaling.alpha.kubernetes.io/metrics"))
        defaults_set_int(d, spec, "targetCPUUtilizationPercentage", 80);
}

const struct defaults_entry defaults_workload_entries[] = {
    {&schema_apps_v1_deployment_spec, deployment_spec},
    {&schema_apps_v1_daemon_set_spec, daemon_set_spec},
    {&schema_apps_v1_stateful_set_spec, stateful_set_spec},
    {&schema_batch_v1_job_template_spec, job_template},
    {&schema_batch_v1_job, job},
    {&schema_batch_v1_job_spec, job_spec},
    {&schema_autoscaling_v2_horizontal_pod_autoscaler_behavior, scaler_behavior},
    {&schema_autoscaling_v2_horizontal_pod_autoscaler_spec, scaler_v2_spec},
    {&schema_autoscaling_v1_horizontal_pod_autoscaler, scaler_v1},
    {NULL, NULL},
};
