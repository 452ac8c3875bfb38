#include "node/pod/resources.h"

static int64_t milli(struct str text)
{
    struct quantity q = quantity_from(text);
    return text.len ? quantity_milli_value(&q) : 0;
}

static int64_t whole(struct str text)
{
    struct quantity q = quantity_from(text);
    return text.len ? quantity_value(&q) : 0;
}

struct amounts container_amounts(const struct core_v1_container *c)
{
    struct amounts r = {0};
    if (!c->resources)
        return r;
    r.cpu_request_milli = milli(VIEW_MAP_GET(c->resources->requests, STR("cpu")));
    r.cpu_limit_milli = milli(VIEW_MAP_GET(c->resources->limits, STR("cpu")));
    r.memory_request = whole(VIEW_MAP_GET(c->resources->requests, STR("memory")));
    r.memory_limit = whole(VIEW_MAP_GET(c->resources->limits, STR("memory")));
    r.ephemeral_request = whole(VIEW_MAP_GET(c->resources->requests, STR("ephemeral-storage")));
    r.ephemeral_limit = whole(VIEW_MAP_GET(c->resources->limits, STR("ephemeral-storage")));
    return r;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Limits: 0 stands for "no limit", which wins over any number. */
struct amounts pod_amounts(const struct core_v1_pod *pod)
{
    struct amounts sum = {0}, init = {0}, sidecars = {0};
    bool cpu_unlimited = false, memory_unlimited = false;
    for (size_t i = 0; i < pod->spec->containers.len + pod->spec->init_containers.len; i++) {
        bool is_init = i >= pod->spec->containers.len;
        const struct core_v1_container *c = is_init ? &pod->spec->init_containers.items[i - pod->spec->containers.len]
                                                    : &pod->spec->containers.items[i];
        struct amounts a = container_amounts(c);
        cpu_unlimited |= !a.cpu_limit_milli;
        memory_unlimited |= !a.memory_limit;
        if (is_init && !str_eqz(c->restart_policy, "Always")) {
            init.cpu_request_milli = larger(init.cpu_request_milli, a.cpu_request_milli + sidecars.cpu_request_milli);
            init.cpu_limit_milli = larger(init.cpu_limit_milli, a.cpu_limit_milli + sidecars.cpu_limit_milli);
            init.memory_request = larger(init.memory_request, a.memory_request + sidecars.memory_request);
            init.memory_limit = larger(init.memory_limit, a.memory_limit + sidecars.memory_limit);
            continue;
        }
        sum.cpu_request_milli += a.cpu_request_milli;
        sum.cpu_limit_milli += a.cpu_limit_milli;
        sum.memory_request += a.memory_request;
        sum.memory_limit += a.memory_limit;
        if (is_init) {
            sidecars.cpu_request_milli += a.cpu_request_milli;
            sidecars.cpu_limit_milli += a.cpu_limit_milli;
            sidecars.memory_request += a.memory_request;
            sidecars.memory_limit += a.memory_limit;
        }
    }
    sum.cpu_request_milli = larger(sum.cpu_request_milli, init.cpu_request_milli);
    sum.memory_request = larger(sum.memory_request, init.memory_request);
    sum.cpu_limit_milli = cpu_unlimited ? 0 : larger(sum.cpu_limit_milli, init.cpu_limit_milli);
    sum.memory_limit = memory_unlimited ? 0 : larger(sum.memory_limit, init.memory_limit);
    for (size_t i = 0; pod->spec->overhead.len && i < 1; i++) {
        int64_t cpu = milli(VIEW_MAP_GET(pod->spec->overhead, STR("cpu")));
        int64_t memory = whole(VIEW_MAP_GET(pod->spec->overhead, STR("memory")));
        sum.cpu_request_milli += cpu;
        sum.memory_request += memory;
        sum.cpu_limit_milli += sum.cpu_limit_milli ? cpu : 0;
        sum.memory_limit += sum.memory_limit ? memory : 0;
    }
    return sum;
}

enum qos qos_of(const struct core_v1_pod *pod)
{
    bool any = false, guaranteed = true;
    for (size_t i = 0; i < pod->spec->containers.len + pod->spec->init_containers.len; i++) {
        const struct core_v1_container *c = i < pod->spec->containers.len
                                                ? &pod->spec->containers.items[i]
                                                : &pod->spec->init_containers.items[i - pod->spec->containers.len];
        struct amounts a = container_amounts(c);
        if (a.cpu_request_milli || a.cpu_limit_milli || a.memory_request || a.memory_limit)
            any = true;
        if (!a.cpu_limit_milli || !a.memory_limit ||
            (a.cpu_request_milli && a.cpu_request_milli != a.cpu_limit_milli) ||
            (a.memory_request && a.memory_request != a.memory_limit))
            guaranteed = false;
    }
    if (!any)
        return QOS_BEST_EFFORT;
    return guaranteed ? QOS_GUARANTEED : QOS_BURSTABLE;
}

const char *qos_name(enum qos q)
{
    return q == QOS_GUARANTEED ? "Guaranteed" : q == QOS_BURSTABLE ? "Burstable" : "BestEffort";
}

const char *qos_cgroup(enum qos q)
{
    return q == QOS_GUARANTEED ? "" : q == QOS_BURSTABLE ? "burstable" : "besteffort";
}

int64_t cpu_shares(int64_t cpu_milli)
{
    int64_t shares = cpu_milli * 1024 / 1000;
    return shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
}

int64_t cpu_weight(int64_t shares)
{
    return 1 + ((shares - 2) * 9999) / 262142;
}

int64_t cpu_quota_us(int64_t cpu_milli)
{
    int64_t quota = cpu_milli * CPU_PERIOD_US / 1000;
    return !cpu_milli ? 0 : quota < 1000 ? 1000 : quota;
}

int oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *c, int64_t memory_capacity)
{
    int64_t score;
    struct amounts a = container_amounts(c);
    if (str_eqz(pod->spec->priority_class_name, "system-node-critical"))
        return -997;
    switch (qos_of(pod)) {
    case QOS_GUARANTEED:
        return -997;
    case QOS_BEST_EFFORT:
        return 1000;
    case QOS_BURSTABLE:
        break;
    }
    score = 1000 - (memory_capacity ? 1000 * a.memory_request / memory_capacity : 0);
    if (score < 3)
        return 3;
    return score == 1000 ? 999 : (int)score;
}
