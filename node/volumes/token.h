/* token: service account tokens for a pod's projected volumes, asked for through TokenRequest, bound to the pod, and
 * renewed when four fifths of their life (or a day) are over. */
#ifndef SKIFF_NODE_VOLUMES_TOKEN_H
#define SKIFF_NODE_VOLUMES_TOKEN_H

#include "node/state.h"

struct volume_tokens;
struct volume_tokens *volume_tokens_create(struct pod *p, void (*on_change)(void *arg), void *arg);
void volume_tokens_destroy(struct volume_tokens *t); /* requests in flight are forgotten */
/* 0 and the token; 1 while it is on its way (on_change follows); negative when the API refused. */
int volume_token(struct volume_tokens *t, size_t volume, size_t source, struct str *ret, struct err *err);

#endif
