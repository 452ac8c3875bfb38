#include "api/chain/bootstrap_token.h"

#include "base/clock.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <time.h>

#define ID_LEN 6
#define SECRET_LEN 16

static bool well_formed(struct str token)
{
    if (token.len != ID_LEN + 1 + SECRET_LEN || token.p[ID_LEN] != '.')
        return false;
    for (size_t i = 0; i < token.len; i++)
        if (i != ID_LEN && !(token.p[i] >= 'a' && token.p[i] <= 'z') && !(token.p[i] >= '0' && token.p[i] <= '9'))
            return false;
    return true;
}

static struct str data_get(struct arena *a, const struct value *secret, const char *key)
{
    struct str text = value_str(value_getz(value_getz(secret, "data"), key));
    if (!text.len || text.len % 4)
        return STR_NULL;
    unsigned char *out = arena_alloc(a, text.len);
    int n = EVP_DecodeBlock(out, (const unsigned char *)text.p, (int)text.len);
    if (n < 0)
        return STR_NULL;
    for (size_t i = text.len; i > 0 && text.p[i - 1] == '='; i--)
        n--;
    return (struct str){(char *)out, (size_t)n};
}

static bool expired(struct str text)
{
    if (!text.len)
        return false;
    struct tm tm = {0};
    char z[64] = {0};
    memcpy(z, text.p, text.len < sizeof z ? text.len : sizeof z - 1);
    return !strptime(z, "%Y-%m-%dT%H:%M:%S", &tm) || timegm(&tm) < clock_wall_ms() / 1000;
}

static struct identity *identity_of(struct arena *a, struct str token, const struct value *secret)
{
    struct str id = data_get(a, secret, "token-id"), word = data_get(a, secret, "token-secret");
    if (!str_eq(value_path_str(secret, "type"), STR("bootstrap.kubernetes.io/token")) ||
        !str_eq(id, str_sub(token, 0, ID_LEN)) || word.len != SECRET_LEN ||
        CRYPTO_memcmp(word.p, token.p + ID_LEN + 1, SECRET_LEN) != 0 || expired(data_get(a, secret, "expiration")) ||
        !str_eq(data_get(a, secret, "usage-bootstrap-authentication"), STR("true")))
        return NULL;
    struct str groups[17] = {STR("system:bootstrappers")}, extra = data_get(a, secret, "auth-extra-groups"), group;
    size_t n = 1;
    while (n < 17 && str_split(&extra, ',', &group))
        if (str_starts(group, STR("system:bootstrappers:")))
            groups[n++] = group;
    struct identity *who = identity_create();
    identity_set(who, arena_printf(a, "system:bootstrap:" STR_FMT, STR_ARG(id)), STR_NULL, groups, n);
    return who;
}

int bootstrap_token_identity(struct cache *cache, const struct resource *secrets, struct str token,
                             struct identity **ret, struct err *err)
{
    if (!well_formed(token))
        return 1;
    struct arena *a = arena_create(0);
    struct str name = arena_printf(a, "bootstrap-token-%.*s", ID_LEN, token.p);
    const struct object *o = cache_find(cache, secrets, STR("kube-system"), name);
    struct identity *who = o ? identity_of(a, token, object_value(a, o)) : NULL;
    object_put(o);
    arena_destroy(a);
    if (!who)
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token");
    *ret = who;
    return 0;
}
