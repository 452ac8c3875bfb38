/* Pods as endpoints, grouped by the ports they resolve to. */
#include "controllers/endpointslice/endpoints.h"
#include "controllers/runtime/view.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct controller watches = {.watches = {{"", "services", NULL}, {"", "pods", NULL}, {"", "nodes", NULL}}};

static const char *quoted(struct arena *a, const char *s)
{
    char *copy = arena_strdup(a, s);
    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    return copy;
}

#define SERVICE(ports)                                                                                                \
    "{'apiVersion':'v1','kind':'Service','metadata':{'name':'s','namespace':'n','uid':'u'},'spec':{'selector':{'a':'" \
    "b'},'ports':[" ports "]}}"
#define POD(name, ports, status)                                                                 \
    "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'" name "','namespace':'n','uid':'" name \
    "','labels':{'a':'b'}},"                                                                     \
    "'spec':{'containers':[{'name':'c','ports':[" ports "]}]},'status':{" status "}}"
#define IP(ip) "'podIP':'" ip "','conditions':[{'type':'Ready','status':'True'}]"

static void test_groups(void **state)
{
    (void)state;
    static const struct {
        const char *objects[5];
        const char *want; /* "ports=names ports=names" */
    } rows[] = {
        {{SERVICE("{'port':80,'targetPort':8080}"), POD("p", "", IP("1.1.1.1")), POD("q", "", IP("1.1.1.2"))},
         "8080=p,q"},
        /* a named port may be another number in each pod */
        {{SERVICE("{'port':80,'targetPort':'web'}"), POD("p", "{'name':'web','containerPort':1}", IP("1.1.1.1")),
          POD("q", "{'name':'web','containerPort':2}", IP("1.1.1.2")),
          POD("r", "{'name':'web','containerPort':1}", IP("1.1.1.3"))},
         "1=p,r 2=q"},
        /* no such port in this pod: it stands there without */
        {{SERVICE("{'port':80,'targetPort':'web'}"), POD("p", "", IP("1.1.1.1"))}, "=p"},
        {{SERVICE("{'port':80}"), POD("p", "", "'phase':'Pending'"),
          POD("q", "", "'phase':'Failed','podIP':'1.1.1.1'")},
         ""},
        {{SERVICE("{'name':'a','port':80},{'name':'b','port':81}"), POD("p", "", IP("1.1.1.1"))}, "80+81=p"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        const char *objects[5];
        size_t n = 0;
        for (; n < 5 && rows[i].objects[n]; n++)
            objects[n] = quoted(a, rows[i].objects[n]);
        struct view *v = view_from_objects(a, &watches, objects, n);
        const struct object *service = view_find(v, 0, STR("n"), STR("s")), **pods;
        struct endpoint_groups groups = {0};
        size_t n_pods = view_list(v, a, 1, STR("n"), &pods);
        for (size_t p = 0; p < n_pods; p++)
            endpoints_add(a, &groups, service, view_object(a, service), pods[p], v, 2);
        struct buf text = {0};
        for (size_t g = 0; g < groups.len; g++) {
            buf_addz(&text, g ? " " : "");
            for (size_t p = 0; p < value_len(groups.items[g].ports); p++)
                buf_printf(&text, "%s%lld", p ? "+" : "",
                           (long long)value_path_int(value_at(groups.items[g].ports, p), "port", 0));
            for (size_t e = 0; e < groups.items[g].len; e++)
                buf_printf(&text, "%s" STR_FMT, e ? "," : "=",
                           STR_ARG(value_path_str(groups.items[g].items[e], "targetRef.name")));
        }
        if (!str_eqz(buf_str(&text), rows[i].want))
            fail_msg("row %zu: \"" STR_FMT "\", want \"%s\"", i, STR_ARG(buf_str(&text)), rows[i].want);
        buf_free(&text);
        arena_destroy(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
