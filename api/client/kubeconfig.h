/* kubeconfig: the server and credentials that the current context of a kubeconfig file names. Files it refers to
 * (relative to its own folder) are read; credential plugins (exec, auth-provider) are refused.
 *
 * kubectl knows one server per cluster. Further ones stand in an extension of the cluster, which it leaves alone:
 *   extensions: [{name: KUBECONFIG_SERVERS, extension: {servers: ["https://…", …]}}] */
#ifndef SKIFF_API_CLIENT_KUBECONFIG_H
#define SKIFF_API_CLIENT_KUBECONFIG_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

#define KUBECONFIG_SERVERS "skiff-servers"

struct kubeconfig {             /* texts in the arena, NULL when absent */
    const char *const *servers; /* `server` and those of the extension, NULL-terminated */
    const char *server, *server_name, *namespace_;
    const char *ca_pem, *cert_pem, *key_pem, *token;
    bool insecure;
};
int kubeconfig_parse(struct arena *a, struct str text, const char *file, struct kubeconfig *ret, struct err *err);

#endif
