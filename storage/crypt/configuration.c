#include "storage/crypt/configuration.h"

#include "base/clock.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"
#include "openapi/schema.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* ---- resources ---- */

struct prefixes {
    struct str *items;
    size_t len, cap;
};

static void add_prefix(struct arena *a, struct prefixes *to, struct str prefix)
{
    ARENA_PUSH(a, to->items, to->len, to->cap, prefix);
}

static void add_group(struct arena *a, struct prefixes *to, struct str group)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++)
        if (str_eq(all[i]->group, group) && all[i]->storage_prefix.len)
            add_prefix(a, to, all[i]->storage_prefix);
    if (group.len)
        add_prefix(a, to, arena_printf(a, "/registry/" STR_FMT "/", STR_ARG(group)));
}

/* "secrets", "deployments.apps", "*.apps", "*." (the core group), "*.*" */
static int add_resource(struct arena *a, struct prefixes *to, struct str text, struct err *err)
{
    struct str group = text, name;
    str_split(&group, '.', &name);
    bool bare = !group.p;
    if (!name.len || (bare && str_eq(name, STR("*"))))
        return err_set(err, ERR_BAD_REQUEST,
                       "resource \"" STR_FMT
                       "\": use a resource's name with its group (\"secrets\", \"deployments.apps\"), "
                       "\"*.GROUP\", \"*.\" for the core group, or \"*.*\" for all",
                       STR_ARG(text));
    if (bare)
        group = STR("");
    if (str_eq(name, STR("*")) && str_eq(group, STR("*"))) {
        add_prefix(a, to, STR("/registry/"));
        return 0;
    }
    if (str_eq(name, STR("*"))) {
        add_group(a, to, group);
        return 0;
    }
    const struct resource *r = resource_find(group, name);
    if (r && r->stored_as)
        r = r->stored_as;
    if (r && r->storage_prefix.len)
        add_prefix(a, to, r->storage_prefix);
    else if (group.len)
        add_prefix(a, to, arena_printf(a, "/registry/" STR_FMT "/" STR_FMT "/", STR_ARG(group), STR_ARG(name)));
    else
        return err_set(err, ERR_BAD_REQUEST, "resource \"" STR_FMT "\" is not known", STR_ARG(text));
    return 0;
}

static int read_resources(struct arena *a, const struct value *list, struct encryption_rule *rule, struct err *err)
{
    struct prefixes all = {0};
    for (size_t i = 0; i < value_len(list); i++) {
        int rc = add_resource(a, &all, value_str(value_at(list, i)), err);
        if (rc < 0)
            return rc;
    }
    if (!all.len)
        return err_set(err, ERR_BAD_REQUEST, "resources: name at least one");
    rule->prefixes = all.items;
    rule->n_prefixes = all.len;
    return 0;
}

/* ---- keys ---- */

static int read_secret(struct str text, struct cipher_key *k, struct err *err)
{
    uint8_t plain[3 * 64];
    char padded[4 * 64 + 1];
    if (!text.len || text.len > 4 * 60 || text.len % 4)
        return err_set(err, ERR_BAD_REQUEST, "secret must be base64 encoded");
    memcpy(padded, text.p, text.len);
    int n = EVP_DecodeBlock(plain, (const uint8_t *)padded, (int)text.len);
    for (size_t i = text.len; n > 0 && i > text.len - 2 && text.p[i - 1] == '='; i--)
        n--;
    if (n < 0)
        return err_set(err, ERR_BAD_REQUEST, "secret must be base64 encoded");
    const char *lengths = cipher_wrong_length(k->kind, (size_t)n);
    if (lengths)
        return err_set(err, ERR_BAD_REQUEST, "secret is not of the expected length, got %d, expected one of %s", n,
                       lengths);
    memcpy(k->secret, plain, (size_t)n);
    k->secret_len = (size_t)n;
    OPENSSL_cleanse(plain, sizeof plain);
    OPENSSL_cleanse(padded, sizeof padded);
    return 0;
}

struct keys {
    const struct cipher_key **items;
    size_t len, cap;
};

