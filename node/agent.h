/* agent: makes one machine (or one set of namespaces) a node: registers it, runs the pods bound to it through the
 * container runtime, reports their status, and serves logs, exec, attach and port-forward to the API server.
 *
 * Everything runs on the one loop given (files and other slow system calls on its small pool). State that must outlive
 * the process is kept where stock kubelet keeps it: in labels and annotations of the runtime's containers.
 */
#ifndef SKIFF_NODE_AGENT_H
#define SKIFF_NODE_AGENT_H

#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>

struct agent;

struct agent_options {
    /* How to reach the API: a kubeconfig file, or servers with their CA and a token or client certificate. */
    const char *kubeconfig;
    const char *const *servers; /* "https://host:port", NULL-terminated */
    const char *ca_pem;
    const char *token;
    const char *cert_pem, *key_pem;

    const char *node_name;        /* NULL: the host's name */
    const char *node_ip;          /* NULL: the address of the default route, else the first global one */
    const char *hostname;         /* NULL: the host's name */
    const char *const *labels;    /* "key=value", NULL-terminated; NULL = none */
    const char *runtime_endpoint; /* NULL: unix:///run/containerd/containerd.sock */
    const char *root_dir;         /* NULL: /var/lib/skiff */
    const char *log_dir;          /* of pods' logs; NULL: /var/log/pods */
    const char *cgroup_root;      /* above kubepods, when several nodes share one cgroup tree; NULL = "" */
    const char *cluster_dns;      /* address; NULL: pods get the node's resolver */
    const char *cluster_domain;   /* NULL: cluster.local */
    const char *pod_cidr;         /* written to spec.podCIDR at registration; NULL: somebody else does */
    const char *cluster_cidr;     /* of all pods; NULL: 10.244.0.0/16 */
    const char
        *cni_dir; /* bin/ and net.d/ of the runtime; NULL: /opt/cni and /etc/cni are the runtime's own: no_network */

    /* The agent's own HTTPS server. Without a certificate it signs one for itself; clients must show one of
     * client_ca_pem (NULL: the CA the API server is verified with). */
    const char *listen; /* NULL: 0.0.0.0:10250 */
    const char *serving_cert_pem, *serving_key_pem;
    const char *client_ca_pem;

    int simulated;       /* > 0: that many nodes without containers, named <node_name>-<i> */
    int simulated_first; /* number of the first one */
    bool no_network;     /* leave pod network, services and DNS to somebody else */
};

/* Everything in `opt` is copied. */
int agent_start(struct loop *loop, const struct agent_options *opt, struct agent **ret, struct err *err);
/* Leaves the pods running. On the loop; `done` (may be NULL) is called on it when everything is released. */
void agent_stop(struct agent *a, void (*done)(void *arg), void *arg);
int agent_port(const struct agent *a); /* of its HTTPS server; 0 when simulated */
const char *agent_node_name(const struct agent *a);

#endif
