#include "node/volumes/volumes.h"

#include "base/clock.h"
#include "base/log.h"
#include "node/recorder.h"
#include "node/volumes/plan.h"
#include "node/volumes/token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 122000

struct pod_volumes {
    struct pod *pod;
    struct volume_tokens *tokens;
    struct timer retry;
    int64_t retry_ms;
    bool dirty, ready, busy, ending;
    struct volumes_plan plan; /* the last one carried out or under way: paths come from it */
    struct volumes_plan next;
    struct err error;
    const char *failed_volume;
    char dir[PATH_MAX];
    void (*torn_down)(void *arg, const struct err *err);
    void *torn_down_arg;
};

static void retry(void *arg)
{
    struct pod_volumes *v = arg;
    v->dirty = true;
    pod_poke(v->pod);
}

static void tokens_changed(void *arg)
{
    struct pod_volumes *v = arg;
    v->dirty = true;
    pod_poke(v->pod);
}

struct pod_volumes *pod_volumes_create(struct pod *p)
{
    struct pod_volumes *v = calloc(1, sizeof *v);
    v->pod = p;
    v->dirty = true;
    v->retry_ms = RETRY_FIRST_MS;
    v->tokens = volume_tokens_create(p, tokens_changed, v);
    pod_dir(p, v->dir, sizeof v->dir);
    return v;
}

void pod_volumes_destroy(struct pod_volumes *v)
{
    if (!v)
        return;
    timer_stop(&v->retry);
    volume_tokens_destroy(v->tokens);
    volumes_plan_finish(&v->plan);
    volumes_plan_finish(&v->next);
    free(v);
}

void pod_volumes_touch(struct pod_volumes *v)
{
    v->dirty = true;
}

bool pod_volumes_ready(const struct pod_volumes *v)
{
    return v->ready;
}

bool pod_volumes_busy(const struct pod_volumes *v)
{
    return v->busy;
}

const char *pod_volume_path(const struct pod_volumes *v, struct str name)
{
    for (size_t i = 0; i < v->plan.n; i++) {
        if (str_eqz(name, v->plan.items[i].name))
            return v->plan.items[i].path;
    }
    return NULL;
}

static int token(void *arg, size_t volume, size_t source, struct str *ret, struct err *err)
{
    struct pod *p = arg;
    return volume_token(p->volumes->tokens, volume, source, ret, err);
}

static void failed(struct pod_volumes *v, const char *volume, const struct err *err)
{
    struct pod *p = v->pod;
    if (p->version && volume)
        recorder_event(p->agent->recorder, p->version->object, NULL, "Warning", "FailedMount",
                       "MountVolume.SetUp failed for volume \"%s\" : %s", volume, err->message);
    timer_start(&v->retry, p->agent->loop, v->retry_ms, retry, v);
    v->retry_ms = v->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : v->retry_ms * 2;
}

static void apply(void *arg)
{
    struct pod_volumes *v = arg;
    v->error = ERR_INIT;
    v->failed_volume = NULL;
    for (size_t i = 0; i < v->next.n; i++) {
        if (volume_apply(&v->next.items[i], &v->error) < 0) {
            v->failed_volume = v->next.items[i].name;
            return;
        }
    }
}

static void applied(void *arg)
{
    struct pod_volumes *v = arg;
    struct pod *p = v->pod;
    v->busy = false;
    if (v->failed_volume) {
        failed(v, v->failed_volume, &v->error);
        volumes_plan_finish(&v->next);
    } else {
        volumes_plan_finish(&v->plan);
        v->plan = v->next;
        v->next = (struct volumes_plan){0};
        v->ready = true;
        v->retry_ms = RETRY_FIRST_MS;
    }
    if (v->ending && v->torn_down)
        pod_volumes_teardown(v, v->torn_down, v->torn_down_arg);
    pod_poke(p);
    pod_release(p);
}

void pod_volumes_sync(struct pod_volumes *v)
{
    struct pod *p = v->pod;
    struct downward_facts facts;
    const char *volume = NULL;
    struct err err = ERR_INIT;
    struct plan_input in = {
        .pod = p->version->pod, .pod_dir = v->dir, .facts = &facts, .find = pod_source_find, .token = token, .arg = p};
    int rc;
    if (!v->dirty || v->busy || v->ending || v->retry.heap_at)
        return;
    pod_downward_facts(p, &facts);
    v->dirty = false;
    rc = volumes_plan_build(&in, &v->next, &volume, &err);
    if (rc != 0) {
        if (rc < 0)
            failed(v, volume, &err);
        volumes_plan_finish(&v->next);
        return; /* a token that is on its way pokes the pod */
    }
    v->busy = true;
    pod_hold(p);
    loop_work(p->agent->loop, apply, applied, v);
}

