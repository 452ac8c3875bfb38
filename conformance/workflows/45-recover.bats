#!/usr/bin/env bats
# The worst case: the data directory of a running cluster is destroyed, identities, keys and all. From one snapshot file the
# cluster is whole again: the same containers still run, nodes come back by themselves, Secrets are read, tokens of pods hold,
# Services answer, clients that watch go on, and the next rollout works.

load ../cluster

setup_file() {
    load ../cluster
    CLUSTER=recover cluster_up 2 >&3
    CLUSTER=recover load_images busybox nginx nginx-next redis >&3
    kubectl apply -f "$BATS_TEST_DIRNAME/../apps/shop.yaml" >/dev/null
    kubectl -n shop rollout status deployment/redis --timeout=90s >&3
    kubectl -n shop rollout status deployment/web --timeout=90s >&3
}

teardown_file() {
    load ../cluster
    CLUSTER=recover cluster_down >&3
}

setup() {
    load ../cluster
    CLUSTER=recover
    k() { kubectl -n shop "$@"; }
    data=/var/lib/skiff/$CLUSTER/server
    file=$BATS_FILE_TMPDIR/cluster.snapshot
}

containers() { # which they are, and how often they were started: the same before and after, or something was restarted
    kubectl -n shop get pods -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}

running() { # what truly runs on the nodes, by their own account
    local node
    for node in node-1 node-2; do
        in_node "$node" sh -c 'for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in nginx|redis-server) echo $(basename $p) $(cut -d" " -f22 $p/stat);; esac; done'
    done | sort
}

# With a pod's own token, as it lies in its file system.
as_pod() { # POD PATH
    local token
    token=$(k exec "$1" -c nginx -- cat /var/run/secrets/kubernetes.io/serviceaccount/token)
    kubectl --kubeconfig /dev/null --server "$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}')" \
        --insecure-skip-tls-verify --token "$token" auth whoami -o jsonpath='{.status.userInfo.username}'
}

@test "one file holds the cluster" {
    run "$SKIFF" snapshot save "$file" --with-identities --kubeconfig "$KUBECONFIG"
    [[ $status -eq 0 && $output == *"and the cluster's identities"* ]]
    [ "$(stat -c %a "$file")" = 600 ]
    contains 'Identities: .*ca.key.*encryption.yaml.*sa.key' "$SKIFF" snapshot status "$file"
    run grep -qaE "correct-horse|$(printf correct-horse | base64)" "$file"
    [ "$status" -eq 1 ]
}

@test "the data directory is destroyed: the app is whole from that file" {
    local before alive url writer pod revision
    before=$(containers)
    alive=$(running)
    [ "$(wc -l <<<"$alive")" -ge 4 ]
    url="http://$(node_ip node-1):30080/"
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    equals system:serviceaccount:shop:default as_pod "$pod"
    k create configmap lost --from-literal=a=b # after the snapshot: gone with the directory
    kubectl -n shop get configmaps --watch -o name >"$BATS_TEST_TMPDIR/seen" 2>/dev/null 3>&- &
    writer=$!
    (while [ ! -e "$BATS_TEST_TMPDIR/stop" ]; do
        curl -sS -o /dev/null --fail --max-time 3 "$url" 2>>"$BATS_TEST_TMPDIR/failed" || true
        sleep 0.05
    done) 3>&- &
    local client=$!

    kill -9 "$(cut -d' ' -f1 "/run/skiff/$CLUSTER/server.pid")"
    rm -rf "$data"
    sleep 1
    "$SKIFF" snapshot restore "$file" --data-dir "$data"
    [ "$(stat -c %a "$data/pki/ca.key")" = 600 ]
    "$SKIFF" up --name "$CLUSTER" --kubeconfig "$KUBECONFIG"

    until_true 30 equals "True True" kubectl get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}'
    equals correct-horse sh -c "kubectl -n shop get secret credentials -o jsonpath='{.data.password}' | base64 -d"
    run kubectl -n shop get configmap lost
    [ "$status" -ne 0 ]
    revision=$(k get configmap page -o jsonpath='{.metadata.resourceVersion}')
    [ "$revision" -gt 1000000000 ]
    # agents and controllers have seen the restored cluster by now, and left everything as it was
    k annotate deployment web recovered=yes
    sleep 5
    equals "$before" containers
    equals "$alive" running
    equals system:serviceaccount:shop:default as_pod "$pod"
    contains 'redis is there' k logs "$pod" -c wait-for-redis
    equals keeper k exec "$pod" -c nginx -- sh -c 'echo $SHOP_USER'
    touch "$BATS_TEST_TMPDIR/stop"
    wait $client
    [ ! -s "$BATS_TEST_TMPDIR/failed" ] || { cat "$BATS_TEST_TMPDIR/failed"; false; }
    kill $writer 2>/dev/null || true # kubectl itself ends a watch whose revision is gone
}

@test "what watched before is told, and life goes on" {
    run timeout 20 kubectl -n shop get --raw "/api/v1/namespaces/shop/configmaps?watch=true&resourceVersion=10&timeoutSeconds=2"
    [[ $output == *'"code":410'* || $output == *"too old resource version"* ]]
    k set image deployment/web nginx=nginx:1.23
    contains 'successfully rolled out' k rollout status deployment/web --timeout=90s
    k scale deployment web --replicas=4
    until_true 60 equals 4 kubectl -n shop get deployment web -o jsonpath='{.status.readyReplicas}'
    k expose deployment web --name=again --port=80
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    until_true 20 contains 'Welcome to the shop' kubectl -n shop exec "$pod" -c nginx -- wget -q -O - http://again/
}
