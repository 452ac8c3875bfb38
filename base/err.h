/* Errors: how a failure of the outside world travels up to whoever can act on it.
 *
 * A function that can fail returns 0 or a negative `enum err_code`; a positive value is a documented answer
 * that the direct caller handles (1 = not found, 2 = again, ...). Its last parameter is the caller's
 * `struct err *`, never NULL, which holds the code and a message for people. Setting an error allocates nothing.
 *
 *     if (fd < 0)
 *         return err_set_errno(err, ERR_IO, errno, "open %s", path);
 *     ...
 *     int rc = kv_open(...,err);
 *     if (rc < 0)
 *         return err_context(err, "store at %s", dir);
 *
 * Out of memory on the host aborts. Our own mistakes are asserts, which stay in release builds.
 */
#ifndef SKIFF_BASE_ERR_H
#define SKIFF_BASE_ERR_H

#include <stddef.h>

enum err_code {
    ERR_OK = 0,
    /* what a client did (in the order of the HTTP statuses they become) */
    ERR_BAD_REQUEST = -1,        /* 400 */
    ERR_UNAUTHORIZED = -2,       /* 401 */
    ERR_FORBIDDEN = -3,          /* 403 */
    ERR_NOT_FOUND = -4,          /* 404 */
    ERR_METHOD_NOT_ALLOWED = -5, /* 405 */
    ERR_NOT_ACCEPTABLE = -6,     /* 406 */
    ERR_ALREADY_EXISTS = -7,     /* 409 */
    ERR_CONFLICT = -8,           /* 409 */
    ERR_EXPIRED = -9,            /* 410 */
    ERR_TOO_LARGE = -10,         /* 413 */
    ERR_UNSUPPORTED_MEDIA = -11, /* 415 */
    ERR_INVALID = -12,           /* 422, causes in err->problems */
    ERR_TOO_MANY = -13,          /* 429 */
    /* what the world did */
    ERR_INTERNAL = -14,    /* 500 */
    ERR_UNAVAILABLE = -15, /* 503: try again */
    ERR_TIMEOUT = -16,     /* 504 */
    ERR_IO = -17,          /* a device, file or socket failed */
    ERR_NO_SPACE = -18,    /* a disk or quota is full */
    ERR_CORRUPT = -19,     /* stored bytes do not match their checksum or format */
    ERR_CANCELED = -20,    /* whoever asked has gone */
    ERR_LIMIT = -21,       /* an arena, depth, count or size bound was reached */
    ERR_PERMISSION = -22,  /* the operating system says no */
    ERR_BUSY = -23,        /* port, lock or directory in use by another process */
    ERR_FENCED = -24,      /* whoever writes no longer leads: its term is over */
    ERR_CODE_MIN = -24
};

struct problems; /* openapi/problems.h: any number of causes, in an arena */

#define ERR_MESSAGE_MAX 1024

struct err {
    enum err_code code;
    struct problems *problems; /* NULL unless code is ERR_INVALID; owned by the arena the validator was given */
    int retry_after_s;         /* a hint to the client, 0 = none */
    char message[ERR_MESSAGE_MAX];
};

#define ERR_INIT ((struct err){0})

/* Set code and formatted message (truncated at ERR_MESSAGE_MAX); drops earlier problems. Returns code. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set with ": strerror(errnum)" appended. ENOSPC, EACCES/EPERM and EADDRINUSE refine the code. */
int err_set_errno(struct err *err, enum err_code code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " in front of the message on the way up. Returns err->code. */
int err_context(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The code's name in lower case with dashes ("not-found"), for logs and metrics. */
const char *err_code_name(enum err_code code);

#endif
