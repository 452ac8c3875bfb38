/* Pods run as a service account, with its token mounted where every client library looks for it. */
#include "api/admission/admission.h"

#include "openapi/meta/identity.h"
#include "openapi/object/object.h"

#define MOUNT_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_EXPIRATION_S 3607
#define DEFAULT_ACCOUNT_TRIES 10

static bool is_mirror(const struct value *pod)
{
    return value_str(value_getz(value_path(pod, "metadata.annotations"), "kubernetes.io/config.mirror")).p != NULL;
}

static struct value *map_of(struct arena *a, const char *k1, struct value *v1, const char *k2, struct value *v2)
{
    struct value *m = value_map(a);
    value_setz(a, m, k1, v1);
    if (k2)
        value_setz(a, m, k2, v2);
    return m;
}

static struct value *list_of(struct arena *a, struct value *item)
{
    struct value *l = value_list(a);
    value_append(a, l, item);
    return l;
}

static struct value *token_volume(struct arena *a, struct str name)
{
    struct value *sources = value_list(a);
    value_append(
        a, sources,
        map_of(a, "serviceAccountToken",
               map_of(a, "expirationSeconds", value_int(a, TOKEN_EXPIRATION_S), "path", value_stringz(a, "token")),
               NULL, NULL));
    struct value *ca = map_of(a, "key", value_stringz(a, "ca.crt"), "path", value_stringz(a, "ca.crt"));
    value_append(a, sources,
                 map_of(a, "configMap",
                        map_of(a, "name", value_stringz(a, "kube-root-ca.crt"), "items", list_of(a, ca)), NULL, NULL));
    struct value *field =
        map_of(a, "apiVersion", value_stringz(a, "v1"), "fieldPath", value_stringz(a, "metadata.namespace"));
    struct value *item = map_of(a, "path", value_stringz(a, "namespace"), "fieldRef", field);
    value_append(a, sources, map_of(a, "downwardAPI", map_of(a, "items", list_of(a, item), NULL, NULL), NULL, NULL));
    return map_of(a, "name", value_string(a, name), "projected",
                  map_of(a, "sources", sources, "defaultMode", value_int(a, 420)));
}

static bool mounts_there(const struct value *container)
{
    const struct value *mounts = value_getz(container, "volumeMounts");
    for (size_t i = 0; i < value_len(mounts); i++)
        if (str_eqz(value_path_str(value_at(mounts, i), "mountPath"), MOUNT_PATH))
            return true;
    return false;
}

static bool mount_into(struct arena *a, struct value *containers, struct str volume)
{
    bool any = false;
    for (size_t i = 0; i < value_len(containers); i++) {
        struct value *container = value_at(containers, i);
        if (mounts_there(container))
            continue;
        struct value *mount = map_of(a, "name", value_string(a, volume), "readOnly", value_bool(a, true));
        value_setz(a, mount, "mountPath", value_stringz(a, MOUNT_PATH));
        value_append(a, value_ensure_list(a, container, "volumeMounts"), mount);
        any = true;
    }
    return any;
}

static void mount_token(struct arena *a, struct value *spec)
{
    struct value *volumes = value_getz(spec, "volumes");
    struct str name = STR_NULL;
    for (size_t i = 0; i < value_len(volumes); i++)
        if (str_starts(value_path_str(value_at(volumes, i), "name"), STR("kube-api-access-")))
            name = value_path_str(value_at(volumes, i), "name");
    bool there = name.p != NULL;
    if (!there)
        name = arena_printf(a, "kube-api-access-" STR_FMT, STR_ARG(name_suffix_new(a, 5)));
    bool any = mount_into(a, value_getz(spec, "initContainers"), name);
    any = mount_into(a, value_getz(spec, "containers"), name) || any;
    if (any && !there)
        value_append(a, value_ensure_list(a, spec, "volumes"), token_volume(a, name));
}

static int admit(struct admission_call *c, struct err *err)
{
    struct arena *a = c->arena;
    if (c->verb != VERB_CREATE || !admission_is(c, "", "pods") || is_mirror(c->object))
        return 0;
    struct value *spec = value_ensure_map(a, c->object, "spec");
    struct str name = value_path_str(spec, "serviceAccountName");
    if (!name.len)
        name = value_path_str(spec, "serviceAccount").len ? value_path_str(spec, "serviceAccount") : STR("default");
    value_setz(a, spec, "serviceAccountName", value_string(a, name));
    value_setz(a, spec, "serviceAccount", value_string(a, name));
    const struct object *account = admission_find(c, "", "serviceaccounts", c->namespace_, name);
    if (!account) {
        if (str_eqz(name, "default") && c->write->waits < DEFAULT_ACCOUNT_TRIES)
            return WRITE_SOON; /* of a new namespace: its controller is making it */
        return api_err_forbidden(c->req, c->name, err,
                                 "error looking up service account " STR_FMT "/" STR_FMT ": serviceaccount \"" STR_FMT
                                 "\" not found",
                                 STR_ARG(c->namespace_), STR_ARG(name), STR_ARG(name));
    }
    /* Most accounts say nothing on either: they are not parsed, pod after pod. */
    bool speaks = str_contains(account->body, STR("\"automountServiceAccountToken\"")) ||
                  str_contains(account->body, STR("\"imagePullSecrets\""));
    struct value *sa = speaks ? object_value(a, account) : NULL;
    bool mount = value_path_bool(sa, "automountServiceAccountToken", true);
    if (value_path_bool(spec, "automountServiceAccountToken", mount))
        mount_token(a, spec);
    struct value *pull = value_getz(sa, "imagePullSecrets");
    if (value_len(pull) && !value_len(value_getz(spec, "imagePullSecrets")))
        value_setz(a, spec, "imagePullSecrets", value_copy(a, pull));
    return 0;
}

const struct admission_plugin admission_service_account = {"ServiceAccount", admit, NULL};
