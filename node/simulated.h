/* simulated: many nodes in one process and no containers, for tests of the control plane: each registers and keeps its
 * lease; pods bound to one run at once as far as the API can tell, and go when they are deleted. One watch serves all.
 */
#ifndef SKIFF_NODE_SIMULATED_H
#define SKIFF_NODE_SIMULATED_H

#include "node/state.h"

struct simulation *simulation_start(struct agent *a);
void simulation_stop(struct simulation *s); /* NULL is fine */

#endif
