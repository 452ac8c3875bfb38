/* bootstrap tables: the objects every cluster has before anyone acts, as data. api/bootstrap.c makes objects of them.
 */
#ifndef SKIFF_API_BOOTSTRAP_TABLES_H
#define SKIFF_API_BOOTSTRAP_TABLES_H

#include <stddef.h>

/* One rule of a role; rows of one role stand together. NULL verbs: a role without rules. The table ends with a NULL
 * role. */
struct bootstrap_rule {
    const char *namespace_, *role, *verbs, *groups, *resources, *names, *urls;
};
extern const struct bootstrap_rule bootstrap_rules[];

/* Labels (value "true") of cluster roles, and the labels they gather others by. End with a NULL role. */
struct bootstrap_label {
    const char *role, *label;
};
extern const struct bootstrap_label bootstrap_role_labels[], bootstrap_aggregations[];

/* role is KIND/NAME; subjects are KIND:NAME, service accounts KIND:NAMESPACE/NAME. Ends with a NULL name. */
struct bootstrap_binding {
    const char *namespace_, *name, *role, *subjects;
};
extern const struct bootstrap_binding bootstrap_bindings[];

/* Ends with a NULL name. The time "NOW" is that of creation. */
struct bootstrap_object {
    const char *group, *resource, *namespace_, *name, *json;
};
extern const struct bootstrap_object bootstrap_objects[];

#endif
