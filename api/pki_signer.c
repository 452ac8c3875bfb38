#include "api/pki_signer.h"

#include "api/client/client.h"
#include "api/pki.h"
#include "base/clock.h"
#include "base/log.h"
#include "openapi/meta/time.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define VALID_S (365 * 86400)
#define VALID_MIN_S 600

static const struct str client_kubelet = {"kubernetes.io/kube-apiserver-client-kubelet", 43};
static const struct str serving_kubelet = {"kubernetes.io/kubelet-serving", 29};
static const struct str client_any = {"kubernetes.io/kube-apiserver-client", 35};

struct pki_signer {
    struct api_server *server;
    struct client *client;
    struct informer *informer;
};

static bool in_group(const struct value *csr, const char *group)
{
    const struct value *groups = value_path(csr, "spec.groups");
    for (size_t i = 0; i < value_len(groups); i++)
        if (str_eqz(value_str(value_at(groups, i)), group))
            return true;
    return false;
}

static struct str base64_decode(struct arena *a, struct str text)
{
    unsigned char *out = arena_alloc(a, text.len + 1);
    int n = text.len % 4 ? -1 : EVP_DecodeBlock(out, (const unsigned char *)text.p, (int)text.len);
    for (size_t i = text.len; n > 0 && i > 0 && text.p[i - 1] == '='; i--)
        n--;
    return n < 0 ? STR_NULL : (struct str){(char *)out, (size_t)n};
}

/* What upstream's signers demand of the request itself, so that nobody gets a name that is not theirs to ask for.
 * NULL = fine. */
static const char *objection(struct arena *a, const struct value *csr, struct str pem)
{
    struct pki_csr r;
    struct err err = ERR_INIT;
    struct str signer = value_path_str(csr, "spec.signerName");
    bool serving = str_eq(signer, serving_kubelet);
    if (pki_csr_read(a, pem, &r, &err) < 0)
        return arena_strdup(a, err.message);
    if (str_eq(signer, client_any)) {
        for (size_t i = 0; i < r.n_organizations; i++)
            if (str_eqz(r.organizations[i], "system:masters"))
                return "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
        return NULL;
    }
    if (r.n_organizations != 1 || !str_eqz(r.organizations[0], "system:nodes"))
        return "subject organization is not system:nodes";
    if (!str_starts(r.common_name, STR("system:node:")))
        return "subject common name does not begin with system:node:";
    if (serving && !r.has_alternative_names)
        return "DNS or IP subjectAltName is required";
    if (!serving && r.has_alternative_names)
        return "DNS subjectAltNames are not allowed";
    /* A node speaks for itself only; a joining agent has no name yet. */
    struct str user = value_path_str(csr, "spec.username");
    if (str_starts(user, STR("system:node:")) && !str_eq(user, r.common_name))
        return "the common name is another node's";
    return NULL;
}

const char *pki_signer_approves(const struct value *csr)
{
    struct str signer = value_path_str(csr, "spec.signerName"), user = value_path_str(csr, "spec.username");
    bool node = str_starts(user, STR("system:node:")) && in_group(csr, "system:nodes");
    if (str_eq(signer, client_kubelet) && in_group(csr, "system:bootstrappers"))
        return "Auto approving kubelet client certificate after SubjectAccessReview.";
    if (str_eq(signer, client_kubelet) && node)
        return "Auto approving self kubelet client certificate after SubjectAccessReview.";
    if (str_eq(signer, serving_kubelet) && node)
        return "Auto approving kubelet serving certificate of the node that asks.";
    return NULL;
}

static bool has_condition(const struct value *csr, const char *type)
{
    const struct value *list = value_path(csr, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++)
        if (str_eqz(value_path_str(value_at(list, i), "type"), type))
            return true;
    return false;
}

static void write_back(struct pki_signer *s, const char *subresource, const struct value *csr)
{
    struct client_call call = {.verb = VERB_UPDATE,
                               .resource = resource_find(STR("certificates.k8s.io"), STR("certificatesigningrequests")),
                               .subresource = str_from(subresource),
                               .name = value_path_str(csr, "metadata.name"),
                               .body = csr,
                               .grace_period_s = -1};
    client_send(s->client, &call, NULL, NULL);
}

