/* Rows of what governs others: budgets, quotas, bindings, leases, classes, webhooks, flow control, requests. */
#include "openapi/meta/time.h"
#include "openapi/table_printers.h"

#include <stdlib.h>

static void int_or_text(struct row *r, const struct value *v, const char *otherwise)
{
    if (value_is(v, VALUE_INT))
        cellf(r, "%lld", (long long)v->integer);
    else
        cell_or(r, value_str(v), otherwise);
}

static void print_disruption_budget(struct row *r)
{
    cell_name(r);
    int_or_text(r, value_path(r->obj, "spec.minAvailable"), "N/A");
    int_or_text(r, value_path(r->obj, "spec.maxUnavailable"), "N/A");
    cell_number(r, "status.disruptionsAllowed");
    cell_age(r);
}

static int compare_member(const void *x, const void *y)
{
    return str_cmp(((const struct value_member *)x)->key, ((const struct value_member *)y)->key);
}

static void print_resource_quota(struct row *r)
{
    const struct value *hard = value_path(r->obj, "status.hard"), *used = value_path(r->obj, "status.used");
    struct str requests = STR(""), limits = STR("");
    size_t n = value_len(hard);
    struct value_member *sorted = n ? arena_memdup(r->a, hard->map.members, n * sizeof *sorted) : NULL;
    if (n)
        qsort(sorted, n, sizeof *sorted, compare_member);
    for (size_t i = 0; i < n; i++) {
        struct str u = value_str(value_get(used, sorted[i].key));
        struct str text = arena_printf(r->a, STR_FMT ": " STR_FMT "/" STR_FMT, STR_ARG(sorted[i].key),
                                       STR_ARG(u.len ? u : STR("0")), STR_ARG(value_str(sorted[i].value)));
        struct str *to = str_starts(sorted[i].key, STR("limits")) ? &limits : &requests;
        *to = append(r, *to, ", ", text);
    }
    cell_name(r);
    cell(r, requests);
    cell(r, limits);
    cell_age(r);
}

static void print_binding(struct row *r)
{
    static const char *const kinds[] = {"User", "Group", "ServiceAccount"};
    const struct value *subjects = value_getz(r->obj, "subjects");
    cell_name(r);
    cellf(r, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(r->obj, "roleRef.kind")),
          STR_ARG(value_path_str(r->obj, "roleRef.name")));
    cell_age(r);
    for (size_t k = 0; k < 3; k++) {
        struct str out = STR("");
        for (size_t i = 0; i < value_len(subjects); i++) {
            const struct value *s = value_at(subjects, i);
            struct str name = value_path_str(s, "name"), ns = value_path_str(s, "namespace");
            if (!str_eqz(value_path_str(s, "kind"), kinds[k]))
                continue;
            out = append(r, out, ", ",
                         k == 2 ? arena_printf(r->a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name)) : name);
        }
        cell(r, out);
    }
}

static void print_lease(struct row *r)
{
    cell_name(r);
    cell_text(r, "spec.holderIdentity");
    cell_age(r);
}

static void print_priority_class(struct row *r)
{
    cell_name(r);
    cell_number(r, "value");
    cell_bool(r, value_path_bool(r->obj, "globalDefault", false));
    cell_age(r);
    cell_text(r, "preemptionPolicy");
}

static void print_runtime_class(struct row *r)
{
    cell_name(r);
    cell_text(r, "handler");
    cell_age(r);
}

static void print_webhooks(struct row *r)
{
    cell_name(r);
    cell_int(r, (int64_t)value_len(value_getz(r->obj, "webhooks")));
    cell_age(r);
}

static void print_signing_request(struct row *r)
{
    const struct value *conditions = value_path(r->obj, "status.conditions");
    const struct value *expires = value_path(r->obj, "spec.expirationSeconds");
    bool approved = false, denied = false, failed = false;
    for (size_t i = 0; i < value_len(conditions); i++) {
        struct str type = value_path_str(value_at(conditions, i), "type");
        approved |= str_eqz(type, "Approved");
        denied |= str_eqz(type, "Denied");
        failed |= str_eqz(type, "Failed");
    }
    struct str text = denied ? STR("Denied") : approved ? STR("Approved") : STR("Pending");
    if (failed)
        text = append(r, text, ",", STR("Failed"));
    if (value_path_str(r->obj, "status.certificate").len)
        text = append(r, text, ",", STR("Issued"));
    cell_name(r);
    cell_age(r);
    cell_or(r, value_path_str(r->obj, "spec.signerName"), "<none>");
    cell_text(r, "spec.username");
    cell(r, value_is(expires, VALUE_INT) ? duration_human(r->a, expires->integer * 1000000) : STR("<none>"));
    cell(r, text);
}

static void print_flow_schema(struct row *r)
{
    const struct value *dangling = condition(r->obj, "Dangling");
    struct str status = value_path_str(dangling, "status");
    cell_name(r);
    cell_or(r, value_path_str(r->obj, "spec.priorityLevelConfiguration.name"), "<none>");
    cell_number(r, "spec.matchingPrecedence");
    cell_or(r, value_path_str(r->obj, "spec.distinguisherMethod.type"), "<none>");
    cell_age(r);
    cell_or(r, status, "?");
}

static void print_priority_level(struct row *r)
{
    static const char *const limits[] = {"spec.limited.limitResponse.queuing.queues",
                                         "spec.limited.limitResponse.queuing.handSize",
                                         "spec.limited.limitResponse.queuing.queueLengthLimit"};
    bool exempt = str_eqz(value_path_str(r->obj, "spec.type"), "Exempt");
    const struct value *shares =
        value_path(r->obj, exempt ? "spec.exempt.nominalConcurrencyShares" : "spec.limited.nominalConcurrencyShares");
    cell_name(r);
    cell_text(r, "spec.type");
    int_or_text(r, shares, "<none>");
    for (size_t i = 0; i < 3; i++)
        int_or_text(r, value_path(r->obj, limits[i]), "<none>");
    cell_age(r);
}

static void print_resource_slice(struct row *r)
{
    cell_name(r);
    cell_or(r, value_path_str(r->obj, "spec.nodeName"), "<unset>");
    cell_text(r, "spec.driver");
    cell_text(r, "spec.pool.name");
    cell_age(r);
}

static void print_resource_claim(struct row *r)
{
    bool allocated = value_is(value_path(r->obj, "status.allocation"), VALUE_MAP);
    bool reserved = value_len(value_path(r->obj, "status.reservedFor")) > 0;
    bool going = value_path_str(r->obj, "metadata.deletionTimestamp").len > 0;
    struct str state = !allocated ? STR("pending") : reserved ? STR("allocated,reserved") : STR("allocated");
    cell_name(r);
    cell(r, going ? append(r, STR("deleted"), ",", state) : state);
    cell_age(r);
}

const struct table_printer policy_printers[] = {
    {"podDisruptionBudget", print_disruption_budget},
    {"resourceQuota", print_resource_quota},
    {"roleBindings", print_binding},
    {"clusterRoleBindings", print_binding},
    {"lease", print_lease},
    {"priorityClass", print_priority_class},
    {"runtimeClass", print_runtime_class},
    {"mutatingWebhook", print_webhooks},
    {"validatingWebhook", print_webhooks},
    {"certificateSigningRequest", print_signing_request},
    {"flowSchema", print_flow_schema},
    {"priorityLevel", print_priority_level},
    {"nodeResourceSlice", print_resource_slice},
    {"resourceClaim", print_resource_claim},
    {NULL, NULL},
};