static void remove_all(void *arg)
{
    struct pod_volumes *v = arg;
    v->error = ERR_INIT;
    volumes_remove(v->dir, &v->error);
}

static void removed(void *arg)
{
    struct pod_volumes *v = arg;
    struct pod *p = v->pod;
    v->busy = false;
    v->ready = false;
    v->torn_down(v->torn_down_arg, v->error.code ? &v->error : NULL);
    pod_release(p);
}

void pod_volumes_teardown(struct pod_volumes *v, void (*done)(void *arg, const struct err *err), void *arg)
{
    v->ending = true;
    v->torn_down = done;
    v->torn_down_arg = arg;
    timer_stop(&v->retry);
    if (v->busy)
        return; /* applied() comes back here */
    v->busy = true;
    pod_hold(v->pod);
    loop_work(v->pod->agent->loop, remove_all, removed, v);
}

const struct source *pod_source_find(void *pod, enum source_kind kind, struct str name)
{
    struct pod *p = pod;
    for (size_t i = 0; i < p->sources.len; i++) {
        if (source_is(p->sources.items[i], kind, str_from(p->namespace_), name))
            return p->sources.items[i];
    }
    return NULL;
}

static void refer(struct pod *p, enum source_kind kind, struct str name)
{
    if (name.len && !pod_source_find(p, kind, name))
        vec_push(&p->sources, source_get(p->agent->sources, kind, str_from(p->namespace_), name));
}

static void refer_container(struct pod *p, const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->env_from.len; i++) {
        if (c->env_from.items[i].config_map_ref)
            refer(p, SOURCE_CONFIG_MAP, c->env_from.items[i].config_map_ref->name);
        if (c->env_from.items[i].secret_ref)
            refer(p, SOURCE_SECRET, c->env_from.items[i].secret_ref->name);
    }
    for (size_t i = 0; i < c->env.len; i++) {
        const struct core_v1_env_var_source *from = c->env.items[i].value_from;
        if (from && from->config_map_key_ref)
            refer(p, SOURCE_CONFIG_MAP, from->config_map_key_ref->name);
        if (from && from->secret_key_ref)
            refer(p, SOURCE_SECRET, from->secret_key_ref->name);
    }
}

bool pod_sources_collect(struct pod *p)
{
    const struct core_v1_pod_spec *spec = p->version->pod->spec;
    bool all = true;
    for (size_t i = 0; i < spec->containers.len; i++)
        refer_container(p, &spec->containers.items[i]);
    for (size_t i = 0; i < spec->init_containers.len; i++)
        refer_container(p, &spec->init_containers.items[i]);
    for (size_t i = 0; i < spec->image_pull_secrets.len; i++)
        refer(p, SOURCE_SECRET, spec->image_pull_secrets.items[i].name);
    for (size_t i = 0; i < spec->volumes.len; i++) {
        const struct core_v1_volume *v = &spec->volumes.items[i];
        if (v->config_map)
            refer(p, SOURCE_CONFIG_MAP, v->config_map->name);
        if (v->secret)
            refer(p, SOURCE_SECRET, v->secret->secret_name);
        for (size_t j = 0; v->projected && j < v->projected->sources.len; j++) {
            if (v->projected->sources.items[j].config_map)
                refer(p, SOURCE_CONFIG_MAP, v->projected->sources.items[j].config_map->name);
            if (v->projected->sources.items[j].secret)
                refer(p, SOURCE_SECRET, v->projected->sources.items[j].secret->name);
        }
    }
    for (size_t i = 0; i < p->sources.len; i++)
        all = all && source_state(p->sources.items[i]) != SOURCE_PENDING;
    return all;
}

void pod_downward_facts(const struct pod *p, struct downward_facts *ret)
{
    const struct observed_sandbox *sandbox = observed_newest_sandbox(pod_observed(p));
    bool host = p->version && p->version->pod->spec->host_network;
    *ret = (struct downward_facts){.node_name = p->agent->opt.node_name,
                                   .host_ip = p->agent->node_ip,
                                   .pod_ips = {pod_ip(p), !host && sandbox ? sandbox->ips[1] : ""},
                                   .cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000,
                                   .memory = p->agent->memory_capacity};
}
