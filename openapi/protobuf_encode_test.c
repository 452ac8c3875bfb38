/* Encoding: objects whose bytes Go's own marshalers made, and every kind there and back with random content. */
#include "openapi/json.h"
#include "openapi/protobuf.h"

#include "base/base64.h"
#include "openapi/meta/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* What k8s.io/api's types, filled as the JSON says, were written as by its protobuf serializer. */
static const struct known {
    const char *message, *json, *hex;
} known[] = {
    {"io.k8s.api.core.v1.ConfigMap",
     "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\",\"namespace\":\"n"
     "\",\"creationTimestamp\":\"2025-12-01T00:00:00Z\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"im"
     "mutable\":false,\"data\":{\"a\":\"ü\",\"k\":\"\"}}",
     "6b3873000a0f0a0276311209436f6e6669674d6170123e0a2a0a016312001a016e22002a003200380042080880b5b3c9"
     "0610005a060a01611201315a060a016212013212070a01611202c3bc12050a016b120020001a002200"},
    {"io.k8s.api.core.v1.Secret",
     "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"data\":{\"empty\""
     ":\"\",\"z\":\"AP8B\"},\"type\":\"Opaque\"}",
     "6b3873000a0c0a027631120653656372657412300a110a017312001a0022002a0032003800420012090a05656d707479"
     "120012080a017a120300ff011a064f70617175651a002200"},
    {"io.k8s.api.coordination.v1.Lease",
     "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"l\","
     "\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time"
     "\":\"2025-12-01T00:00:00Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{}}}]},\"sp"
     "ec\":{\"holderIdentity\":\"\",\"leaseDurationSeconds\":15,\"renewTime\":\"1969-12-31T23:59:5"
     "8.250000Z\"}}",
     "6b3873000a1f0a16636f6f7264696e6174696f6e2e6b38732e696f2f763112054c6561736512640a4a0a016c12001a00"
     "22002a003200380042008a01360a016d12065570646174651a02763122080880b5b3c906100032084669656c64735631"
     "3a0f0a0d7b22663a73706563223a7b7d7d420012160a00100f221008feffffffffffffffff011080e59a771a002200"},
    {"io.k8s.api.core.v1.Pod",
     "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"deletionGracePeriodSe"
     "conds\":0,\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":"
     "\"r\",\"uid\":\"u\",\"controller\":true}]},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir"
     "\":{\"sizeLimit\":\"1Gi\"}},{\"name\":\"w\"}],\"containers\":[{\"name\":\"c\",\"image\":\"i"
     "\",\"command\":[\"a\",\"\"],\"env\":[{\"name\":\"E\",\"value\":\"1\"}],\"resources\":{\"limi"
     "ts\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},\"livenessProbe\":{\"httpGet\":{\"path\":\"/\","
     "\"port\":\"web\"},\"periodSeconds\":10}}],\"restartPolicy\":\"Always\",\"terminationGracePer"
     "iodSeconds\":30,\"securityContext\":{},\"tolerations\":[{\"operator\":\"Exists\",\"toleratio"
     "nSeconds\":-1}]},\"status\":{\"phase\":\"Running\",\"startTime\":\"2025-12-01T00:00:00Z\",\""
     "containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":{\"startedAt\":\"2025-12-01T00:0"
     "0:00Z\"}},\"lastState\":{},\"ready\":true,\"restartCount\":0,\"image\":\"\",\"imageID\":\"\""
     "}]}}",
     "6b3873000a090a0276311203506f6412c3020a320a017012001a0022002a0032003800420050006a1d0a0a5265706c69"
     "63615365741a01722201752a07617070732f7631300112c7010a100a0176120b12090a0012050a033147690a050a0177"
     "1200126a0a01631201691a01611a002a003a060a014512013142210a0d0a0363707512060a043130306d0a100a066d65"
     "6d6f727912060a0436344d6952200a1412120a012f1209080110001a037765621a00220010001800200a280030006a00"
     "7200800100880100900100a201001a06416c77617973201e320042004a00520058006000680072008201008a01009a01"
     "00b201190a0012064578697374731a00220028ffffffffffffffffff01c201001a430a0752756e6e696e671a0022002a"
     "0032003a080880b5b3c9061000421d0a0163120c120a0a080880b5b3c90610001a002001280032003a0042004a005a00"
     "72008801001a002200"},
    {"io.k8s.api.core.v1.Node",
     "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"podCIDR\""
     ":\"10.0.0.0/24\",\"unschedulable\":true},\"status\":{\"capacity\":{\"pods\":\"110\"},\"condi"
     "tions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastHeartbeatTime\":\"2025-12-01T00:00:00"
     "Z\",\"lastTransitionTime\":null}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":0}},\"n"
     "odeInfo\":{\"machineID\":\"\",\"systemUUID\":\"\",\"bootID\":\"\",\"kernelVersion\":\"\",\"o"
     "sImage\":\"\",\"containerRuntimeVersion\":\"\",\"kubeletVersion\":\"\",\"kubeProxyVersion\":"
     "\"\",\"operatingSystem\":\"\",\"architecture\":\"\"}}}",
     "6b3873000a0a0a02763112044e6f646512760a110a016e12001a0022002a0032003800420012130a0b31302e302e302e"
     "302f323412001a0020011a4c0a0d0a04706f647312050a033131301a00221d0a0552656164791204547275651a080880"
     "b5b3c906100022002a00320032040a0208003a140a0012001a0022002a0032003a0042004a0052001a002200"},
    {"io.k8s.api.core.v1.Service",
     "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports"
     "\":[{\"port\":80,\"targetPort\":8080}],\"selector\":{\"a\":\"b\"},\"clusterIP\":\"10.0.0.1\""
     ",\"ipFamilyPolicy\":\"SingleStack\"},\"status\":{\"loadBalancer\":{}}}",
     "6b3873000a0d0a027631120753657276696365125a0a110a017312001a0022002a0032003800420012410a110a001200"
     "18502207080010903f1a00280012060a01611201621a0831302e302e302e3122003a00420052005a00600068008a010b"
     "53696e676c65537461636b1a020a001a002200"},
    {"io.k8s.api.rbac.v1.ClusterRole",
     "{\"kind\":\"ClusterRole\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{\"na"
     "me\":\"r\"},\"rules\":[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]}",
     "6b3873000a2b0a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f7631120b436c7573746572526f6c"
     "6512220a110a017212001a0022002a00320038004200120d0a0367657412001a04706f64731a002200"},
    {"io.k8s.api.authentication.v1.TokenReview",
     "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\":{},\"spec"
     "\":{},\"status\":{\"authenticated\":true,\"user\":{\"username\":\"u\",\"extra\":{\"e\":[],\""
     "k\":[\"a\",\"b\"]}}}}",
     "6b3873000a270a1861757468656e7469636174696f6e2e6b38732e696f2f7631120b546f6b656e52657669657712370a"
     "100a0012001a0022002a0032003800420012020a001a1f080112190a0175120022050a01651200220b0a016b12060a01"
     "610a01621a001a002200"},
    {"io.k8s.api.core.v1.ConfigMapList",
     "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"5\",\""
     "remainingItemCount\":3},\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":"
     "\"b\"}}]}",
     "6b3873000a130a027631120d436f6e6669674d61704c69737412350a090a001201351a00200312130a110a016112001a"
     "0022002a0032003800420012130a110a016212001a0022002a003200380042001a002200"},
    {"io.k8s.apimachinery.pkg.apis.meta.v1.Status",
     "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message"
     "\":\"m\",\"reason\":\"NotFound\",\"details\":{\"name\":\"x\",\"kind\":\"pods\",\"causes\":[{"
     "\"reason\":\"t\",\"message\":\"m\",\"field\":\"f\"}]},\"code\":404}",
     "6b3873000a0c0a0276311206537461747573123d0a060a0012001a0012074661696c7572651a016d22084e6f74466f75"
     "6e642a1a0a017812001a04706f647322090a017412016d1a0166280032003094031a002200"},
};

