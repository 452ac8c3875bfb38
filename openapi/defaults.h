/* defaults: what an object says when its author did not: upstream's SetDefaults_* for every kind.
 *
 * Unconditional defaults are in the schema tables (default_json); those that depend on other fields, or on where a type
 * is used (a Pod, or a template of one), are in defaults_<family>.c. Nothing here depends on stored state: what
 * admission or the registry adds (service accounts, cluster IPs, uid, status resets) is theirs. Runs on decode of
 * requests, on the version asked for, before conversion; and once more on stored bytes is harmless.
 */
#ifndef SKIFF_OPENAPI_DEFAULTS_H
#define SKIFF_OPENAPI_DEFAULTS_H

#include "openapi/schema.h"
#include "openapi/value.h"

/* `obj` is the resource's object in `version`; changed in place and normalized (normalize.h). */
void defaults_apply(struct arena *a, const struct resource *r, struct str version, struct value *obj);
/* Bodies of subresources and parts: the table's defaults for one message (TokenRequest, Scale, Binding …). */
void defaults_apply_message(struct arena *a, const struct schema_message *m, struct value *v);

#endif
