/* ObjectMeta: names by the kind's rule, labels, annotations, owners, finalizers; what an update may not change. */
#include "openapi/validate/rules.h"

#define ANNOTATIONS_MAX (256 * 1024)

/* A generated name may end in a dash: what follows will not. */
static struct str mask_trailing_dash(struct check *c, struct str s)
{
    if (s.len < 2 || s.p[s.len - 1] != '-')
        return s;
    return arena_printf(c->a, STR_FMT "a", STR_ARG(str_sub(s, 0, s.len - 2)));
}

static void check_kind_name(struct check *c, at_path at, struct str shown, struct str name, enum field_format format)
{
    struct name_faults f = {0};
    name_check_format(&f, format == FORMAT_NONE ? FORMAT_DNS1123_SUBDOMAIN : format, name);
    for (size_t i = 0; i < f.len; i++)
        bad_invalid(c, at, text_value(c, shown), "%s", f.items[i]);
}

static void check_annotations(struct check *c, at_path at, const struct value *annotations)
{
    size_t total = 0;
    for (size_t i = 0; i < value_len(annotations) && annotations->kind == VALUE_MAP; i++) {
        struct str key = annotations->map.members[i].key;
        char *lower = arena_memdup(c->a, key.p, key.len);
        for (size_t j = 0; j < key.len; j++)
            lower[j] = (char)(lower[j] >= 'A' && lower[j] <= 'Z' ? lower[j] + 32 : lower[j]);
        struct name_faults f = {0};
        name_check_qualified(&f, (struct str){lower, key.len});
        for (size_t j = 0; j < f.len; j++)
            bad_invalid(c, at, text_value(c, key), "%s", f.items[j]);
        total += key.len + value_str(annotations->map.members[i].value).len;
    }
    if (total > ANNOTATIONS_MAX)
        problems_add_too_long(c->p, field_path_text(c->a, at), ANNOTATIONS_MAX);
}

static void check_owners(struct check *c, at_path at, const struct value *owners)
{
    struct str controller = STR_NULL;
    for (size_t i = 0; i < value_len(owners); i++) {
        const struct value *o = value_at(owners, i);
        at_path here = AT_INDEX(at, i);
        if (text_of(o, "apiVersion").len == 0 || str_ends(text_of(o, "apiVersion"), STR("/")))
            bad_invalid(c, AT(here, "apiVersion"), text_value(c, text_of(o, "apiVersion")),
                        "version must not be empty");
        static const char *const needed[] = {"kind", "name", "uid"};
        for (size_t j = 0; j < 3; j++) {
            if (text_of(o, needed[j]).len == 0)
                bad_invalid(c, AT_STR(here, str_from(needed[j])), text_value(c, STR("")), "must not be empty");
        }
        if (text_is(o, "apiVersion", "v1") && text_is(o, "kind", "Event"))
            bad_invalid(c, here, o, "/v1, Kind=Event is disallowed from being an owner");
        if (!bool_of(o, "controller"))
            continue;
        if (controller.p)
            bad_invalid(c, at, owners,
                        "Only one reference can have Controller set to true. Found \"true\" in references for " STR_FMT
                        " and " STR_FMT,
                        STR_ARG(controller), STR_ARG(text_of(o, "name")));
        else
            controller = text_of(o, "name");
    }
}

static void check_finalizers(struct check *c, at_path at, const struct value *finalizers)
{
    bool orphan = false, foreground = false;
    for (size_t i = 0; i < value_len(finalizers); i++) {
        struct str name = value_str(value_at(finalizers, i));
        struct name_faults f = {0};
        size_t slash = 0;
        name_check_qualified(&f, name);
        bad_name(c, at, name_check_qualified, name);
        orphan |= str_eqz(name, "orphan");
        foreground |= str_eqz(name, "foregroundDeletion");
        if (f.len == 0 && !str_index(name, '/', &slash) && !one_of(name, "kubernetes,orphan,foregroundDeletion"))
            bad_invalid(c, AT_INDEX(at, i), text_value(c, name),
                        "name is neither a standard finalizer name nor is it fully qualified");
    }
    if (orphan && foreground)
        bad_invalid(c, at, finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
}

void check_object_meta(struct check *c, at_path at, const struct value *meta, bool namespaced, enum field_format format)
{
    struct str generate = text_of(meta, "generateName"), name = text_of(meta, "name"), ns = text_of(meta, "namespace");
    if (generate.len)
        check_kind_name(c, AT(at, "generateName"), generate, mask_trailing_dash(c, generate), format);
    if (name.len == 0)
        bad_required(c, AT(at, "name"), "name or generateName is required");
    else
        check_kind_name(c, AT(at, "name"), name, name, format);
    if (!namespaced && ns.len)
        bad_forbidden(c, AT(at, "namespace"), "not allowed on this type");
    else if (namespaced && ns.len == 0)
        bad_required(c, AT(at, "namespace"), "");
    else if (namespaced)
        bad_name(c, AT(at, "namespace"), name_check_dns1123_label, ns);
    check_not_negative(c, at, meta, "generation");
    check_labels(c, AT(at, "labels"), value_getz(meta, "labels"));
    check_annotations(c, AT(at, "annotations"), value_getz(meta, "annotations"));
    check_owners(c, AT(at, "ownerReferences"), value_getz(meta, "ownerReferences"));
    check_finalizers(c, AT(at, "finalizers"), value_getz(meta, "finalizers"));
}

static bool holds(const struct value *list, struct str s)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eq(value_str(value_at(list, i)), s))
            return true;
    }
    return false;
}

void check_object_meta_update(struct check *c, at_path at, const struct value *meta, const struct value *old)
{
    const struct value *finalizers = value_getz(meta, "finalizers");
    if (has(old, "deletionTimestamp")) {
        struct str added = STR("");
        for (size_t i = 0; i < value_len(finalizers); i++) {
            struct str name = value_str(value_at(finalizers, i));
            if (!holds(value_getz(old, "finalizers"), name))
                added = arena_printf(c->a, STR_FMT "%s\"" STR_FMT "\"", STR_ARG(added), added.len ? ", " : "",
                                     STR_ARG(name));
        }
        if (added.len)
            bad_forbidden(c, AT(at, "finalizers"),
                          "no new finalizers can be added if the object is being deleted, found new finalizers "
                          "[]string{" STR_FMT "}",
                          STR_ARG(added));
    }
    if (int_of(meta, "generation") < int_of(old, "generation"))
        bad_invalid(c, AT(at, "generation"), value_getz(meta, "generation"), "must not be decremented");
    static const char *const fixed[] = {
        "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        check_immutable(c, at, meta, old, fixed[i]);
    check_labels(c, AT(at, "labels"), value_getz(meta, "labels"));
    check_annotations(c, AT(at, "annotations"), value_getz(meta, "annotations"));
    check_owners(c, AT(at, "ownerReferences"), value_getz(meta, "ownerReferences"));
    check_finalizers(c, AT(at, "finalizers"), value_getz(meta, "finalizers"));
}
