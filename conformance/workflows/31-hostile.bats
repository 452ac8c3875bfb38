#!/usr/bin/env bats
# Clients that mean harm. While each is at it an ordinary kubectl is served; what they hold is given back when they go.

load ../server

setup_file() {
    load ../server
    server_up "$BATS_FILE_TMPDIR" --store "${STORE:-memory}"
    SERVER=$(cat "$BATS_FILE_TMPDIR/url")
    head -c 50000 /dev/zero | tr '\0' x >"$BATS_FILE_TMPDIR/x"
    for i in $(seq 100); do
        { printf '{"metadata":{"name":"big%s"},"data":{"x":"' "$i"; cat "$BATS_FILE_TMPDIR/x"; printf '"}}'; } >"$BATS_FILE_TMPDIR/body"
        ask POST /api/v1/namespaces/default/configmaps "@$BATS_FILE_TMPDIR/body"
    done
    served
    resident >"$BATS_FILE_TMPDIR/rss"
}

teardown_file() {
    load ../server
    server_down "$BATS_FILE_TMPDIR"
}

setup() {
    load ../server
    SERVER=$(cat "$BATS_FILE_TMPDIR/url")
    PID=$(cat "$BATS_FILE_TMPDIR/pid")
    HOSTILE=$(dirname "$SKIFF")/hostile
    export TOKEN=admin-token
    LIST=/api/v1/namespaces/default/configmaps
    FDS=$(files)
}

teardown() {
    [ -z "${HELD-}" ] || kill "$HELD" 2>/dev/null || true
}

files() { ls /proc/"$PID"/fd | wc -l; }
resident() { awk '/^RssAnon/ {print $2}' /proc/"${PID:-$(cat "$BATS_FILE_TMPDIR/pid")}"/status; }
kube() { timeout 20 kubectl --kubeconfig "$BATS_FILE_TMPDIR/data/admin.kubeconfig" "$@"; }
served() { kube get namespace default -o name >/dev/null; }

hostile() { # WAY [COUNT [PATH]]
    timeout 60 "$HOSTILE" 127.0.0.1 "${SERVER##*:}" "$@"
}

hold() { # WAY COUNT [PATH]: until `release`
    "$HOSTILE" 127.0.0.1 "${SERVER##*:}" "$@" >"$BATS_TEST_TMPDIR/held" 2>&1 3>&- &
    HELD=$!
    for _ in $(seq 300); do
        grep -q holding "$BATS_TEST_TMPDIR/held" && return
        sleep 0.1
    done
    cat "$BATS_TEST_TMPDIR/held"
    return 1
}

# What was held is let go: connections are gone, and memory is back but for what an allocator keeps.
release() {
    kill "$HELD"
    for _ in $(seq 300); do
        [ "$(files)" -le $((FDS + 4)) ] && break
        sleep 0.1
    done
    [ "$(files)" -le $((FDS + 4)) ] || { echo "files: $FDS before, $(files) after"; return 1; }
    served
}

memory_is_back() {
    ! ldd "$SKIFF" | grep -qE 'libasan|libtsan' || return 0 # they keep what is freed
    local before=$(cat "$BATS_FILE_TMPDIR/rss")
    for _ in $(seq 100); do
        [ "$(resident)" -le $((before + 40000)) ] && return
        sleep 0.1
    done
    echo "resident: $before KB before, $(resident) KB after"
    return 1
}

@test "a thousand connections that say nothing" {
    hold silent 1000
    [ "$(files)" -ge 1000 ]
    served
    release
}

@test "a thousand handshakes that stop half-way" {
    hold handshake 1000
    served
    release
}

@test "five hundred sessions without a request" {
    hold idle 500
    served
    release
    memory_is_back
}

@test "readers that do not read a large list" {
    hold reader 100 $LIST
    served
    [ "$(kube get configmaps -n default -o name | wc -l)" -ge 100 ]
    ldd "$SKIFF" | grep -qE 'libasan|libtsan' || [ "$(resident)" -le $(($(cat "$BATS_FILE_TMPDIR/rss") + 150000)) ]
    release
    hold streams 200 $LIST
    served
    ldd "$SKIFF" | grep -qE 'libasan|libtsan' || [ "$(resident)" -le $(($(cat "$BATS_FILE_TMPDIR/rss") + 150000)) ]
    release
    memory_is_back
}

@test "watchers that do not read" {
    hold reader 50 "$LIST?watch=1"
    kube get configmaps -n default --watch -o name >"$BATS_TEST_TMPDIR/seen" 3>&- &
    watcher=$!
    for _ in $(seq 100); do
        [ "$(wc -l <"$BATS_TEST_TMPDIR/seen")" -ge 100 ] && break
        sleep 0.1
    done
    for i in $(seq 60); do
        TYPE=application/merge-patch+json ask PATCH $LIST/big1 "{\"metadata\":{\"annotations\":{\"n\":\"$i\"}}}"
        [ "$CODE" = 200 ]
    done
    served
    for _ in $(seq 100); do
        [ "$(grep -cx 'configmap/big1' "$BATS_TEST_TMPDIR/seen")" -ge 61 ] && break
        sleep 0.1
    done
    [ "$(grep -cx 'configmap/big1' "$BATS_TEST_TMPDIR/seen")" -eq 61 ]
    kill "$watcher"
    ldd "$SKIFF" | grep -qE 'libasan|libtsan' || [ "$(resident)" -le $(($(cat "$BATS_FILE_TMPDIR/rss") + 150000)) ]
    release
    memory_is_back
}

@test "requests taken back as fast as they can be written" {
    for i in 1 2 3; do hostile reset 2000000 "$LIST" >"$BATS_TEST_TMPDIR/reset$i" 3>&- & done
    served
    served
    wait
    cat "$BATS_TEST_TMPDIR"/reset*
    ! grep -v 'cut off after' "$BATS_TEST_TMPDIR"/reset*
    ! grep 'not cut off' "$BATS_TEST_TMPDIR"/reset*
    served
    memory_is_back
}

@test "header blocks without end" {
    hostile continuation 1000000
    hostile headers 1000000
    served
}

@test "control frames whose answers nobody reads" {
    hostile ping 20000000
    hostile settings 20000000
    served
    memory_is_back
}

@test "noise" {
    hostile garbage 100000
    for _ in $(seq 20); do
        head -c 20000 /dev/urandom | timeout 5 openssl s_client -quiet -connect "${SERVER#https://}" -alpn h2 >/dev/null 2>&1 || true
        head -c 2000 /dev/urandom >/dev/tcp/127.0.0.1/"${SERVER##*:}" || true
    done
    { printf 'GET /version HTTP/1.1\r\nHost: a\r\n\r\nGET /version HTTP/1.1\r\nHost: a\r\n\r\nNOISE\r\n\r\n'; sleep 0.5; } |
        timeout 5 openssl s_client -quiet -connect "${SERVER#https://}" -alpn http/1.1 >"$BATS_TEST_TMPDIR/pipelined" 2>/dev/null || true
    [ "$(grep -ao 'HTTP/1.1 200' "$BATS_TEST_TMPDIR/pipelined" | wc -l)" = 2 ]
    [ "$(grep -ao 'HTTP/1.1 400' "$BATS_TEST_TMPDIR/pipelined" | wc -l)" = 1 ]
    served
    memory_is_back
}
