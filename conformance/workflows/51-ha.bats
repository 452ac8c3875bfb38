#!/usr/bin/env bats
# Several control planes: three etcd members, three servers and two nodes, one fault after the other under steady writes.

@test "nothing acknowledged is lost, nobody reads the past, one leads: leaders, members and servers fail in turn" {
    command -v etcd >/dev/null || skip "etcd is not installed"
    export SKIFF=${SKIFF:-$BATS_TEST_DIRNAME/../../build/release/skiff}
    # nodes of real containers where there are images for them
    [ ! -e "${IMAGES:-/tmp/skiff-images}/busybox.tar" ] || export REAL=1
    run env FAULTS=few SECONDS_LIMIT="${HA_SECONDS:-100}" "$BATS_TEST_DIRNAME/../ha/run"
    echo "$output"
    [ "$status" -eq 0 ]
    # it was a test: there were faults, and writes went on between them
    [ "$(sed -n 's/.* s  \([0-9]*\) faults;.*/\1/p' <<<"$output")" -ge 5 ]
    [ "$(sed -n 's/^writes: \([0-9]*\) acknowledged.*/\1/p' <<<"$output")" -gt 100 ]
}
