#include "cmd/options.h"

#include <stdio.h>

static int run(int argc, char **argv)
{
    int n, exit_code;
    const struct option_spec specs[] = {{0}};
    if (options_parse(&command_version, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    printf("skiff %s (Kubernetes v1.36.2)\n", SKIFF_VERSION);
    return 0;
}

const struct command command_version = {"version", "", "show the version", run};
