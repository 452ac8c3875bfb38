#!/usr/bin/env bats
# What is stored can be trusted: Secrets are sealed on disk, keys rotate, a cluster comes back whole from a snapshot, and
# damaged snapshots are refused. Every test has a control plane of its own.

load ../server

setup() {
    load ../server
    DIR=$BATS_TEST_TMPDIR/s
    DATA=$DIR/data
    KEYS=$DATA/pki/encryption.yaml
    export KUBECONFIG=$DATA/admin.kubeconfig
}

teardown() {
    [ ! -e "$DIR/pid" ] || server_down "$DIR"
}

start() { # [flag …]
    server_up "$DIR" --disable controllers,scheduler "$@"
    SERVER=$(cat "$DIR/url")
}

stop() {
    server_down "$DIR"
    rm "$DIR/pid"
}

make_objects() {
    kubectl create secret generic treasure --from-literal=word=correct-horse-battery
    kubectl create configmap open --from-literal=word=plain-as-day
    kubectl create deployment web --image=nginx
    kubectl create namespace other
    for i in $(seq 20); do
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: other}\ndata: {pad: "%05000d"}\n---\n' "$i" "$i"
    done | kubectl create -f - >/dev/null
}

# All objects but their revisions, and but the address a start writes down.
all_objects() {
    kubectl get secrets,configmaps,deployments,namespaces,services,serviceaccounts,clusterroles -A -o json |
        jq -S '.items | map(select(.kind != "Service") | del(.metadata.resourceVersion))'
}

on_disk() { # TEXT: as it is, or in base64
    grep -rqaF -e "$1" "$DATA/store" || grep -rqaF -e "$(printf %s "$1" | base64)" "$DATA/store"
}

word() { # the Secret's
    kubectl get secret treasure -o jsonpath='{.data.word}' | base64 -d
}

logged() { # TEXT, within ten seconds
    for _ in $(seq 100); do
        grep -qF -- "$1" "$DIR/err" && return
        sleep 0.1
    done
    cat "$DIR/err"
    return 1
}

with_config() { # PROVIDERS…, as YAML list items: writes $DIR/encryption.yaml for Secrets
    mkdir -p "$DIR"
    printf 'kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n' \
        >"$DIR/encryption.yaml"
    printf '  - %s\n' "$@" >>"$DIR/encryption.yaml"
}

new_secret() { head -c 32 /dev/urandom | base64; }

@test "a Secret is nowhere on disk, also after a crash" {
    start
    make_objects
    [ "$(word)" = correct-horse-battery ]
    [ "$(stat -c %a "$KEYS")" = 600 ]
    ! on_disk correct-horse-battery
    on_disk plain-as-day
    kill -9 "$(cat "$DIR/pid")"
    sleep 0.2
    ! on_disk correct-horse-battery
    start
    [ "$(word)" = correct-horse-battery ]
    ! on_disk correct-horse-battery
    stop
    on_disk k8s:enc:aesgcm:v1:key-
}

@test "a new key in front: everything is sealed with it, and the old one may go" {
    start
    make_objects
    stop
    local old fresh
    old=$(sed -n 's/.*name: \(key-.*\)/\1/p' "$KEYS")
    fresh="      - {name: fresh, secret: $(new_secret)}"
    sed -i "s|^      keys:|&\n$fresh|" "$KEYS"
    start
    logged '1 sealed anew'
    [ "$(word)" = correct-horse-battery ]
    stop
    sed -i "/name: $old/,+1d" "$KEYS"
    start
    [ "$(word)" = correct-horse-battery ]
    ! grep -q 'sealed anew' "$DIR/err"
    stop
    on_disk k8s:enc:aesgcm:v1:fresh:
}

@test "a key that is missing is named" {
    start
    make_objects
    stop
    rm "$KEYS"
    ! server_up "$DIR" --disable controllers,scheduler
    rm "$DIR/pid"
    grep -qE 'key "?/registry/secrets/default/treasure.*sealed with key aesgcm:key-[0-9a-f]+, which is not in ' "$DIR/err"
}

