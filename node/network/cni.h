/* cni: Skiff's own CNI plugin: the same binary under the name skiff-cni (CNI specification 1.0.0).
 *
 * A bridge per node, a veth pair per pod, addresses from the node's pod range. The configuration the agent writes
 * (cni_write_config) says everything:
 *   {"cniVersion":"1.0.0","name":"skiff","type":"skiff-cni","bridge":"skiff-pods","subnet":"10.244.1.0/24",
 *    "dataDir":"/var/lib/…/addresses","mtu":1500}
 * Addresses in use are files in dataDir, named by address and holding "CONTAINERID IFNAME"; a lock file orders writers.
 * Every command can be repeated. Errors are CNI error objects on standard output, exit code 1.
 */
#ifndef SKIFF_NODE_NETWORK_CNI_H
#define SKIFF_NODE_NETWORK_CNI_H

#include "base/err.h"

#define CNI_PROGRAM "skiff-cni"
#define CNI_LOOPBACK "loopback" /* containerd asks for a plugin of this name too */
#define CNI_BRIDGE "skiff-pods"

/* The plugin's main: command and parameters come from the environment and standard input. Answers the exit code. */
int cni_main(void);

struct cni_config {
    const char *dir;     /* of bin/ and net.d/ */
    const char *program; /* this binary, which dir/bin/skiff-cni becomes a link to */
    const char *subnet;  /* the node's pod range */
    const char *data_dir;
    int mtu; /* 0 = default */
};
/* Install plugin and configuration; the runtime notices the new file by itself. */
int cni_write_config(const struct cni_config *config, struct err *err);

#endif
