/* sources: the ConfigMaps and Secrets that the node's pods refer to, each watched by name while somebody refers to it:
 * the agent asks for nothing else, and an update reaches the pods' volumes as it happens.
 */
#ifndef SKIFF_NODE_SOURCES_H
#define SKIFF_NODE_SOURCES_H

#include "api/client/client.h"
#include "openapi/views.h"

enum source_kind { SOURCE_CONFIG_MAP, SOURCE_SECRET };
enum source_state { SOURCE_PENDING, SOURCE_FOUND, SOURCE_ABSENT };

struct sources;
struct source;

/* on_change: something of that namespace appeared, changed or went. */
struct sources *sources_create(struct client *client, void (*on_change)(void *arg, struct source *s), void *arg);
void sources_destroy(struct sources *s);

struct source *source_get(struct sources *all, enum source_kind kind, struct str namespace_, struct str name);
void source_put(struct source *s); /* NULL is fine */
enum source_state source_state(const struct source *s);
bool source_is(const struct source *s, enum source_kind kind, struct str namespace_, struct str name);

/* Entries of the object as bytes, in order of their names; base64 is decoded. Borrowed until it changes. */
struct source_entry {
    struct str key, value;
};
size_t source_entries(const struct source *s, const struct source_entry **ret);
/* 0 and the value, or 1 when there is none. */
int source_entry_find(const struct source *s, struct str key, struct str *ret);
struct str source_type(const struct source *s); /* of a secret */

#endif
