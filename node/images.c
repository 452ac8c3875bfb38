#include "node/images.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/recorder.h"
#include "node/sources.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <stdio.h>
#include <stdlib.h>

#define LIST_EVERY_MS 30000
#define REPORTED_MAX 50

struct images {
    struct agent *agent;
    struct timer timer;
    struct arena *arena;
    struct value *value; /* in the arena */
};

struct ensuring {
    struct pod_container *c;
    const struct pod_version *v;
    image_done *done;
    void *arg;
    char *image, *field;
    bool pulled;
    int64_t began_ms;
};

static const char *policy_of(const struct core_v1_container *c)
{
    return str_eqz(c->image_pull_policy, "Always")  ? "Always"
           : str_eqz(c->image_pull_policy, "Never") ? "Never"
                                                    : "IfNotPresent";
}

static void finish(struct ensuring *e, const struct image_facts *facts, const char *reason, const char *message)
{
    e->done(e->arg, facts, reason, message);
    free(e->image);
    free(e->field);
    free(e);
}

static void ask_status(struct ensuring *e);

static void say(struct ensuring *e, const char *type, const char *reason, const char *text)
{
    recorder_event(e->c->owner->agent->recorder, e->v->object, e->field, type, reason, "%s", text);
}

static void pull_failed(struct ensuring *e, const char *why)
{
    char text[ERR_MESSAGE_MAX + 200];
    int64_t now_ms = clock_wall_ms();
    snprintf(text, sizeof text, "Failed to pull image \"%s\": %s", e->image, why);
    say(e, "Warning", "Failed", text);
    say(e, "Warning", "Failed", "Error: ErrImagePull");
    e->c->pull_backoff = backoff_next(&e->c->pull_backoff, now_ms, now_ms);
    free(e->c->pull_error);
    e->c->pull_error = strdup(why);
    finish(e, NULL, "ErrImagePull", why);
}

static void pulled(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct ensuring *e = arg;
    if (!response) {
        pull_failed(e, err->message);
        return;
    }
    e->pulled = true;
    e->c->pull_backoff = (struct backoff){0};
    ask_status(e);
}

/* ---- credentials: .dockerconfigjson and .dockercfg of the pod's imagePullSecrets ---- */

static struct str registry_of(struct str image)
{
    size_t at;
    struct str host;
    if (!str_index(image, '/', &at))
        return STR("docker.io");
    host = str_sub(image, 0, at);
    if (str_contains(host, STR(".")) || str_contains(host, STR(":")) || str_eqz(host, "localhost"))
        return host;
    return STR("docker.io");
}

static bool matches(struct str key, struct str registry)
{
    size_t at;
    if (str_starts(key, STR("https://")))
        key = str_sub(key, 8, key.len);
    else if (str_starts(key, STR("http://")))
        key = str_sub(key, 7, key.len);
    if (str_index(key, '/', &at))
        key = str_sub(key, 0, at);
    return str_eq(key, registry) || (str_eqz(registry, "docker.io") && str_eqz(key, "index.docker.io"));
}

static Runtime__V1__AuthConfig *auth_from(struct arena *a, const struct value *entry)
{
    Runtime__V1__AuthConfig *auth = arena_alloc(a, sizeof *auth);
    struct str packed = value_path_str(entry, "auth");
    runtime__v1__auth_config__init(auth);
    auth->username = config_z(a, value_path_str(entry, "username"));
    auth->password = config_z(a, value_path_str(entry, "password"));
    auth->identity_token = config_z(a, value_path_str(entry, "identitytoken"));
    struct str plain, user;
    if (packed.len && !*auth->username && base64_decode(a, packed, &plain) && str_split(&plain, ':', &user) &&
        plain.p) {
        auth->username = config_z(a, user);
        auth->password = config_z(a, plain);
    }
    return auth;
}

