#include "openapi/json.h"
#include "openapi/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void every_message(void **state)
{
    (void)state;
    size_t n;
    const struct schema_message *const *all = schema_messages(&n);
    assert_true(n > 500);
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < n; i++) {
        const struct schema_message *m = all[i];
        assert_ptr_equal(schema_message_find(m->name), m);
        if (i)
            assert_true(str_cmp(all[i - 1]->name, m->name) < 0);
        for (size_t k = 0; k < m->n_fields; k++) {
            const struct schema_field *f = &m->fields[k];
            assert_ptr_equal(schema_field_find(m, f->name), f);
            assert_true(f->view_offset < m->view_size);
            assert_int_equal(f->type == FIELD_MESSAGE, f->message != NULL);
            assert_true(f->list_type != LIST_TYPE_MAP || f->map_keys);
            if (f->shape == SHAPE_LIST && f->type == FIELD_MESSAGE)
                for (const struct str *key = f->map_keys; key && key->p; key++)
                    assert_non_null(schema_field_find(f->message, *key));
            if (f->default_json) {
                struct err err = ERR_INIT;
                struct value *v;
                assert_int_equal(json_decode(a, str_from(f->default_json), NULL, &v, &err), 0);
            }
        }
    }
    arena_destroy(a);
    assert_null(schema_message_find(STR("io.k8s.api.core.v1.Nothing")));
    assert_null(schema_field_find(&schema_core_v1_pod, STR("Metadata")));
}

static void every_resource(void **state)
{
    (void)state;
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    assert_true(n > 60);
    for (size_t i = 0; i < n; i++) {
        const struct resource *r = all[i];
        assert_int_equal(r->index, i);
        assert_ptr_equal(resource_find(r->group, r->name), r);
        assert_ptr_equal(resource_find_kind(r->group, r->kind), r);
        assert_non_null(r->stored_as);
        for (const struct resource_version *v = r->versions; v->version.p; v++) {
            assert_ptr_equal(resource_version_find(r, v->version), v);
            assert_non_null(v->message);
            assert_non_null(v->subresources);
            if (v->selectable)
                for (const char *const *s = v->selectable; *s; s++)
                    assert_true(**s);
        }
        if (r->versions[0].verbs & VERB_WATCH) {
            assert_non_null(resource_storage_version(r));
            assert_true(str_starts(r->storage_prefix, STR("/registry/")));
            assert_true(str_ends(r->storage_prefix, STR("/")));
        }
    }
    assert_null(resource_find(STR("apps"), STR("pods")));
}

static void some_facts(void **state)
{
    (void)state;
    const struct resource *events = resource_find(STR("events.k8s.io"), STR("events"));
    assert_ptr_equal(events->stored_as, resource_find(STR(""), STR("events")));
    assert_ptr_equal(resource_storage_version(events)->message, &schema_core_v1_event);
    const struct resource *hpa = resource_find(STR("autoscaling"), STR("horizontalpodautoscalers"));
    assert_true(str_eqz(hpa->versions[0].version, "v2") && str_eqz(hpa->versions[1].version, "v1"));
    assert_ptr_equal(hpa->versions[1].message, &schema_autoscaling_v1_horizontal_pod_autoscaler);
    const struct resource *services = resource_find(STR(""), STR("services"));
    assert_true(str_eqz(services->storage_prefix, "/registry/services/specs/"));
    assert_string_equal(services->short_names[0], "svc");
    const struct subresource *sub = resource_find(STR("apps"), STR("deployments"))->versions[0].subresources;
    assert_true(str_eqz(sub[0].name, "scale"));
    assert_ptr_equal(sub[0].message, &schema_autoscaling_v1_scale);
    const struct schema_field *port = schema_field_find(&schema_core_v1_service_port, STR("port"));
    assert_true(port->flags & FIELD_HAS_MIN && port->min == 1 && port->max == 65535);
    assert_string_equal(schema_field_find(&schema_core_v1_service_port, STR("protocol"))->default_json, "\"TCP\"");
    const struct schema_field *image = schema_field_find(&schema_core_v1_volume, STR("secret"));
    assert_int_equal(image->proto_outer, 2);
    assert_string_equal(schema_columns("pod")[3].name, "Restarts");
    assert_null(schema_columns("nothing"));
    assert_string_equal(verb_name(VERB_DELETE_COLLECTION), "deletecollection");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message),
        cmocka_unit_test(every_resource),
        cmocka_unit_test(some_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