@test "upstream's configuration: from plain through every provider and back" {
    local k1 k2 k3
    k1=$(new_secret) k2=$(new_secret) k3=$(new_secret)
    local gcm="aesgcm: {keys: [{name: one, secret: $k1}]}" cbc="aescbc: {keys: [{name: two, secret: $k2}]}"
    local box="secretbox: {keys: [{name: three, secret: $k3}]}"
    with_config 'identity: {}'
    start --encryption-provider-config "$DIR/encryption.yaml"
    make_objects
    stop
    on_disk correct-horse-battery
    for now in aescbc:v1:two secretbox:v1:three aesgcm:v1:one plain; do
        case $now in
        aescbc*) with_config "$cbc" 'identity: {}' ;;
        secretbox*) with_config "$box" "$cbc" ;;
        aesgcm*) with_config "$gcm" "$box" ;;
        plain) with_config 'identity: {}' "$gcm" ;;
        esac
        start --encryption-provider-config "$DIR/encryption.yaml"
        logged '1 sealed anew'
        [ "$(word)" = correct-horse-battery ]
        stop
        [ $now = plain ] || on_disk "k8s:enc:$now:"
    done
}

@test "the data directory is destroyed: everything is there again from a snapshot" {
    start
    make_objects
    local before revision
    before=$(all_objects)
    revision=$(kubectl get configmap open -o jsonpath='{.metadata.resourceVersion}')
    "$SKIFF" snapshot save "$DIR/one" --kubeconfig "$KUBECONFIG"
    ! grep -qaF -e correct-horse-battery -e "$(printf correct-horse-battery | base64)" "$DIR/one"
    grep -qaF plain-as-day "$DIR/one"
    kubectl create configmap later --from-literal=a=b
    cp -r "$DATA/pki" "$DIR/pki"
    kill -9 "$(cat "$DIR/pid")"
    rm -r "$DATA"

    run "$SKIFF" snapshot restore "$DIR/one" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -qE 'sealed with key aesgcm:key-[0-9a-f]+, which is not in' <<<"$output"
    "$SKIFF" snapshot restore "$DIR/one" --data-dir "$DIR/elsewhere" --encryption-provider-config "$DIR/pki/encryption.yaml"
    "$SKIFF" snapshot restore "$DIR/one" --data-dir "$DIR/rest" --without-sealed | grep -q '1 sealed values are left out'
    cp -r "$DIR/pki" "$DATA/"
    "$SKIFF" snapshot restore "$DIR/one" --data-dir "$DATA"
    run "$SKIFF" snapshot restore "$DIR/one" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -q 'already holds a store, which is never overwritten' <<<"$output"

    start
    diff <(echo "$before") <(all_objects)
    [ "$(word)" = correct-horse-battery ]
    ! on_disk correct-horse-battery
    ! kubectl get configmap later
    ask GET "/api/v1/configmaps?watch=1&resourceVersion=$revision&timeoutSeconds=5"
    [ "$(jq -r '.type + " " + .object.reason + " " + (.object.code | tostring)' <<<"$BODY")" = "ERROR Expired 410" ]
    [ "$(kubectl get configmap open -o jsonpath='{.metadata.resourceVersion}')" -gt $((revision + 1000)) ]
    kubectl create configmap after --from-literal=a=b
}

@test "a snapshot of a stopped server, and what is said of it" {
    start
    make_objects
    local n
    n=$(kubectl get configmaps -A --no-headers | wc -l)
    run "$SKIFF" snapshot save "$DIR/one" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -q 'in use by a running server: ask that one, with --kubeconfig' <<<"$output"
    stop
    "$SKIFF" snapshot save "$DIR/one" --data-dir "$DATA"
    "$SKIFF" snapshot status "$DIR/one" --output json >"$DIR/status"
    [ "$(jq -c '[.counts.secrets, .counts.configmaps, .counts["deployments.apps"]]' "$DIR/status")" = "[1,$n,1]" ]
    [ "$(jq '.sealed | length' "$DIR/status")" = 1 ]
    [ "$(jq .size "$DIR/status")" = "$(stat -c %s "$DIR/one")" ]
    [ "$(stat -c %a "$DIR/one")" = 600 ]
    "$SKIFF" snapshot status "$DIR/one" | grep -qE "^configmaps +$n "
}

@test "truncated and altered snapshots are refused with the place named" {
    start
    make_objects
    "$SKIFF" snapshot save "$DIR/one" --kubeconfig "$KUBECONFIG"
    local size
    size=$(stat -c %s "$DIR/one")
    for cut in 5 100 $((size / 2)) $((size - 1)); do
        head -c "$cut" "$DIR/one" >"$DIR/bad"
        run "$SKIFF" snapshot status "$DIR/bad"
        [ "$status" -eq 1 ]
        grep -qE 'byte [0-9]+: ' <<<"$output"
        run "$SKIFF" snapshot restore "$DIR/bad" --data-dir "$DIR/new"
        [ "$status" -eq 1 ]
        [ ! -e "$DIR/new/store" ]
    done
    cp "$DIR/one" "$DIR/bad"
    printf '\xff' | dd of="$DIR/bad" bs=1 seek=$((size / 2)) conv=notrunc status=none
    run "$SKIFF" snapshot status "$DIR/bad"
    [ "$status" -eq 1 ]
    grep -qE 'chunk [0-9]+ at byte [0-9]+: its checksum does not match' <<<"$output"
    cat "$DIR/one" "$DIR/one" >"$DIR/bad"
    run "$SKIFF" snapshot status "$DIR/bad"
    grep -q 'has ended, yet more follows' <<<"$output"
    run "$SKIFF" snapshot status "$DIR/tokens"
    grep -q 'this is no snapshot' <<<"$output"
}

