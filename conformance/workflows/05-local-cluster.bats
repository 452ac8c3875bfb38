#!/usr/bin/env bats
# skiff up and skiff down: what they say, and that nothing stays behind.

load ../cluster

setup() {
    load ../cluster
    CLUSTER=tidy
}

teardown() {
    "$SKIFF" down --name tidy --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 || true
    "$SKIFF" down --name many --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 || true
}

traces() { # everything of this machine that the cluster could leave behind
    ls -d /run/skiff/tidy /var/lib/skiff/tidy /run/containerd/* 2>/dev/null
    ip -o link | sed 's/^[0-9]*: //; s/[@:].*//' | grep skiff
    ip route | grep '10\.89\.'
    grep -c skiff/tidy /proc/mounts
    find /sys/fs/cgroup -maxdepth 3 -name '*skiff-tidy*' 2>/dev/null
    ps -eo stat,args | grep -E 'skiff[/ ]tidy|--cluster tidy' | grep -v -e grep -e '^Z'
    nft list tables 2>/dev/null
    true
}

@test "down leaves nothing behind" {
    before=$(traces)
    cluster_up 2
    load_images busybox
    kubectl run one --image=busybox:1.36 --command -- sleep 1000
    until_true 60 equals Running kubectl get pod one -o jsonpath='{.status.phase}'
    contains 'Cluster "tidy" is gone' cluster_down
    equals "$before" traces
    run kubectl config get-contexts -o name
    ! grep -q skiff-tidy <<<"$output"
}

@test "up again on a running cluster changes nothing and is quick" {
    cluster_up 1
    pid=$(cut -d' ' -f1 /run/skiff/tidy/server.pid)
    "$SKIFF" up --name tidy --kubeconfig "$KUBECONFIG"
    [ "$(cut -d' ' -f1 /run/skiff/tidy/server.pid)" = "$pid" ]
}

@test "a thousand simulated nodes" {
    "$SKIFF" up --name many --simulated --nodes 1000 --kubeconfig "$KUBECONFIG"
    [ "$(kubectl get nodes --no-headers | grep -c ' Ready ')" -eq 1000 ]
    kubectl create deployment crowd --image=busybox:1.36 --replicas=200
    until_true 60 equals 200 kubectl get deployment crowd -o jsonpath='{.status.readyReplicas}'
}

@test "clear words when it cannot work" {
    run setpriv --reuid=65534 --regid=65534 --clear-groups "$SKIFF" up --name tidy
    [ "$status" -eq 1 ]
    grep -q 'needs root' <<<"$output"
    run env PATH=/nowhere "$SKIFF" up --name tidy
    [ "$status" -eq 1 ]
    grep -q 'containerd is not installed' <<<"$output"
    run "$SKIFF" up --nmae tidy
    [ "$status" -eq 2 ]
    grep -q -- '--name' <<<"$output"
    cluster_up 1
    port=$(awk '$1 == "port" {print $2}' /run/skiff/tidy/cluster)
    run "$SKIFF" up --name other --listen "127.0.0.1:$port"
    [ "$status" -eq 1 ]
    grep -q "port $port" <<<"$output"
    run timeout 10 "$SKIFF" server --data-dir /var/lib/skiff/tidy/server --listen 127.0.0.1:0
    [ "$status" -eq 1 ]
    grep -q 'in use by another process' <<<"$output"
    mkdir -p "$BATS_TEST_TMPDIR/full"
    mount -t tmpfs -o size=64k tmpfs "$BATS_TEST_TMPDIR/full"
    run timeout 10 "$SKIFF" server --data-dir "$BATS_TEST_TMPDIR/full/data" --listen 127.0.0.1:0
    umount -l "$BATS_TEST_TMPDIR/full"
    [ "$status" -eq 1 ]
    grep -qi 'no space left' <<<"$output"
}
