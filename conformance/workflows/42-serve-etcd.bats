#!/usr/bin/env bats
# etcd's API over Skiff's store, driven by a stock etcdctl: keys, transactions, watches, leases; and what is refused. One
# control plane serves all tests.

load ../server

setup_file() {
    command -v etcdctl >/dev/null || skip "etcdctl is not installed"
    load ../server
    export DIR=$BATS_FILE_TMPDIR/s
    export ETCDCTL_API=3
    local port=$((20000 + RANDOM % 10000))
    export ETCDCTL_ENDPOINTS=127.0.0.1:$port TLS_PORT=$((port + 1))
    server_up "$DIR" --disable controllers,scheduler --serve-etcd "127.0.0.1:$port"
    export KUBECONFIG=$DIR/data/admin.kubeconfig
}

teardown_file() {
    [ ! -e "$DIR/pid" ] || server_down "$DIR"
}

json() { # JQ-EXPRESSION COMMAND…: etcdctl's answer
    local expression=$1
    shift
    etcdctl "$@" -w json | jq -r "$expression"
}

# What a background etcdctl wrote to FILE comes to hold TEXT within ten seconds.
holds() { # FILE TEXT
    for _ in $(seq 100); do
        grep -qF -- "$2" "$1" && return
        sleep 0.1
    done
    cat "$1"
    return 1
}

@test "put, get, del: values, old revisions, prefixes, order, limits" {
    [ "$(etcdctl put /k/a one)" = OK ]
    local old
    old=$(json .header.revision put /k/b two)
    etcdctl put /k/a three
    [ "$(etcdctl get /k/a --print-value-only)" = three ]
    [ "$(etcdctl get /k/a --print-value-only --rev "$old")" = one ]
    [ "$(json '.kvs[0].version' get /k/a)" = 2 ]
    [ "$(etcdctl get /k/ --prefix --keys-only | grep .)" = $'/k/a\n/k/b' ]
    [ "$(etcdctl get /k/ --prefix --print-value-only --order DESCEND --sort-by KEY)" = $'two\nthree' ]
    [ "$(etcdctl get /k/ --prefix --print-value-only --sort-by MODIFY --order ASCEND)" = $'two\nthree' ]
    [ "$(json '"\(.count) \(.more) \(.kvs | length)"' get /k/ --prefix --limit 1)" = "2 true 1" ]
    [ "$(etcdctl get /k/b --from-key --keys-only | head -1)" = /k/b ]
    [ "$(etcdctl put /k/a four --prev-kv | tail -1)" = three ]
    [ "$(etcdctl put /k/a --ignore-value)" = OK ]
    [ "$(etcdctl get /k/a --print-value-only)" = four ]
    run etcdctl get /k/a --rev 999999999
    [[ $status -ne 0 && $output == *"required revision is a future revision"* ]]
    [ "$(etcdctl del /k/ --prefix)" = 2 ]
    [ -z "$(etcdctl get /k/ --prefix)" ]
}

@test "txn: compares choose the branch, answers come in order" {
    etcdctl put /t/a 1
    [ "$(printf 'value("/t/a") = "1"\n\nput /t/a 2\nget /t/a\n\nput /t/a 9\n\n' | etcdctl txn | grep .)" = \
        $'SUCCESS\nOK\n/t/a\n2' ]
    [ "$(printf 'create("/t/a") = "0"\n\nput /t/a 3\n\nget /t/a\ndel /t/a\n\n' | etcdctl txn | grep .)" = \
        $'FAILURE\n/t/a\n2\n1' ]
    run bash -c "printf '\nput /t/a 1\nput /t/a 2\n\n\n' | etcdctl txn"
    [[ $status -ne 0 && $output == *"duplicate key given in txn request"* ]]
}

@test "watch: live, from the past, with what was there before; deletions" {
    local from
    from=$(json .header.revision put /w/a 1)
    etcdctl watch /w/ --prefix --prev-kv --rev "$from" >"$BATS_TEST_TMPDIR/out" 3>&- &
    local pid=$!
    holds "$BATS_TEST_TMPDIR/out" /w/a
    for i in $(seq 2 20); do etcdctl put /w/a "$i" >/dev/null; done
    etcdctl put /elsewhere 1
    etcdctl del /w/a
    holds "$BATS_TEST_TMPDIR/out" DELETE
    kill "$pid"
    [ "$(grep -c '^PUT$' "$BATS_TEST_TMPDIR/out")" = 20 ]
    [ "$(grep -xc /w/a "$BATS_TEST_TMPDIR/out")" = 41 ] # each event's, and what was there before all but the first
    [ "$(grep -xE '[0-9]+' "$BATS_TEST_TMPDIR/out" | xargs)" = "$(for i in $(seq 20); do echo "$i" "$i"; done | xargs)" ]
    [ "$(grep -c elsewhere "$BATS_TEST_TMPDIR/out")" = 0 ]
}