@test "a snapshot takes an administrator's right" {
    start
    TOKEN=limited-token ask GET /skiff/snapshot
    [ "$CODE" = 403 ]
    [ "$(jq -r .message <<<"$BODY")" = 'forbidden: User "mia" cannot get path "/skiff/snapshot"' ]
    [ "$(curl -sk -o "$DIR/one" -w '%{http_code}' -H 'Authorization: Bearer admin-token' "$SERVER/skiff/snapshot")" = 200 ]
    "$SKIFF" snapshot status "$DIR/one"
}

@test "identities go along when they are asked for, by an administrator; the cluster is whole from that file" {
    start
    make_objects
    local file=$BATS_TEST_TMPDIR/whole.snapshot before token
    kubectl create clusterrole saver --verb=get --non-resource-url=/skiff/snapshot
    kubectl create clusterrolebinding saver --clusterrole=saver --group=team
    TOKEN=limited-token ask GET /skiff/snapshot "" -o /dev/null
    [ "$CODE" = 200 ]
    TOKEN=limited-token ask GET "/skiff/snapshot?identities=true"
    [[ $CODE == 403 && $BODY == *system:masters* ]]
    kubectl create serviceaccount pod
    token=$(kubectl create token pod --duration=1h)
    "$SKIFF" snapshot save "$file" --with-identities
    [ "$(stat -c %a "$file")" = 600 ]
    before=$(all_objects)
    cp "$KUBECONFIG" "$BATS_TEST_TMPDIR/kubeconfig"
    local port=${SERVER##*:}
    stop
    "$SKIFF" snapshot save "$file.offline" --with-identities --data-dir "$DATA"
    rm -rf "$DATA"
    "$SKIFF" snapshot restore "$file" --data-dir "$DATA"
    [ "$(stat -c '%a' "$DATA/pki")/$(stat -c '%a' "$DATA/pki/sa.key")" = 700/600 ]
    start --listen "127.0.0.1:$port"
    [ "$(all_objects)" = "$before" ]
    [ "$(word)" = correct-horse-battery ]
    # who was known before is known again: the administrator's former kubeconfig, a token of a pod
    kubectl --kubeconfig "$BATS_TEST_TMPDIR/kubeconfig" get namespace other
    TOKEN=$token ask GET /api
    [ "$CODE" = 200 ]
    stop
    mkdir -p "$BATS_TEST_TMPDIR/other/pki"
    echo another >"$BATS_TEST_TMPDIR/other/pki/ca.key"
    run "$SKIFF" snapshot restore "$file.offline" --data-dir "$BATS_TEST_TMPDIR/other"
    [[ $status -eq 1 && $output == *"ca.key is there already and another"* ]]
    [ "$(ls "$BATS_TEST_TMPDIR/other/pki")" = ca.key ]
}

@test "a slow download is of one revision, however much is written and forgotten meanwhile" {
    start --etcd-compaction-interval 1s
    make_objects
    for i in $(seq 30); do
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big%d, namespace: other}\ndata: {pad: "%050000d", word: before}\n---\n' "$i" "$i"
    done | kubectl create -f - >/dev/null
    local file=$BATS_TEST_TMPDIR/slow.snapshot revision
    ask GET /api/v1/namespaces/other/configmaps/big30
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    curl -sk --limit-rate 150k -H "Authorization: Bearer admin-token" -o "$file" "$SERVER/skiff/snapshot" 3>&- &
    local download=$!
    sleep 0.5
    ask DELETE /api/v1/namespaces/other/configmaps
    [ "$CODE" = 200 ]
    for _ in $(seq 80); do # until that revision is forgotten
        ask GET "/api/v1/namespaces/other/configmaps?resourceVersion=$revision&resourceVersionMatch=Exact&limit=1"
        [ "$CODE" = 410 ] && break
        ask POST /api/v1/namespaces/other/configmaps '{"metadata":{"generateName":"after-"},"data":{"word":"after"}}'
        sleep 0.1
    done
    [ "$CODE" = 410 ]
    kill -0 "$download" # it was slower than all that
    wait "$download"
    "$SKIFF" snapshot status "$file"
    [ "$(grep -ca 'word":"before' "$file")" -ge 1 ]
    [ "$(grep -aoc 'word":"after' "$file")" = 0 ]
    [ "$(grep -ao 'word":"before' "$file" | wc -l)" = 30 ]
}

