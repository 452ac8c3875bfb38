/* One pod against a small cluster: {nodes, pods there, pod} -> where it goes, or why not. */
#include "scheduler/cycle.h"
#include "scheduler/preemption.h"

#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MAX 16

struct cluster {
    struct arena *arena;
    struct snapshot snapshot;
    struct cycle cycle;
    struct sched_pod *pods[MAX];
    size_t n_pods;
    int64_t revision;
};

/* Quotes are written ' in the tables. */
static const struct object *make(struct cluster *c, const char *group, const char *resource, const char *json)
{
    struct arena *scratch = arena_create(0);
    struct object *o;
    struct err err = ERR_INIT;
    char *text = arena_strdup(scratch, json);
    c->revision++;
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    const struct resource *r = resource_find(str_from(group), str_from(resource));
    if (object_from_stored(scratch, r, str_from(text), c->revision, c->revision, &o, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    arena_destroy(scratch);
    return o;
}

/* "name labels|spec|allocatable": short forms of the JSON around them. */
static void add_node(struct cluster *c, const char *row)
{
    char name[64], labels[256] = "", spec[512] = "", allocatable[256] = "'cpu':'4','memory':'8Gi','pods':'10'";
    sscanf(row, "%63[^|]|%255[^|]|%511[^|]|%255[^|]", name, labels, spec, allocatable);
    struct str json = arena_printf(c->arena,
                                   "{'metadata':{'name':'%s','uid':'%s','labels':{'kubernetes.io/hostname':'%s'%s%s}},"
                                   "'spec':{%s},'status':{'allocatable':{%s}}}",
                                   name, name, name, *labels != ' ' && *labels ? "," : "", *labels == ' ' ? "" : labels,
                                   *spec == ' ' ? "" : spec, allocatable);
    const struct object *o = make(c, "", "nodes", json.p);
    snapshot_set_node(&c->snapshot, o, NULL);
    object_put(o);
}

/* "name|metadata|spec|requests" */
static struct sched_pod *make_pod(struct cluster *c, const char *row)
{
    char name[64], meta[256] = "", spec[1024] = "", requests[256] = "'cpu':'1','memory':'1Gi'";
    sscanf(row, "%63[^|]|%255[^|]|%1023[^|]|%255[^|]", name, meta, spec, requests);
    struct str json =
        arena_printf(c->arena,
                     "{'metadata':{'name':'%s','namespace':'default','uid':'%s'%s%s},'spec':{'containers':"
                     "[{'name':'c','image':'i','resources':{'requests':{%s}}}]%s%s},'status':{}}",
                     name, name, *meta == ' ' || !*meta ? "" : ",", *meta == ' ' ? "" : meta,
                     *requests == ' ' ? "" : requests, *spec == ' ' || !*spec ? "" : ",", *spec == ' ' ? "" : spec);
    const struct object *o = make(c, "", "pods", json.p);
    struct sched_pod *p = sched_pod_create(o, &c->snapshot);
    object_put(o);
    return p;
}

/* "what is looked up" is kept by kind and name. */
static struct {
    enum lookup_kind kind;
    const char *resource, *group, *json;
} others[] = {
    {LOOKUP_CLAIM, "persistentvolumeclaims", "",
     "{'metadata':{'name':'waits','namespace':'default','uid':'1'},'spec':{'storageClassName':'slow'}}"},
    {LOOKUP_CLAIM, "persistentvolumeclaims", "",
     "{'metadata':{'name':'first','namespace':'default','uid':'2'},'spec':{'storageClassName':'local'}}"},
    {LOOKUP_CLAIM, "persistentvolumeclaims", "",
     "{'metadata':{'name':'bound','namespace':'default','uid':'3','annotations':{'pv.kubernetes.io/"
     "bind-completed':'yes'}},"
     "'spec':{'volumeName':'v'},'status':{'phase':'Bound'}}"},
    {LOOKUP_STORAGE_CLASS, "storageclasses", "storage.k8s.io",
     "{'metadata':{'name':'local','uid':'4'},'provisioner':'p','volumeBindingMode':'WaitForFirstConsumer'}"},
    {LOOKUP_VOLUME, "persistentvolumes", "",
     "{'metadata':{'name':'v','uid':'5'},'spec':{'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':"
     "[{'key':'zone','operator':'In','values':['2']}]}]}}}}"},
};
enum { N_OTHERS = sizeof others / sizeof *others };
static const struct object *other_objects[N_OTHERS];

static const struct object *lookup(void *arg, enum lookup_kind kind, struct str namespace_, struct str name)
{
    (void)arg;
    for (size_t i = 0; i < N_OTHERS; i++)
        if (others[i].kind == kind && str_eq(other_objects[i]->name, name) &&
            str_eq(other_objects[i]->namespace_, namespace_))
            return other_objects[i];
    return NULL;
}

static void cluster_init(struct cluster *c)
{
    *c = (struct cluster){.arena = arena_create(0)};
    snapshot_init(&c->snapshot);
    cycle_init(&c->cycle, &c->snapshot, 1);
    c->snapshot.lookup = lookup;
    for (size_t i = 0; i < N_OTHERS; i++)
        other_objects[i] = make(c, others[i].group, others[i].resource, others[i].json);
}

static void cluster_finish(struct cluster *c)
{
    for (size_t i = 0; i < c->n_pods; i++) {
        snapshot_unplace(&c->snapshot, c->pods[i]);
        sched_pod_destroy(c->pods[i], &c->snapshot);
    }
    for (size_t i = 0; i < N_OTHERS; i++)
        object_put(other_objects[i]);
    cycle_finish(&c->cycle);
    snapshot_finish(&c->snapshot);
    arena_destroy(c->arena);
}

#define CLAIM(name) "'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'" name "'}}]"

struct row {
    const char *what;
    const char *nodes[6];
    const char *pods[8]; /* "node>name|metadata|spec|requests" */
    const char *pod;
    const char *want;     /* a node; or the sentence */
    const char *preempts; /* the sentence about preemption, or "node:victim,victim" */
};

#define AVAILABLE(n) "0/" n " nodes are available: "
#define WEB "'labels':{'app':'web'}"
#define SELECTOR "'labelSelector':{'matchLabels':{'app':'web'}}"
#define APART(key)                                                                                \
    "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{" SELECTOR \
    ",'topologyKey':'" key "'}]}}"
#define TOGETHER(key)                                                                                                \
    "'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{" SELECTOR ",'topologyKey':'" key \
    "'}]}}"
#define NEAR(key)                                                                                                    \
    "'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':100,'podAffinityTerm':" \
    "{" SELECTOR ",'topologyKey':'" key "'}}]}}"
#define SPREAD(key, when) \
    "'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'" key "','whenUnsatisfiable':'" when "'," SELECTOR "}]"
#define NODE_AFFINITY(terms) \
    "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[" terms "]}}}"
#define PREFER_NODE(key, value)                                                                                    \
    "'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':100,'preference':{'" \
    "matchExpressions':[{'key':'" key "','operator':'In','values':['" value "']}]}}]}}"
#define BY_NAME(name) "{'matchFields':[{'key':'metadata.name','operator':'In','values':['" name "']}]}"
#define LABELLED(expression) "{'matchExpressions':[" expression "]}"
#define TAINT(effect) "'taints':[{'key':'k','value':'v','effect':'" effect "'}]"
#define TOLERATE(more) "'tolerations':[{'key':'k'" more "}]"
#define PORT(more)                                                                                                \
    "'initContainers':[{'name':'p','restartPolicy':'Always','image':'i','ports':[{'containerPort':80,'hostPort':" \
    "80" more "}]}]"
#define OWNED "'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'r','uid':'r1','controller':true}]"
#define HIGH "'priority':100"

static const struct row rows[] = {
    {"no nodes", {NULL}, {NULL}, "p", "no nodes available to schedule pods", NULL},
    {"fits", {"a"}, {NULL}, "p", "a", NULL},

    {"cpu",
     {"a"},
     {"a>x| | |'cpu':'3500m'"},
     "p",
     AVAILABLE("1") "1 Insufficient cpu.",
     AVAILABLE("1") "1 No preemption victims found for incoming pod."},
    {"more than the node has",
     {"a"},
     {NULL},
     "p| | |'cpu':'5','memory':'9Gi'",
     AVAILABLE("1") "1 Insufficient cpu, 1 Insufficient memory.",
     AVAILABLE("1") "1 Preemption is not helpful for scheduling."},
    {"several reasons are sorted as text",
     {"a", "b", "c| |'unschedulable':true", "d| |" TAINT("NoSchedule")},
     {"a>x| | |'cpu':'4'", "b>y| | |'cpu':'4'"},
     "p",
     AVAILABLE("4") "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu.",
     AVAILABLE("4") "2 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."},
    {"too many pods",
     {"a| | |'cpu':'4','memory':'8Gi','pods':'1'"},
     {"a>x| | | "},
     "p| | | ",
     AVAILABLE("1") "1 Too many pods.",
     NULL},
    {"ephemeral storage",
     {"a"},
     {NULL},
     "p| | |'ephemeral-storage':'1Gi'",
     AVAILABLE("1") "1 Insufficient ephemeral-storage.",
     NULL},
    {"extended resource",
     {"a"},
     {NULL},
     "p| | |'example.com/gpu':'1'",
     AVAILABLE("1") "1 Insufficient example.com/gpu.",
     NULL},
    {"extended resource is there",
     {"a", "b| | |'cpu':'4','memory':'8Gi','pods':'10','example.com/gpu':'1'"},
     {NULL},
     "p| | |'example.com/gpu':'1'",
     "b",
     NULL},
    {"extended resource is in use",
     {"b| | |'cpu':'4','memory':'8Gi','pods':'10','example.com/gpu':'1'"},
     {"b>x| | |'example.com/gpu':'1'"},
     "p| | |'example.com/gpu':'1'",
     AVAILABLE("1") "1 Insufficient example.com/gpu.",
     NULL},
    {"largest init container",
     {"a"},
     {NULL},
     "p| |'initContainers':[{'name':'i','image':'i','resources':{'requests':{'cpu':'5'}}}]",
     AVAILABLE("1") "1 Insufficient cpu.",
     NULL},
    {"sidecars add up",
     {"a"},
     {NULL},
     "p| "
     "|'initContainers':[{'name':'i','image':'i','restartPolicy':'Always','resources':{'requests':{'cpu':'3500m'}}}]",
     AVAILABLE("1") "1 Insufficient cpu.",
     NULL},
    {"overhead", {"a"}, {NULL}, "p| |'overhead':{'cpu':'3500m'}", AVAILABLE("1") "1 Insufficient cpu.", NULL},
    {"pod-level requests",
     {"a"},
     {NULL},
     "p| |'resources':{'requests':{'cpu':'5'}}",
     AVAILABLE("1") "1 Insufficient cpu.",
     NULL},

    {"cordoned", {"a| |'unschedulable':true"}, {NULL}, "p", AVAILABLE("1") "1 node(s) were unschedulable.", NULL},
    {"cordoned is tolerated",
     {"a| |'unschedulable':true"},
     {NULL},
     "p| |'tolerations':[{'key':'node.kubernetes.io/unschedulable','operator':'Exists'}]",
     "a",
     NULL},
    {"taint",
     {"a| |" TAINT("NoExecute")},
     {NULL},
     "p",
     AVAILABLE("1") "1 node(s) had untolerated taint(s).",
     AVAILABLE("1") "1 Preemption is not helpful for scheduling."},
    {"toleration of a value",
     {"a| |" TAINT("NoSchedule")},
     {NULL},
     "p| |" TOLERATE(",'value':'v','effect':'NoSchedule'"),
     "a",
     NULL},
    {"toleration of another value",
     {"a| |" TAINT("NoSchedule")},
     {NULL},
     "p| |" TOLERATE(",'value':'w'"),
     AVAILABLE("1") "1 node(s) had untolerated taint(s).",
     NULL},
    {"toleration of another effect",
     {"a| |" TAINT("NoSchedule")},
     {NULL},
     "p| |" TOLERATE(",'operator':'Exists','effect':'NoExecute'"),
     AVAILABLE("1") "1 node(s) had untolerated taint(s).",
     NULL},
    {"toleration of everything",
     {"a| |" TAINT("NoSchedule")},
     {NULL},
     "p| |'tolerations':[{'operator':'Exists'}]",
     "a",
     NULL},
    {"PreferNoSchedule", {"a| |" TAINT("PreferNoSchedule"), "b"}, {NULL}, "p", "b", NULL},

    {"node selector", {"a", "b|'disk':'ssd'"}, {NULL}, "p| |'nodeSelector':{'disk':'ssd'}", "b", NULL},
    {"node selector without match",
     {"a"},
     {NULL},
     "p| |'nodeSelector':{'disk':'ssd'}",
     AVAILABLE("1") "1 node(s) didn't match Pod's node affinity/selector.",
     AVAILABLE("1") "1 Preemption is not helpful for scheduling."},
    {"node affinity: one of the terms",
     {"a|'z':'1'", "b|'z':'2'"},
     {NULL},
     "p| |" NODE_AFFINITY(
         LABELLED("{'key':'no','operator':'Exists'}") "," LABELLED("{'key':'z','operator':'Gt','values':['1']}")),
     "b",
     NULL},
    {"node affinity: not in",
     {"a|'z':'1'", "b|'z':'2'"},
     {NULL},
     "p| |" NODE_AFFINITY(LABELLED("{'key':'z','operator':'NotIn','values':['2']}")),
     "a",
     NULL},
    {"node affinity: absent",
     {"a|'z':'1'", "b"},
     {NULL},
     "p| |" NODE_AFFINITY(LABELLED("{'key':'z','operator':'DoesNotExist'}")),
     "b",
     NULL},
    {"node affinity by name", {"a", "b"}, {NULL}, "p| |" NODE_AFFINITY(BY_NAME("b")), "b", NULL},
    {"node affinity by name, full",
     {"a", "b"},
     {"b>x| | |'cpu':'4'"},
     "p| |" NODE_AFFINITY(BY_NAME("b")),
     AVAILABLE("2") "1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity].",
     AVAILABLE("2") "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
    {"node affinity by name, gone",
     {"a"},
     {NULL},
     "p| |" NODE_AFFINITY(BY_NAME("z")),
     AVAILABLE("1") "1 node(s) didn't satisfy plugin(s) [NodeAffinity].",
     NULL},
    {"preferred node affinity", {"a", "b|'z':'1'", "c"}, {NULL}, "p| |" PREFER_NODE("z", "1"), "b", NULL},

    {"host port", {"a", "b"}, {"a>x| |" PORT("")}, "p| |" PORT(""), "b", NULL},
    {"host port taken everywhere",
     {"a"},
     {"a>x| |" PORT("")},
     "p| |" PORT(",'hostIP':'10.0.0.1'"),
     AVAILABLE("1") "1 node(s) didn't have free ports for the requested pod ports.",
     NULL},
    {"host port of another protocol", {"a"}, {"a>x| |" PORT("")}, "p| |" PORT(",'protocol':'UDP'"), "a", NULL},
    {"host port of another address",
     {"a"},
     {"a>x| |" PORT(",'hostIP':'10.0.0.1'")},
     "p| |" PORT(",'hostIP':'10.0.0.2'"),
     "a",
     NULL},

    {"least allocated", {"a", "b", "c"}, {"a>x", "b>y", "b>z"}, "p", "c", NULL},
    {"without requests pods count too", {"a", "b"}, {"a>x| | | ", "a>y| | | "}, "p| | | ", "b", NULL},
    {"replicas keep their distance",
     {"a", "b| | |'cpu':'2','memory':'4Gi','pods':'10'"},
     {"a>x|" OWNED "| |'cpu':'10m'"},
     "p|" OWNED "| |'cpu':'10m'",
     "b",
     NULL},
    {"balanced",
     {"a| | |'cpu':'4','memory':'8Gi','pods':'9'", "b| | |'cpu':'4','memory':'8Gi','pods':'9'"},
     {"a>x| | |'cpu':'2','memory':'1Gi'", "b>y| | |'cpu':'1','memory':'3Gi'"},
     "p| | |'cpu':'2','memory':'1Gi'",
     "b",
     NULL},

    {"anti-affinity", {"a", "b"}, {"a>x|" WEB}, "p|" WEB "|" APART("kubernetes.io/hostname"), "b", NULL},
    {"anti-affinity everywhere",
     {"a", "b"},
     {"a>x|" WEB, "b>y|" WEB},
     "p|" WEB "|" APART("kubernetes.io/hostname"),
     AVAILABLE("2") "2 node(s) didn't match pod anti-affinity rules.",
     AVAILABLE("2") "2 No preemption victims found for incoming pod."},
    {"anti-affinity of those there", {"a", "b"}, {"a>x| |" APART("kubernetes.io/hostname")}, "p|" WEB, "b", NULL},
    {"anti-affinity of those there, everywhere",
     {"a"},
     {"a>x| |" APART("kubernetes.io/hostname")},
     "p|" WEB,
     AVAILABLE("1") "1 node(s) didn't satisfy existing pods anti-affinity rules.",
     NULL},
    {"anti-affinity by zone",
     {"a|'zone':'1'", "b|'zone':'1'", "c|'zone':'2'"},
     {"a>x|" WEB},
     "p| |" APART("zone"),
     "c",
     NULL},
    {"affinity", {"a|'zone':'1'", "b|'zone':'2'"}, {"b>x|" WEB}, "p| |" TOGETHER("zone"), "b", NULL},
    {"affinity without anyone",
     {"a|'zone':'1'"},
     {NULL},
     "p| |" TOGETHER("zone"),
     AVAILABLE("1") "1 node(s) didn't match pod affinity rules.",
     AVAILABLE("1") "1 Preemption is not helpful for scheduling."},
    {"affinity: the first of its group", {"a|'zone':'1'"}, {NULL}, "p|" WEB "|" TOGETHER("zone"), "a", NULL},
    {"affinity: no such label",
     {"a"},
     {NULL},
     "p|" WEB "|" TOGETHER("zone"),
     AVAILABLE("1") "1 node(s) didn't match pod affinity rules.",
     NULL},
    {"preferred affinity",
     {"a|'zone':'1'", "b|'zone':'2'", "c|'zone':'3'"},
     {"b>x|" WEB},
     "p| |" NEAR("zone"),
     "b",
     NULL},

    {"spread", {"a|'zone':'1'", "b|'zone':'2'"}, {"a>x|" WEB}, "p|" WEB "|" SPREAD("zone", "DoNotSchedule"), "b", NULL},
    {"spread is impossible",
     {"a|'zone':'1'", "b|'zone':'2'|'unschedulable':true"},
     {"a>x|" WEB},
     "p|" WEB "|" SPREAD("zone", "DoNotSchedule"),
     AVAILABLE("2") "1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable.",
     AVAILABLE("2") "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
    {"spread needs the label",
     {"a"},
     {NULL},
     "p|" WEB "|" SPREAD("zone", "DoNotSchedule"),
     AVAILABLE("1") "1 node(s) didn't match pod topology spread constraints (missing required label).",
     NULL},
    {"soft spread",
     {"a|'zone':'1'", "b|'zone':'1'", "c|'zone':'2'"},
     {"a>x|" WEB, "c>z| | |'cpu':'100m'"},
     "p|" WEB "|" SPREAD("zone", "ScheduleAnyway"),
     "c",
     NULL},

    {"claim is not there",
     {"a"},
     {NULL},
     "p| |" CLAIM("none"),
     AVAILABLE("1") "persistentvolumeclaim \"none\" not found.",
     AVAILABLE("1") "1 Preemption is not helpful for scheduling."},
    {"claim is not bound",
     {"a"},
     {NULL},
     "p| |" CLAIM("waits"),
     AVAILABLE("1") "pod has unbound immediate PersistentVolumeClaims.",
     NULL},
    {"claim waits for its first consumer",
     {"a"},
     {NULL},
     "p| |" CLAIM("first"),
     AVAILABLE("1") "1 node(s) didn't find available persistent volumes to bind.",
     NULL},
    {"claim of a pod's own",
     {"a"},
     {NULL},
     "p| |'volumes':[{'name':'v','ephemeral':{}}]",
     AVAILABLE("1") "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-v\".",
     NULL},
    {"volume elsewhere",
     {"a|'zone':'1'"},
     {NULL},
     "p| |" CLAIM("bound"),
     AVAILABLE("1") "1 node(s) didn't match PersistentVolume's node affinity.",
     NULL},
    {"volume here", {"a|'zone':'1'", "b|'zone':'2'"}, {NULL}, "p| |" CLAIM("bound"), "b", NULL},

    {"preemption",
     {"a", "b"},
     {"a>x| | |'cpu':'4'", "b>y| |'priority':10|'cpu':'4'"},
     "p| |" HIGH,
     AVAILABLE("2") "2 Insufficient cpu.",
     "a:x"},
    {"preemption spares what can stay",
     {"a"},
     {"a>x| |'priority':5|'cpu':'2'", "a>y| |'priority':1|'cpu':'1'", "a>z| |'priority':3|'cpu':'1'"},
     "p| |" HIGH,
     AVAILABLE("1") "1 Insufficient cpu.",
     "a:y"},
    {"preemption never",
     {"a"},
     {"a>x| | |'cpu':'4'"},
     "p| |" HIGH ",'preemptionPolicy':'Never'",
     AVAILABLE("1") "1 Insufficient cpu.",
     "not eligible due to preemptionPolicy=Never."},
    {"preemption ends anti-affinity",
     {"a"},
     {"a>x|" WEB, "a>y"},
     "p|" WEB "|" HIGH "," APART("kubernetes.io/hostname"),
     AVAILABLE("1") "1 node(s) didn't match pod anti-affinity rules.",
     "a:x"},
    {"preemption is not enough",
     {"a"},
     {"a>x| |'priority':1000|'cpu':'2'", "a>y| | |'cpu':'1'"},
     "p| |" HIGH "|'cpu':'3'",
     AVAILABLE("1") "1 Insufficient cpu.",
     AVAILABLE("1") "1 Insufficient cpu."},
};

static void check_preemption(struct cluster *c, struct sched_pod *p, const struct row *row)
{
    struct preemption found;
    preemption_find(&c->cycle, p, NULL, 0, &found);
    struct str got = found.message;
    if (found.node) {
        got = arena_printf(c->arena, STR_FMT ":", STR_ARG(found.node->name));
        for (size_t i = 0; i < found.n_victims; i++)
            got = arena_printf(c->arena, STR_FMT "%s" STR_FMT, STR_ARG(got), i ? "," : "",
                               STR_ARG(found.victims[i]->object->name));
    }
    if (!str_eqz(got, row->preempts))
        fail_msg("%s: \"" STR_FMT "\", want \"%s\"", row->what, STR_ARG(got), row->preempts);
}

static void check_row(const struct row *row)
{
    struct cluster c;
    cluster_init(&c);
    for (size_t i = 0; i < 6 && row->nodes[i]; i++)
        add_node(&c, row->nodes[i]);
    for (size_t i = 0; i < 8 && row->pods[i]; i++) {
        const char *arrow = strchr(row->pods[i], '>');
        struct sched_pod *p = c.pods[c.n_pods++] = make_pod(&c, arrow + 1);
        snapshot_place(&c.snapshot, p, (struct str){row->pods[i], (size_t)(arrow - row->pods[i])});
    }
    struct sched_pod *p = c.pods[c.n_pods++] = make_pod(&c, row->pod);
    struct sched_node *n = cycle_run(&c.cycle, p);
    struct str got = n ? n->name : cycle_message(&c.cycle);
    if (!str_eqz(got, row->want))
        fail_msg("%s: \"" STR_FMT "\", want \"%s\"", row->what, STR_ARG(got), row->want);
    if (row->preempts)
        check_preemption(&c, p, row);
    cluster_finish(&c);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i]);
}

/* Budgets: a victim whose going would break one is taken only when it must be. */
static void test_budgets(void **state)
{
    (void)state;
    struct cluster c;
    struct err err = ERR_INIT;
    struct preemption found;
    cluster_init(&c);
    add_node(&c, "a");
    add_node(&c, "b");
    c.pods[0] = make_pod(&c, "x|" WEB "| |'cpu':'4'");
    c.pods[1] = make_pod(&c, "y| |'priority':5|'cpu':'4'");
    struct sched_pod *p = c.pods[2] = make_pod(&c, "p| |" HIGH);
    c.n_pods = 3;
    snapshot_place(&c.snapshot, c.pods[0], STR("a"));
    snapshot_place(&c.snapshot, c.pods[1], STR("b"));
    struct disruption_budget budget = {.namespace_ = STR("default")};
    assert_int_equal(label_selector_parse(c.arena, STR("app=web"), &budget.selector, &err), 0);
    assert_null(cycle_run(&c.cycle, p));
    preemption_find(&c.cycle, p, &budget, 1, &found);
    assert_true(str_eqz(found.node->name, "b"));
    budget.allowed = 1;
    preemption_find(&c.cycle, p, &budget, 1, &found);
    assert_true(str_eqz(found.node->name, "a"));
    cluster_finish(&c);
}

/* A node made free for one pod is not given to another of no higher priority. */
static void test_nominated(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c);
    add_node(&c, "a");
    struct sched_pod *first = c.pods[0] = make_pod(&c, "first| |" HIGH "|'cpu':'4'");
    struct sched_pod *second = c.pods[1] = make_pod(&c, "second");
    struct sched_pod *higher = c.pods[2] = make_pod(&c, "higher| |'priority':1000");
    c.n_pods = 3;
    snapshot_nominate(&c.snapshot, first, STR("a"));
    assert_null(cycle_run(&c.cycle, second));
    assert_non_null(cycle_run(&c.cycle, higher));
    assert_non_null(cycle_run(&c.cycle, first));
    snapshot_nominate(&c.snapshot, first, STR_NULL);
    assert_non_null(cycle_run(&c.cycle, second));
    cluster_finish(&c);
}

/* Large clusters: not all nodes are looked at, but all get their turn; and the same seed decides the same. */
static void test_sampling(void **state)
{
    (void)state;
    char name[16], chosen[2][40][16];
    for (int run = 0; run < 2; run++) {
        struct cluster c;
        cluster_init(&c);
        for (int i = 0; i < 1000; i++) {
            snprintf(name, sizeof name, "n%d", i);
            add_node(&c, name);
        }
        struct sched_pod *p = c.pods[c.n_pods++] = make_pod(&c, "p");
        for (int i = 0; i < 40; i++) {
            struct sched_node *n = cycle_run(&c.cycle, p);
            assert_int_equal(c.cycle.n_feasible, 420); /* 50 % - 1000/125 */
            snprintf(chosen[run][i], sizeof chosen[run][i], STR_FMT, STR_ARG(n->name));
        }
        cluster_finish(&c);
    }
    int differ = 0;
    for (int i = 0; i < 40; i++) {
        assert_string_equal(chosen[0][i], chosen[1][i]);
        differ += i && strcmp(chosen[0][i], chosen[0][i - 1]) != 0;
    }
    assert_true(differ > 30);
}

/* What is requested on a node is what its pods request, whatever comes and goes. */
static void test_accounts(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c);
    add_node(&c, "a");
    struct sched_node *n = snapshot_node(&c.snapshot, STR("a"));
    for (int i = 0; i < 6; i++)
        c.pods[c.n_pods++] =
            make_pod(&c, i % 2 ? "x|" WEB "," OWNED
                                 "|" PORT("") "," APART("kubernetes.io/hostname") "|'cpu':'1','example.com/gpu':'1'"
                               : "y|" OWNED);
    for (int i = 0; i < 6; i++)
        snapshot_place(&c.snapshot, c.pods[i], STR("a"));
    assert_int_equal(n->requested[RESOURCE_CPU], 6000);
    assert_int_equal(n->extended_requested[0], 3);
    assert_int_equal(n->ports.len, 3);
    assert_int_equal(owner_pods_on(c.pods[0]->owner, n), 6);
    snapshot_remove_node(&c.snapshot, STR("a")); /* its pods are still there */
    assert_null(snapshot_node(&c.snapshot, STR("a")));
    add_node(&c, "a");
    for (int i = 0; i < 6; i++)
        snapshot_unplace(&c.snapshot, c.pods[(i * 5) % 6]);
    n = snapshot_node(&c.snapshot, STR("a"));
    assert_int_equal(n->requested[RESOURCE_CPU] + n->requested[RESOURCE_MEMORY] + n->nonzero[0] + n->nonzero[1], 0);
    assert_int_equal(n->extended_requested[0], 0);
    assert_int_equal(n->ports.len + n->n_pods + n->n_anti_affinity + c.snapshot.n_affinity, 0);
    assert_int_equal(c.pods[0]->owner->len, 0);
    cluster_finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),    cmocka_unit_test(test_budgets),  cmocka_unit_test(test_nominated),
        cmocka_unit_test(test_sampling), cmocka_unit_test(test_accounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
