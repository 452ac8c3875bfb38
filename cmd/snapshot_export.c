/* skiff snapshot export: back to a stock cluster. */
#include "cmd/options.h"
#include "cmd/snapshot.h"
#include "storage/crypt/crypt.h"
#include "storage/takeover/export.h"

#include <signal.h>
#include <stdio.h>

static int run_export(int argc, char **argv)
{
    struct takeover_export opt = {0};
    struct err err = ERR_INIT;
    int64_t count, sealed;
    int n, exit_code;
    const struct option_spec specs[] = {
        {.name = "to-etcd",
         .kind = OPTION_STRING,
         .value = &opt.to,
         .argument = "URL,…",
         .required = true,
         .help = "an etcd without anything under /registry; behind semicolons ca=, cert=, key=, user=, password-file="},
        {.name = "data-dir",
         .kind = OPTION_STRING,
         .value = &opt.data_dir,
         .argument = "DIR",
         .required = true,
         .help = "of a server that is not running"},
        {.name = "encryption-provider-config",
         .kind = OPTION_STRING,
         .value = &opt.encryption_config,
         .argument = "FILE",
         .help = "the keys, when the server was given this"},
        {.name = "plain",
         .kind = OPTION_BOOL,
         .value = &opt.plain,
         .help = "store there without encryption what is encrypted here"},
        {0},
    };
    if (options_parse(&snapshot_export, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    signal(SIGPIPE, SIG_IGN);
    if (takeover_export(&opt, &count, &sealed, &err) < 0)
        return command_fail(&snapshot_export, "%s", err.message);
    printf("%s: %lld entries are exported\n", opt.to, (long long)count);
    if (sealed)
        printf("%lld of them are encrypted: give kube-apiserver a copy of %s%s as --encryption-provider-config\n",
               (long long)sealed, opt.encryption_config ? opt.encryption_config : opt.data_dir,
               opt.encryption_config ? "" : "/" CRYPT_FILE);
    return 0;
}

const struct command snapshot_export = {"snapshot export", "--to-etcd URL,… --data-dir DIR",
                                        "fill an empty etcd that a stock kube-apiserver can start on", run_export};
