#include "node/volumes/plan.h"

#include "node/pod/resources.h"
#include "openapi/meta/quantity.h"

#include <string.h>

struct files {
    struct volume_file *items;
    size_t len, cap;
};

static void add(struct arena *a, struct files *f, struct str path, struct str data, uint32_t mode)
{
    path = arena_str(a, path);
    for (size_t i = 0; i < f->len; i++) {
        if (str_eq(f->items[i].path, path)) { /* of two sources the later one wins */
            f->items[i].data = arena_str(a, data);
            f->items[i].mode = mode;
            return;
        }
    }
    ARENA_PUSH(a, f->items, f->len, f->cap,
               (struct volume_file){.path = path, .data = arena_str(a, data), .mode = mode, .uid = -1});
}

/* The items picked from a ConfigMap or Secret, or all of it. */
#define ADD_SOURCE(in, a, files, kind, name, items_, optional, mode_, err)                                         \
    ({                                                                                                             \
        int rc_ = 0;                                                                                               \
        const struct source *s_ = (in)->find((in)->arg, (kind), (name));                                           \
        const struct source_entry *e_;                                                                             \
        if (!s_ || source_state(s_) != SOURCE_FOUND) {                                                             \
            if (!(optional))                                                                                       \
                rc_ = err_set((err), ERR_NOT_FOUND, "%s \"" STR_FMT "\" not found",                                \
                              (kind) == SOURCE_SECRET ? "secret" : "configmap", STR_ARG(name));                    \
        } else if (!(items_).len) {                                                                                \
            size_t n_ = source_entries(s_, &e_);                                                                   \
            for (size_t i_ = 0; i_ < n_; i_++)                                                                     \
                add((a), (files), e_[i_].key, e_[i_].value, (mode_));                                              \
        } else {                                                                                                   \
            for (size_t i_ = 0; rc_ == 0 && i_ < (items_).len; i_++) {                                             \
                struct str value_;                                                                                 \
                if (source_entry_find(s_, (items_).items[i_].key, &value_) == 0)                                   \
                    add((a), (files), (items_).items[i_].path, value_,                                             \
                        (items_).items[i_].has_mode ? (uint32_t)(items_).items[i_].mode : (mode_));                \
                else if (!(optional))                                                                              \
                    rc_ = err_set((err), ERR_NOT_FOUND, "references non-existent %s key: " STR_FMT,                \
                                  (kind) == SOURCE_SECRET ? "secret" : "config", STR_ARG((items_).items[i_].key)); \
            }                                                                                                      \
        }                                                                                                          \
        rc_;                                                                                                       \
    })

static const struct core_v1_container *container_named(const struct core_v1_pod *pod, struct str name)
{
    for (size_t i = 0; i < pod->spec->containers.len; i++) {
        if (str_eq(pod->spec->containers.items[i].name, name))
            return &pod->spec->containers.items[i];
    }
    for (size_t i = 0; i < pod->spec->init_containers.len; i++) {
        if (str_eq(pod->spec->init_containers.items[i].name, name))
            return &pod->spec->init_containers.items[i];
    }
    return NULL;
}

static int add_downward(const struct plan_input *in, struct arena *a, struct files *f,
                        const struct core_v1_downward_api_volume_file *file, uint32_t mode, struct err *err)
{
    struct str text = STR("");
    int rc = 0;
    if (file->field_ref) {
        rc = downward_field(a, in->pod, in->facts, file->field_ref->field_path, &text, err);
    } else if (file->resource_field_ref) {
        const struct core_v1_container *c = container_named(in->pod, file->resource_field_ref->container_name);
        if (!c)
            return err_set(err, ERR_NOT_FOUND, "container " STR_FMT " not found",
                           STR_ARG(file->resource_field_ref->container_name));
        rc = downward_resource(a, c, in->facts, file->resource_field_ref->resource, file->resource_field_ref->divisor,
                               &text, err);
    }
    if (rc == 0)
        add(a, f, file->path, text, file->has_mode ? (uint32_t)file->mode : mode);
    return rc;
}

