/* Volumes that outlive pods, the claims on them and the classes they come from. */
#include "openapi/validate/rules.h"

#include "openapi/meta/quantity.h"

void check_claim_spec(struct check *c, at_path at, const struct value *spec)
{
    const struct value *modes = value_getz(spec, "accessModes");
    struct str storage = value_path_str(spec, "resources.requests.storage");
    struct quantity size = quantity_from(storage);
    bool alone = false;
    for (size_t i = 0; i < value_len(modes); i++)
        alone |= str_eqz(value_str(value_at(modes, i)), "ReadWriteOncePod");
    if (alone && value_len(modes) > 1)
        bad_forbidden(c, AT(at, "accessModes"), "may not use ReadWriteOncePod with other access modes");
    at_path here = AT_KEY(AT(at, "resources"), STR("storage"));
    if (storage.p == NULL)
        bad_required(c, here, "");
    else if (quantity_sign(&size) <= 0)
        bad_invalid(c, here, value_path(spec, "resources.requests.storage"), "must be greater than zero");
    if (text_of(spec, "volumeMode").len && !one_of(text_of(spec, "volumeMode"), "Block,Filesystem"))
        bad_unsupported(c, AT(at, "volumeMode"), value_getz(spec, "volumeMode"), "Block,Filesystem");
    check_label_selector(c, AT(at, "selector"), value_getz(spec, "selector"));
}

static void claim(struct check *c, const struct value *obj)
{
    check_claim_spec(c, AT(NULL, "spec"), value_getz(obj, "spec"));
}

static void claim_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    struct value *now = value_copy(c->a, value_getz(obj, "spec")), *was = value_copy(c->a, value_getz(old_obj, "spec"));
    struct quantity want = quantity_from(value_path_str(now, "resources.requests.storage"));
    struct quantity had = quantity_from(value_path_str(was, "resources.requests.storage"));
    bool bound = text_of(was, "volumeName").len > 0;
    if (!bound)
        value_removez(now, "volumeName");
    value_removez(now, "volumeAttributesClassName");
    value_removez(was, "volumeAttributesClassName");
    if (str_eqz(value_path_str(old_obj, "status.phase"), "Bound")) {
        value_remove_path(now, "resources.requests");
        value_remove_path(was, "resources.requests");
        if (quantity_cmp(&want, &had) < 0)
            bad_forbidden(c, AT(AT(AT(NULL, "spec"), "resources"), "requests.storage"),
                          "field can not be less than previous value");
    }
    if (!value_semantic_equal(now, was))
        bad_forbidden(
            c, AT(NULL, "spec"),
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
            "claims\n");
}

static void volume(struct check *c, const struct value *obj)
{
    static const char plain[] =
        "capacity,accessModes,claimRef,persistentVolumeReclaimPolicy,storageClassName,mountOptions,"
        "volumeMode,nodeAffinity,volumeAttributesClassName";
    const struct value *spec = value_getz(obj, "spec"), *capacity = value_getz(spec, "capacity");
    at_path at = AT(NULL, "spec");
    int sources = 0;
    if (value_len(capacity) && (!has(capacity, "storage") || value_len(capacity) > 1))
        bad_unsupported(c, AT(at, "capacity"), capacity, "storage");
    for (size_t i = 0; i < value_len(capacity); i++) {
        struct quantity q = quantity_from(value_str(capacity->map.members[i].value));
        if (quantity_sign(&q) <= 0)
            bad_invalid(c, AT_KEY(AT(at, "capacity"), capacity->map.members[i].key), capacity->map.members[i].value,
                        "must be greater than zero");
    }
    for (size_t i = 0; value_is(spec, VALUE_MAP) && i < spec->map.len; i++) {
        struct str key = spec->map.members[i].key;
        if (one_of(key, plain) || spec->map.members[i].value->kind != VALUE_MAP)
            continue;
        if (sources++ > 0)
            bad_forbidden(c, AT_STR(at, key), "may not specify more than 1 volume type");
    }
    if (sources == 0)
        bad_required(c, at, "must specify a volume type");
    if (has(spec, "local") && !has(spec, "nodeAffinity"))
        bad_required(c, AT(AT(NULL, "metadata"), "annotations"), "Local volume requires node affinity");
    check_node_selector(c, AT(AT(at, "nodeAffinity"), "required"), value_path(spec, "nodeAffinity.required"));
}

static struct value *without_changeable(struct check *c, const struct value *spec)
{
    static const char plain[] =
        "capacity,accessModes,claimRef,persistentVolumeReclaimPolicy,storageClassName,mountOptions,"
        "volumeMode,nodeAffinity,volumeAttributesClassName";
    struct value *v = value_copy(c->a, spec);
    for (size_t i = v->map.len; i-- > 0;) {
        if (one_of(v->map.members[i].key, plain))
            value_remove(v, v->map.members[i].key);
    }
    return v;
}

static void volume_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    const struct value *spec = value_getz(obj, "spec"), *old = value_getz(old_obj, "spec");
    if (!value_is(spec, VALUE_MAP) || !value_is(old, VALUE_MAP))
        return;
    if (!value_semantic_equal(without_changeable(c, spec), without_changeable(c, old)))
        bad_forbidden(c, AT(AT(NULL, "spec"), "persistentvolumesource"),
                      "spec.persistentvolumesource is immutable after creation\n");
}

static void storage_class(struct check *c, const struct value *obj)
{
    const struct value *parameters = value_getz(obj, "parameters");
    struct str provisioner = text_of(obj, "provisioner");
    size_t total = 0;
    if (provisioner.len == 0)
        bad_required(c, AT(NULL, "provisioner"), "");
    else
        bad_name(c, AT(NULL, "provisioner"), name_check_qualified, provisioner);
    for (size_t i = 0; i < value_len(parameters); i++) {
        struct str key = parameters->map.members[i].key;
        total += key.len + value_str(parameters->map.members[i].value).len;
        if (key.len == 0)
            bad_invalid(c, AT(NULL, "parameters"), text_value(c, key), "field can not be empty.");
    }
    if (value_len(parameters) > 512)
        problems_add_too_long(c->p, STR("parameters"), 512);
    if (total > 256 * 1024)
        problems_add_too_long(c->p, STR("parameters"), 256 * 1024);
}

static void storage_class_update(struct check *c, const struct value *obj, const struct value *old)
{
    static const char *const fixed[] = {"parameters", "provisioner", "reclaimPolicy"};
    for (size_t i = 0; i < 3; i++) {
        if (!value_semantic_equal(value_getz(obj, fixed[i]), value_getz(old, fixed[i])))
            bad_forbidden(c, AT_STR(NULL, str_from(fixed[i])), "updates to %s are forbidden.", fixed[i]);
    }
}

const struct kind_rules volume_kinds[] = {
    {"", "PersistentVolumeClaim", claim, claim_update, NULL},
    {"", "PersistentVolume", volume, volume_update, NULL},
    {"storage.k8s.io", "StorageClass", storage_class, storage_class_update, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
