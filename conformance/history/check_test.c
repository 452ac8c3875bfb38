#include "conformance/history/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NONE FINDING_KINDS

/* Two watchers of everything and one of k1, which see what two clients do: nothing is wrong with it. */
#define OPEN                           \
    "relist 1 0 0 1 configmaps 1\n"    \
    "watch 1 0 2 configmaps 1\n"       \
    "relist 2 1 0 1 configmaps 1\n"    \
    "watch 2 1 2 configmaps 1\n"       \
    "relist 3 0 0 1 configmaps/k1 1\n" \
    "watch 3 0 2 configmaps/k1 1\n"
#define ALL_SEE(time, event) "seen 1 0 " time " " event "\nseen 2 1 " time " " event "\nseen 3 0 " time " " event "\n"
#define CREATED "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201\n" ALL_SEE("21", "ADDED configmaps/k1 5 11 u1")
#define REPLACED "op 1 0 30 40 replace configmaps/k1 5 12 ok 6 u1 200\n" ALL_SEE("41", "MODIFIED configmaps/k1 6 12 u1")
#define DELETED "op 2 0 50 60 delete configmaps/k1 0 0 ok 0 u1 200\n" ALL_SEE("61", "DELETED configmaps/k1 7 12 u1")

static const struct row {
    const char *name, *log;
    enum finding_kind want;
} rows[] = {
    {"nothing", "", NONE},
    {"a life", OPEN CREATED REPLACED DELETED "final 99\n", NONE},
    {"created again after a deletion",
     OPEN CREATED REPLACED DELETED
     "op 1 0 70 80 create configmaps/k1 0 13 ok 9 u2 201\n" ALL_SEE("81", "ADDED configmaps/k1 9 13 u2") "final 99\n",
     NONE},
    {"consistent reads",
     OPEN CREATED "op 2 1 25 26 get configmaps/k1 0 11 ok 5 u1 200\n" REPLACED
                  "op 2 1 45 46 get configmaps/k1 0 12 ok 6 u1 200\n"
                  "op 2 1 45 47 list configmaps 0 0 ok 6 - 200\nitem configmaps/k1 6 12 u1\n" DELETED
                  "op 2 1 65 66 get configmaps/k1 0 0 ok 0 - 404\n"
                  "op 2 1 65 67 list configmaps 0 0 ok 7 - 200\nfinal 99\n",
     NONE},
    {"a cached read may be old",
     OPEN CREATED REPLACED "op 2 1 45 46 get-cached configmaps/k1 0 11 ok 5 u1 200\n"
                           "op 2 1 45 46 list-cached configmaps 0 0 ok 5 - 200\nitem configmaps/k1 5 11 u1\nfinal 99\n",
     NONE},
    {"a read beside a write may see either",
     OPEN CREATED REPLACED "op 2 1 35 50 get configmaps/k1 0 11 ok 5 u1 200\n"
                           "op 3 1 35 50 get configmaps/k1 0 12 ok 6 u1 200\nfinal 99\n",
     NONE},
    {"without an answer and not done", OPEN CREATED "op 2 0 22 90 patch configmaps/k1 0 19 unknown 0 - 0\nfinal 99\n",
     NONE},
    {"without an answer and done",
     OPEN CREATED "op 2 0 22 90 patch configmaps/k1 0 19 unknown 0 - 0\n" ALL_SEE(
         "25", "MODIFIED configmaps/k1 6 19 u1") "final 99\n",
     NONE},
    {"a deletion without an answer, done",
     OPEN CREATED "op 2 0 22 90 delete configmaps/k1 0 0 unknown 0 - 0\n" ALL_SEE(
         "25", "DELETED configmaps/k1 6 11 u1") "final 99\n",
     NONE},
    {"watchers come and go",
     OPEN CREATED "lost 1 0 22 reset by peer\nmark 2 1 23 5\nlost 2 1 23 end\nwatch 1 1 24 configmaps 5\n"
                  "watch 2 0 24 configmaps 5\n" REPLACED "final 99\n",
     NONE},
    {"listed anew, what lay between is nobody's gap",
     "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201\nop 1 0 30 40 replace configmaps/k1 5 12 ok 6 u1 200\n"
     "relist 1 0 41 42 configmaps 6\nitem configmaps/k1 6 12 u1\nwatch 1 0 43 configmaps 6\nfinal 99\n",
     NONE},

    {"half a write read", OPEN CREATED "op 2 1 25 26 get configmaps/k1 0 !a=1,b=2 ok 5 u1 200\n", FINDING_TORN},
    {"half a write seen", OPEN "seen 1 0 9 ADDED configmaps/k1 5 !a=1 u1\n", FINDING_TORN},
    {"half a write listed", OPEN "op 2 1 25 26 list configmaps 0 0 ok 5 - 200\nitem configmaps/k1 5 !b=1 u1\n",
     FINDING_TORN},
    {"one revision, two values",
     "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201\nop 2 0 10 20 create configmaps/k2 0 21 ok 5 u2 201\n",
     FINDING_REVISION_REUSED},
    {"one revision, seen otherwise",
     OPEN CREATED
     "op 2 0 22 23 patch configmaps/k1 0 19 ok 6 u1 200\nop 1 0 22 23 patch configmaps/k1 0 18 unknown 0 - 0\n" ALL_SEE(
         "25", "MODIFIED configmaps/k1 6 18 u1"),
     FINDING_REVISION_REUSED},
    {"deleted with another value",
     OPEN CREATED REPLACED
     "op 2 0 50 60 delete configmaps/k1 0 0 ok 0 u1 200\n" ALL_SEE("61", "DELETED configmaps/k1 7 11 u1"),
     FINDING_REVISION_REUSED},
    {"nobody wrote it", OPEN CREATED ALL_SEE("25", "MODIFIED configmaps/k1 6 66 u1"), FINDING_NOBODY_WROTE},
    {"written to another key", OPEN CREATED "op 2 1 25 26 get configmaps/k2 0 11 ok 6 u7 200\n", FINDING_NOBODY_WROTE},
    {"nobody deleted it", OPEN CREATED ALL_SEE("25", "DELETED configmaps/k1 6 11 u1"), FINDING_NOBODY_WROTE},
    {"refused and there",
     OPEN CREATED
     "op 2 0 22 23 patch configmaps/k1 4 19 fail 0 - 409\n" ALL_SEE("25", "MODIFIED configmaps/k1 6 19 u1"),
     FINDING_FAILED_BUT_THERE},
    {"written twice",
     OPEN CREATED "op 2 0 22 90 patch configmaps/k1 0 19 ok 7 u1 200\n" ALL_SEE("25", "MODIFIED configmaps/k1 6 19 u1")
         ALL_SEE("25", "MODIFIED configmaps/k1 7 19 u1"),
     FINDING_APPLIED_TWICE},
    {"without an answer and done twice",
     OPEN CREATED "op 2 0 22 90 patch configmaps/k1 0 19 unknown 0 - 0\n" ALL_SEE(
         "25", "MODIFIED configmaps/k1 6 19 u1") ALL_SEE("26", "MODIFIED configmaps/k1 7 19 u1"),
     FINDING_APPLIED_TWICE},
    {"deleted twice", OPEN CREATED REPLACED DELETED "op 1 0 50 60 delete configmaps/k1 0 0 ok 0 u1 200\n",
     FINDING_APPLIED_TWICE},
    {"an acknowledged write is not there in the end",
     OPEN CREATED "op 1 0 30 40 replace configmaps/k1 5 12 ok 6 u1 200\n"
                  "op 1 0 60 61 list configmaps 0 0 ok 9 - 200\nitem configmaps/k1 5 11 u1\n",
     FINDING_LOST_WRITE},
    {"an acknowledged deletion is not there in the end",
     OPEN CREATED "op 2 0 50 60 delete configmaps/k1 0 0 ok 0 u1 200\nfinal 99\n", FINDING_LOST_WRITE},
    {"a conditional write over another", OPEN CREATED REPLACED "op 2 1 45 46 replace configmaps/k1 5 13 ok 7 u1 200\n",
     FINDING_LOST_UPDATE},
    {"a conditional deletion of another state",
     OPEN CREATED REPLACED
     "op 2 0 50 60 delete configmaps/k1 5 0 ok 0 u1 200\n" ALL_SEE("61", "DELETED configmaps/k1 7 12 u1"),
     FINDING_LOST_UPDATE},
    {"created while it was there", OPEN CREATED "op 2 1 45 46 create configmaps/k1 0 13 ok 7 u2 201\n",
     FINDING_CREATED_TWICE},
    {"changed after its deletion", OPEN CREATED REPLACED DELETED "op 2 0 70 71 patch configmaps/k1 0 19 ok 8 u1 200\n",
     FINDING_RESURRECTED},
    {"an earlier revision for a later write",
     "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201\nop 2 0 30 40 create configmaps/k2 0 21 ok 4 u2 201\n",
     FINDING_ORDER},
    {"an earlier revision than a watcher was told",
     OPEN CREATED "mark 1 0 25 9\nop 2 0 30 40 create configmaps/k2 0 21 ok 6 u2 201\n", FINDING_ORDER},
    {"a stale read", OPEN CREATED REPLACED "op 2 1 45 46 get configmaps/k1 0 11 ok 5 u1 200\n", FINDING_STALE_READ},
    {"a stale read after somebody was told by a watch",
     OPEN CREATED "op 1 0 30 90 replace configmaps/k1 5 12 ok 6 u1 200\nseen 1 0 41 MODIFIED configmaps/k1 6 12 u1\n"
                  "op 2 1 45 46 get configmaps/k1 0 11 ok 5 u1 200\n",
     FINDING_STALE_READ},
    {"not there, but written", OPEN CREATED "op 2 1 45 46 get configmaps/k1 0 0 ok 0 - 404\nfinal 99\n",
     FINDING_STALE_READ},
    {"there, but deleted", OPEN CREATED REPLACED DELETED "op 2 1 65 66 get configmaps/k1 0 12 ok 6 u1 200\n",
     FINDING_STALE_READ},
    {"there, but deleted, as no watcher said",
     "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201\nop 2 0 50 60 delete configmaps/k1 0 0 ok 0 u1 200\n"
     "op 2 1 65 66 get configmaps/k1 0 11 ok 5 u1 200\n",
     FINDING_STALE_READ},
    {"a stale list", OPEN CREATED REPLACED "op 2 1 45 46 list configmaps 0 0 ok 5 - 200\nitem configmaps/k1 5 11 u1\n",
     FINDING_STALE_READ},
    {"a watcher listed stale", OPEN CREATED REPLACED "relist 4 1 45 46 configmaps 5\nitem configmaps/k1 5 11 u1\n",
     FINDING_STALE_READ},
    {"read before it was written",
     OPEN "op 2 1 8 9 get configmaps/k1 0 11 ok 5 u1 200\nop 1 0 10 20 create configmaps/k1 0 11 unknown 0 - 0\n",
     FINDING_FUTURE_READ},
    {"a list of two moments",
     OPEN CREATED
     "op 1 0 22 23 create configmaps/k2 0 21 ok 6 u2 201\n"
     "op 1 0 30 40 replace configmaps/k1 5 12 ok 7 u1 200\n"
     "op 2 0 30 41 list configmaps 0 0 ok 7 - 200\nitem configmaps/k1 5 11 u1\nitem configmaps/k2 6 21 u2\n",
     FINDING_LIST_MIXED},
    {"a list that lacks one", OPEN CREATED "op 2 0 19 41 list-cached configmaps 0 0 ok 5 - 200\n", FINDING_LIST_MIXED},
    {"a list with one deleted",
     OPEN CREATED REPLACED DELETED "op 2 0 70 71 list configmaps 0 0 ok 7 - 200\nitem configmaps/k1 6 12 u1\n",
     FINDING_LOST_WRITE},
    {"an event behind a later one",
     OPEN "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201\nop 1 0 21 22 replace configmaps/k1 5 12 ok 6 u1 200\n"
          "seen 1 0 23 ADDED configmaps/k1 6 12 u1\nseen 1 0 24 MODIFIED configmaps/k1 5 11 u1\n",
     FINDING_WATCH_REORDERED},
    {"a bookmark that goes back", OPEN CREATED "mark 1 0 25 4\n", FINDING_WATCH_REORDERED},
    {"an event twice", OPEN CREATED REPLACED "seen 1 0 45 MODIFIED configmaps/k1 6 12 u1\n", FINDING_WATCH_TWICE},
    {"an event again after reconnecting",
     OPEN CREATED "lost 1 0 22 end\nwatch 1 1 23 configmaps 5\nseen 1 1 24 ADDED configmaps/k1 5 11 u1\n",
     FINDING_WATCH_TWICE},
    {"an event left out",
     OPEN CREATED
     "op 1 0 30 40 replace configmaps/k1 5 12 ok 6 u1 200\nop 1 0 41 42 replace configmaps/k1 6 13 ok 7 u1 "
     "200\n" ALL_SEE("43", "MODIFIED configmaps/k1 7 13 u1"),
     FINDING_WATCH_GAP},
    {"an event left out between sessions",
     OPEN CREATED "lost 1 0 22 end\nop 1 0 30 40 replace configmaps/k1 5 12 ok 6 u1 200\nwatch 1 1 41 configmaps 5\n"
                  "mark 1 1 42 8\n",
     FINDING_WATCH_GAP},
    {"an event that never came", OPEN CREATED "op 1 0 30 40 replace configmaps/k1 5 12 ok 6 u1 200\nfinal 99\n",
     FINDING_WATCH_GAP},
    {"an event of another watcher left out",
     OPEN "op 1 0 10 20 create configmaps/k1 0 11 unknown 0 - 0\n"
          "seen 1 0 23 ADDED configmaps/k1 6 11 u1\nmark 2 1 24 7\n",
     FINDING_WATCH_GAP},
    {"added while there",
     OPEN CREATED
     "op 1 0 30 40 replace configmaps/k1 5 12 unknown 0 - 0\n" ALL_SEE("41", "ADDED configmaps/k1 6 12 u1"),
     FINDING_WATCH_TYPE},
    {"another's event",
     OPEN "op 1 0 10 20 create configmaps/k2 0 11 ok 5 u1 201\n"
          "seen 3 0 23 ADDED configmaps/k2 5 11 u1\n",
     FINDING_WATCH_TYPE},

    {"a lease kept, given up and taken",
     "lease 0 1 ADDED l 3 a 1000000 15\nlease 0 2 MODIFIED l 4 a 2000000 15\nlease 0 3 MODIFIED l 5 - 2500000 1\n"
     "lease 0 4 MODIFIED l 6 b 2600000 15\nlease 0 5 MODIFIED l 7 a 17700000 15\n",
     NONE},
    {"a lease taken too early", "lease 0 1 ADDED l 3 a 1000000 15\nlease 0 5 MODIFIED l 7 b 15900000 15\n",
     FINDING_TWO_HOLDERS},
    {"one revision of a lease, two holders", "lease 0 1 ADDED l 3 a 1000000 15\nlease 1 5 MODIFIED l 3 b 1000000 15\n",
     FINDING_REVISION_REUSED},
};

