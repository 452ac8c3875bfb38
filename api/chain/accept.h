/* accept: what representation a client asks for, from its Accept header. */
#ifndef SKIFF_API_CHAIN_ACCEPT_H
#define SKIFF_API_CHAIN_ACCEPT_H

#include "api/request.h"

struct media_range {
    struct str type;                        /* "application/json", "*" "/" "*" */
    struct str as, group, version, profile; /* parameters; STR_NULL when absent */
    int quality;                            /* thousandths */
};

/* In order of preference; those of quality 0 are left out. An absent header is one of everything. */
size_t accept_parse(struct arena *a, struct str header, struct media_range **ret);

/* The representation of an object answer; `protobuf`: whether the kind has that. ERR_NOT_ACCEPTABLE with upstream's
 * sentence when nothing fits. */
int accept_object(struct arena *a, struct str header, bool protobuf, enum api_format *ret,
                  struct str *ret_table_version, struct err *err);

/* Would the client take this media type? (no parameters) */
bool accept_allows(const struct media_range *ranges, size_t n, struct str type);

/* "application/json; charset=utf-8" → "application/json" */
struct str media_type_bare(struct str content_type);

#endif
