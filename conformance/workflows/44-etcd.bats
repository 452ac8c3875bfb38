#!/usr/bin/env bats
# Servers on an etcd cluster: what one has acknowledged every other shows at once, values of a stock API server are
# read, and the whole goes into a snapshot and back into an empty etcd. Against each etcd that is there.

load ../server

setup_file() {
    export ETCDS="" bin
    for bin in "$(dirname "$(command -v etcd || echo /nowhere/etcd)")" ${SKIFF_ETCD_DIRS:-/opt/skiff/etcd-3.5/usr/bin}; do
        [ ! -x "$bin/etcd" ] || ETCDS="${ETCDS:+$ETCDS }$bin"
    done
    [ -n "$ETCDS" ] || skip "etcd is not installed"
}

setup() {
    load ../server
    [ -n "$ETCDS" ] || skip "etcd is not installed"
    A=$BATS_TEST_TMPDIR/a B=$BATS_TEST_TMPDIR/b
    export KUBECONFIG=$A/data/admin.kubeconfig ETCDCTL_API=3
}

teardown() {
    for d in "$A" "$B"; do
        [ ! -e "$d/pid" ] || kill "$(cat "$d/pid")" 2>/dev/null || true
    done
    [ ! -e "$BATS_TEST_TMPDIR/etcd-pid" ] || kill -9 "$(cat "$BATS_TEST_TMPDIR/etcd-pid")"
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 30000)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo $port; return; }
    done
}

etcd_up() { # BIN: an empty one; ETCD is its address
    BIN=$1
    local dir=$BATS_TEST_TMPDIR/etcd-data port peer
    [ ! -e "$BATS_TEST_TMPDIR/etcd-pid" ] || kill -9 "$(cat "$BATS_TEST_TMPDIR/etcd-pid")"
    rm -rf "$dir"
    port=$(free_port) peer=$(free_port)
    ETCD=http://127.0.0.1:$port
    "$BIN/etcd" --data-dir "$dir" --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" --max-request-bytes 4194304 >"$dir.log" 2>&1 3>&- &
    echo $! >"$BATS_TEST_TMPDIR/etcd-pid"
    disown
    for _ in $(seq 100); do
        ! ctl endpoint health >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    cat "$dir.log"
    return 1
}

ctl() {
    "$BIN/etcdctl" --endpoints "${ETCD#http://}" "$@"
}

up() { # DIR [flag …]: a server over that etcd, with the identities of the first
    if [ "$1" != "$A" ]; then
        mkdir -p "$1/data"
        cp -a "$A/data/pki" "$1/data/"
    fi
    server_up "$1" --disable controllers,scheduler --store "etcd=$ETCD" "${@:2}"
}

down() { # DIR
    server_down "$1"
    rm "$1/pid"
}

on() { SERVER=$(cat "$1/url"); }

two_servers() { up "$A" && up "$B"; }

each_etcd() { # FUNCTION
    local bin
    for bin in $ETCDS; do
        echo "# with $("$bin/etcd" --version | head -n 1)"
        etcd_up "$bin"
        "$@"
        for d in "$A" "$B"; do [ ! -e "$d/pid" ] || down "$d"; done
        rm -rf "$A" "$B"
    done
}

