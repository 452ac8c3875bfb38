/* cluster: a cluster on this machine, as `skiff up` makes it and `skiff down` and `skiff load` find it again.
 *
 *   DATA/                 /var/lib/skiff/NAME unless --data-dir says otherwise
 *     server/             the server's data directory: store, identities, admin.kubeconfig
 *     nodes/NODE/         containerd's root, the agent's root, logs: gone with `skiff down`
 *   RUN/                  /run/skiff/NAME: gone with `skiff down`
 *     cluster             what is needed to find the rest: text, one `key value` a line
 *     server.pid NODE.pid process ids with their start time (a reused id is not ours)
 *     server.log NODE.log
 *     fabric              the namespace of the bridge between the nodes (a bind mount)
 */
#ifndef SKIFF_CMD_CLUSTER_H
#define SKIFF_CMD_CLUSTER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CLUSTER_NODES_MAX 200

struct cluster {
    char name[40];
    char data_dir[512];
    char run_dir[128];
    bool own_data_dir; /* made by `skiff up` at its default place: removed by `skiff down` */
    bool simulated;
    int subnet; /* 10.89.<subnet>.0/24 joins the nodes; the host is .1, node i (from 1) is .<10 + i> */
    int n_nodes;
    int port; /* of the server */
};

/* Check the name and fill in the paths; data_dir NULL = the default place. */
int cluster_init(struct cluster *c, const char *name, const char *data_dir, struct err *err);
int cluster_load(struct cluster *c, const char *name, struct err *err); /* 1 = no such cluster */
int cluster_save(const struct cluster *c, struct err *err);

void cluster_host_address(const struct cluster *c, char ret[16]);
void cluster_node_address(const struct cluster *c, int node, char ret[16]); /* from 1 */
void cluster_node_name(const struct cluster *c, int node, char ret[64]);
void cluster_node_dir(const struct cluster *c, int node, char ret[640]);
void cluster_path(const struct cluster *c, const char *file, char ret[256]); /* RUN/file */
void cluster_context(const struct cluster *c, char ret[64]);                 /* of the kubeconfig: "skiff-NAME" */

/* Process records: RUN/<what>.pid */
int cluster_pid_write(const struct cluster *c, const char *what, pid_t pid, struct err *err);
pid_t cluster_pid(const struct cluster *c, const char *what); /* 0 = not running */

/* mkdir -p with mode 0700 for what is new. */
int cluster_make_dir(const char *path, struct err *err);
/* rm -r that stays on one file system; what is gone already is fine. */
int cluster_remove_tree(const char *path, struct err *err);

#endif
