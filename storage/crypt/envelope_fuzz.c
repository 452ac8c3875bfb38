#include "storage/crypt/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char source[33] = "0123456789abcdef0123456789abcdef";
    struct err err = ERR_INIT;
    struct buf out = {0};
    Kms__EncryptedObject *o;
    if (envelope_parse((struct str){(const char *)data, size}, &o, &err) < 0)
        return 0;
    uint8_t digest[ENVELOPE_DIGEST_LEN];
    struct str sealed = {(const char *)o->encrypted_data.data, o->encrypted_data.len};
    envelope_digest(o, digest);
    envelope_open((enum envelope_type)o->encrypted_dek_source_type, (struct str){source, 32}, STR("/k"), sealed, &out,
                  &err);
    buf_free(&out);
    kms__encrypted_object__free_unpacked(o, NULL);
    return 0;
}
