#!/usr/bin/env bats
# etcd's API over Skiff's store, driven by a stock etcdctl: keys, transactions, watches, leases, maintenance, snapshots that
# a stock etcd starts on; and what is refused. One control plane serves the tests; the last ones have an etcd of Skiff's
# alone (--disable api), and a Skiff on it.

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

@test "maintenance: hashes, alarms, defragmentation; what one member without users cannot do is said in etcd's words" {
    [ -z "$(etcdctl alarm list)" ]
    etcdctl defrag
    local revision hash
    revision=$(json .header.revision put /h/a 1)
    hash=$(json ".[0].HashKV.hash" endpoint hashkv --rev "$revision")
    etcdctl put /h/a 2
    [ "$(json ".[0].HashKV.hash" endpoint hashkv --rev "$revision")" = "$hash" ]
    [ "$(json ".[0].HashKV.hash" endpoint hashkv)" != "$hash" ]
    run etcdctl move-leader 1
    [[ $status -ne 0 && $output == *"bad leader transferee"* ]]
    run etcdctl auth enable
    [[ $status -ne 0 && $output == *"root user does not exist"* ]]
    run etcdctl member add other --peer-urls http://127.0.0.1:1
    [[ $status -ne 0 && $output == *"takes no others"* ]]
}

# Starts a stock etcd on what was restored into DIR; $STOCK_PID, and etcdctl answers at $STOCK.
stock_up() { # DIR
    STOCK=127.0.0.1:$((30000 + RANDOM % 2000))
    local peers=http://127.0.0.1:$((32100 + RANDOM % 600))
    etcd --data-dir "$1" --listen-client-urls "http://$STOCK" --advertise-client-urls "http://$STOCK" \
        --listen-peer-urls "$peers" >"$1.log" 2>&1 3>&- &
    STOCK_PID=$!
    for _ in $(seq 100); do
        ETCDCTL_ENDPOINTS=$STOCK etcdctl get / >"$1.probe" 2>&1 && return
        sleep 0.1
    done
    cat "$1.log"
    return 1
}