static void from_hex(const char *hex, struct buf *out)
{
    for (; *hex; hex += 2) {
        unsigned c;
        sscanf(hex, "%2x", &c);
        buf_add_char(out, (char)c);
    }
}

static struct value *parse(struct arena *a, const struct schema_message *m, const char *json)
{
    struct value *v;
    struct err err;
    struct json_options opt = {.schema = m, .strictness = JSON_STRICT};
    if (json_decode(a, str_from(json), &opt, &v, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    return v;
}

static void test_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct arena *a = arena_create(0);
        const struct schema_message *m = schema_message_find(str_from(known[i].message));
        struct buf want = {0}, got = {0}, again = {0};
        struct protobuf_envelope e;
        struct value *v = parse(a, m, known[i].json), *back;
        struct err err;
        assert_true(protobuf_fits(m));
        from_hex(known[i].hex, &want);
        if (protobuf_encode_object(&got, m, v, &err) < 0)
            fail_msg("%s: %s", known[i].message, err.message);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.p, want.p, got.len);
        assert_int_equal(protobuf_open(buf_str(&want), &e, &err), 0);
        assert_int_equal(protobuf_decode(a, m, e.raw, &back, &err), 0);
        assert_int_equal(protobuf_encode(&again, m, back, &err), 0);
        assert_int_equal(again.len, e.raw.len);
        assert_memory_equal(again.p, e.raw.p, again.len);
        buf_free(&want), buf_free(&got), buf_free(&again);
        arena_destroy(a);
    }
}

