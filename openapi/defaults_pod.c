/* Defaults of pods and of what templates of pods hold. */
#include "openapi/defaults_rules.h"
#include "openapi/meta/quantity.h"

static void pod(struct defaulting *d, struct value *v)
{
    (void)v;
    d->in_pod = true;
}

static bool is_alias_missing(const struct value *v, const char *key, const char *alias)
{
    return defaults_missing(v, key) && !defaults_missing(v, alias);
}

/* What a pod-level request may default to: the containers' requests of resources that may be overcommitted. */
static void sum_requests(struct arena *a, const struct value *containers, struct value *sums, bool init)
{
    for (size_t i = 0; i < value_len(containers); i++) {
        const struct value *requests = value_path(value_at(containers, i), "resources.requests");
        for (size_t j = 0; j < value_len(requests); j++) {
            struct str key = requests->map.members[j].key;
            struct quantity q = quantity_from(value_str(requests->map.members[j].value));
            struct quantity sum = quantity_from(value_str(value_get(sums, key)));
            if (!init)
                quantity_add(&sum, &q);
            else if (quantity_cmp(&q, &sum) > 0)
                sum = q;
            value_set(a, sums, key, value_string(a, quantity_text(a, &sum)));
        }
    }
}

static bool is_pod_level(struct str name)
{
    return str_eqz(name, "cpu") || str_eqz(name, "memory") || str_starts(name, STR("hugepages-"));
}

static void pod_level_resources(struct defaulting *d, struct value *spec)
{
    struct value *resources = value_getz(spec, "resources");
    const struct value *limits = value_getz(resources, "limits");
    if (value_len(limits) == 0)
        return;
    struct value *sums = value_map(d->a), *requests = defaults_map(d, resources, "requests");
    sum_requests(d->a, value_getz(spec, "containers"), sums, false);
    sum_requests(d->a, value_getz(spec, "initContainers"), sums, true);
    for (size_t i = 0; i < value_len(sums); i++) {
        struct str key = sums->map.members[i].key;
        if (!value_get(requests, key) && is_pod_level(key) && !str_starts(key, STR("hugepages-")))
            value_set(d->a, requests, key, sums->map.members[i].value);
    }
    for (size_t i = 0; i < limits->map.len; i++) {
        struct str key = limits->map.members[i].key;
        if (!value_get(requests, key) && is_pod_level(key))
            value_set(d->a, requests, key, value_copy(d->a, limits->map.members[i].value));
    }
}

static void container_requests(struct defaulting *d, struct value *containers)
{
    for (size_t i = 0; i < value_len(containers); i++) {
        struct value *resources = value_getz(value_at(containers, i), "resources");
        const struct value *limits = value_getz(resources, "limits");
        for (size_t j = 0; j < value_len(limits); j++) {
            struct str key = limits->map.members[j].key;
            struct value *requests = defaults_map(d, resources, "requests");
            if (!value_get(requests, key))
                value_set(d->a, requests, key, value_copy(d->a, limits->map.members[j].value));
        }
    }
}

static void pod_spec(struct defaulting *d, struct value *v)
{
    struct value *grace = value_getz(v, "terminationGracePeriodSeconds");
    defaults_set_str(d, v, "restartPolicy", "Always");
    if (value_is(grace, VALUE_INT) && grace->integer < 0)
        grace->integer = 1;
    if (is_alias_missing(v, "serviceAccountName", "serviceAccount"))
        value_setz(d->a, v, "serviceAccountName", value_copy(d->a, value_getz(v, "serviceAccount")));
    if (!defaults_missing(v, "serviceAccountName"))
        value_setz(d->a, v, "serviceAccount", value_copy(d->a, value_getz(v, "serviceAccountName")));
    if (!d->in_pod)
        return;
    d->host_network = value_path_bool(v, "hostNetwork", false);
    defaults_set(d, v, "enableServiceLinks", value_bool(d->a, true));
    container_requests(d, value_getz(v, "containers"));
    container_requests(d, value_getz(v, "initContainers"));
    pod_level_resources(d, v);
}

/* The pull policy an image name asks for: Always when its tag is latest, said or not. */
static const char *pull_policy(struct str image)
{
    size_t at = 0;
    bool digest = str_index(image, '@', &at);
    struct str name = digest ? str_sub(image, 0, at) : image;
    size_t colon = name.len;
    for (size_t i = name.len; i > 0 && name.p[i - 1] != '/'; i--) {
        if (name.p[i - 1] == ':')
            colon = i - 1;
    }
    struct str tag = colon < name.len ? str_sub(name, colon + 1, name.len) : digest ? STR("") : STR("latest");
    return name.len > 0 && str_eqz(tag, "latest") ? "Always" : "IfNotPresent";
}

static void round_up_to_milli(struct defaulting *d, struct value *list)
{
    for (size_t i = 0; i < value_len(list) && list->kind == VALUE_MAP; i++) {
        struct quantity q = quantity_from(value_str(list->map.members[i].value));
        if (q.nanos % 1000000 == 0)
            continue;
        int64_t milli = quantity_milli_value(&q);
        q.nanos = (__int128)milli * 1000000;
        list->map.members[i].value = value_string(d->a, quantity_text(d->a, &q));
    }
}

static void container(struct defaulting *d, struct value *v)
{
    struct value *resources = value_getz(v, "resources");
    defaults_set_str(d, v, "imagePullPolicy", pull_policy(value_str(value_getz(v, "image"))));
    round_up_to_milli(d, value_getz(resources, "limits"));
    round_up_to_milli(d, value_getz(resources, "requests"));
}

static void container_port(struct defaulting *d, struct value *v)
{
    if (d->in_pod && d->host_network && value_path_int(v, "hostPort", 0) == 0 && value_getz(v, "containerPort"))
        value_setz(d->a, v, "hostPort", value_copy(d->a, value_getz(v, "containerPort")));
}

static void volume(struct defaulting *d, struct value *v)
{
    for (size_t i = 0; i < v->map.len; i++) {
        if (!str_eqz(v->map.members[i].key, "name") && v->map.members[i].value->kind != VALUE_NULL)
            return;
    }
    value_setz(d->a, v, "emptyDir", value_map(d->a));
}

static void image_volume(struct defaulting *d, struct value *v)
{
    defaults_set_str(d, v, "pullPolicy", pull_policy(value_str(value_getz(v, "reference"))));
}

/* podIP is the first of podIPs: whoever gives one has given the other. */
static void pod_status(struct defaulting *d, struct value *v)
{
    struct value *ips = value_getz(v, "podIPs");
    if (value_len(ips) > 0) {
        if (defaults_missing(v, "podIP"))
            value_setz(d->a, v, "podIP", value_string(d->a, value_path_str(value_at(ips, 0), "ip")));
        return;
    }
    if (defaults_missing(v, "podIP"))
        return;
    struct value *ip = value_map(d->a);
    value_setz(d->a, ip, "ip", value_copy(d->a, value_getz(v, "podIP")));
    value_append(d->a, value_ensure_list(d->a, v, "podIPs"), ip);
}

const struct defaults_entry defaults_pod_entries[] = {
    {&schema_core_v1_pod, pod},
    {&schema_core_v1_pod_spec, pod_spec},
    {&schema_core_v1_container, container},
    {&schema_core_v1_ephemeral_container, container},
    {&schema_core_v1_container_port, container_port},
    {&schema_core_v1_volume, volume},
    {&schema_core_v1_image_volume_source, image_volume},
    {&schema_core_v1_pod_status, pod_status},
    {NULL, NULL},
};