static void add_condition(struct arena *a, struct value *csr, const char *type, const char *reason, const char *message)
{
    struct value *c = value_map(a), *list = value_ensure_list(a, csr, "status.conditions");
    struct str now = time_format(a, clock_wall_ms() * 1000);
    value_setz(a, c, "type", value_stringz(a, type));
    value_setz(a, c, "status", value_stringz(a, "True"));
    value_setz(a, c, "reason", value_stringz(a, reason));
    value_setz(a, c, "message", value_string(a, arena_str(a, str_from(message))));
    value_setz(a, c, "lastUpdateTime", value_string(a, now));
    value_setz(a, c, "lastTransitionTime", value_string(a, now));
    value_append(a, list, c);
}

static void fail(struct pki_signer *s, struct arena *a, struct value *csr, const char *why)
{
    log_warn("pki", "certificate request " STR_FMT ": %s", STR_ARG(value_path_str(csr, "metadata.name")), why);
    add_condition(a, csr, "Failed", "SignerValidationFailure", why);
    write_back(s, "status", csr);
}

static void sign(struct pki_signer *s, struct arena *a, struct value *csr, struct str request)
{
    struct err err = ERR_INIT;
    struct str signer = value_path_str(csr, "spec.signerName");
    int64_t valid_s = value_path_int(csr, "spec.expirationSeconds", VALID_S);
    valid_s = valid_s < VALID_MIN_S ? VALID_MIN_S : valid_s > VALID_S ? VALID_S : valid_s;
    bool serving = str_eq(signer, serving_kubelet);
    char *pem;
    if (pki_sign_csr(&s->server->pki->ca, request, serving, !serving, valid_s, &pem, &err) < 0) {
        fail(s, a, csr, err.message);
        return;
    }
    size_t len = strlen(pem);
    unsigned char *text = arena_alloc(a, (len + 2) / 3 * 4 + 1);
    int n = EVP_EncodeBlock(text, (unsigned char *)pem, (int)len);
    free(pem);
    value_set_path(a, csr, "status.certificate", value_string(a, (struct str){(char *)text, (size_t)n}));
    write_back(s, "status", csr);
}

/* One step per change: approve, and once that is seen, sign. */
static void on_change(void *arg, const struct object *old, const struct object *now)
{
    struct pki_signer *s = arg;
    (void)old;
    if (!now || now->deletion_s)
        return;
    struct arena *a = arena_create(0);
    struct value *csr = object_value(a, now);
    struct str signer = value_path_str(csr, "spec.signerName");
    bool ours = str_eq(signer, client_kubelet) || str_eq(signer, serving_kubelet) || str_eq(signer, client_any);
    bool approved = has_condition(csr, "Approved");
    bool over =
        has_condition(csr, "Denied") || has_condition(csr, "Failed") || value_path_str(csr, "status.certificate").len;
    const char *why = pki_signer_approves(csr);
    if (ours && !over && (approved || why)) {
        struct str request = base64_decode(a, value_path_str(csr, "spec.request"));
        const char *bad = objection(a, csr, request);
        if (bad && approved) {
            fail(s, a, csr, bad);
        } else if (approved) {
            sign(s, a, csr, request);
        } else if (!bad) {
            add_condition(a, csr, "Approved", "AutoApproved", why);
            write_back(s, "approval", csr);
        }
    }
    arena_destroy(a);
}

int pki_signer_start(struct api_server *server, struct loop *loop, const struct client_fence *fence,
                     struct pki_signer **ret, struct err *err)
{
    static const char *const groups[] = {"system:serviceaccounts", "system:serviceaccounts:kube-system",
                                         "system:authenticated", NULL};
    (void)err;
    struct pki_signer *s = calloc(1, sizeof *s);
    s->server = server;
    s->client = client_create_local(server, loop, "system:serviceaccount:kube-system:certificate-controller", groups);
    if (fence)
        client_fence(s->client, fence);
    struct informer_options opt = {.resource =
                                       resource_find(STR("certificates.k8s.io"), STR("certificatesigningrequests")),
                                   .on_change = on_change,
                                   .arg = s};
    s->informer = client_informer(s->client, &opt);
    *ret = s;
    return 0;
}

void pki_signer_stop(struct pki_signer *s)
{
    if (!s)
        return;
    informer_destroy(s->informer);
    client_destroy(s->client);
    free(s);
}