@test "a server takes snapshots by itself and keeps the newest" {
    start --snapshot-every 300ms --snapshot-keep 2 --snapshot-dir "$DIR/kept"
    for i in $(seq 6); do
        kubectl create configmap "c$i" --from-literal=a=b
        sleep 0.3
    done
    stop
    [ "$(ls "$DIR/kept" | wc -l)" = 2 ]
    for file in "$DIR"/kept/skiff-*Z-*.snapshot; do
        "$SKIFF" snapshot status "$file"
    done
}

@test "a stock cluster is taken over from an etcd snapshot" {
    command -v etcd etcdctl || skip "etcd is not installed"
    local port=$((30000 + RANDOM % 2000 * 2)) pid ns='"namespace":"shop","creationTimestamp":"2025-01-01T00:00:00Z"'
    export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://127.0.0.1:$port
    mkdir -p "$DIR"
    etcd --data-dir "$DIR/etcd" --listen-client-urls "$ETCDCTL_ENDPOINTS" --advertise-client-urls "$ETCDCTL_ENDPOINTS" \
        --listen-peer-urls http://127.0.0.1:$((port + 1)) >"$DIR/etcd.log" 2>&1 3>&- &
    pid=$!
    for _ in $(seq 100); do
        etcdctl endpoint health >/dev/null 2>&1 && break
        sleep 0.1
    done
    etcdctl put /registry/namespaces/shop \
        '{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop","uid":"u0","creationTimestamp":"2025-01-01T00:00:00Z"},"status":{"phase":"Active"}}'
    for i in $(seq 30); do
        etcdctl put "/registry/configmaps/shop/c$i" \
            "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c$i\",$ns,\"uid\":\"u$i\"},\"data\":{\"pad\":\"$(printf %0500d "$i")\"}}"
    done >/dev/null
    etcdctl del /registry/configmaps/shop/c7
    etcdctl put compact_rev_key 5
    etcdctl put /registry/services/specs/shop/web \
        "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",$ns,\"uid\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.1.1\",\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"targetPort\":80,\"nodePort\":30123}]}}"
    # a ConfigMap as Go encodes it
    printf 'k8s\0\n\017\n\002v1\022\tConfigMap\022)\n\020\n\005proto\032\004shop*\001u\022\025\n\006medium\022\013in protobuf' |
        etcdctl put /registry/configmaps/shop/proto
    etcdctl snapshot save "$DIR/etcd.snapshot"
    kill $pid

    head -c 20000 "$DIR/etcd.snapshot" >"$DIR/bad"
    run "$SKIFF" snapshot restore "$DIR/bad" --from-etcd --data-dir "$DATA"
    [ "$status" -eq 1 ]
    "$SKIFF" snapshot restore "$DIR/etcd.snapshot" --from-etcd --data-dir "$DATA"
    start
    [ "$(kubectl -n shop get configmaps --no-headers | wc -l)" = 30 ]
    [ "$(kubectl -n shop get configmap proto -o jsonpath='{.data.medium}')" = 'in protobuf' ]
    [ "$(kubectl -n shop get configmap c9 -o jsonpath='{.data.pad}')" = "$(printf %0500d 9)" ]
    ! kubectl -n shop get configmap c7
    run kubectl -n shop create service nodeport thief --tcp=80 --node-port=30123
    grep -q 'provided port is already allocated' <<<"$output"
    kubectl -n shop create configmap after --from-literal=a=b
}

@test "wrong use is refused with what would be right" {
    run "$SKIFF" snapshot
    [ "$status" -eq 2 ]
    run "$SKIFF" snapshot store x
    [ "$status" -eq 2 ]
    grep -q 'store is not known: use save, restore, status or export' <<<"$output"
    run "$SKIFF" snapshot save
    [ "$status" -eq 2 ]
    run "$SKIFF" snapshot restore x
    [ "$status" -eq 2 ]
    grep -q -- '--data-dir' <<<"$output"
    run "$SKIFF" snapshot status /nowhere
    [ "$status" -eq 1 ]
    with_config 'kms: {name: x}'
    ! server_up "$DIR" --encryption-provider-config "$DIR/encryption.yaml"
    rm -f "$DIR/pid"
    grep -q 'KMS v1 is deprecated and not supported: use a plugin of KMS v2 and say apiVersion: v2' "$DIR/err"
}