static int projected(const struct plan_input *in, struct arena *a, struct files *f, size_t volume,
                     const struct core_v1_projected_volume_source *p, struct err *err)
{
    uint32_t mode = p->has_default_mode ? (uint32_t)p->default_mode : 0644;
    int rc = 0, waits = 0;
    for (size_t i = 0; rc == 0 && i < p->sources.len; i++) {
        const struct core_v1_volume_projection *s = &p->sources.items[i];
        if (s->config_map) {
            rc = ADD_SOURCE(in, a, f, SOURCE_CONFIG_MAP, s->config_map->name, s->config_map->items,
                            s->config_map->optional, mode, err);
        } else if (s->secret) {
            rc = ADD_SOURCE(in, a, f, SOURCE_SECRET, s->secret->name, s->secret->items, s->secret->optional, mode, err);
        } else if (s->downward_api) {
            for (size_t j = 0; rc == 0 && j < s->downward_api->items.len; j++)
                rc = add_downward(in, a, f, &s->downward_api->items.items[j], mode, err);
        } else if (s->service_account_token) {
            struct str token;
            int got = in->token(in->arg, volume, i, &token, err);
            if (got < 0)
                rc = got;
            else if (got == 1)
                waits = 1;
            else
                add(a, f, s->service_account_token->path, token, mode);
        }
    }
    return rc ? rc : waits;
}

static const char *path_of(struct arena *a, const struct plan_input *in, const char *plugin, struct str name)
{
    return arena_printf(a, "%s/volumes/kubernetes.io~%s/" STR_FMT, in->pod_dir, plugin, STR_ARG(name)).p;
}

/* 2: a kind that has no place on the node's disk (left to others or not supported). */
static int plan_one(const struct plan_input *in, struct arena *a, size_t at, struct volume_plan *ret, struct err *err)
{
    const struct core_v1_volume *v = &in->pod->spec->volumes.items[at];
    struct files f = {0};
    int rc = 0;
    ret->name = arena_str(a, v->name).p;
    ret->gid = in->pod->spec->security_context && in->pod->spec->security_context->has_fs_group
                   ? in->pod->spec->security_context->fs_group
                   : -1;
    if (v->config_map) {
        ret->path = path_of(a, in, "configmap", v->name);
        rc =
            ADD_SOURCE(in, a, &f, SOURCE_CONFIG_MAP, v->config_map->name, v->config_map->items, v->config_map->optional,
                       v->config_map->has_default_mode ? (uint32_t)v->config_map->default_mode : 0644, err);
    } else if (v->secret) {
        ret->path = path_of(a, in, "secret", v->name);
        ret->memory = true;
        rc = ADD_SOURCE(in, a, &f, SOURCE_SECRET, v->secret->secret_name, v->secret->items, v->secret->optional,
                        v->secret->has_default_mode ? (uint32_t)v->secret->default_mode : 0644, err);
    } else if (v->projected) {
        ret->path = path_of(a, in, "projected", v->name);
        ret->memory = true;
        rc = projected(in, a, &f, at, v->projected, err);
    } else if (v->downward_api) {
        uint32_t mode = v->downward_api->has_default_mode ? (uint32_t)v->downward_api->default_mode : 0644;
        ret->path = path_of(a, in, "downward-api", v->name);
        ret->memory = true;
        for (size_t i = 0; rc == 0 && i < v->downward_api->items.len; i++)
            rc = add_downward(in, a, &f, &v->downward_api->items.items[i], mode, err);
    } else if (v->host_path) {
        ret->kind = VOLUME_HOST_PATH;
        ret->path = arena_str(a, v->host_path->path).p;
        ret->type = arena_str(a, v->host_path->type).p;
        ret->gid = -1;
    } else if (v->empty_dir) {
        struct quantity size = quantity_from(v->empty_dir->size_limit);
        ret->kind = VOLUME_EMPTY_DIR;
        ret->path = path_of(a, in, "empty-dir", v->name);
        ret->memory = str_eqz(v->empty_dir->medium, "Memory");
        ret->size = v->empty_dir->size_limit.len ? quantity_value(&size) : 0;
    } else {
        return err_set(err, ERR_INVALID, "no volume plugin matched");
    }
    ret->files = f.items;
    ret->n_files = f.len;
    return rc;
}

int volumes_plan_build(const struct plan_input *in, struct volumes_plan *ret, const char **ret_volume, struct err *err)
{
    struct arena *a = arena_create(0);
    size_t n = in->pod->spec->volumes.len;
    int waits = 0;
    *ret = (struct volumes_plan){.arena = a, .items = ARENA_ARRAY(a, struct volume_plan, n + 1), .n = n};
    for (size_t i = 0; i < n; i++) {
        int rc = plan_one(in, a, i, &ret->items[i], err);
        if (rc < 0) {
            *ret_volume = ret->items[i].name;
            return rc;
        }
        waits |= rc;
    }
    return waits;
}

void volumes_plan_finish(struct volumes_plan *p)
{
    arena_destroy(p->arena);
    *p = (struct volumes_plan){0};
}
