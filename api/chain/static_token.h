/* static tokens: the file of --token-auth-file, read once: token,user,uid[,"group1,group2"] a line (CSV). */
#ifndef SKIFF_API_CHAIN_STATIC_TOKEN_H
#define SKIFF_API_CHAIN_STATIC_TOKEN_H

#include "base/err.h"
#include "base/map.h"

/* token → struct identity (one reference each is the map's). The map is malloc'd. */
int static_tokens_load(const char *file, struct map **ret, struct err *err);
int static_tokens_parse(struct str text, const char *file, struct map *ret, struct err *err);

#endif
