/* skiff: one binary, a subcommand each. Under the name of a CNI plugin it is that plugin, before anything else starts.
 */
#include "cmd/options.h"
#include "node/network/cni.h"

#include <stdio.h>
#include <string.h>

/* Commands that live in files of their own; one that is not built in is absent from the list. */
extern const struct command command_up __attribute__((weak)), command_down __attribute__((weak)),
    command_agent __attribute__((weak)), command_load __attribute__((weak)), command_token __attribute__((weak)),
    command_snapshot __attribute__((weak)), command_node_init __attribute__((weak));

static const struct command *const all[] = {
    &command_up,    &command_down,     &command_server,  &command_agent,     &command_load,
    &command_token, &command_snapshot, &command_version, &command_node_init,
};
#define N_COMMANDS (sizeof all / sizeof *all)

static void print_usage(FILE *out)
{
    fprintf(out, "usage: skiff COMMAND [flags]\n\nSkiff is a Kubernetes in one small program.\n\ncommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (all[i] && !strstr(all[i]->summary, "(internal)"))
            fprintf(out, "  %-10s %s\n", all[i]->name, all[i]->summary);
    fprintf(out, "\n`skiff COMMAND --help` shows a command's flags.\n");
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    if (argc > 0 && (strcmp(base_name(argv[0]), "skiff-cni") == 0 || strcmp(base_name(argv[0]), "loopback") == 0))
        return cni_main();
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = "version";
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (all[i] && strcmp(argv[1], all[i]->name) == 0)
            return all[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "skiff: unknown command %s: the commands are", argv[1]);
    for (size_t i = 0, n = 0; i < N_COMMANDS; i++)
        if (all[i] && !strstr(all[i]->summary, "(internal)"))
            fprintf(stderr, "%s %s", n++ ? "," : "", all[i]->name);
    fputc('\n', stderr);
    return 2;
}
