/* identity: what makes one object differ from all others: random UIDs and the endings of generated names. */
#ifndef SKIFF_OPENAPI_META_IDENTITY_H
#define SKIFF_OPENAPI_META_IDENTITY_H

#include "base/arena.h"
#include "base/str.h"

#define UUID_TEXT_LEN 36
void uuid_write(char out[UUID_TEXT_LEN + 1]); /* random version 4, lower case */
struct str uuid_new(struct arena *a);

/* n characters of "bcdfghjklmnpqrstvwxz2456789": no vowels, so no words. */
struct str name_suffix_new(struct arena *a, size_t n);
/* metadata.generateName's rule: base cut to 58 bytes, then five random characters. */
struct str name_generate(struct arena *a, struct str base);
/* A 32-bit hash in the same alphabet, as upstream's SafeEncodeString of its decimal text (pod-template-hash). */
struct str name_safe_encode(struct arena *a, uint32_t hash);

#endif
