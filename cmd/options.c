#include "cmd/options.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 34

/* On the screen, not in bytes. */
static int width(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* A flag too long for its column has its text on the next line. */
static void print_flag(const char *flag, const char *help, const char *note)
{
    int n = printf("  %s", flag) > 0 ? 2 + width(flag) : 0;
    if (n + 1 > HELP_COLUMN) {
        putchar('\n');
        n = 0;
    }
    printf("%*s%s%s\n", HELP_COLUMN - n, "", help, note);
}

static void print_spec(const struct option_spec *s)
{
    char flag[120];
    snprintf(flag, sizeof flag, "--%s%s%s", s->name, s->argument ? " " : "", s->argument ? s->argument : "");
    print_flag(flag, s->help ? s->help : "", s->required ? " (required)" : "");
}

static void print_help(const struct command *c, const struct option_spec *specs)
{
    printf("usage: skiff %s %s\n\n%c%s.\n\nflags:\n", c->name, c->synopsis ? c->synopsis : "",
           c->summary[0] >= 'a' && c->summary[0] <= 'z' ? c->summary[0] - 32 : c->summary[0], c->summary + 1);
    for (; specs->name; specs++)
        print_spec(specs);
    print_flag("--help", "show this text", "");
}

static int refuse(const struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(const struct command *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "skiff %s: ", c->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return -1;
}

int command_fail(const struct command *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "skiff %s: ", c->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return 1;
}

/* ---- values ---- */

static bool duration_read(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"h", 3600e3}, {"m", 60e3}, {"s", 1e3}};
    double total = 0;
    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return true;
    }
    if (!*text)
        return false;
    while (*text) {
        char *end;
        if (*text < '0' || *text > '9')
            return false;
        double n = strtod(text, &end);
        size_t i = 0;
        while (i < sizeof units / sizeof *units && strncmp(end, units[i].unit, strlen(units[i].unit)) != 0)
            i++;
        if (i == sizeof units / sizeof *units)
            return false;
        total += n * units[i].ms;
        text = end + strlen(units[i].unit);
    }
    *ret_ms = (int64_t)total;
    return total < 1e15;
}

static bool choice_known(const char *choices, const char *word, size_t len)
{
    while (*choices) {
        size_t n = strcspn(choices, ",");
        if (n == len && strncmp(choices, word, len) == 0)
            return true;
        choices += n + (choices[n] == ',');
    }
    return false;
}

static int read_int(const struct command *c, const struct option_spec *s, const char *text)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    bool bounded = s->max > 0;
    if (errno || end == text || *end || (bounded && (n < s->min || n > s->max))) {
        if (bounded)
            return refuse(c, "--%s %s: give a number from %lld to %lld", s->name, text, (long long)s->min,
                          (long long)s->max);
        return refuse(c, "--%s %s: give a whole number", s->name, text);
    }
    *(int64_t *)s->value = n;
    return 0;
}

static int read_value(const struct command *c, const struct option_spec *s, const char *text)
{
    switch (s->kind) {
    case OPTION_STRING:
        if (!*text)
            return refuse(c, "--%s needs a value: --%s %s", s->name, s->name, s->argument);
        *(const char **)s->value = text;
        return 0;
    case OPTION_BOOL:
    case OPTION_MAYBE:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return refuse(c, "--%s=%s: give true or false, or nothing", s->name, text);
        if (s->kind == OPTION_BOOL)
            *(bool *)s->value = strcmp(text, "true") == 0;
        else
            *(int *)s->value = strcmp(text, "true") == 0;
        return 0;
    case OPTION_INT:
        return read_int(c, s, text);
    case OPTION_DURATION_MS:
        if (!duration_read(text, s->value))
            return refuse(c, "--%s %s: give a duration such as 90s or 1m30s", s->name, text);
        return 0;
    case OPTION_CHOICES:
        for (const char *word = text; *word;) {
            size_t len = strcspn(word, ",");
            if (!choice_known(s->choices, word, len))
                return refuse(c, "--%s %.*s: choose among %s", s->name, (int)len, word, s->choices);
            word += len + (word[len] == ',');
        }
        *(const char **)s->value = text;
        return 0;
    }
    return -1;
}

/* ---- flags ---- */

static size_t distance(const char *a, const char *b) /* how many edits apart two short words are */
{
    size_t row[64], n = strlen(b);
    if (n >= 64)
        return 64;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[n];
}

static int refuse_unknown(const struct command *c, const struct option_spec *specs, const char *name)
{
    const struct option_spec *near = NULL;
    size_t best = 4;
    for (; specs->name; specs++) {
        size_t d = distance(name, specs->name);
        if (d < best) {
            best = d;
            near = specs;
        }
    }
    if (near)
        return refuse(c, "unknown flag --%s: did you mean --%s?", name, near->name);
    return refuse(c, "unknown flag --%s: `skiff %s --help` lists those there are", name, c->name);
}

static const struct option_spec *find(const struct option_spec *specs, const char *name)
{
    for (; specs->name; specs++)
        if (strcmp(specs->name, name) == 0)
            return specs;
    return NULL;
}

/* One flag at argv[*i]; moves *i over its value. */
static int read_flag(const struct command *c, const struct option_spec *specs, int argc, char **argv, int *i)
{
    char name[64];
    const char *text = argv[*i] + 2, *value = strchr(text, '=');
    size_t len = value ? (size_t)(value - text) : strlen(text);
    snprintf(name, sizeof name, "%.*s", (int)len, text);
    const struct option_spec *s = find(specs, name);
    if (!s)
        return refuse_unknown(c, specs, name);
    if (value)
        return read_value(c, s, value + 1);
    if (s->kind == OPTION_BOOL || s->kind == OPTION_MAYBE)
        return read_value(c, s, "true");
    if (*i + 1 >= argc)
        return refuse(c, "--%s needs a value: --%s %s", s->name, s->name, s->argument);
    return read_value(c, s, argv[++*i]);
}

int options_parse(const struct command *c, const struct option_spec *specs, int argc, char **argv, int max_positional,
                  int *ret_n, int *ret_exit)
{
    bool seen[64] = {false}, flags_over = false;
    int n = 0;
    *ret_exit = 2;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!flags_over && strcmp(arg, "--") == 0) {
            flags_over = true;
        } else if (!flags_over && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            print_help(c, specs);
            *ret_exit = 0;
            return -1;
        } else if (!flags_over && arg[0] == '-' && arg[1]) {
            if (arg[1] != '-')
                return refuse(c, "unknown flag %s: flags are written out, as in --name VALUE", arg);
            int at = i;
            if (read_flag(c, specs, argc, argv, &i) < 0)
                return -1;
            for (int k = 0; specs[k].name && k < 64; k++) {
                size_t len = strlen(specs[k].name);
                if (strncmp(argv[at] + 2, specs[k].name, len) == 0 && (!argv[at][2 + len] || argv[at][2 + len] == '='))
                    seen[k] = true;
            }
        } else if (n < max_positional) {
            argv[++n] = argv[i];
        } else {
            return refuse(c, "%s is one argument too many: usage: skiff %s %s", arg, c->name, c->synopsis);
        }
    }
    for (int k = 0; specs[k].name && k < 64; k++)
        if (specs[k].required && !seen[k])
            return refuse(c, "--%s %s is missing", specs[k].name, specs[k].argument);
    *ret_n = n;
    *ret_exit = 0;
    return 0;
}
