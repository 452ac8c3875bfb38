#include "cmd/pause_image.h"

#include "base/str.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

__asm__(".section .rodata\n"
        ".global pause_program\n.global pause_program_end\n"
        "pause_program:\n.incbin \"" PAUSE_PROGRAM "\"\npause_program_end:\n.previous\n");
extern const char pause_program[], pause_program_end[];

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#else
#define ARCHITECTURE "arm64"
#endif

#define BLOCK 512

/* One member of a tar archive (POSIX ustar). */
static void tar_add(struct buf *tar, const char *name, unsigned mode, struct str content)
{
    char header[BLOCK] = {0};
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", mode);
    snprintf(header + 108, 8, "%07o", 0u);
    snprintf(header + 116, 8, "%07o", 0u);
    snprintf(header + 124, 12, "%011zo", content.len);
    snprintf(header + 136, 12, "%011o", 0u);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    buf_add(tar, header, BLOCK);
    buf_add_str(tar, content);
    static const char zeros[BLOCK];
    if (content.len % BLOCK)
        buf_add(tar, zeros, BLOCK - content.len % BLOCK);
}

static void tar_end(struct buf *tar)
{
    static const char zeros[2 * BLOCK];
    buf_add(tar, zeros, sizeof zeros);
}

int pause_image_write(const char *file, struct err *err)
{
    struct buf layer = {0}, config = {0}, archive = {0};
    tar_add(&layer, "pause", 0755, (struct str){pause_program, (size_t)(pause_program_end - pause_program)});
    tar_end(&layer);

    unsigned char digest[32];
    EVP_Digest(layer.p, layer.len, digest, NULL, EVP_sha256(), NULL);
    buf_addz(&config, "{\"architecture\":\"" ARCHITECTURE "\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/pause\"],"
                      "\"User\":\"65535:65535\"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:");
    for (size_t i = 0; i < sizeof digest; i++)
        buf_printf(&config, "%02x", digest[i]);
    buf_addz(&config, "\"]}}");

    tar_add(&archive, "manifest.json", 0644,
            STR("[{\"Config\":\"config.json\",\"RepoTags\":[\"" PAUSE_IMAGE "\"],\"Layers\":[\"layer.tar\"]}]"));
    tar_add(&archive, "config.json", 0644, buf_str(&config));
    tar_add(&archive, "layer.tar", 0644, buf_str(&layer));
    tar_end(&archive);

    int rc = 0;
    FILE *f = fopen(file, "we");
    if (!f || fwrite(archive.p, 1, archive.len, f) != archive.len || fflush(f) != 0)
        rc = err_set_errno(err, ERR_IO, errno, "write %s", file);
    if (f)
        fclose(f);
    buf_free(&layer);
    buf_free(&config);
    buf_free(&archive);
    return rc;
}
