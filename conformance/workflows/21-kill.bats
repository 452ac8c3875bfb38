#!/usr/bin/env bats
# The server is killed at random a few hundred times while clients write and watch over HTTP/2: what was acknowledged is
# there, what was not is there whole or not at all, every watcher saw each event once and in order.

@test "200 kills under writers and watchers: their history is without a flaw" {
    export SKIFF=${SKIFF:-$BATS_TEST_DIRNAME/../../build/release/skiff}
    run "$BATS_TEST_DIRNAME/../history/kills" "${KILLS:-200}"
    echo "$output"
    [ "$status" -eq 0 ]
    # it was a test: a few writes were acknowledged in each of the server's lives
    acknowledged=$(sed -n 's/^writes: \([0-9]*\) acknowledged.*/\1/p' <<<"$output")
    [ "$acknowledged" -gt $((${KILLS:-200} * 5)) ]
}

@test "a disk that is full again and again: reads are answered, it says why, writes go on when there is room" {
    export SKIFF=${SKIFF:-$BATS_TEST_DIRNAME/../../build/release/skiff}
    run "$BATS_TEST_DIRNAME/../history/full" 3
    echo "$output"
    [ "$status" -eq 0 ]
}