static int read_keys(struct arena *a, enum cipher_kind kind, const struct value *list, struct keys *to, struct err *err)
{
    if (!value_len(list))
        return err_set(err, ERR_BAD_REQUEST, "%s: keys: at least one key is required", cipher_name(kind));
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *one = value_at(list, i);
        struct cipher_key *k = ARENA_NEW(a, struct cipher_key);
        k->kind = kind;
        k->name = arena_str(a, value_path_str(one, "name"));
        if (!k->name.len || str_contains(k->name, STR(":")))
            return err_set(err, ERR_BAD_REQUEST, "%s: keys[%zu]: a key needs a name without colons", cipher_name(kind),
                           i);
        for (size_t j = 0; j < to->len; j++)
            if (to->items[j]->kind == kind && str_eq(to->items[j]->name, k->name))
                return err_set(err, ERR_BAD_REQUEST, "%s: key names must be unique: " STR_FMT, cipher_name(kind),
                               STR_ARG(k->name));
        k->prefix = arena_printf(a, "k8s:enc:%s:v1:" STR_FMT ":", cipher_name(kind), STR_ARG(k->name));
        if (read_secret(value_path_str(one, "secret"), k, err) < 0)
            return err_context(err, "%s: key " STR_FMT, cipher_name(kind), STR_ARG(k->name));
        ARENA_PUSH(a, to->items, to->len, to->cap, k);
    }
    return 0;
}

/* ---- key management services ---- */

struct services {
    struct cipher_key **items;
    size_t len, cap;
};

static int check_service(const struct value *v, struct str name, const struct services *others, struct err *err)
{
    struct str version = value_path_str(v, "apiVersion"), endpoint = value_path_str(v, "endpoint");
    if (!name.len || str_contains(name, STR(":")))
        return err_set(err, ERR_BAD_REQUEST, "kms: a provider needs a name without colons");
    for (size_t i = 0; i < others->len; i++)
        if (str_eq(others->items[i]->name, name))
            return err_set(err, ERR_BAD_REQUEST, "kms: duplicate KMS provider name " STR_FMT ", names must be unique",
                           STR_ARG(name));
    if (!version.len || str_eqz(version, "v1"))
        return err_set(err, ERR_BAD_REQUEST,
                       "kms " STR_FMT ": KMS v1 is deprecated and not supported: use a plugin of KMS v2 and say "
                       "apiVersion: v2",
                       STR_ARG(name));
    if (!str_eqz(version, "v2"))
        return err_set(err, ERR_BAD_REQUEST, "kms " STR_FMT ": unsupported apiVersion " STR_FMT " for KMS provider",
                       STR_ARG(name), STR_ARG(version));
    if (value_getz(v, "cachesize"))
        return err_set(err, ERR_BAD_REQUEST, "kms " STR_FMT ": cachesize is not supported in v2", STR_ARG(name));
    if (!endpoint.len)
        return err_set(err, ERR_BAD_REQUEST, "kms " STR_FMT ": endpoint is a required field", STR_ARG(name));
    if (!str_starts(endpoint, STR("unix:///")))
        return err_set(err, ERR_BAD_REQUEST,
                       "kms " STR_FMT ": endpoint \"" STR_FMT "\": only unix:///PATH is supported", STR_ARG(name),
                       STR_ARG(endpoint));
    return 0;
}

static int read_service(struct arena *a, const struct value *v, struct keys *to, struct services *services,
                        struct err *err)
{
    struct str name = value_path_str(v, "name"), timeout = value_path_str(v, "timeout");
    int64_t ns = 3000000000;
    int rc = check_service(v, name, services, err);
    if (rc < 0)
        return rc;
    if (timeout.p && (duration_parse(timeout, &ns) < 0 || ns < 1000000))
        return err_set(err, ERR_BAD_REQUEST, "kms " STR_FMT ": timeout should be a positive value", STR_ARG(name));
    struct cipher_key *k = ARENA_NEW(a, struct cipher_key);
    k->kind = CIPHER_KMS;
    k->name = arena_str(a, name);
    k->prefix = arena_printf(a, "k8s:enc:kms:v2:" STR_FMT ":", STR_ARG(name));
    k->endpoint = arena_str(a, value_path_str(v, "endpoint"));
    k->timeout_ms = ns / 1000000;
    ARENA_PUSH(a, to->items, to->len, to->cap, k);
    ARENA_PUSH(a, services->items, services->len, services->cap, k);
    return 0;
}

/* ---- rules ---- */