consistent() {
    local i revision token
    two_servers
    for i in $(seq 25); do
        on "$A"
        ask POST /api/v1/namespaces/default/configmaps "{\"metadata\":{\"name\":\"m$i\"},\"data\":{\"k\":\"1\"}}"
        [ "$CODE" = 201 ]
        on "$B"
        answers 200 .data.k 1 GET "/api/v1/namespaces/default/configmaps/m$i"
        TYPE=application/merge-patch+json ask PATCH "/api/v1/namespaces/default/configmaps/m$i" '{"data":{"k":"2"}}'
        [ "$CODE" = 200 ]
        on "$A"
        answers 200 ".items[] | select(.metadata.name == \"m$i\").data.k" 2 GET /api/v1/namespaces/default/configmaps
        # what was just made elsewhere is known to be there, and to be gone
        on "$B"
        ask POST /api/v1/namespaces/default/configmaps "{\"metadata\":{\"name\":\"m$i\"}}"
        [ "$CODE" = 409 ]
    done
    # a page of one server goes on at the other
    on "$A"
    ask GET '/api/v1/namespaces/default/configmaps?limit=10'
    token=$(jq -r .metadata.continue <<<"$BODY")
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    ask DELETE /api/v1/namespaces/default/configmaps/m25
    on "$B"
    TYPE=application/merge-patch+json answers 404 .reason NotFound PATCH /api/v1/namespaces/default/configmaps/m25 '{}'
    answers 200 '[.metadata.resourceVersion, (.items | length)]' "[\"$revision\",15]" \
        GET "/api/v1/namespaces/default/configmaps?limit=500&continue=$token"
    # an exact revision, however fresh, and any
    on "$A"
    ask POST /api/v1/namespaces/default/configmaps '{"metadata":{"name":"last"}}'
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    on "$B"
    answers 200 .metadata.resourceVersion "$revision" \
        GET "/api/v1/namespaces/default/configmaps?resourceVersion=$revision&resourceVersionMatch=Exact"
    answers 200 '[.items[] | select(.metadata.name == "last")] | length' 1 \
        GET "/api/v1/namespaces/default/configmaps?resourceVersion=$revision&resourceVersionMatch=NotOlderThan"
    answers 200 .kind ConfigMapList GET '/api/v1/namespaces/default/configmaps?resourceVersion=0'
    # both give out node ports and addresses from the same room
    for i in $(seq 10); do
        on "$A"
        ask POST /api/v1/namespaces/default/services "{\"metadata\":{\"name\":\"a$i\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}"
        [ "$CODE" = 201 ]
        port=$(jq .spec.ports[0].nodePort <<<"$BODY")
        on "$B"
        ask POST /api/v1/namespaces/default/services "{\"metadata\":{\"name\":\"b$i\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":$port}]}}"
        [ "$CODE" = 422 ] && [[ $BODY == *"provided port is already allocated"* ]]
    done
}

@test "what one server acknowledged the other shows" {
    each_etcd consistent
}

stock_values() {
    # {typeMeta: {apiVersion: v1, kind: ConfigMap}, raw: {metadata: {name: p, namespace: default, uid: u-1}, data: {word: proto}}}
    up "$A"
    printf 'k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12"\n\x11\n\x01p\x1a\x07default*\x03u-1\x12\r\n\x04word\x12\x05proto\x1a\x00"\x00' >"$BATS_TEST_TMPDIR/value"
    ctl put /registry/configmaps/default/p <"$BATS_TEST_TMPDIR/value"
    run kubectl get configmap p -o jsonpath='{.data.word}'
    echo "$output"
    [ "$output" = proto ]
    down "$A"
    up "$A" # from the start, too
    [ "$(kubectl get configmap p -o jsonpath='{.data.word} {.metadata.uid}')" = "proto u-1" ]
    kubectl label configmap p seen=yes
    [[ $(ctl get --print-value-only /registry/configmaps/default/p) == '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"p",'* ]]
    # a version of the kind that is not the one stored here
    ctl put /registry/horizontalpodautoscalers/default/h '{"kind":"HorizontalPodAutoscaler","apiVersion":"autoscaling/v1","metadata":{"name":"h","namespace":"default","uid":"u-2"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"maxReplicas":3,"targetCPUUtilizationPercentage":70}}'
    [ "$(kubectl get hpa h -o jsonpath='{.spec.maxReplicas} {.spec.metrics[0].resource.target.averageUtilization}')" = "3 70" ]
}

@test "values as a stock API server stores them are read" {
    each_etcd stock_values
}

