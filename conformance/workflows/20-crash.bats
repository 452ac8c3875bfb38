#!/usr/bin/env bats
# The hard part: parts of the system are killed while an app runs and writes go on. Nothing acknowledged is lost, watches
# resume, pods never stop.

load ../cluster

setup_file() {
    load ../cluster
    cluster_up 2 >&3
    load_images busybox nginx redis >&3
    kubectl apply -f "$BATS_TEST_DIRNAME/../apps/shop.yaml" >/dev/null
    kubectl -n shop rollout status deployment/web --timeout=90s >&3
}

teardown_file() {
    load ../cluster
    cluster_down >&3
}

setup() {
    load ../cluster
    k() { kubectl -n shop "$@"; }
}

started_at() { # when each container of the app began: the same before and after, or it was restarted
    kubectl -n shop get pods -o jsonpath='{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}

@test "kill -9 of the server: nothing acknowledged is lost, pods go on, watches resume" {
    before=$(started_at)
    url="http://$(node_ip node-1):30080/"
    ( i=0
      while [ ! -e "$BATS_TEST_TMPDIR/stop" ]; do
        i=$((i + 1))
        kubectl -n shop create configmap "w-$i" --from-literal=n=$i >/dev/null 2>&1 && echo "w-$i" >>"$BATS_TEST_TMPDIR/acknowledged"
      done ) &
    writer=$!
    ( while [ ! -e "$BATS_TEST_TMPDIR/stop" ]; do
        curl -sS -o /dev/null --fail --max-time 3 "$url" 2>>"$BATS_TEST_TMPDIR/failed" || true
        sleep 0.05
      done ) &
    client=$!
    "$(dirname "$SKIFF")/recorder" record --kubeconfig "$KUBECONFIG" --log "$BATS_TEST_TMPDIR/history" --seconds 3600 \
        --inventory --leases-of kube-system >"$BATS_TEST_TMPDIR/recorder" 2>&1 3>&- &
    recorder=$!
    for round in 1 2 3; do
        sleep 1.5
        kill -9 "$(cut -d' ' -f1 "/run/skiff/$CLUSTER/server.pid")"
        "$SKIFF" up --name "$CLUSTER" --kubeconfig "$KUBECONFIG" >/dev/null
    done
    sleep 1
    touch "$BATS_TEST_TMPDIR/stop"
    kill $recorder
    wait $writer $client
    wait $recorder || { cat "$BATS_TEST_TMPDIR/recorder"; false; }
    "$(dirname "$SKIFF")/recorder" check "$BATS_TEST_TMPDIR/history"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/acknowledged")" -gt 5 ]
    kubectl -n shop get configmaps -o name | sed 's|configmap/||' | sort >"$BATS_TEST_TMPDIR/there"
    sort "$BATS_TEST_TMPDIR/acknowledged" | comm -23 - "$BATS_TEST_TMPDIR/there" >"$BATS_TEST_TMPDIR/lost"
    [ ! -s "$BATS_TEST_TMPDIR/lost" ] || { echo "lost:"; cat "$BATS_TEST_TMPDIR/lost"; false; }
    [ ! -s "$BATS_TEST_TMPDIR/failed" ] || { cat "$BATS_TEST_TMPDIR/failed"; false; }
    equals "$before" started_at
    # the agents and controllers watch again: a change still has its effect
    k scale deployment web --replicas=4
    until_true 60 equals 4 kubectl -n shop get deployment web -o jsonpath='{.status.readyReplicas}'
    k scale deployment web --replicas=3
    until_true 60 sh -c '[ $(kubectl -n shop get pods -l app=web -o name | wc -l) -eq 3 ]'
}

@test "kill -9 of the agent: it comes back and finds its pods" {
    before=$(started_at)
    pattern="agent --kubeconfig /var/lib/skiff/$CLUSTER/.*--node-name node-1 "
    agent=$(pgrep -f -- "$pattern" | head -n 1)
    kill -9 "$agent"
    until_true 20 sh -c "pgrep -f -- '$pattern' | grep -v '^$$' | grep -qv '^$agent$'"
    until_true 30 contains 'Ready' kubectl get node node-1
    sleep 3
    equals "$before" started_at
    pod=$(k get pods -l app=web --field-selector spec.nodeName=node-1 -o jsonpath='{.items[0].metadata.name}')
    until_true 20 kubectl -n shop exec "$pod" -c nginx -- true
}

@test "kill -9 of containerd: pods go on, and new ones start" {
    before=$(started_at)
    containerd=$(in_node node-1 sh -c 'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = containerd ] && basename $p; done' | head -n 1)
    in_node node-1 kill -9 "$containerd"
    sleep 3
    equals "$before" started_at
    k create -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: after}
spec:
  nodeName: node-1
  containers: [{name: c, image: "busybox:1.36", command: ["sleep", "1000"]}]
YAML
    until_true 60 equals Running kubectl -n shop get pod after -o jsonpath='{.status.phase}'
    k delete pod after --grace-period=0 --force
}