static int read_provider(struct arena *a, const struct value *provider, struct keys *to, struct services *services,
                         struct err *err)
{
    if (!value_is(provider, VALUE_MAP) || provider->map.len != 1)
        return err_set(err, ERR_BAD_REQUEST, "a provider is one of aesgcm, aescbc, secretbox, kms and identity");
    struct str name = provider->map.members[0].key;
    if (str_eq(name, STR("identity")))
        return 0;
    if (str_eq(name, STR("kms")))
        return read_service(a, provider->map.members[0].value, to, services, err);
    for (enum cipher_kind kind = 0; kind < CIPHER_KINDS; kind++)
        if (str_eqz(name, cipher_name(kind)))
            return read_keys(a, kind, value_getz(provider->map.members[0].value, "keys"), to, err);
    return err_set(err, ERR_BAD_REQUEST,
                   "provider " STR_FMT " is not known: use aesgcm, aescbc, secretbox, kms or identity", STR_ARG(name));
}

static int read_rule(struct arena *a, const struct value *v, struct encryption_rule *rule, struct services *services,
                     struct err *err)
{
    const struct value *providers = value_getz(v, "providers");
    struct keys keys = {0};
    int rc = read_resources(a, value_getz(v, "resources"), rule, err);
    if (rc == 0 && !value_len(providers))
        rc = err_set(err, ERR_BAD_REQUEST, "providers: name at least one");
    for (size_t i = 0; rc == 0 && i < value_len(providers); i++) {
        rc = read_provider(a, value_at(providers, i), &keys, services, err);
        if (i == 0 && keys.len)
            rule->sealer = keys.items[0];
    }
    rule->keys = keys.items;
    rule->n_keys = keys.len;
    return rc;
}

static int read_configuration(struct arena *a, const struct value *v, struct encryption_configuration *ret,
                              struct err *err)
{
    struct services services = {0};
    struct str version = value_path_str(v, "apiVersion");
    if (!str_eqz(value_path_str(v, "kind"), "EncryptionConfiguration") ||
        !(str_eqz(version, "apiserver.config.k8s.io/v1") || str_eqz(version, "v1")))
        return err_set(err, ERR_BAD_REQUEST, "this is no EncryptionConfiguration of apiserver.config.k8s.io/v1");
    const struct value *list = value_getz(v, "resources");
    if (!value_len(list))
        return err_set(err, ERR_BAD_REQUEST, "resources: at least one rule is required");
    struct encryption_rule *rules = ARENA_ARRAY(a, struct encryption_rule, value_len(list));
    for (size_t i = 0; i < value_len(list); i++)
        if (read_rule(a, value_at(list, i), &rules[i], &services, err) < 0)
            return err_context(err, "resources[%zu]", i);
    *ret = (struct encryption_configuration){rules, value_len(list), services.items, services.len};
    return 0;
}

int encryption_configuration_parse(struct arena *a, struct str text, struct encryption_configuration *ret,
                                   struct err *err)
{
    struct json_options plain = {0};
    struct value *v = NULL;
    struct arena *reading = arena_create(0);
    int rc = yaml_decode(reading, text, &plain, &v, err);
    if (rc == 0)
        rc = read_configuration(a, v, ret, err);
    arena_wipe(reading); /* the secrets are in it */
    return rc;
}

int encryption_configuration_make(struct buf *out, struct err *err)
{
    uint8_t secret[32], id[4];
    char base64[64], now[TIME_TEXT_MAX];
    if (RAND_bytes(secret, sizeof secret) != 1 || RAND_bytes(id, sizeof id) != 1)
        return err_set(err, ERR_INTERNAL, "no randomness for a key");
    EVP_EncodeBlock((uint8_t *)base64, secret, sizeof secret);
    time_write(clock_wall_us(), now);
    buf_printf(
        out,
        "# The keys that seal this cluster's Secrets, made %s. Whoever has them can read the Secrets of the data\n"
        "# directory and of every snapshot; without them nobody can, so keep a copy apart from both.\n"
        "# To rotate, put a new key in front (`head -c 32 /dev/urandom | base64`) and restart the server, unless it "
        "looks\n"
        "# after this file by itself (--encryption-provider-config-automatic-reload); the old one may go once the log\n"
        "# says that everything has been sealed anew, and the snapshots made with it have gone.\n"
        "kind: EncryptionConfiguration\n"
        "apiVersion: apiserver.config.k8s.io/v1\n"
        "resources:\n"
        "- resources:\n"
        "  - secrets\n"
        "  providers:\n"
        "  - aesgcm:\n"
        "      keys:\n"
        "      - name: key-%02x%02x%02x%02x\n"
        "        secret: %s\n"
        "  - identity: {}\n",
        now, id[0], id[1], id[2], id[3], base64);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(base64, sizeof base64);
    return 0;
}
