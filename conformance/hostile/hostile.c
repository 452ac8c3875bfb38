/* hostile: a client that means harm, for conformance/workflows/31-hostile.bats.
 *
 *   hostile ADDRESS PORT WAY [COUNT [PATH]]      (the bearer token is in TOKEN)
 *
 * Ways that hold on until they are stopped (they print "holding" once they stand):
 *   silent     COUNT connections that never say a word
 *   handshake  COUNT connections that stop inside the TLS handshake
 *   idle       COUNT connections with TLS and HTTP/2 and no request
 *   reader     COUNT requests for PATH whose answers are never read (HTTP/1.1)
 *   streams    the same on one HTTP/2 connection that never opens its window
 * Ways that the server has to put an end to; exit 0 and "cut off after N" when it did, 1 when COUNT passed unpunished:
 *   reset      requests taken back at once, as fast as they can be written
 *   continuation  one header block without end
 *   headers    one HTTP/1.1 header without end
 *   settings, ping  control frames whose answers are never read
 *   garbage    bytes of no protocol
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in peer;
static SSL_CTX *tls;
static SSL *latest; /* never freed, but not lost either */

static void die(const char *what)
{
    fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int dial(void)
{
    struct timeval patience = {.tv_sec = 20};
    int small = 4096, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (void *)&peer, sizeof peer) < 0)
        die("connect");
    return fd;
}

static SSL *dial_tls(const char *alpn)
{
    SSL *s = SSL_new(tls);
    unsigned char list[16];
    size_t n = strlen(alpn);
    list[0] = (unsigned char)n;
    memcpy(list + 1, alpn, n);
    SSL_set_alpn_protos(s, list, (unsigned)n + 1);
    SSL_set_fd(s, dial());
    if (SSL_connect(s) != 1)
        die("TLS");
    latest = s;
    return latest;
}

static bool put(SSL *s, const void *data, size_t len)
{
    errno = 0;
    return SSL_write(s, data, (int)len) == (int)len;
}

/* ---- HTTP/2, by hand: what a library would refuse to send ---- */

enum { HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, CONTINUATION = 9 };

static size_t frame(unsigned char *out, int type, int flags, uint32_t stream, const void *payload, size_t len)
{
    const unsigned char head[9] = {
        (unsigned char)(len >> 16),    (unsigned char)(len >> 8),    (unsigned char)len,
        (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};
    memcpy(out, head, sizeof head);
    if (len)
        memcpy(out + 9, payload, len);
    return len + 9;
}

/* A literal field, not indexed, with a new name; lengths under 127. */
static size_t literal(unsigned char *out, const char *name, const char *value)
{
    size_t a = strlen(name), b = strlen(value), n = 0;
    out[n++] = 0;
    out[n++] = (unsigned char)a;
    memcpy(out + n, name, a);
    n += a;
    out[n++] = (unsigned char)b;
    memcpy(out + n, value, b);
    return n + b;
}

static size_t request(unsigned char *out, const char *path)
{
    char bearer[100];
    const char *token = getenv("TOKEN");
    size_t n = 0;
    snprintf(bearer, sizeof bearer, "Bearer %s", token ? token : "");
    out[n++] = 0x82; /* :method GET */
    out[n++] = 0x87; /* :scheme https */
    n += literal(out + n, ":path", path);
    n += literal(out + n, ":authority", "hostile");
    return n + literal(out + n, "authorization", bearer);
}

static SSL *dial_http2(bool closed_window)
{
    static const unsigned char no_window[] = {0, 4, 0, 0, 0, 0}; /* INITIAL_WINDOW_SIZE 0 */
    unsigned char out[64];
    SSL *s = dial_tls("h2");
    size_t n = frame(out, SETTINGS, 0, 0, no_window, closed_window ? sizeof no_window : 0);
    if (!put(s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) || !put(s, out, n))
        die("HTTP/2");
    return s;
}

/* ---- ways ---- */

static int hold(void)
{
    puts("holding");
    fflush(stdout);
    pause();
    return 0;
}

static int silent(long count)
{
    for (long i = 0; i < count; i++)
        dial();
    return hold();
}

static int handshake(long count)
{
    static const unsigned char hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    for (long i = 0; i < count; i++)
        if (write(dial(), hello, sizeof hello) < 0)
            die("write");
    return hold();
}

static int idle(long count)
{
    for (long i = 0; i < count; i++)
        dial_http2(false);
    return hold();
}

static int reader(long count, const char *path)
{
    char text[512];
    const char *token = getenv("TOKEN");
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: hostile\r\nAuthorization: Bearer %s\r\n\r\n", path,
                     token ? token : "");
    for (long i = 0; i < count; i++)
        if (!put(dial_tls("http/1.1"), text, (size_t)n))
            die("write");
    return hold();
}