static void test_frame(void **state)
{
    struct buf got = {0}, want = {0};
    (void)state;
    from_hex("000000110a05414444454412080a066b3873007879", &want);
    protobuf_watch_frame(&got, STR("ADDED"), (struct str){"k8s\0xy", 6});
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.p, want.p, got.len);
    buf_free(&got), buf_free(&want);
}

static void test_refused(void **state)
{
    static const struct {
        const char *message, *json, *want;
    } rows[] = {
        {"io.k8s.api.core.v1.Pod", "{\"spec\":3}", "field spec: a number cannot be encoded there"},
        {"io.k8s.api.core.v1.Pod", "{\"metadata\":{\"creationTimestamp\":\"soon\"}}",
         "field creationTimestamp: a string cannot be encoded there"},
        {"io.k8s.api.core.v1.Secret", "{\"data\":{\"a\":\"*\"}}", "field data: a string cannot be encoded there"},
        {"io.k8s.api.core.v1.Pod", "{\"spec\":{\"containers\":{}}}",
         "field containers: a object cannot be encoded there"},
        {"io.k8s.api.core.v1.Pod", "[]", "a array is no object"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct buf out = {0};
        struct err err;
        assert_int_equal(
            protobuf_encode(&out, schema_message_find(str_from(rows[i].message)), parse(a, NULL, rows[i].json), &err),
            ERR_BAD_REQUEST);
        assert_string_equal(err.message, rows[i].want);
        assert_int_equal(out.len, 0);
        buf_free(&out);
        arena_destroy(a);
    }
    assert_false(protobuf_fits(NULL));
    assert_false(protobuf_fits(
        schema_message_find(STR("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"))));
}

/* ---- every kind, random content ---- */

static uint64_t seed;

static unsigned chance(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static struct str word(struct arena *a)
{
    return arena_printf(a, "w%u", chance(1000));
}

static struct value *random_message(struct arena *a, const struct schema_message *m, int depth);

/* Never a zero that JSON would leave out. */
static struct value *random_item(struct arena *a, const struct schema_field *f, int depth)
{
    struct value *v;
    switch (f->type) {
    case FIELD_BOOL:
        return value_bool(a, true);
    case FIELD_INT32:
        return value_int(a, (int32_t)(1 + chance(1 << 30)) * (chance(2) ? 1 : -1));
    case FIELD_INT64:
        return value_int(a, (int64_t)((1 + (uint64_t)chance(1 << 30)) << chance(33)) * (chance(2) ? 1 : -1));
    case FIELD_DOUBLE:
        return value_double(a, 0.5 + chance(100));
    case FIELD_BYTES:
        return value_string(a, base64_encode(a, word(a)));
    case FIELD_TIME:
        return value_string(a, time_format(a, (int64_t)chance(2000000000) * 1000000));
    case FIELD_MICRO_TIME:
        return value_string(a, time_format_micro(a, ((int64_t)chance(2000000000) - 1000000000) * 1000));
    case FIELD_DURATION:
        return value_string(a, duration_format(a, (int64_t)(1 + chance(1000000)) * 1000000));
    case FIELD_QUANTITY:
        return value_string(a, arena_printf(a, "%uMi", 1 + chance(900)));
    case FIELD_INT_OR_STRING:
        return chance(2) ? value_int(a, 1 + chance(60000)) : value_string(a, word(a));
    case FIELD_MESSAGE:
        return random_message(a, f->message, depth + 1);
    case FIELD_ANY:
        v = value_map(a);
        value_set(a, v, word(a), value_int(a, chance(9)));
        return v;
    default:
        return value_string(a, word(a));
    }
}

static struct value *random_list(struct arena *a, const struct schema_field *f, int depth)
{
    struct value *v = value_list(a);
    for (unsigned n = 1 + chance(2); n; n--)
        value_append(a, v, random_item(a, f, depth));
    return v;
}

static struct value *random_field(struct arena *a, const struct schema_field *f, int depth)
{
    if (f->shape == SHAPE_SINGLE)
        return random_item(a, f, depth);
    if (f->shape == SHAPE_LIST)
        return random_list(a, f, depth);
    struct value *v = value_map(a);
    struct str names[3] = {STR("a"), word(a), STR("z")}; /* in order, as they come back */
    for (unsigned i = 0; i < 1 + chance(3); i++)
        value_set(a, v, names[i], f->flags & FIELD_MAP_OF_LISTS ? random_list(a, f, depth) : random_item(a, f, depth));
    return v;
}

static struct value *random_message(struct arena *a, const struct schema_message *m, int depth)
{
    struct value *v = value_map(a);
    for (size_t i = 0; i < m->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        bool value = f->shape == SHAPE_SINGLE && !(f->flags & FIELD_POINTER);
        /* what Go always writes comes back: structs, and zeros that JSON does not leave out */
        bool must = value && (f->type > FIELD_BYTES || f->flags & FIELD_ALWAYS);
        bool deep = depth > 8 && f->type == FIELD_MESSAGE && !must;
        if (f->flags & FIELD_EMBEDDED_TYPE || deep || (!must && chance(3 + (unsigned)depth) > 1))
            continue;
        value_set(a, v, f->name, random_field(a, f, depth));
    }
    return v;
}

static void there_and_back(const struct schema_message *m)
{
    struct arena *a = arena_create(0);
    struct buf bytes = {0}, json = {0}, json_back = {0};
    struct err err;
    struct value *v = random_message(a, m, 0), *back;
    if (protobuf_encode(&bytes, m, v, &err) < 0 || protobuf_decode(a, m, buf_str(&bytes), &back, &err) < 0)
        fail_msg(STR_FMT ": %s", STR_ARG(m->name), err.message);
    json_encode(&json, v);
    json_encode(&json_back, back);
    buf_add_char(&json, 0), buf_add_char(&json_back, 0);
    if (strcmp(json.p, json_back.p) != 0)
        fail_msg(STR_FMT ":\n%s\n%s", STR_ARG(m->name), json.p, json_back.p);
    buf_free(&bytes), buf_free(&json), buf_free(&json_back);
    arena_destroy(a);
}

static void test_every_kind(void **state)
{
    size_t n, n_fit = 0;
    const struct schema_message *const *all = schema_messages(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        if (!protobuf_fits(all[i]))
            continue;
        n_fit++;
        for (seed = 1; seed < 1u << 20; seed = (seed & 0xffff) * 3 + 7) { /* a few seeds, the same ones always */
            uint64_t keep = seed;
            there_and_back(all[i]);
            seed = keep;
            if (seed > 20000)
                break;
        }
    }
    assert_true(n_fit > 350);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
