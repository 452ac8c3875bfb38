#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena *a;

static int setup(void **state)
{
    (void)state;
    a = arena_create(0);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    arena_destroy(a);
    return 0;
}

static const char *encoded(const struct value *v)
{
    struct buf b = {0};
    json_encode(&b, v);
    const char *text = arena_str(a, buf_str(&b)).p;
    buf_free(&b);
    return text;
}

/* The decoded text encoded again, or the error's message. */
static const char *round_trip(bool yaml, const char *text, struct json_options *opt)
{
    struct err err = ERR_INIT;
    struct value *v = NULL;
    int rc = (yaml ? yaml_decode : json_decode)(a, str_from(text), opt, &v, &err);
    return rc < 0 ? arena_strdup(a, err.message) : encoded(v);
}

static void plain_json(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {
        {"{\"b\":1,\"a\":[1,2.5,-0,true,null,\"x\"]}", "{\"b\":1,\"a\":[1,2.5,0,true,null,\"x\"]}"},
        {" [1e3, 1e21, 1E-7, 9223372036854775807, 9223372036854775808]",
         "[1000,1e+21,1e-7,9223372036854775807,9223372036854775808]"},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
        {"\"<a&b>\\u2028\\n\\u0001\"", "\"\\u003ca\\u0026b\\u003e\\u2028\\n\\u0001\""},
        {"\"\xff \\ud800 \xf0\x9f\x98\x80\"", "\"\xef\xbf\xbd \xef\xbf\xbd \xf0\x9f\x98\x80\""},
        {"", "unexpected end of JSON input"},
        {"{\"a\":1", "unexpected end of JSON input"},
        {"{a:1}", "invalid character 'a' looking for beginning of object key string"},
        {"{\"a\" 1}", "invalid character '1' after object key"},
        {"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"},
        {"[1 2]", "invalid character '2' after array element"},
        {"[1,]", "invalid character ']' looking for beginning of value"},
        {"1 x", "invalid character 'x' after top-level value"},
        {"tru3", "invalid character '3' in literal true (expecting 'e')"},
        {"1.x", "invalid character 'x' after decimal point in numeric literal"},
        {"-x", "invalid character 'x' in numeric literal"},
        {"\"\n\"", "invalid character '\\n' in string literal"},
        {"\"\\x\"", "invalid character 'x' in string escape code"},
        {"1e400", "json: cannot unmarshal number 1e400 into Go value of type float64"},
        {"<html>", "invalid character '<' looking for beginning of value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(round_trip(false, rows[i].given, NULL), rows[i].want);
}

static void typed_json(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {
        /* wire order, unknown dropped, null unset, canonical quantities and times, sorted maps */
        {"{\"spec\":{\"nodeName\":null,\"containers\":[{\"image\":\"i\",\"name\":\"n\",\"zzz\":1,\"resources\":"
         "{\"limits\":{\"memory\":\"1024Mi\",\"cpu\":1}}}]},\"metadata\":{\"labels\":{\"b\":\"2\",\"a\":\"1\"},"
         "\"name\":\"x\",\"creationTimestamp\":\"2026-01-02T03:04:05+01:00\"},\"apiVersion\":\"v1\",\"kind\":\"Pod\"}",
         "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\",\"creationTimestamp\":"
         "\"2026-01-02T02:04:05Z\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"spec\":{\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}}"},
        {"{\"spec\":{\"containers\":[{\"ports\":\"x\"}]}}",
         "json: cannot unmarshal string into Go struct field Container.spec.containers.ports of type "
         "[]v1.ContainerPort"},
        {"{\"spec\":{\"containers\":[{\"args\":[1]}]}}",
         "json: cannot unmarshal number into Go struct field Container.spec.containers.args of type string"},
        {"{\"spec\":{\"containers\":[\"x\"]}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"},
        {"{\"spec\":{\"terminationGracePeriodSeconds\":1.5}}",
         "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type "
         "int64"},
        {"{\"spec\":{\"terminationGracePeriodSeconds\":\"30\"}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64"},
        {"{\"spec\":{\"hostNetwork\":\"yes\"}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"},
        {"{\"metadata\":{\"labels\":{\"a\":1}}}",
         "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"},
        {"{\"metadata\":{\"labels\":[]}}",
         "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"},
        {"{\"spec\":{\"containers\":[{\"ports\":[{\"protocol\":1}]}]}}",
         "json: cannot unmarshal number into Go struct field ContainerPort.spec.containers.ports.protocol of type "
         "v1.Protocol"},
        {"{\"spec\":{\"containers\":[{\"resources\":{\"limits\":[]}}]}}",
         "json: cannot unmarshal array into Go struct field ResourceRequirements.spec.containers.resources.limits of "
         "type "
         "v1.ResourceList"},
        {"[]", "json: cannot unmarshal array into Go value of type v1.Pod"},
        {"{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"x\"}}}]}}",
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {"{\"metadata\":{\"creationTimestamp\":\"x\"}}",
         "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_options opt = {.schema = schema_message_find(STR("io.k8s.api.core.v1.Pod"))};
        assert_non_null(opt.schema);
        assert_string_equal(round_trip(false, rows[i].given, &opt), rows[i].want);
    }
}

static void strictness(void **state)
{
    (void)state;
    struct json_options opt = {.schema = schema_message_find(STR("io.k8s.api.core.v1.Pod")), .strictness = JSON_STRICT};
    assert_string_equal(
        round_trip(
            false,
            "{\"spec\":{\"foo\":1,\"containers\":[{\"name\":\"a\"},{\"Image\":\"x\",\"name\":\"b\",\"name\":\"c\"}]},"
            "\"metadata\":{\"labels\":{\"x\":\"1\",\"x\":\"2\"}}}",
            &opt),
        "strict decoding error: unknown field \"spec.foo\", unknown field \"spec.containers[1].Image\", "
        "duplicate field \"spec.containers[1].name\", duplicate field \"metadata.labels.x\"");
    struct json_options warn = {.schema = opt.schema, .strictness = JSON_WARN};
    assert_string_equal(round_trip(false, "{\"spec\":{\"foo\":1}}", &warn), "{\"spec\":{}}");
    assert_int_equal(warn.ret_n_warnings, 1);
    assert_true(str_eqz(warn.ret_warnings[0], "unknown field \"spec.foo\""));
    struct json_options yaml = {.schema = opt.schema, .strictness = JSON_STRICT};
    assert_string_equal(round_trip(true, "metadata:\n  name: a\n  name: b\n  nam: c\n", &yaml),
                        "strict decoding error: yaml: unmarshal errors:\n  line 3: key \"name\" already set in map, "
                        "unknown field \"metadata.nam\"");
}

static void depth(void **state)
{
    (void)state;
    char deep[4001];
    memset(deep, '[', 2000);
    memset(deep + 2000, ']', 2000);
    deep[4000] = 0;
    assert_string_equal(round_trip(false, deep, NULL), "invalid character '[' exceeded max depth");
    assert_string_equal(round_trip(true, deep, NULL), "yaml: exceeded max depth of 1000");
}

static void yaml(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {
        {"a: yes\nb: \"yes\"\nc: 010\nd: 0x1F\ne: 1_000\nf: ~\ng:\nh: 1.5\ni: 1.0\nj: 2001-01-01\nk: 1e3\nl: 08\n",
         "{\"a\":true,\"b\":\"yes\",\"c\":8,\"d\":31,\"e\":1000,\"f\":null,\"g\":null,\"h\":1.5,\"i\":1,"
         "\"j\":\"2001-01-01\",\"k\":1000,\"l\":8}"},
        {"- !!str 1\n- ! 2\n- |\n  x\n  y\n- 'on'\n- 1.2.3\n- 12Mi\n- \"\"\n- - a\n",
         "[\"1\",\"2\",\"x\\ny\\n\",\"on\",\"1.2.3\",\"12Mi\",\"\",[\"a\"]]"},
        {"base: &b {x: 1, z: 2}\nd:\n  <<: *b\n  z: 3\ne: *b\n",
         "{\"base\":{\"x\":1,\"z\":2},\"d\":{\"z\":3,\"x\":1},\"e\":{\"x\":1,\"z\":2}}"},
        {"1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}"},
        {"{\"json\": [1, 2]}", "{\"json\":[1,2]}"},
        {"", "null"},
        {"a: b\n---\nc: d\n", "{\"a\":\"b\"}"},
        {"a: *x\n", "yaml: unknown anchor 'x' referenced"},
        {"a: &x [*x]\n", "yaml: anchor 'x' value contains itself"},
        {"a: b: c\n", "yaml: mapping values are not allowed in this context"},
        {"a: b\n c: d\n", "yaml: line 2: mapping values are not allowed in this context"},
        {"a: [1\n", "yaml: line 1: did not find expected ',' or ']'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(round_trip(true, rows[i].given, NULL), rows[i].want);
}

static void alias_bomb(void **state)
{
    (void)state;
    struct buf text = {0};
    buf_addz(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++)
        buf_printf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                   i - 1, i - 1, i - 1, i - 1, i - 1);
    buf_add_char(&text, 0);
    assert_string_equal(round_trip(true, text.p, NULL), "yaml: document contains excessive aliasing");
    buf_free(&text);
}

static void many_keys(void **state)
{
    (void)state;
    struct buf json = {0}, yaml_text = {0};
    buf_add_char(&json, '{');
    for (int i = 0; i < 100000; i++) {
        buf_printf(&json, "%s\"k%d\":1", i ? "," : "", i % 99999);
        buf_printf(&yaml_text, "k%d: 1\n", i % 99999);
    }
    buf_add_char(&json, '}');
    struct err err = ERR_INIT;
    struct value *v;
    assert_int_equal(json_decode(a, buf_str(&json), NULL, &v, &err), 0);
    assert_int_equal(value_len(v), 99999);
    struct json_options opt = {.strictness = JSON_WARN};
    assert_int_equal(yaml_decode(a, buf_str(&yaml_text), &opt, &v, &err), 0);
    assert_int_equal(value_len(v), 99999);
    assert_int_equal(opt.ret_n_warnings, 1);
    assert_true(str_eqz(opt.ret_warnings[0], "yaml: unmarshal errors:\n  line 100000: key \"k0\" already set in map"));
    buf_free(&json);
    buf_free(&yaml_text);
}

static void pretty(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct value *v;
    struct buf out = {0};
    assert_int_equal(json_decode(a, STR("{\"a\":[1,{}],\"b\":[]}"), NULL, &v, &err), 0);
    json_encode_pretty(&out, v);
    buf_add_char(&out, 0);
    assert_string_equal(out.p, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
    buf_free(&out);
}

/* Long plain runs are written in steps: a byte that needs an escape is found wherever it stands. */
static void escapes_anywhere(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {{"\"", "\\\""},
                {"\\", "\\\\"},
                {"<", "\\u003c"},
                {">", "\\u003e"},
                {"&", "\\u0026"},
                {"\x1f", "\\u001f"},
                {"\n", "\\n"},
                {"\x7f", "\x7f"},
                {"\xc3\xa9", "\xc3\xa9"},
                {"\xe2\x80\xa8", "\\u2028"},
                {"\xe2\x80\xaa", "\xe2\x80\xaa"}};
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        for (size_t before = 0; before < 150; before++)
            for (size_t after = 0; after < 70; after += 23) {
                struct buf given = {0}, want = {0}, got = {0};
                buf_add_char(&want, '"');
                for (int twice = 0; twice < 2; twice++) {
                    for (size_t i = 0; i < before; i++)
                        buf_add_char(&given, (char)('a' + i % 26)), buf_add_char(&want, (char)('a' + i % 26));
                    buf_addz(&given, rows[row].given), buf_addz(&want, rows[row].want);
                }
                for (size_t i = 0; i < after; i++)
                    buf_add_char(&given, 'z'), buf_add_char(&want, 'z');
                buf_add_char(&want, '"');
                json_encode_string(&got, buf_str(&given));
                assert_int_equal(got.len, want.len);
                assert_memory_equal(got.p, want.p, want.len);
                buf_free(&given), buf_free(&want), buf_free(&got);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_json), cmocka_unit_test(typed_json), cmocka_unit_test(strictness),
        cmocka_unit_test(depth),      cmocka_unit_test(yaml),       cmocka_unit_test(alias_bomb),
        cmocka_unit_test(many_keys),  cmocka_unit_test(pretty),     cmocka_unit_test(escapes_anywhere),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
