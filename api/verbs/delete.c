/* DELETE: mark or remove.
 *
 * An object leaves at once when nothing holds it: no finalizer, no grace. Otherwise deletionTimestamp is set and
 * whoever holds it (the node agent for pods, a finalizer's controller) ends it: with a second DELETE of grace 0, or
 * with the update that takes the last finalizer away (update.c). */
#include "api/admission/admission.h"
#include "api/registry/registry.h"
#include "api/verbs/verb.h"

#include "base/clock.h"
#include "openapi/meta/time.h"
#include "openapi/object/object.h"

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

static int check_options(struct api_request *req, const struct delete_options *o, struct err *err)
{
    struct problems *p = problems_create(req->arena);
    struct value policy = {.kind = VALUE_STRING, .string = o->propagation_policy};
    if (o->propagation_policy.len && o->has_orphan)
        problems_add(p, PROBLEM_INVALID, STR("propagationPolicy"), &policy,
                     "orphanDependents and deletionPropagation cannot be both set");
    else if (o->propagation_policy.len && !str_eqz(o->propagation_policy, "Foreground") &&
             !str_eqz(o->propagation_policy, "Background") && !str_eqz(o->propagation_policy, "Orphan"))
        problems_add_unsupported(
            p, STR("propagationPolicy"), &policy,
            (struct str[]){STR("Foreground"), STR("Background"), STR("Orphan"), STR("nil"), STR_NULL});
    if (!p->len)
        return 0;
    struct str text = problems_text(p);
    int rc = err_set(err, ERR_INVALID, "DeleteOptions.meta.k8s.io \"\" is invalid: " STR_FMT, STR_ARG(text));
    err->problems = p;
    return rc;
}

static void from_body(const struct value *v, struct delete_options *o)
{
    const struct value *orphan = value_getz(v, "orphanDependents");
    o->grace_period_s = value_path_int(v, "gracePeriodSeconds", o->grace_period_s);
    if (value_str(value_getz(v, "propagationPolicy")).len)
        o->propagation_policy = value_str(value_getz(v, "propagationPolicy"));
    if (value_is(orphan, VALUE_BOOL)) {
        o->has_orphan = true;
        o->orphan = orphan->boolean;
    }
    o->uid = value_path_str(v, "preconditions.uid");
    o->revision_text = value_path_str(v, "preconditions.resourceVersion");
    o->dry_run = o->dry_run || value_len(value_getz(v, "dryRun")) > 0;
}

int delete_options_parse(struct api_request *req, struct delete_options *ret, struct err *err)
{
    struct delete_options o = {.grace_period_s = req->options.grace_period_s,
                               .propagation_policy = req->options.propagation_policy,
                               .has_orphan = req->options.has_orphan_dependents,
                               .orphan = req->options.orphan_dependents,
                               .dry_run = req->options.dry_run};
    struct value *v = NULL;
    if (req->body_value || req->body.len) {
        const struct schema_message *schema =
            schema_message_find(STR("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"));
        if (!req->body_value && body_plain(req, schema, &v, err) < 0) {
            struct err cause = *err;
            return err_set(err, ERR_BAD_REQUEST, "could not decode DeleteOptions: %s", cause.message);
        }
        from_body(req->body_value ? req->body_value : v, &o);
    }
    req->options.dry_run = o.dry_run;
    *ret = o;
    return check_options(req, &o, err);
}

