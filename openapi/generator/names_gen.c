/* Small things every part of the generator needs: memory, failing, names. */
#include "openapi/generator/model.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("skiff-schema-gen: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

void *allocate(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        fail("out of memory");
    return p;
}

char *format(const char *fmt, ...)
{
    va_list ap;
    char *text;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        fail("out of memory");
    va_end(ap);
    return text;
}

static const char *const keywords[] = {
    "alignas",   "asm",      "auto",     "bool",      "break",    "case",   "catch",    "char",     "class",
    "const",     "continue", "default",  "delete",    "do",       "double", "else",     "enum",     "explicit",
    "export",    "extern",   "false",    "float",     "for",      "friend", "goto",     "if",       "inline",
    "int",       "long",     "mutable",  "namespace", "new",      "not",    "operator", "or",       "private",
    "protected", "public",   "register", "return",    "short",    "signed", "sizeof",   "static",   "struct",
    "switch",    "template", "this",     "throw",     "true",     "try",    "typedef",  "typename", "union",
    "unsigned",  "using",    "virtual",  "void",      "volatile", "while",  "linux",    "unix", /* macros of gcc and
                                                                                                   clang */
};

char *snake_case(const char *name)
{
    size_t n = strlen(name), o = 0;
    char *out = allocate(2 * n + 2);
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!isalnum((unsigned char)c)) {
            if (o && out[o - 1] != '_')
                out[o++] = '_';
            continue;
        }
        if (isupper((unsigned char)c) && o && out[o - 1] != '_') {
            bool after_small = !isupper((unsigned char)name[i - 1]);
            bool before_small = i + 1 < n && islower((unsigned char)name[i + 1]);
            /* the s of a plural acronym (clusterIPs) starts no word */
            bool plural = before_small && name[i + 1] == 's' && (i + 2 == n || !islower((unsigned char)name[i + 2]));
            if (after_small || (before_small && !plural))
                out[o++] = '_';
        }
        out[o++] = (char)tolower((unsigned char)c);
    }
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(out, keywords[i]) == 0)
            out[o++] = '_';
    return out;
}
