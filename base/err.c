#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void err_format(struct err *err, const char *fmt, va_list ap)
{
    /* Through a copy: callers pass err->message itself as an argument. */
    char text[ERR_MESSAGE_MAX];
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = 0;
    memcpy(err->message, text, strlen(text) + 1);
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    assert(code < 0 && code >= ERR_CODE_MIN);
    va_list ap;
    va_start(ap, fmt);
    err_format(err, fmt, ap);
    va_end(ap);
    err->code = code;
    err->problems = NULL;
    err->retry_after_s = 0;
    return code;
}

static enum err_code err_refine(enum err_code code, int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EACCES:
    case EPERM:
        return ERR_PERMISSION;
    case EADDRINUSE:
        return ERR_BUSY;
    default:
        return code;
    }
}

int err_set_errno(struct err *err, enum err_code code, int errnum, const char *fmt, ...)
{
    assert(code < 0 && code >= ERR_CODE_MIN);
    va_list ap;
    va_start(ap, fmt);
    err_format(err, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->message);
    char text[128];
    snprintf(err->message + len, sizeof err->message - len, ": %s", strerror_r(errnum, text, sizeof text));
    err->code = err_refine(code, errnum);
    err->problems = NULL;
    err->retry_after_s = 0;
    return err->code;
}

int err_context(struct err *err, const char *fmt, ...)
{
    char context[ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(context, sizeof context, fmt, ap) < 0)
        context[0] = 0;
    va_end(ap);
    size_t room = sizeof err->message - 1, n = strlen(context);
    if (n + 2 > room)
        return err->code;
    size_t len = strlen(err->message);
    if (len > room - n - 2)
        len = room - n - 2;
    memmove(err->message + n + 2, err->message, len);
    memcpy(err->message, context, n);
    memcpy(err->message + n, ": ", 2);
    err->message[n + 2 + len] = 0;
    return err->code;
}

const char *err_code_name(enum err_code code)
{
    static const char *const names[] = {
        [-ERR_OK] = "ok",
        [-ERR_BAD_REQUEST] = "bad-request",
        [-ERR_UNAUTHORIZED] = "unauthorized",
        [-ERR_FORBIDDEN] = "forbidden",
        [-ERR_NOT_FOUND] = "not-found",
        [-ERR_METHOD_NOT_ALLOWED] = "method-not-allowed",
        [-ERR_NOT_ACCEPTABLE] = "not-acceptable",
        [-ERR_ALREADY_EXISTS] = "already-exists",
        [-ERR_CONFLICT] = "conflict",
        [-ERR_EXPIRED] = "expired",
        [-ERR_TOO_LARGE] = "too-large",
        [-ERR_UNSUPPORTED_MEDIA] = "unsupported-media",
        [-ERR_INVALID] = "invalid",
        [-ERR_TOO_MANY] = "too-many",
        [-ERR_INTERNAL] = "internal",
        [-ERR_UNAVAILABLE] = "unavailable",
        [-ERR_TIMEOUT] = "timeout",
        [-ERR_IO] = "io",
        [-ERR_NO_SPACE] = "no-space",
        [-ERR_CORRUPT] = "corrupt",
        [-ERR_CANCELED] = "canceled",
        [-ERR_LIMIT] = "limit",
        [-ERR_PERMISSION] = "permission",
        [-ERR_BUSY] = "busy",
        [-ERR_FENCED] = "fenced",
    };
    return code <= 0 && code >= ERR_CODE_MIN ? names[-(int)code] : "unknown";
}
