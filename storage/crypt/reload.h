/* reload: looks after the configuration's file and puts what it says in force (crypt_reload): at once when its folder
 * tells of a change, and once a minute in any case. What cannot be read, or names a service that does not answer, is
 * told in the log and the metrics, and the keys from before stay in force; it is tried again.
 */
#ifndef SKIFF_STORAGE_CRYPT_RELOAD_H
#define SKIFF_STORAGE_CRYPT_RELOAD_H

#include "storage/crypt/crypt.h"

struct reload;

struct reload *reload_start(struct crypt *c);
void reload_stop(struct reload *r); /* NULL is fine */

#endif
