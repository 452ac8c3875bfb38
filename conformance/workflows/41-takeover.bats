#!/usr/bin/env bats
# Clusters change hands: what `etcdctl snapshot save` wrote becomes a data directory with the same objects, and goes back
# into an etcd. Needs Debian's etcd-server and etcd-client.

load ../server

setup() {
    load ../server
    DIR=$BATS_TEST_TMPDIR/s
    DATA=$DIR/data
    export KUBECONFIG=$DATA/admin.kubeconfig ETCDCTL_API=3
    mkdir -p "$DIR"
    command -v etcd etcdctl >/dev/null || skip "etcd is not installed"
}

teardown() {
    [ ! -e "$DIR/pid" ] || server_down "$DIR"
    for pid in "$DIR"/etcd-*/pid; do
        [ ! -e "$pid" ] || kill "$(cat "$pid")" || true
    done
}

etcd_up() { # NAME: on free ports of the loopback; its address is in ETCD and DIR/etcd-NAME/url
    local dir=$DIR/etcd-$1 port
    mkdir -p "$dir"
    for _ in 1 2 3; do
        port=$((20000 + RANDOM % 20000))
        etcd --data-dir "$dir/data" --listen-client-urls "http://127.0.0.1:$port" \
            --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$((port + 1))" \
            --initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" \
            --initial-cluster "default=http://127.0.0.1:$((port + 1))" >"$dir/log" 2>&1 3>&- &
        echo $! >"$dir/pid"
        ETCD=http://127.0.0.1:$port
        for _ in $(seq 100); do
            etcdctl --endpoints "$ETCD" get / >/dev/null 2>&1 && return
            kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
            sleep 0.1
        done
    done
    cat "$dir/log"
    return 1
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
    kubectl create service nodeport door --tcp=80:8080 --node-port=30123
    kubectl create job once --image=busybox -- true
    kubectl create namespace other
    kubectl create configmap gone --from-literal=a=b
    kubectl delete configmap gone
    kubectl label configmap open changed=yes
}

# All objects but their revisions, and but what a start writes down. A Job's labels come from its template whenever its
# stored form is read, as upstream does it.
all_objects() {
    kubectl get secrets,configmaps,deployments,jobs,namespaces,services,serviceaccounts,clusterroles,ipaddresses -A -o json |
        jq -S '.items | map(select(.metadata.name != "kubernetes") | del(.metadata.resourceVersion) | if .kind == "Job" then del(.metadata.labels) else . end)'
}

same_objects() { # BEFORE
    diff <(echo "$1") <(all_objects)
    [ "$(kubectl get secret treasure -o jsonpath='{.data.word}' | base64 -d)" = correct-horse-battery ]
    ! kubectl get configmap gone
    run kubectl create service nodeport second --tcp=80:80 --node-port=30123
    [ "$status" -ne 0 ]
    grep -q 'provided port is already allocated' <<<"$output"
}

@test "a cluster's etcd snapshot becomes a data directory, and that goes into a fresh etcd" {
    etcd_up one
    printf 'kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n  - aesgcm: {keys: [{name: one, secret: %s}]}\n  - identity: {}\n' \
        "$(head -c 32 /dev/urandom | base64)" >"$DIR/encryption.yaml"
    start --store "etcd=$ETCD" --encryption-provider-config "$DIR/encryption.yaml"
    make_objects
    local before
    before=$(all_objects)
    etcdctl --endpoints "$ETCD" snapshot save "$DIR/etcd.db" 2>/dev/null
    stop
    mv "$DATA" "$DIR/former"

    run "$SKIFF" snapshot restore --from-etcd "$DIR/etcd.db" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -qE '1 values are encrypted with keys that are not in .*\(secrets with aesgcm:one\)' <<<"$output"
    [ ! -e "$DATA/store" ]
    "$SKIFF" snapshot restore --from-etcd "$DIR/etcd.db" --data-dir "$DIR/rest" --without-sealed |
        grep -q '^left out: 1 of secrets (encrypted, the key is not there)$'
    "$SKIFF" snapshot restore --from-etcd "$DIR/etcd.db" --data-dir "$DATA" \
        --encryption-provider-config "$DIR/encryption.yaml"
    cp -n "$DIR"/former/pki/* "$DATA/pki/" # the CA is among the objects
    start
    same_objects "$before"
    run "$SKIFF" snapshot export --to-etcd "$ETCD" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -q 'is in use by a running server: stop it first' <<<"$output"
    stop
    run "$SKIFF" snapshot export --to-etcd "$ETCD" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -q 'already holds a cluster' <<<"$output"

    etcd_up two
    "$SKIFF" snapshot export --to-etcd "$ETCD" --data-dir "$DATA"
    etcdctl --endpoints "$ETCD" get /registry/deployments/default/web --print-value-only | jq -e '.kind == "Deployment"
        and .apiVersion == "apps/v1" and (.metadata | has("resourceVersion") | not)'
    etcdctl --endpoints "$ETCD" get /registry/secrets/default/treasure --print-value-only | grep -qa '^k8s:enc:aesgcm:v1:one:'
    [ "$(etcdctl --endpoints "$ETCD" get '' --prefix --keys-only | grep -c .)" = \
        "$(etcdctl --endpoints "$ETCD" get /registry/ --prefix --keys-only | grep -c .)" ] ||
        [ "$(etcdctl --endpoints "$ETCD" get '' --prefix --keys-only | grep . | grep -v ^/registry/)" = compact_rev_key ]
    start --store "etcd=$ETCD"
    same_objects "$before"
    stop

    etcd_up three
    "$SKIFF" snapshot export --to-etcd "$ETCD" --data-dir "$DATA" --plain
    [ "$(etcdctl --endpoints "$ETCD" get /registry/secrets/default/treasure --print-value-only | jq -r .data.word | base64 -d)" = \
        correct-horse-battery ]
}

@test "a damaged etcd snapshot is refused and leaves nothing" {
    etcd_up one
    etcdctl --endpoints "$ETCD" put /registry/masterleases/10.0.0.1 x
    etcdctl --endpoints "$ETCD" put /registry/configmaps/a/b '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"b","namespace":"a","uid":"u"}}'
    etcdctl --endpoints "$ETCD" snapshot save "$DIR/etcd.db" 2>/dev/null
    head -c 20000 "$DIR/etcd.db" >"$DIR/bad"
    run "$SKIFF" snapshot restore --from-etcd "$DIR/bad" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    cp "$DIR/etcd.db" "$DIR/bad"
    printf '\xff' | dd of="$DIR/bad" bs=1 seek=9000 conv=notrunc status=none
    run "$SKIFF" snapshot restore --from-etcd "$DIR/bad" --data-dir "$DATA"
    [ "$status" -eq 1 ]
    grep -q 'the digest of the whole does not match' <<<"$output"
    [ ! -e "$DATA/store" ]
    run "$SKIFF" snapshot restore --from-etcd "$DIR/etcd.db" "$DIR/bad" --data-dir "$DATA"
    [ "$status" -eq 2 ]
    "$SKIFF" snapshot restore --from-etcd "$DIR/etcd.db" --data-dir "$DATA" >"$DIR/said"
    grep -q ': 1 entries of revision 3 are restored' "$DIR/said"
    grep -q '^left out: 1 of /registry/masterleases$' "$DIR/said"
}
