#include "api/chain/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *given;
    int want; /* enum api_format, or -1: not acceptable */
} rows[] = {
    {"", API_JSON},
    {"*/*", API_JSON},
    {"application/*", API_JSON},
    {"application/json", API_JSON},
    {"application/yaml", API_YAML},
    {"text/html, application/yaml;q=0.5, */*;q=0.1", API_YAML},
    {"application/yaml;q=0.5, application/json", API_JSON},
    {"application/vnd.kubernetes.protobuf, application/json", API_JSON},
    {"application/vnd.kubernetes.protobuf", -1},
    {"text/plain", -1},
    {"application/json;q=0", -1},
    {"application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=Table;v=v1beta1;g=meta.k8s.io, "
     "application/json",
     API_TABLE},
    {"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", API_METADATA},
    {"application/json;as=Nonsense;g=meta.k8s.io;v=v1", -1},
    {"application/json;as=Nonsense;g=meta.k8s.io;v=v1,application/json", API_JSON},
};

static void test_rows(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum api_format format = API_JSON;
        struct str version = STR_NULL;
        struct err err = ERR_INIT;
        int rc = accept_object(a, str_from(rows[i].given), false, &format, &version, &err);
        if ((rc < 0 ? -1 : (int)format) != rows[i].want)
            fail_msg("%s: rc %d format %d", rows[i].given, rc, format);
        assert_true(rc < 0 || format != API_PROTOBUF);
        bool asked = str_starts(str_from(rows[i].given), STR("application/vnd.kubernetes.protobuf"));
        rc = accept_object(a, str_from(rows[i].given), true, &format, &version, &err);
        if ((rc < 0 ? -1 : (int)format) != (asked ? API_PROTOBUF : rows[i].want))
            fail_msg("%s: rc %d format %d", rows[i].given, rc, format);
    }
    enum api_format format;
    struct str version = STR_NULL;
    struct err err;
    assert_int_equal(
        accept_object(a,
                      STR("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
                          "application/json"),
                      false, &format, &version, &err),
        0);
    assert_int_equal(format, API_PROTOBUF);
    assert_true(str_eqz(version, "v1"));
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