static Runtime__V1__AuthConfig *find_auth(struct arena *a, struct pod *p, const struct core_v1_pod *pod,
                                          struct str image)
{
    struct str registry = registry_of(image);
    for (size_t i = 0; i < pod->spec->image_pull_secrets.len; i++) {
        struct str name = pod->spec->image_pull_secrets.items[i].name, text;
        struct err err = ERR_INIT;
        struct json_options opt = {0};
        struct value *v;
        for (size_t j = 0; j < p->sources.len; j++) {
            struct source *s = p->sources.items[j];
            if (!source_is(s, SOURCE_SECRET, str_from(p->namespace_), name))
                continue;
            if (source_entry_find(s, STR(".dockerconfigjson"), &text) && source_entry_find(s, STR(".dockercfg"), &text))
                continue;
            if (json_decode(a, text, &opt, &v, &err) < 0)
                continue;
            if (value_getz(v, "auths"))
                v = value_getz(v, "auths");
            for (size_t k = 0; value_is(v, VALUE_MAP) && k < v->map.len; k++) {
                if (matches(v->map.members[k].key, registry))
                    return auth_from(a, v->map.members[k].value);
            }
        }
    }
    return NULL;
}

static void pull(struct ensuring *e)
{
    struct pod *p = e->c->owner;
    Runtime__V1__PullImageRequest req = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    struct arena *a;
    char text[800];
    int64_t until_ms, now_ms = clock_wall_ms();
    if (backoff_waits(&e->c->pull_backoff, e->c->pull_backoff.updated_ms, now_ms, &until_ms)) {
        char message[ERR_MESSAGE_MAX + 300];
        snprintf(text, sizeof text, "Back-off pulling image \"%s\"", e->image);
        if (now_ms >= e->c->next_backoff_event_ms) {
            e->c->next_backoff_event_ms = now_ms + 10000;
            say(e, "Normal", "BackOff", text);
            say(e, "Warning", "Failed", "Error: ImagePullBackOff");
        }
        snprintf(message, sizeof message, "%s: ErrImagePull: %s", text, e->c->pull_error ? e->c->pull_error : "");
        finish(e, NULL, "ImagePullBackOff", message);
        return;
    }
    a = arena_create(0);
    snprintf(text, sizeof text, "Pulling image \"%s\"", e->image);
    say(e, "Normal", "Pulling", text);
    e->began_ms = clock_mono_ms();
    spec.image = e->image;
    req.image = &spec;
    req.auth = find_auth(a, p, e->v->pod, str_from(e->image));
    req.sandbox_config = config_sandbox(a, p, e->v, 0);
    cri_call(p->agent->cri, IMAGE_SERVICE, "PullImage", &req.base, &runtime__v1__pull_image_response__descriptor,
             PULL_TIMEOUT_MS, pulled, e);
    arena_destroy(a);
}

static void found(struct ensuring *e, const Runtime__V1__Image *image)
{
    struct image_facts facts = {
        .id = image->id, .uid = image->uid ? image->uid->value : -1, .username = image->username};
    struct arena *a = arena_create(0);
    struct str text;
    if (e->pulled) {
        struct str took = duration_format(a, (clock_mono_ms() - e->began_ms) * 1000000);
        text = arena_printf(a,
                            "Successfully pulled image \"%s\" in " STR_FMT " (" STR_FMT
                            " including waiting). Image size: %llu bytes.",
                            e->image, STR_ARG(took), STR_ARG(took), (unsigned long long)image->size);
    } else {
        text = arena_printf(a, "Container image \"%s\" already present on machine and can be accessed by the pod",
                            e->image);
    }
    say(e, "Normal", "Pulled", text.p);
    arena_destroy(a);
    finish(e, &facts, NULL, NULL);
}

