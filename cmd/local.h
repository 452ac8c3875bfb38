/* local: starting and finding the processes of a cluster on this machine: what up, down, load and node-init share. */
#ifndef SKIFF_CMD_LOCAL_H
#define SKIFF_CMD_LOCAL_H

#include "base/err.h"
#include "cmd/cluster.h"
#include "cmd/options.h"

#include <stddef.h>

#define LOCAL_DEFAULT_NAME "default"

extern const struct command command_up, command_down, command_load, command_node_init;

/* The path of this very program, to run it again. */
void local_program(char *ret, size_t size);
/* The socket of a node's containerd; it lies in RUN, which nodes and host see alike. */
void local_runtime_socket(const struct cluster *c, int node, char ret[256]);

/* Start argv in the background, in a session of its own, standard error to `log_file` (appended). out_fd: its standard
 * output, -1 = to the log too. */
int local_spawn(char *const argv[], const char *log_file, int out_fd, pid_t *ret, struct err *err);
/* The same as process 1 of new mount, network, process, host-name and IPC namespaces. *ret is its id out here. */
int local_spawn_node(char *const argv[], const char *log_file, pid_t *ret, struct err *err);
/* Run argv inside a node's mount and network namespaces and wait; answers its exit code, -1 = it could not be run. */
int local_run_in_node(pid_t node, char *const argv[]);

/* Signal, wait up to wait_ms, then SIGKILL and wait for the end. */
void local_stop(pid_t pid, int signo, int wait_ms);

/* Everything a cluster consists of, whatever state it is in: processes, namespaces, cgroups, links, directories.
 * Answers how many things could not be removed (each is logged). */
int local_tear_down(const struct cluster *c);

#endif
