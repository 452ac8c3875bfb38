#include "openapi/merge.h"

#include "openapi/json.h"
#include "openapi/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena *arena;

static struct value *parse(const char *json)
{
    struct err err = ERR_INIT;
    struct json_options opt = {0};
    struct value *v = NULL;
    if (json_decode(arena, str_from(json), &opt, &v, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    return v;
}

static void check(const char *name, int rc, const struct value *got, const char *want, int want_code,
                  const struct err *err)
{
    if (!want) {
        if (rc != want_code)
            fail_msg("%s: rc %d, %s", name, rc, err->message);
        return;
    }
    if (rc < 0)
        fail_msg("%s: %s", name, err->message);
    struct buf out = {0};
    json_encode(&out, got);
    buf_add_char(&out, 0);
    if (strcmp(out.p, want) != 0)
        fail_msg("%s: got %s, want %s", name, out.p, want);
    buf_free(&out);
}

static void test_json_patch(void **state)
{
    (void)state;
    static const struct {
        const char *original, *patch, *want;
        int code;
    } rows[] = {
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]", "{\"a\":1,\"b\":2}", 0},
        {"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":9}]", "{\"a\":[1,9,2]}", 0},
        {"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":9}]", "{\"a\":[1,2,9]}", 0},
        {"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/5\",\"value\":9}]", NULL, ERR_INVALID},
        {"{\"a\":{\"b/c\":1}}", "[{\"op\":\"remove\",\"path\":\"/a/b~1c\"}]", "{\"a\":{}}", 0},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL, ERR_INVALID},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", NULL, ERR_INVALID},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":[]}]", "{\"a\":[]}", 0},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1},{\"op\":\"add\",\"path\":\"/c\",\"value\":3}]",
         "{\"a\":1,\"c\":3}", 0},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL, ERR_INVALID},
        {"{\"a\":{\"x\":1},\"b\":{}}", "[{\"op\":\"move\",\"from\":\"/a/x\",\"path\":\"/b/y\"}]",
         "{\"a\":{},\"b\":{\"y\":1}}", 0},
        {"{\"a\":{\"x\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]",
         "{\"a\":{\"x\":1},\"b\":{\"x\":1}}", 0},
        {"{}", "{}", NULL, ERR_BAD_REQUEST},
        {"{}", "[{\"op\":\"what\",\"path\":\"/a\"}]", NULL, ERR_BAD_REQUEST},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", NULL, ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = ERR_INIT;
        struct value *got = NULL;
        int rc = json_patch_apply(arena, parse(rows[i].original), parse(rows[i].patch), &got, &err);
        check(rows[i].patch, rc, got, rows[i].want, rows[i].code, &err);
    }
}

static void test_merge_patch(void **state)
{
    (void)state;
    static const struct {
        const char *original, *patch, *want;
    } rows[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\",\"c\":1}", "{\"a\":null}", "{\"c\":1}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[1]}", "{\"a\":[2,3]}", "{\"a\":[2,3]}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = ERR_INIT;
        struct value *got = NULL;
        int rc = merge_patch_apply(arena, parse(rows[i].original), parse(rows[i].patch), &got, &err);
        check(rows[i].patch, rc, got, rows[i].want, 0, &err);
    }
}

static void test_strategic(void **state)
{
    (void)state;
    static const struct {
        const char *original, *patch, *want;
        int code;
    } rows[] = {
        /* containers merge by name, their env too */
        {"{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x\",\"env\":[{\"name\":\"E\",\"value\":\"1\"}]},{"
         "\"name\":\"b\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"y\",\"env\":[{\"name\":\"F\",\"value\":\"2\"}]}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"y\",\"env\":[{\"name\":\"E\",\"value\":\"1\"},{"
         "\"name\":\"F\","
         "\"value\":\"2\"}]},{\"name\":\"b\"}]}}",
         0},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"b\"}]}}", 0},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
         "{\"spec\":{\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"c\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}", 0},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
         "{\"spec\":{\"$setElementOrder/"
         "containers\":[{\"name\":\"c\"},{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{"
         "\"name\":\"c\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"c\"},{\"name\":\"b\"},{\"name\":\"a\"}]}}", 0},
        /* tolerations have no merge strategy: replaced */
        {"{\"spec\":{\"tolerations\":[{\"key\":\"a\"}]}}", "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}",
         "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}", 0},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
         "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],\"finalizers\":[\"c\"]}}",
         "{\"metadata\":{\"finalizers\":[\"b\",\"c\"]}}", 0},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
         "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"]}}", "{\"metadata\":{\"finalizers\":[\"b\"]}}",
         0},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}}", 0},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\"}}}",
         "{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"c\":\"3\"}}}",
         "{\"metadata\":{\"labels\":{\"c\":\"3\"}}}", 0},
        /* volumes retain keys */
        {"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"configMap\"],\"configMap\":{\"name\":"
         "\"c\"}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"c\"}}]}}", 0},
        {"{\"spec\":{\"containers\":[]}}", "{\"spec\":{\"containers\":[{\"image\":\"x\"}]}}", NULL, ERR_BAD_REQUEST},
        {"{}", "{\"spec\":{\"$patch\":\"what\"}}", NULL, ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = ERR_INIT;
        struct value *got = NULL;
        int rc = strategic_merge_apply(arena, &schema_core_v1_pod, parse(rows[i].original), parse(rows[i].patch), &got,
                                       &err);
        check(rows[i].patch, rc, got, rows[i].want, rows[i].code, &err);
    }
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_json_patch), cmocka_unit_test(test_merge_patch),
                                       cmocka_unit_test(test_strategic)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
