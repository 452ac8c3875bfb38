/* Claims get the default class; claims and volumes stay while something uses them. */
#include "api/admission/admission.h"

#include "openapi/object/object.h"
#include "openapi/object/tree.h"

#define DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"
#define DEFAULT_CLASS_BETA "storageclass.beta.kubernetes.io/is-default-class"

static bool is_default(const struct value *v)
{
    const struct value *annotations = value_path(v, "metadata.annotations");
    return str_eqz(value_str(value_getz(annotations, DEFAULT_CLASS)), "true") ||
           str_eqz(value_str(value_getz(annotations, DEFAULT_CLASS_BETA)), "true");
}

static int admit_class(struct admission_call *c, struct err *err)
{
    (void)err;
    if (c->verb != VERB_CREATE || !admission_is(c, "", "persistentvolumeclaims"))
        return 0;
    struct value *spec = value_ensure_map(c->arena, c->object, "spec");
    if (value_getz(spec, "storageClassName") ||
        value_getz(value_path(c->object, "metadata.annotations"), "volume.beta.kubernetes.io/storage-class"))
        return 0;
    struct object_tree_iter it;
    const struct object *o, *best = NULL; /* the newest, then the first by name */
    object_tree_iter_init(&it, admission_list(c, "storage.k8s.io", "storageclasses"), STR(""));
    while ((o = object_tree_next(&it)))
        if ((!best || o->creation_s > best->creation_s) && is_default(object_value(c->arena, o)))
            best = o;
    if (best)
        value_setz(c->arena, spec, "storageClassName", value_string(c->arena, best->name));
    return 0;
}

static int admit_finalizer(struct admission_call *c, struct err *err)
{
    (void)err;
    bool claim = admission_is(c, "", "persistentvolumeclaims");
    if (c->verb != VERB_CREATE || !(claim || admission_is(c, "", "persistentvolumes")))
        return 0;
    const char *name = claim ? "kubernetes.io/pvc-protection" : "kubernetes.io/pv-protection";
    struct value *list = value_ensure_list(c->arena, c->object, "metadata.finalizers");
    for (size_t i = 0; i < value_len(list); i++)
        if (str_eqz(value_str(value_at(list, i)), name))
            return 0;
    value_append(c->arena, list, value_string(c->arena, str_from(name)));
    return 0;
}

const struct admission_plugin admission_default_storage_class = {"DefaultStorageClass", admit_class, NULL};
const struct admission_plugin admission_storage_object_in_use_protection = {"StorageObjectInUseProtection",
                                                                            admit_finalizer, NULL};
