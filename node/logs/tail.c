#include "node/logs/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MAX (64 * 1024)

/* "2026-01-02T15:04:05.000000000Z stdout F text": what stands behind the third space. */
static struct str content(struct str line)
{
    size_t at;
    for (int i = 0; i < 3; i++) {
        if (!str_index(line, ' ', &at))
            return STR("");
        line = str_sub(line, at + 1, line.len);
    }
    return line;
}

const char *log_tail_text(struct arena *a, const char *path, int lines, size_t max_bytes)
{
    struct stat st;
    struct str rest, line, kept;
    struct buf out = {0};
    char *block;
    ssize_t n;
    size_t skip = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC), seen = 0;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) < 0)
        st.st_size = 0;
    block = arena_alloc(a, READ_MAX + 1);
    n = pread(fd, block, READ_MAX, st.st_size > READ_MAX ? st.st_size - READ_MAX : 0);
    close(fd);
    if (n <= 0)
        return NULL;
    rest = (struct str){block, (size_t)n};
    for (size_t i = rest.len - 1; i > 0; i--) {
        if (block[i - 1] == '\n' && ++seen == lines) {
            skip = i;
            break;
        }
    }
    rest = str_sub(rest, skip, rest.len);
    while (str_split(&rest, '\n', &line)) {
        if (!line.len)
            continue;
        buf_add_str(&out, content(line));
        buf_add_char(&out, '\n');
    }
    kept = buf_str(&out);
    if (kept.len > max_bytes)
        kept = str_sub(kept, kept.len - max_bytes, kept.len);
    kept = arena_str(a, kept);
    buf_free(&out);
    return kept.len ? kept.p : NULL;
}
