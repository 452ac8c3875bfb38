/* options: the flags of a subcommand as a table, parsed and described (--help) by one piece of code.
 *
 * Flags are --name VALUE or --name=VALUE; booleans are --name alone (or --name=false). Unknown flags and bad values are
 * refused with a sentence that says what would be right; the exit code is then 2.
 */
#ifndef SKIFF_CMD_OPTIONS_H
#define SKIFF_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_STRING,      /* const char ** */
    OPTION_BOOL,        /* bool * */
    OPTION_MAYBE,       /* int *: a boolean whose default depends: left alone unless given, then 0 or 1 */
    OPTION_INT,         /* int64_t *, between min and max when max > 0 */
    OPTION_DURATION_MS, /* int64_t *: Go durations, "90s", "1m30s", "250ms" */
    OPTION_CHOICES,     /* const char **: comma-separated, each one of `choices` (also comma-separated) */
};

struct option_spec {
    const char *name; /* without the dashes */
    enum option_kind kind;
    void *value;
    const char *argument; /* "DIR"; NULL for booleans */
    const char *help;
    const char *choices;
    int64_t min, max;
    bool required;
};

struct command {
    const char *name;                  /* "server" */
    const char *synopsis;              /* what follows on the usage line */
    const char *summary;               /* one line for the list of commands */
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand; answers the exit code */
};

/* Parses argv[1…]. Positional arguments are moved to the front: argv[1 … *ret_n]. At most max_positional of them.
 * Answers 0 to go on; otherwise (help shown, or refused) -1 with *ret_exit set. `specs` ends with a NULL name. */
int options_parse(const struct command *command, const struct option_spec *specs, int argc, char **argv,
                  int max_positional, int *ret_n, int *ret_exit);

/* "skiff COMMAND: message" on standard error; answers 1, for `return command_fail(…)`. */
int command_fail(const struct command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

extern const struct command command_server, command_version;
/* Every subcommand there is; ends with NULL (cmd/main.c). */
extern const struct command *const commands[];

#endif