static int check_preconditions(struct write *w, const struct delete_options *o, struct err *err)
{
    if (o->uid.len && !str_eq(o->uid, w->old->uid))
        return api_err_conflict(w->req, w->old->name, err,
                                "Precondition failed: UID in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                                STR_ARG(o->uid), STR_ARG(w->old->uid));
    int64_t revision = 0;
    if (o->revision_text.len && (!str_to_i64(o->revision_text, &revision) || revision != w->old->revision))
        return api_err_conflict(w->req, w->old->name, err,
                                "Precondition failed: ResourceVersion in precondition: " STR_FMT
                                ", ResourceVersion in object meta: %lld",
                                STR_ARG(o->revision_text), (long long)w->old->revision);
    return 0;
}

static bool has_finalizer(const struct value *list, const char *name)
{
    for (size_t i = 0; i < value_len(list); i++)
        if (str_eqz(value_str(value_at(list, i)), name))
            return true;
    return false;
}

/* The garbage collector's finalizers as the options (or what stood there) say. */
static bool set_collector_finalizers(struct arena *a, struct value *v, const struct delete_options *o)
{
    struct value *metadata = value_getz(v, "metadata"), *old = value_getz(metadata, "finalizers");
    bool had_orphan = has_finalizer(old, FINALIZER_ORPHAN), had_foreground = has_finalizer(old, FINALIZER_FOREGROUND);
    bool orphan = had_orphan, foreground = had_foreground;
    if (o->has_orphan) {
        orphan = o->orphan;
        foreground = false;
    } else if (o->propagation_policy.len) {
        orphan = str_eqz(o->propagation_policy, "Orphan");
        foreground = str_eqz(o->propagation_policy, "Foreground");
    }
    if (orphan == had_orphan && foreground == had_foreground)
        return false;
    struct value *list = value_list(a);
    for (size_t i = 0; i < value_len(old); i++) {
        struct str f = value_str(value_at(old, i));
        if (!str_eqz(f, FINALIZER_ORPHAN) && !str_eqz(f, FINALIZER_FOREGROUND))
            value_append(a, list, value_at(old, i));
    }
    if (orphan)
        value_append(a, list, value_stringz(a, FINALIZER_ORPHAN));
    if (foreground)
        value_append(a, list, value_stringz(a, FINALIZER_FOREGROUND));
    value_setz(a, metadata, "finalizers", list);
    return true;
}

static void set_deletion(struct arena *a, struct value *v, int64_t at_us, int64_t grace_s)
{
    struct value *metadata = value_getz(v, "metadata");
    bool first = !value_str(value_getz(metadata, "deletionTimestamp")).len;
    int64_t generation = value_path_int(metadata, "generation", 0);
    value_setz(a, metadata, "deletionTimestamp", value_string(a, time_format(a, at_us)));
    if (grace_s >= 0)
        value_setz(a, metadata, "deletionGracePeriodSeconds", value_int(a, grace_s));
    if (first && generation > 0)
        value_setz(a, metadata, "generation", value_int(a, generation + 1));
}

enum grace { GRACE_NONE, GRACE_SET, GRACE_PENDING };

static enum grace apply_grace(struct write *w, const struct registry_rules *rules, struct value *v,
                              const struct delete_options *o, int64_t *ret_period_s)
{
    struct arena *a = w->req->arena;
    *ret_period_s = 0;
    if (!rules->grace)
        return GRACE_NONE;
    if (!w->old->deletion_s) {
        *ret_period_s = rules->grace(v, o->grace_period_s);
        set_deletion(a, v, clock_wall_us() + *ret_period_s * 1000000, *ret_period_s);
        return GRACE_SET;
    }
    int64_t current = value_path_int(v, "metadata.deletionGracePeriodSeconds", -1);
    if (current < 0)
        return GRACE_NONE;
    if (o->grace_period_s < 0 || o->grace_period_s >= current)
        return o->grace_period_s == 0 && current == 0 ? GRACE_SET : GRACE_PENDING;
    int64_t at_us = (w->old->deletion_s - current + o->grace_period_s) * 1000000;
    set_deletion(a, v, at_us, o->grace_period_s);
    *ret_period_s = o->grace_period_s;
    return GRACE_SET;
}

static void remove_now(struct write *w, const struct registry_rules *rules, struct registry_call *call)
{
    if (rules->release)
        rules->release(call, w->old_value);
    w->now = NULL;
    w->remove = true;
}

int delete_compute(struct write *w, const struct delete_options *opt, struct err *err)
{
    struct api_request *req = w->req;
    struct arena *a = req->arena;
    const struct registry_rules *rules = registry_rules_of(w->resource);
    struct registry_call call = {.arena = a, .server = req->server, .req = req, .write = w};
    int rc = check_preconditions(w, opt, err);
    if (rc < 0)
        return rc;
    struct admission_call admit = {.req = req,
                                   .arena = a,
                                   .server = req->server,
                                   .verb = VERB_DELETE,
                                   .resource = w->resource,
                                   .namespace_ = req->namespace_,
                                   .name = w->old->name,
                                   .old = w->old_value,
                                   .write = w};
    if ((rc = admission_validate(req->server->admission, &admit, err)) < 0)
        return rc;
    struct value *v = value_copy(a, w->old_value);
    if (rules->begin_delete && !w->old->deletion_s) {
        set_collector_finalizers(a, v, opt);
        set_deletion(a, v, clock_wall_us(), -1);
        w->now = v;
        return rules->begin_delete(&call, v, err);
    }
    if (w->old->deletion_s && rules->may_leave && !rules->may_leave(v)) {
        w->nothing = true;
        return 0;
    }
    int64_t period_s;
    enum grace grace = apply_grace(w, rules, v, opt, &period_s);
    if (grace == GRACE_PENDING) {
        w->nothing = true;
        return 0;
    }
    set_collector_finalizers(a, v, opt);
    bool held = value_len(value_path(v, "metadata.finalizers")) > 0;
    if (!held && period_s == 0) {
        remove_now(w, rules, &call);
        return 0;
    }
    if (grace == GRACE_NONE) {
        int64_t now_us = clock_wall_us();
        bool keep = w->old->deletion_s && w->old->deletion_s * 1000000 <= now_us;
        set_deletion(a, v, keep ? w->old->deletion_s * 1000000 : now_us, 0);
    }
    w->now = v;
    return 0;
}

static void answer_success(struct write *w)
{
    struct arena *a = w->req->arena;
    struct value *v = value_map(a), *details = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, "Status"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, v, "metadata", value_map(a));
    value_setz(a, v, "status", value_stringz(a, "Success"));
    value_setz(a, details, "name", value_string(a, w->old->name));
    if (w->req->resource->group.len)
        value_setz(a, details, "group", value_string(a, w->req->resource->group));
    value_setz(a, details, "kind", value_string(a, w->req->resource->name));
    value_setz(a, details, "uid", value_string(a, w->old->uid));
    value_setz(a, v, "details", details);
    api_answer_value(w->req, 200, NULL, v);
}

static void answer_deleted(struct write *w, const struct object *o)
{
    const struct delete_options *opt = w->arg;
    if (w->remove && !(registry_rules_of(w->resource)->flags & REGISTRY_RETURN_DELETED))
        answer_success(w);
    else
        api_answer_object(w->req, !w->remove && opt->has_orphan && !opt->orphan ? 202 : 200, o);
}

static int compute(struct write *w, struct err *err)
{
    int rc = write_load(w, err);
    return rc < 0 ? rc : delete_compute(w, w->arg, err);
}

void verb_delete(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct delete_options *opt = ARENA_NEW(req->arena, struct delete_options);
    if (delete_options_parse(req, opt, &err) < 0) {
        api_answer_err(req, &err);
        return;
    }
    struct write *w = write_create(req, compute);
    w->arg = opt;
    w->retry = true;
    w->answer = answer_deleted;
    write_run(w);
}