@test "watch: compacted history is told" {
    local revision
    revision=$(json .header.revision put /c/a 1)
    etcdctl put /c/a 2
    etcdctl put /c/a 3
    etcdctl compact "$(json .header.revision get /c/a)"
    run timeout 10 etcdctl watch /c/a --rev "$revision"
    [[ $output == *"required revision has been compacted"* ]]
    run etcdctl get /c/a --rev "$revision"
    [[ $status -ne 0 && $output == *"required revision has been compacted"* ]]
}

@test "watch: objects of the cluster as kubectl changes them" {
    local from
    from=$(json ".header.revision + 1" get /none)
    etcdctl watch /registry/configmaps/default/seen --rev "$from" >"$BATS_TEST_TMPDIR/out" 3>&- &
    local pid=$!
    kubectl create configmap seen -n default --from-literal=word=heron
    holds "$BATS_TEST_TMPDIR/out" heron
    kill "$pid"
}

@test "lease: granted, kept alive, looked at, revoked, ended" {
    local lease
    lease=$(etcdctl lease grant 60 | awk '{print $2}')
    etcdctl put /l/a 1 --lease "$lease"
    [[ $(etcdctl lease timetolive "$lease" --keys) == *"TTL(60s)"*"[/l/a]"* ]]
    etcdctl lease list | grep -q "$lease"
    [[ $(etcdctl lease keep-alive --once "$lease") == *"TTL(60)"* ]]
    etcdctl lease revoke "$lease"
    [ -z "$(etcdctl get /l/a)" ]
    run etcdctl put /l/a 1 --lease "$lease"
    [[ $status -ne 0 && $output == *"requested lease not found"* ]]
    lease=$(etcdctl lease grant 1 | awk '{print $2}')
    etcdctl put /l/b 1 --lease "$lease"
    for _ in $(seq 80); do
        [ -n "$(etcdctl get /l/b)" ] || return 0
        sleep 0.1
    done
    return 1
}

@test "status, health, members; no users" {
    [ "$(json '.[0].Status.version' endpoint status)" = 3.5.21 ]
    etcdctl endpoint health
    [[ $(etcdctl member list) == *"started, skiff, http://$ETCDCTL_ENDPOINTS"* ]]
    run etcdctl user list
    [[ $status -ne 0 && $output == *"authentication is not enabled"* ]]
}

@test "objects are read, but written through kubectl only" {
    [[ $(etcdctl get /registry/namespaces/default --print-value-only) == *'"kind":"Namespace"'* ]]
    for command in "put /registry/x 1" "del /registry/namespaces/default" "del / --prefix" "del /registry --prefix"; do
        # shellcheck disable=SC2086
        run etcdctl $command
        [[ $status -ne 0 && $output == *PermissionDenied*"keys under /registry"* ]]
    done
    run bash -c "printf '\n\nput /registry/x 1\n\n' | etcdctl txn; printf 'mod(\"/x\") = \"0\"\n\nget /x\n\nput /registry/x 1\n\n' | etcdctl txn"
    [[ $output == *"keys under /registry"* ]]
    kubectl get namespace default
}

@test "TLS: an administrator's certificate opens it, no other does" {
    local dir=$BATS_TEST_TMPDIR/tls
    server_up "$dir" --disable controllers,scheduler --serve-etcd "https://127.0.0.1:$TLS_PORT"
    local config=$dir/data/admin.kubeconfig
    for part in certificate-authority client-certificate client-key; do
        sed -n "s/^ *$part-data: *//p" "$config" | base64 -d >"$dir/$part"
    done
    unset ETCDCTL_ENDPOINTS
    local tls=(--endpoints "https://127.0.0.1:$TLS_PORT" --cacert "$dir/certificate-authority")
    run etcdctl "${tls[@]}" --cert "$dir/client-certificate" --key "$dir/client-key" get /registry/namespaces/default
    local with="$status $output"
    run etcdctl "${tls[@]}" --dial-timeout 1s --command-timeout 1s get /registry/namespaces/default
    server_down "$dir"
    [[ $with == "0 "*Namespace* ]]
    [ "$status" -ne 0 ]
}
