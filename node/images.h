/* images: is a container's image there, and pulling it when its policy says so, with back-off and kubelet's events; the
 * list for the node's status; removal of what nothing uses when the disk fills.
 */
#ifndef SKIFF_NODE_IMAGES_H
#define SKIFF_NODE_IMAGES_H

#include "node/pod/config.h"
#include "node/state.h"

struct images;
struct images *images_create(struct agent *a);
void images_destroy(struct images *i);

/* reason NULL: `facts` hold. Else the container waits with this reason and message (ErrImagePull, ImagePullBackOff …).
 */
typedef void image_done(void *arg, const struct image_facts *facts, const char *reason, const char *message);
/* The container, its pod and the version must be held until `done`, which is never called from inside. */
void image_ensure(struct pod_container *c, const struct pod_version *v, image_done *done, void *arg);

/* The largest first, at most 50: `[{"names":[…],"sizeBytes":…}]`; as last listed (every 30 s or so). */
struct value *images_value(const struct images *i, struct arena *a);

#endif
