#include "node/volumes/token.h"

#include "base/clock.h"
#include "openapi/meta/time.h"

#include <stdlib.h>

#define DEFAULT_LIFE_S 3600
#define RENEW_AFTER_MAX_MS (24 * 60 * 60 * 1000)
#define RETRY_MS 1000

struct one_token {
    struct volume_tokens *owner; /* NULL: forgotten, free when the answer comes */
    size_t volume, source;
    char *text;
    struct err error;
    bool asking;
    struct timer renew;
};

struct volume_tokens {
    struct pod *pod;
    VEC(struct one_token *) items;
    void (*on_change)(void *arg);
    void *arg;
};

struct volume_tokens *volume_tokens_create(struct pod *p, void (*on_change)(void *arg), void *arg)
{
    struct volume_tokens *t = calloc(1, sizeof *t);
    t->pod = p;
    t->on_change = on_change;
    t->arg = arg;
    return t;
}

static void free_one(struct one_token *one)
{
    free(one->text);
    free(one);
}

void volume_tokens_destroy(struct volume_tokens *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->items.len; i++) {
        struct one_token *one = t->items.items[i];
        timer_stop(&one->renew);
        one->owner = NULL;
        if (!one->asking)
            free_one(one);
    }
    vec_free(&t->items);
    free(t);
}

static void ask(struct one_token *one);

static void renew(void *arg)
{
    ask(arg);
}

static void answered(void *arg, const struct client_answer *answer)
{
    struct one_token *one = arg;
    struct str token = value_path_str(answer->value, "status.token");
    int64_t expires_ms = time_from(value_path_str(answer->value, "status.expirationTimestamp")) / 1000, left;
    one->asking = false;
    if (!one->owner) {
        free_one(one);
        return;
    }
    if (answer->rc < 0 || !token.len) {
        one->error = answer->err ? *answer->err : ERR_INIT;
        one->error.problems = NULL;
        if (!one->error.code)
            err_set(&one->error, ERR_INTERNAL, "the answer holds no token");
        err_context(&one->error, "failed to fetch token");
        timer_start(&one->renew, one->owner->pod->agent->loop, RETRY_MS, renew, one);
    } else {
        one->error = ERR_INIT;
        free(one->text);
        one->text = strndup(token.p, token.len);
        left = (expires_ms - clock_wall_ms()) / 5 * 4;
        if (left > RENEW_AFTER_MAX_MS)
            left = RENEW_AFTER_MAX_MS;
        timer_start(&one->renew, one->owner->pod->agent->loop, left > RETRY_MS ? left : RETRY_MS, renew, one);
    }
    one->owner->on_change(one->owner->arg);
}

static void ask(struct one_token *one)
{
    struct pod *p = one->owner->pod;
    const struct core_v1_pod *pod = p->version ? p->version->pod : NULL;
    struct arena *a;
    struct value *v, *bound, *audiences;
    struct client_call call = {.verb = VERB_CREATE,
                               .resource = resource_find(STR(""), STR("serviceaccounts")),
                               .subresource = STR("token"),
                               .grace_period_s = -1};
    if (!pod || one->asking || one->volume >= pod->spec->volumes.len ||
        !pod->spec->volumes.items[one->volume].projected ||
        one->source >= pod->spec->volumes.items[one->volume].projected->sources.len)
        return;
    __typeof__(pod->spec->volumes.items[0].projected->sources.items[0].service_account_token) want =
        pod->spec->volumes.items[one->volume].projected->sources.items[one->source].service_account_token;
    a = arena_create(0);
    v = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, "TokenRequest"));
    value_setz(a, v, "apiVersion", value_stringz(a, "authentication.k8s.io/v1"));
    audiences = value_list(a);
    if (want->audience.len)
        value_append(a, audiences, value_string(a, want->audience));
    value_set_path(a, v, "spec.audiences", audiences);
    value_set_path(a, v, "spec.expirationSeconds",
                   value_int(a, want->has_expiration_seconds ? want->expiration_seconds : DEFAULT_LIFE_S));
    bound = value_map(a);
    value_setz(a, bound, "kind", value_stringz(a, "Pod"));
    value_setz(a, bound, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, bound, "name", value_stringz(a, p->name));
    value_setz(a, bound, "uid", value_stringz(a, p->uid));
    value_set_path(a, v, "spec.boundObjectRef", bound);
    call.namespace_ = str_from(p->namespace_);
    call.name = pod->spec->service_account_name.len ? pod->spec->service_account_name : STR("default");
    call.body = v;
    one->asking = true;
    client_send(p->agent->client, &call, answered, one);
    arena_destroy(a);
}

int volume_token(struct volume_tokens *t, size_t volume, size_t source, struct str *ret, struct err *err)
{
    struct one_token *one = NULL;
    for (size_t i = 0; i < t->items.len; i++) {
        if (t->items.items[i]->volume == volume && t->items.items[i]->source == source)
            one = t->items.items[i];
    }
    if (!one) {
        one = calloc(1, sizeof *one);
        *one = (struct one_token){.owner = t, .volume = volume, .source = source};
        vec_push(&t->items, one);
        ask(one);
    }
    if (one->text) {
        *ret = str_from(one->text);
        return 0;
    }
    if (one->error.code) {
        *err = one->error;
        return err->code;
    }
    return 1;
}