@test "snapshot save: a stock etcd starts on it, with the history and the leases; Secrets stay sealed" {
    command -v etcd >/dev/null || skip "etcd is not installed"
    local file=$BATS_TEST_TMPDIR/snap.db old
    kubectl create secret generic hidden -n default --from-literal=word=xylophone-in-the-attic
    old=$(json .header.revision put /s/a 1)
    etcdctl put /s/a 2
    etcdctl put /s/gone 1
    etcdctl del /s/gone
    etcdctl put /s/l 1 --lease "$(etcdctl lease grant 900 | awk '{print $2}')"
    etcdctl snapshot save "$file"
    [ "$(json .revision snapshot status "$file")" = "$(json .header.revision get /none)" ]
    ! grep -qaE "xylophone|$(printf xylophone-in-the-attic | base64)" "$file"
    grep -qa k8s:enc:aesgcm "$file"
    [[ $(etcdctl get /registry/secrets/default/hidden --print-value-only | head -c 14) == k8s:enc:aesgcm ]]
    etcdctl snapshot restore "$file" --data-dir "$BATS_TEST_TMPDIR/stock"
    stock_up "$BATS_TEST_TMPDIR/stock"
    local here there
    for question in "get / --prefix --keys-only" "get /s/ --prefix -w fields" "get /s/a --rev $old" "lease list"; do
        # shellcheck disable=SC2086
        here=$(etcdctl $question | grep -vE 'ClusterID|MemberID|RaftTerm')
        # shellcheck disable=SC2086
        there=$(ETCDCTL_ENDPOINTS=$STOCK etcdctl $question | grep -vE 'ClusterID|MemberID|RaftTerm')
        [ "$here" = "$there" ] || { diff <(echo "$here") <(echo "$there"); kill "$STOCK_PID"; return 1; }
    done
    kill "$STOCK_PID"
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

# Skiff as an etcd: no Kubernetes API, every key may be written.
etcd_up() { # NAME: at $ETCD_PORT
    server_up "$BATS_TEST_TMPDIR/$1" --disable api --serve-etcd "127.0.0.1:$ETCD_PORT"
}

@test "--disable api: an etcd, and nothing else; its snapshot hashes as it does in a stock etcd" {
    command -v etcd >/dev/null || skip "etcd is not installed"
    ETCD_PORT=$((20000 + RANDOM % 10000))
    etcd_up alone
    local url
    url=$(cat "$BATS_TEST_TMPDIR/alone/url")
    [[ $(cat "$BATS_TEST_TMPDIR/alone/out") == *"is ready at"*"no Kubernetes API, etcd's at port $ETCD_PORT"* ]]
    [ "$(wc -l <"$BATS_TEST_TMPDIR/alone/out")" = 1 ]
    for path in livez readyz healthz version; do
        [ "$(curl -sk -o /dev/null -w '%{http_code}' "$url/$path")" = 200 ]
    done
    [ "$(curl -sk -o /dev/null -w '%{http_code}' "$url/metrics")" = 403 ]
    [ "$(curl -sk -o /dev/null -w '%{http_code}' "$url/api/v1/pods")" = 404 ]
    export ETCDCTL_ENDPOINTS=127.0.0.1:$ETCD_PORT
    for i in $(seq 40); do etcdctl put "/registry/pods/default/p$((i % 7))" "$i"; done >/dev/null
    etcdctl del /registry/pods/default/p3
    etcdctl put /registry/secrets/default/s seen-as-it-was-written
    [ "$(etcdctl get /registry/secrets/default/s --print-value-only)" = seen-as-it-was-written ]
    # as kube-apiserver compacts
    printf 'version("compact_rev_key") = "0"\n\nput compact_rev_key 20\n\nget compact_rev_key\n\n' | etcdctl txn
    etcdctl compact 20
    etcdctl snapshot save "$BATS_TEST_TMPDIR/snap.db"
    local revision
    revision=$(json .header.revision get /none)
    etcdctl snapshot restore "$BATS_TEST_TMPDIR/snap.db" --data-dir "$BATS_TEST_TMPDIR/stock"
    stock_up "$BATS_TEST_TMPDIR/stock"
    local here there
    here=$(etcdctl endpoint hashkv --rev "$revision" | sed 's/.*, //')
    there=$(ETCDCTL_ENDPOINTS=$STOCK etcdctl endpoint hashkv --rev "$revision" | sed 's/.*, //')
    kill "$STOCK_PID"
    [ -n "$here" ] && [ "$here" = "$there" ]
    run "$SKIFF" server --data-dir "$BATS_TEST_TMPDIR/x" --disable api
    [[ $status -eq 2 && $output == *--serve-etcd* ]]
    server_down "$BATS_TEST_TMPDIR/alone"
}

@test "a Skiff on Skiff's etcd: objects, controllers, watches; the etcd is killed and comes back" {
    ETCD_PORT=$((20000 + RANDOM % 10000))
    local front=$BATS_TEST_TMPDIR/front
    etcd_up below
    server_up "$front" --store "etcd=http://127.0.0.1:$ETCD_PORT"
    export KUBECONFIG=$front/data/admin.kubeconfig
    kubectl create deployment web --image=nginx --replicas=3
    kubectl create secret generic treasure --from-literal=word=zebra
    for _ in $(seq 100); do
        [ "$(kubectl get pods -o name | wc -l)" = 3 ] && break
        sleep 0.1
    done
    [ "$(kubectl get pods -o name | wc -l)" = 3 ]
    for i in $(seq 30); do
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata: {n: "%d"}\n---\n' "$i" "$i"
    done | kubectl create -f - >/dev/null
    [ "$(kubectl get configmaps --chunk-size 7 -o name | wc -l)" = 31 ]
    kubectl get configmaps -o name --watch >"$BATS_TEST_TMPDIR/seen" 3>&- &
    local watcher=$!
    holds "$BATS_TEST_TMPDIR/seen" configmap/c30

    kill -9 "$(cat "$BATS_TEST_TMPDIR/below/pid")"
    sleep 0.5
    [ "$(kubectl get --raw /livez)" = ok ] || true
    etcd_up below
    for _ in $(seq 100); do
        kubectl create configmap after --from-literal=a=b 2>/dev/null && break
        sleep 0.2
    done
    holds "$BATS_TEST_TMPDIR/seen" configmap/after
    [ "$(sort "$BATS_TEST_TMPDIR/seen" | uniq -d)" = "" ]
    kill "$watcher"
    [ "$(kubectl get secret treasure -o jsonpath='{.data.word}' | base64 -d)" = zebra ]
    kubectl scale deployment web --replicas=5
    for _ in $(seq 150); do
        [ "$(kubectl get pods -o name | wc -l)" = 5 ] && break
        sleep 0.1
    done
    [ "$(kubectl get pods -o name | wc -l)" = 5 ]
    # the other way round: what lies there is as a stock API server would have it
    export ETCDCTL_ENDPOINTS=127.0.0.1:$ETCD_PORT
    [[ $(etcdctl get /registry/secrets/default/treasure --print-value-only | head -c 14) == k8s:enc:aesgcm ]]
    server_down "$front"
    server_down "$BATS_TEST_TMPDIR/below"
}