static void status_known(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct ensuring *e = arg;
    const Runtime__V1__ImageStatusResponse *answer = (const void *)response;
    const char *policy = policy_of(pod_container_spec(e->v, e->c));
    char text[800];
    if (!answer) {
        snprintf(text, sizeof text, "Failed to inspect image \"%s\": %s", e->image, err->message);
        say(e, "Warning", "InspectFailed", text);
        say(e, "Warning", "Failed", "Error: ImageInspectError");
        finish(e, NULL, "ImageInspectError", text);
        return;
    }
    if (answer->image && (e->pulled || strcmp(policy, "Always") != 0)) {
        found(e, answer->image);
    } else if (e->pulled) {
        pull_failed(e, "the runtime does not have the image after pulling it");
    } else if (strcmp(policy, "Never") == 0) {
        snprintf(text, sizeof text, "Container image \"%s\" is not present with pull policy of Never", e->image);
        say(e, "Warning", "ErrImageNeverPull", text);
        say(e, "Warning", "Failed", "Error: ErrImageNeverPull");
        finish(e, NULL, "ErrImageNeverPull", text);
    } else {
        pull(e);
    }
}

static void ask_status(struct ensuring *e)
{
    Runtime__V1__ImageStatusRequest req = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    spec.image = e->image;
    req.image = &spec;
    cri_call(e->c->owner->agent->cri, IMAGE_SERVICE, "ImageStatus", &req.base,
             &runtime__v1__image_status_response__descriptor, RUNTIME_TIMEOUT_MS, status_known, e);
}

void image_ensure(struct pod_container *c, const struct pod_version *v, image_done *done, void *arg)
{
    struct ensuring *e = calloc(1, sizeof *e);
    struct str image = pod_container_spec(v, c)->image;
    char field[400];
    *e = (struct ensuring){.c = c, .v = v, .done = done, .arg = arg, .image = strndup(image.p, image.len)};
    snprintf(field, sizeof field, "spec.%s{%s}", c->init ? "initContainers" : "containers", c->name);
    e->field = strdup(field);
    ask_status(e);
}

/* ---- the list ---- */

static void list(void *arg);

static int larger_first(const void *a, const void *b)
{
    const Runtime__V1__Image *x = *(Runtime__V1__Image *const *)a, *y = *(Runtime__V1__Image *const *)b;
    return (x->size < y->size) - (x->size > y->size);
}

static void listed(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct images *i = arg;
    const Runtime__V1__ListImagesResponse *answer = (const void *)response;
    (void)err;
    timer_start(&i->timer, i->agent->loop, answer ? LIST_EVERY_MS : 2000, list, i);
    if (!answer)
        return;
    arena_destroy(i->arena);
    i->arena = arena_create(0);
    i->value = value_list(i->arena);
    if (answer->n_images)
        qsort(answer->images, answer->n_images, sizeof *answer->images, larger_first);
    for (size_t n = 0; n < answer->n_images && n < REPORTED_MAX; n++) {
        struct value *one = value_map(i->arena), *names = value_list(i->arena);
        for (size_t j = 0; j < answer->images[n]->n_repo_digests && j < 5; j++)
            value_append(i->arena, names,
                         value_stringz(i->arena, arena_strdup(i->arena, answer->images[n]->repo_digests[j])));
        for (size_t j = 0; j < answer->images[n]->n_repo_tags && j < 5; j++)
            value_append(i->arena, names,
                         value_stringz(i->arena, arena_strdup(i->arena, answer->images[n]->repo_tags[j])));
        if (!names->list.len)
            continue;
        value_setz(i->arena, one, "names", names);
        value_setz(i->arena, one, "sizeBytes", value_int(i->arena, (int64_t)answer->images[n]->size));
        value_append(i->arena, i->value, one);
    }
}

static void list(void *arg)
{
    struct images *i = arg;
    Runtime__V1__ListImagesRequest req = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    cri_call(i->agent->cri, IMAGE_SERVICE, "ListImages", &req.base, &runtime__v1__list_images_response__descriptor,
             RUNTIME_TIMEOUT_MS, listed, i);
}

struct images *images_create(struct agent *a)
{
    struct images *i = calloc(1, sizeof *i);
    i->agent = a;
    timer_start(&i->timer, a->loop, 0, list, i);
    return i;
}

void images_destroy(struct images *i)
{
    if (!i)
        return;
    timer_stop(&i->timer);
    arena_destroy(i->arena);
    free(i);
}

struct value *images_value(const struct images *i, struct arena *a)
{
    return i->value ? value_copy(a, i->value) : value_list(a);
}
