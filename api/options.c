#include "api/options.h"

#include "openapi/problems.h"

#include <stdlib.h>

struct api_options api_options_default(void)
{
    return (struct api_options){.grace_period_s = -1};
}

/* strconv.ParseBool's words, and the empty string as upstream's query conversion reads it: present means true. */
static bool parse_bool(struct str s)
{
    return !(str_eqz(s, "false") || str_eqz(s, "0") || str_eq_nocase(s, STR("f")) || str_eqz(s, "False") ||
             str_eqz(s, "FALSE"));
}

static int parse_int(struct str s, int64_t *ret, struct err *err)
{
    if (s.len == 0) {
        *ret = 0;
        return 0;
    }
    if (!str_to_i64(s, ret))
        return err_set(err, ERR_BAD_REQUEST, "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(s));
    return 0;
}

static int set_option(struct api_options *o, struct str name, struct str value, struct err *err)
{
    static const struct {
        const char *name;
        size_t offset;
    } strings[] = {
        {"labelSelector", offsetof(struct api_options, label_selector)},
        {"fieldSelector", offsetof(struct api_options, field_selector)},
        {"continue", offsetof(struct api_options, continue_)},
        {"resourceVersion", offsetof(struct api_options, resource_version)},
        {"resourceVersionMatch", offsetof(struct api_options, resource_version_match)},
        {"fieldManager", offsetof(struct api_options, field_manager)},
        {"fieldValidation", offsetof(struct api_options, field_validation)},
        {"propagationPolicy", offsetof(struct api_options, propagation_policy)},
        {"includeObject", offsetof(struct api_options, include_object)},
    };
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (str_eqz(name, strings[i].name)) {
            *(struct str *)((char *)o + strings[i].offset) = value;
            return 0;
        }
    if (str_eqz(name, "limit"))
        return parse_int(value, &o->limit, err);
    if (str_eqz(name, "timeoutSeconds"))
        return parse_int(value, &o->timeout_s, err);
    if (str_eqz(name, "gracePeriodSeconds"))
        return parse_int(value, &o->grace_period_s, err);
    if (str_eqz(name, "watch"))
        o->watch = parse_bool(value);
    else if (str_eqz(name, "allowWatchBookmarks"))
        o->allow_bookmarks = parse_bool(value);
    else if (str_eqz(name, "sendInitialEvents"))
        o->send_initial_events = parse_bool(value), o->has_send_initial_events = true;
    else if (str_eqz(name, "pretty"))
        o->pretty = parse_bool(value), o->has_pretty = true;
    else if (str_eqz(name, "force"))
        o->force = parse_bool(value);
    else if (str_eqz(name, "orphanDependents"))
        o->orphan_dependents = parse_bool(value), o->has_orphan_dependents = true;
    else if (str_eqz(name, "dryRun")) {
        if (!str_eqz(value, "All"))
            return 1;
        o->dry_run = true;
    }
    return 0;
}

static void check_list(struct problems *p, const struct api_options *o)
{
    struct str match = o->resource_version_match, rv = o->resource_version;
    struct value v = {.kind = VALUE_STRING, .string = match};
    if (o->has_send_initial_events) {
        if (!o->watch)
            problems_add(p, PROBLEM_FORBIDDEN, STR("sendInitialEvents"), NULL,
                         "sendInitialEvents is forbidden for list");
        else if (!match.len)
            problems_add(p, PROBLEM_FORBIDDEN, STR("resourceVersionMatch"), NULL,
                         "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        else if (!str_eqz(match, "NotOlderThan"))
            problems_add_unsupported(p, STR("resourceVersionMatch"), &v, (struct str[]){STR("NotOlderThan"), STR_NULL});
        if (o->watch && o->send_initial_events && !o->allow_bookmarks)
            problems_add(p, PROBLEM_FORBIDDEN, STR("sendInitialEvents"), NULL,
                         "sendInitialEvents is forbidden for watch without allowWatchBookmarks");
        return;
    }
    if (!match.len)
        return;
    if (o->watch) {
        problems_add(p, PROBLEM_FORBIDDEN, STR("resourceVersionMatch"), NULL,
                     "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        return;
    }
    if (!rv.len)
        problems_add(p, PROBLEM_FORBIDDEN, STR("resourceVersionMatch"), NULL,
                     "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (o->continue_.len)
        problems_add(p, PROBLEM_FORBIDDEN, STR("resourceVersionMatch"), NULL,
                     "resourceVersionMatch is forbidden when continue is provided");
    if (!str_eqz(match, "Exact") && !str_eqz(match, "NotOlderThan"))
        problems_add_unsupported(p, STR("resourceVersionMatch"), &v,
                                 (struct str[]){STR("Exact"), STR("NotOlderThan"), STR_NULL});
    if (str_eqz(match, "Exact") && str_eqz(rv, "0"))
        problems_add(p, PROBLEM_FORBIDDEN, STR("resourceVersionMatch"), NULL,
                     "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
}

/* An options object has no name and a kind of its own in the message: the whole sentence is written here. */
static int options_invalid(const char *kind, struct problems *p, struct err *err)
{
    if (!p->len)
        return 0;
    struct str text = problems_text(p);
    int rc = err_set(err, ERR_INVALID, "%s.meta.k8s.io \"\" is invalid: " STR_FMT, kind, STR_ARG(text));
    err->problems = p;
    return rc;
}

int api_options_parse(struct arena *a, struct str query, enum verb verb, struct api_options *ret, struct err *err)
{
    struct api_options o = api_options_default();
    struct problems *p = problems_create(a);
    const char *kind = verb == VERB_CREATE                             ? "CreateOptions"
                       : verb == VERB_UPDATE                           ? "UpdateOptions"
                       : verb == VERB_PATCH                            ? "PatchOptions"
                       : verb & (VERB_DELETE | VERB_DELETE_COLLECTION) ? "DeleteOptions"
                                                                       : "ListOptions";
    struct str name, value;
    while (http_query_next(a, &query, &name, &value)) {
        int rc = set_option(&o, arena_str(a, name), arena_str(a, value), err);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            struct value v = {.kind = VALUE_STRING, .string = value};
            problems_add_unsupported(p, STR("dryRun"), &v, (struct str[]){STR("All"), STR_NULL});
        }
    }
    if (verb & (VERB_LIST | VERB_WATCH | VERB_DELETE_COLLECTION))
        check_list(p, &o);
    if (verb & (VERB_CREATE | VERB_UPDATE | VERB_PATCH) && o.field_validation.len) {
        struct value v = {.kind = VALUE_STRING, .string = o.field_validation};
        if (!str_eqz(o.field_validation, "Ignore") && !str_eqz(o.field_validation, "Warn") &&
            !str_eqz(o.field_validation, "Strict"))
            problems_add_unsupported(p, STR("fieldValidation"), &v,
                                     (struct str[]){STR("Ignore"), STR("Warn"), STR("Strict"), STR_NULL});
    }
    if (o.field_manager.len > 128)
        problems_add_too_long(p, STR("fieldManager"), 128);
    *ret = o;
    return options_invalid(kind, p, err);
}