static int streams(long count, const char *path)
{
    unsigned char block[400], out[512];
    SSL *s = dial_http2(true);
    size_t n = request(block, path);
    for (long i = 0; i < count; i++)
        if (!put(s, out, frame(out, HEADERS, 5, (uint32_t)(2 * i + 1), block, n)))
            break;
    return hold();
}

static int ended(long sent, long count)
{
    if (sent >= count) {
        printf("not cut off after %ld\n", sent);
        return 1;
    }
    if (errno == EAGAIN)
        printf("stalled after %ld\n", sent);
    else
        printf("cut off after %ld\n", sent);
    return errno == EAGAIN;
}

static int reset(long count, const char *path)
{
    static const unsigned char cancel[] = {0, 0, 0, 8};
    unsigned char block[400], out[1024];
    SSL *s = dial_http2(false);
    size_t n = request(block, path);
    long i = 0;
    for (; i < count; i++) {
        size_t len = frame(out, HEADERS, 5, (uint32_t)(2 * i + 1), block, n);
        len += frame(out + len, RST_STREAM, 0, (uint32_t)(2 * i + 1), cancel, sizeof cancel);
        if (!put(s, out, len))
            break;
    }
    return ended(i, count);
}

static int continuation(long count, const char *path)
{
    unsigned char block[400], out[2048], more[1024];
    SSL *s = dial_http2(false);
    size_t n = request(block, path), m = 0;
    long i = 0;
    while (m < 900)
        m += literal(more + m, "x-more", "again and again and again and again and again and again");
    if (!put(s, out, frame(out, HEADERS, 1, 1, block, n)))
        die("write");
    for (; i < count; i++)
        if (!put(s, out, frame(out, CONTINUATION, 0, 1, more, m)))
            break;
    return ended(i, count);
}

static int flood(long count, int type)
{
    static const unsigned char eight[8];
    unsigned char out[64];
    SSL *s = dial_http2(false);
    size_t n = frame(out, type, 0, 0, eight, type == PING ? sizeof eight : 0);
    long i = 0;
    for (; i < count; i++)
        if (!put(s, out, n))
            break;
    return ended(i, count);
}

static int headers(long count)
{
    static const char start[] = "GET /api HTTP/1.1\r\nHost: hostile\r\n",
                      more[] = "X-More: again and again and again\r\n";
    SSL *s = dial_tls("http/1.1");
    long i = 0;
    if (!put(s, start, sizeof start - 1))
        die("write");
    for (; i < count; i++)
        if (!put(s, more, sizeof more - 1))
            break;
    return ended(i, count);
}

static int garbage(long count)
{
    unsigned char noise[4096];
    SSL *s = dial_tls("http/1.1");
    long i = 0;
    for (size_t j = 0; j < sizeof noise; j++)
        noise[j] = (unsigned char)(j * 2654435761u >> 13);
    for (; i < count; i++)
        if (!put(s, noise, sizeof noise))
            break;
    return ended(i, count);
}

int main(int argc, char **argv)
{
    const char *way = argc > 3 ? argv[3] : "", *path = argc > 5 ? argv[5] : "/api/v1/namespaces";
    long count = argc > 4 ? atol(argv[4]) : 1000;
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    if (argc < 4 || inet_pton(AF_INET, argv[1], &peer.sin_addr) != 1) {
        fprintf(stderr, "usage: hostile ADDRESS PORT WAY [COUNT [PATH]]\n");
        return 2;
    }
    peer.sin_family = AF_INET;
    peer.sin_port = htons((uint16_t)atoi(argv[2]));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    tls = SSL_CTX_new(TLS_client_method());
    if (strcmp(way, "silent") == 0)
        return silent(count);
    if (strcmp(way, "handshake") == 0)
        return handshake(count);
    if (strcmp(way, "idle") == 0)
        return idle(count);
    if (strcmp(way, "reader") == 0)
        return reader(count, path);
    if (strcmp(way, "streams") == 0)
        return streams(count, path);
    if (strcmp(way, "reset") == 0)
        return reset(count, path);
    if (strcmp(way, "continuation") == 0)
        return continuation(count, path);
    if (strcmp(way, "headers") == 0)
        return headers(count);
    if (strcmp(way, "settings") == 0)
        return flood(count, SETTINGS);
    if (strcmp(way, "ping") == 0)
        return flood(count, PING);
    if (strcmp(way, "garbage") == 0)
        return garbage(count);
    fprintf(stderr, "hostile: no such way: %s\n", way);
    return 2;
}