sealed_values() {
    local config=$BATS_TEST_TMPDIR/encryption.yaml key=0123456789abcdef0123456789abcdef hex
    cat >"$config" <<CONFIG
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc: {keys: [{name: one, secret: $(printf %s $key | base64)}]}
  - identity: {}
CONFIG
    up "$A" --encryption-provider-config "$config"
    # as a stock API server with that configuration leaves it: protobuf within the seal
    hex=$(printf %s $key | od -v -An -tx1 | tr -d ' \n')
    printf 'k8s\x00\n\x0c\n\x02v1\x12\x06Secret\x12*\n\x11\n\x01p\x1a\x07default*\x03u-1\x12\r\n\x04word\x12\x05proto\x1a\x06Opaque\x1a\x00"\x00' >"$BATS_TEST_TMPDIR/plain"
    {
        printf 'k8s:enc:aescbc:v1:one:ABCDEFGHIJKLMNOP'
        openssl enc -aes-256-cbc -K "$hex" -iv "$(printf ABCDEFGHIJKLMNOP | od -v -An -tx1 | tr -d ' \n')" -in "$BATS_TEST_TMPDIR/plain"
    } | ctl put /registry/secrets/default/p
    [ "$(kubectl get secret p -o jsonpath='{.data.word}' | base64 -d)" = proto ]
    kubectl label secret p seen=yes
    [[ $(ctl get --print-value-only /registry/secrets/default/p | head -c 22) == k8s:enc:aescbc:v1:one: ]]
    down "$A"
    up "$A" --encryption-provider-config "$config"
    [ "$(kubectl get secret p -o jsonpath='{.data.word}' | base64 -d)" = proto ]
}

@test "values sealed by a stock API server's configuration are read and kept so" {
    each_etcd sealed_values
}

@test "a snapshot of servers on etcd, restored into an empty etcd" {
    local file=$BATS_TEST_TMPDIR/file before revision
    etcd_up ${ETCDS%% *}
    two_servers
    kubectl create secret generic treasure --from-literal=word=correct-horse-battery
    for i in $(seq 30); do
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata: {pad: "%020000d"}\n---\n' "$i" "$i"
    done | kubectl create -f - >/dev/null
    before=$(kubectl get secrets,configmaps,services -A -o json | jq -S '.items | map(del(.metadata.resourceVersion))')
    revision=$(kubectl get --raw /api/v1/configmaps | jq -r .metadata.resourceVersion)
    KUBECONFIG=$B/data/admin.kubeconfig "$SKIFF" snapshot save "$file"
    "$SKIFF" snapshot status "$file"
    down "$A"
    down "$B"
    run "$SKIFF" snapshot restore "$file" --store "etcd=$ETCD" --data-dir "$A/data"
    [ "$status" = 1 ] && [[ $output == *"is not empty"* ]]
    etcd_up ${ETCDS##* }
    run "$SKIFF" snapshot restore "$file" --store "etcd=$ETCD"
    [ "$status" = 1 ] && [[ $output == *"are sealed with key"* ]]
    "$SKIFF" snapshot restore "$file" --store "etcd=$ETCD" --data-dir "$A/data" --revision-bump 5000
    [ -z "$(ctl get /skiff/restoring)" ]
    # one that was interrupted: no server starts on it, and it is begun again
    ctl put /skiff/restoring 1
    run "$SKIFF" server --data-dir "$BATS_TEST_TMPDIR/c" --listen 127.0.0.1:0 --store "etcd=$ETCD"
    [ "$status" = 1 ] && [[ $output == *"has not come to its end"* ]]
    "$SKIFF" snapshot restore "$file" --store "etcd=$ETCD" --data-dir "$A/data" --revision-bump 5000
    ! grep -qaF correct-horse-battery "$BATS_TEST_TMPDIR"/etcd-data/member/snap/db || return 1
    two_servers
    diff <(echo "$before") <(kubectl get secrets,configmaps,services -A -o json | jq -S '.items | map(del(.metadata.resourceVersion))')
    [ "$(kubectl get configmap c1 -o jsonpath='{.metadata.resourceVersion}')" -gt $((revision + 5000)) ]
    # whoever knows the former cluster's revisions lists anew
    on "$B"
    refused 410 Expired "The resourceVersion for the provided list is too old." "" \
        GET "/api/v1/configmaps?resourceVersion=$revision&resourceVersionMatch=Exact"
    ask GET "/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion=$revision"
    [ "$(jq -r .object.code <<<"$BODY")" = 410 ]
    # and what is made now is seen by both
    kubectl create configmap after
    KUBECONFIG=$B/data/admin.kubeconfig kubectl get configmap after
}
