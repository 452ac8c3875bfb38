#include "node/volumes/atomic_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void expect(const char *dir, const char *name, const char *want)
{
    char path[PATH_MAX], text[200] = "";
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "re");
    if (!want) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_string_equal(text, want);
}

static void link_of(const char *dir, char out[256])
{
    char path[PATH_MAX];
    ssize_t n;
    snprintf(path, sizeof path, "%s/..data", dir);
    n = readlink(path, out, 255);
    assert_true(n > 0);
    out[n] = 0;
}

static void test_replaces_all_at_once(void **state)
{
    char dir[] = "/tmp/atomic-writer-XXXXXX", first[256], second[256], command[300], path[PATH_MAX];
    struct volume_file one[] = {{STR("a"), STR("1"), 0644, -1}, {STR("sub/b"), STR("2"), 0400, -1}};
    struct volume_file two[] = {{STR("a"), STR("3"), 0644, -1}};
    struct err err = ERR_INIT;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(atomic_write(dir, one, 2, -1, &err), 0);
    expect(dir, "a", "1");
    expect(dir, "sub/b", "2");
    snprintf(path, sizeof path, "%s/sub/b", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
    link_of(dir, first);
    assert_int_equal(atomic_write(dir, one, 2, -1, &err), 0); /* nothing new: nothing written */
    link_of(dir, second);
    assert_string_equal(first, second);
    assert_int_equal(atomic_write(dir, two, 1, -1, &err), 0);
    expect(dir, "a", "3");
    expect(dir, "sub/b", NULL);
    expect(dir, "sub", NULL);
    snprintf(path, sizeof path, "%s/%s", dir, first);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaces_all_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