static void test_findings(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct history h;
        struct findings f = {0};
        struct err err = ERR_INIT;
        history_init(&h);
        if (history_parse(&h, str_from(rows[i].log), &err) < 0)
            fail_msg("%s: %s", rows[i].name, err.message);
        history_check(&h, &f);
        bool good = rows[i].want == NONE ? f.total == 0 : f.counts[rows[i].want] > 0;
        if (!good) {
            print_error("%s: wanted %s, got:\n" STR_FMT "\n", rows[i].name,
                        rows[i].want == NONE ? "nothing" : finding_kinds[rows[i].want], STR_ARG(buf_str(&f.text)));
            failed++;
        }
        findings_finish(&f);
        history_finish(&h);
    }
    assert_int_equal(failed, 0);
}

static void test_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1\n",
        "op 1 0 10 20 creates configmaps/k1 0 11 ok 5 u1 201\n",
        "op 1 0 10 x create configmaps/k1 0 11 ok 5 u1 201\n",
        "item configmaps/k1 5 11 u1\n",
        "op 1 0 10 20 create configmaps/k1 0 11 ok 5 u1 201 more\n",
        "what\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct history h;
        struct err err = ERR_INIT;
        history_init(&h);
        assert_int_equal(history_parse(&h, str_from(bad[i]), &err), ERR_BAD_REQUEST);
        history_finish(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_findings), cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
