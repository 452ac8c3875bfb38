#include "api/status.h"

#include "openapi/json.h"
#include "openapi/problems.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *group, *resource, *name, *message;
        int retry_s;
        const char *want;
    } rows[] = {
        {ERR_NOT_FOUND, "", "pods", "x", "pods \"x\" not found", 0,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"pods "
         "\\\"x\\\" not "
         "found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"x\",\"kind\":\"pods\"},\"code\":404}"},
        {ERR_CONFLICT, "apps", "deployments", "d", "m", 0,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"m\","
         "\"reason\":"
         "\"Conflict\",\"details\":{\"name\":\"d\",\"group\":\"apps\",\"kind\":\"deployments\"},\"code\":409}"},
        {ERR_BAD_REQUEST, "", "pods", "x", "m", 0,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"m\","
         "\"reason\":"
         "\"BadRequest\",\"code\":400}"},
        {ERR_EXPIRED, "", "pods", "", "m", 0,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"m\","
         "\"reason\":"
         "\"Expired\",\"code\":410}"},
        {ERR_TOO_MANY, "", "pods", "x", "m", 1,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"m\","
         "\"reason\":"
         "\"TooManyRequests\",\"details\":{\"retryAfterSeconds\":1},\"code\":429}"},
        {ERR_TIMEOUT, "", "pods", "", "Too large resource version: 9, current: 1", 0,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"Timeout: Too "
         "large "
         "resource version: 9, current: 1\",\"reason\":\"Timeout\",\"details\":{\"causes\":[{\"reason\":"
         "\"ResourceVersionTooLarge\",\"message\":\"Too large resource "
         "version\"}],\"retryAfterSeconds\":1},\"code\":504}"},
        {ERR_IO, "", "pods", "x", "disk", 0,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal "
         "error "
         "occurred: "
         "disk\",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":\"disk\"}]},\"code\":500}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct api_request req = {.arena = a,
                                  .resource = resource_find(str_from(rows[i].group), str_from(rows[i].resource)),
                                  .name = str_from(rows[i].name)};
        struct buf out = {0};
        int code;
        err_set(&err, rows[i].code, "%s", rows[i].message);
        err.retry_after_s = rows[i].retry_s;
        json_encode(&out, api_status_value(a, &req, &err, &code));
        buf_add_char(&out, '\0');
        assert_string_equal(out.p, rows[i].want);
        buf_free(&out);
        arena_destroy(a);
    }
}

static void test_invalid(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct api_request req = {.arena = a, .resource = resource_find(STR("apps"), STR("deployments")), .name = STR("d")};
    struct problems *p = problems_create(a);
    struct buf out = {0};
    int code;
    problems_add(p, PROBLEM_REQUIRED, STR("spec.selector"), NULL, "%s", "");
    assert_int_equal(problems_err(p, &err), ERR_INVALID);
    struct value *v = api_status_value(a, &req, &err, &code);
    assert_int_equal(code, 422);
    assert_true(
        str_eqz(value_path_str(v, "message"), "Deployment.apps \"d\" is invalid: spec.selector: Required value"));
    assert_true(str_eqz(value_path_str(v, "details.kind"), "Deployment"));
    assert_true(str_eqz(value_path_str(value_at(value_path(v, "details.causes"), 0), "reason"), "FieldValueRequired"));
    buf_free(&out);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_invalid)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
