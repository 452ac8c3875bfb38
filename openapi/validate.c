#include "openapi/validate.h"

#include "openapi/validate/rules.h"

static const struct kind_rules *rules_of(const struct resource *r)
{
    static const struct kind_rules *const families[] = {pod_kinds,  service_kinds, workload_kinds,   batch_kinds,
                                                        core_kinds, volume_kinds,  networking_kinds, governance_kinds};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        for (const struct kind_rules *k = families[i]; k->group; k++) {
            if (str_eqz(r->group, k->group) && str_eqz(r->kind, k->kind))
                return k;
        }
    }
    return NULL;
}

static struct check check_of(struct problems *p, const struct resource *r, const struct value *old)
{
    bool is_pod = r && r->group.len == 0 && str_eqz(r->kind, "Pod");
    return (struct check){.p = p, .a = p->arena, .r = r, .old = old, .is_pod = is_pod};
}

static const struct schema_message *stored_message(const struct resource *r)
{
    const struct resource *home = r->stored_as ? r->stored_as : r;
    const struct resource_version *v = resource_storage_version(home);
    return v ? v->message : NULL;
}

void validate_create(struct problems *p, const struct resource *r, const struct value *obj)
{
    struct check c = check_of(p, r, NULL);
    const struct kind_rules *k = rules_of(r);
    check_object_meta(&c, AT(NULL, "metadata"), value_getz(obj, "metadata"), r->namespaced, r->name_format);
    check_table(&c, NULL, stored_message(r), obj, NULL);
    if (k && k->object)
        k->object(&c, obj);
}

void validate_update(struct problems *p, const struct resource *r, const struct value *obj, const struct value *old)
{
    struct check c = check_of(p, r, old);
    const struct kind_rules *k = rules_of(r);
    check_object_meta_update(&c, AT(NULL, "metadata"), value_getz(obj, "metadata"), value_getz(old, "metadata"));
    check_table(&c, NULL, stored_message(r), obj, old);
    if (k && k->object)
        k->object(&c, obj);
    if (k && k->update)
        k->update(&c, obj, old);
}

void validate_update_status(struct problems *p, const struct resource *r, const struct value *obj,
                            const struct value *old)
{
    struct check c = check_of(p, r, old);
    const struct kind_rules *k = rules_of(r);
    const struct schema_message *m = stored_message(r);
    const struct schema_field *f = m ? schema_field_find(m, STR("status")) : NULL;
    check_object_meta_update(&c, AT(NULL, "metadata"), value_getz(obj, "metadata"), value_getz(old, "metadata"));
    if (f && f->message)
        check_table(&c, AT(NULL, "status"), f->message, value_getz(obj, "status"), value_getz(old, "status"));
    if (k && k->status)
        k->status(&c, obj, old);
}

void validate_update_subresource(struct problems *p, const struct resource *r, struct str what, const struct value *obj,
                                 const struct value *old)
{
    struct check c = check_of(p, r, old);
    check_object_meta_update(&c, AT(NULL, "metadata"), value_getz(obj, "metadata"), value_getz(old, "metadata"));
    (void)what;
    check_table(&c, NULL, stored_message(r), obj, NULL);
    if (c.is_pod)
        check_pod_spec(&c, AT(NULL, "spec"), value_getz(obj, "spec"));
}

void validate_object_meta(struct problems *p, const struct value *meta, bool namespaced, enum field_format name_format)
{
    struct check c = check_of(p, NULL, NULL);
    check_object_meta(&c, AT(NULL, "metadata"), meta, namespaced, name_format);
}
