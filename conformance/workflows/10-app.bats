#!/usr/bin/env bats
# The main job: an ordinary app on three nodes, driven by stock kubectl.

load ../cluster

setup_file() {
    load ../cluster
    cluster_up 3 >&3
    load_images busybox nginx nginx-next redis >&3
}

teardown_file() {
    load ../cluster
    cluster_down >&3
}

setup() {
    load ../cluster
    k() { kubectl -n shop "$@"; }
    app=$BATS_TEST_DIRNAME/../apps/shop.yaml
}

@test "three nodes are Ready" {
    equals "True True True" kubectl get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}'
    contains 'node-1 +Ready .* v1\.36' kubectl get nodes
}

@test "apply makes every object and the app becomes ready" {
    contains 'deployment.apps/web created' kubectl apply -f "$app"
    contains 'deployment "redis" successfully rolled out' k rollout status deployment/redis --timeout=90s
    contains 'deployment "web" successfully rolled out' k rollout status deployment/web --timeout=90s
    contains '3/3 +3 +3' k get deployment web
}

@test "applying the same again changes nothing" {
    contains 'deployment.apps/web unchanged' kubectl apply -f "$app"
    contains 'service/web unchanged' kubectl apply -f "$app"
}

@test "pods have addresses of their own on more than one node" {
    [ "$(k get pods -o jsonpath='{range .items[*]}{.status.podIP}{"\n"}{end}' | sort -u | wc -l)" -eq 4 ]
    [ "$(k get pods -l app=web -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)" -ge 2 ]
}

@test "get prints every format" {
    contains 'NAME +READY +STATUS +RESTARTS +AGE +IP +NODE' k get pods -o wide
    contains '^kind: Deployment' k get deployment web -o yaml
    contains '"kind": "Deployment"' k get deployment web -o json
    equals 3 k get deployment web -o jsonpath='{.status.readyReplicas}'
    contains '^web +3$' k get deployments -o custom-columns=NAME:.metadata.name,N:.spec.replicas --no-headers
    contains '^deployment.apps/web$' k get deployments -o name
    contains 'redis' k get deployments --sort-by=.metadata.creationTimestamp
    equals "" k get pods -l app=nothing -o name
    [ "$(k get pods -l 'app in (web)' -o name | wc -l)" -eq 3 ]
    [ "$(k get pods --field-selector status.phase=Running -o name | wc -l)" -eq 4 ]
    contains 'deployment.apps/web' k get all
}

@test "get --watch shows changes as they happen" {
    k get pods --watch -o name >"$BATS_TEST_TMPDIR/watch" &
    watcher=$!
    sleep 0.5
    k annotate deployment web check=watched >/dev/null
    k delete pod -l app=redis --wait=false >/dev/null
    until_true 20 sh -c "[ \$(sort -u '$BATS_TEST_TMPDIR/watch' | grep -c redis) -ge 2 ]"
    kill $watcher
    k rollout status deployment/redis --timeout=60s
}

@test "describe tells the story" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    contains 'Successfully assigned shop/' k describe pod "$pod"
    contains 'Container image "nginx:1.22" already present' k describe pod "$pod"
    contains 'Scaled up replica set web-' k describe deployment web
    contains 'NodePort: +http +30080/TCP' k describe service web
    contains 'Endpoints: +10\.244\.' k describe service redis
    contains 'Allocated resources' kubectl describe node node-1
}

@test "explain shows descriptions" {
    contains 'FIELDS|DESCRIPTION' kubectl explain pod.spec.containers
    contains 'replicas' kubectl explain deployment.spec
}

@test "logs: of one container, the last lines, following" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    contains 'redis is there' k logs "$pod" -c wait-for-redis
    k exec "$pod" -c nginx -- wget -q -O /dev/null http://127.0.0.1/from-the-log-test || true
    until_true 10 contains 'from-the-log-test' k logs "$pod" -c nginx
    [ "$(k logs "$pod" -c nginx --tail=1 | wc -l)" -eq 1 ]
    timeout 10 kubectl -n shop logs -f "$pod" -c nginx >"$BATS_TEST_TMPDIR/follow" &
    sleep 0.5
    k exec "$pod" -c nginx -- wget -q -O /dev/null http://127.0.0.1/seen-while-following || true
    until_true 8 grep -q seen-while-following "$BATS_TEST_TMPDIR/follow"
    kill %1
}

@test "exec: output, exit codes, standard input, terminal" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    equals keeper k exec "$pod" -c nginx -- sh -c 'echo $SHOP_USER'
    equals "hello keeper" k exec "$pod" -c nginx -- sh -c 'echo $GREETING'
    equals correct-horse k exec "$pod" -c nginx -- cat /etc/credentials/password
    equals "$pod" k exec "$pod" -c nginx -- sh -c 'echo $POD_NAME'
    run kubectl -n shop exec "$pod" -c nginx -- sh -c 'exit 7'
    [ "$status" -eq 7 ]
    equals x timeout 10 sh -c "echo x | kubectl -n shop exec -i $pod -c nginx -- cat"
    run sh -c "head -c 3000000 /dev/zero | timeout 20 kubectl -n shop exec -i $pod -c nginx -- wc -c"
    [ "$output" = 3000000 ]
    contains 'a terminal' timeout 10 script -qec "kubectl -n shop exec -it $pod -c nginx -- sh -c 'test -t 0 && echo a terminal'" /dev/null
}

@test "cp: there and back" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    echo "some text" >"$BATS_TEST_TMPDIR/there"
    k cp -c nginx "$BATS_TEST_TMPDIR/there" "$pod:/tmp/copied"
    equals "some text" k exec "$pod" -c nginx -- cat /tmp/copied
    k cp -c nginx "$pod:/tmp/copied" "$BATS_TEST_TMPDIR/back"
    equals "some text" cat "$BATS_TEST_TMPDIR/back"
}

@test "port-forward carries real HTTP" {
    k port-forward service/web 18080:80 >"$BATS_TEST_TMPDIR/forward" 2>&1 &
    until_true 10 grep -q 'Forwarding from' "$BATS_TEST_TMPDIR/forward"
    contains 'Welcome to the shop' curl -sS --max-time 5 http://127.0.0.1:18080/
    for i in 1 2 3 4 5; do contains 'Welcome to the shop' curl -sS --max-time 5 http://127.0.0.1:18080/; done
    kill %1
}

@test "the Service is reached by name from pods and by node port from outside" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    contains 'Welcome to the shop' k exec "$pod" -c nginx -- wget -q -O - http://web.shop.svc.cluster.local/
    contains 'Welcome to the shop' k exec "$pod" -c nginx -- wget -q -O - http://web/
    for node in node-1 node-2 node-3; do
        contains 'Welcome to the shop' curl -sS --max-time 5 "http://$(node_ip $node):30080/"
    done
}

@test "every pod answers for the Service, from every node" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    for i in $(k get pods -l app=web -o jsonpath='{.items[*].status.podIP}'); do
        contains 'Welcome to the shop' k exec "$pod" -c nginx -- wget -q -O - "http://$i/"
    done
}

@test "scale up and down" {
    contains 'deployment.apps/web scaled' k scale deployment web --replicas=5
    until_true 60 equals 5 kubectl -n shop get deployment web -o jsonpath='{.status.readyReplicas}'
    k scale deployment web --replicas=3
    until_true 60 sh -c '[ $(kubectl -n shop get pods -l app=web -o name | wc -l) -eq 3 ]'
}

@test "set image rolls through without one failed request" {
    url="http://$(node_ip node-1):30080/"
    : >"$BATS_TEST_TMPDIR/failed"
    ( while [ ! -e "$BATS_TEST_TMPDIR/stop" ]; do
        curl -sS -o /dev/null --fail --max-time 5 "$url" 2>>"$BATS_TEST_TMPDIR/failed" || true
        echo . >>"$BATS_TEST_TMPDIR/sent"
        sleep 0.02
    done ) &
    k set image deployment/web nginx=nginx:1.23
    k rollout status deployment/web --timeout=120s
    sleep 1
    touch "$BATS_TEST_TMPDIR/stop"
    wait
    [ "$(wc -l <"$BATS_TEST_TMPDIR/sent")" -gt 50 ]
    [ ! -s "$BATS_TEST_TMPDIR/failed" ] || { cat "$BATS_TEST_TMPDIR/failed"; false; }
    equals nginx:1.23 k get pods -l app=web -o jsonpath='{.items[0].spec.containers[0].image}'
}

@test "rollout history and undo" {
    contains '^2 ' k rollout history deployment/web
    contains 'nginx:1.23' k rollout history deployment/web --revision=2
    contains 'rolled back' k rollout undo deployment/web
    k rollout status deployment/web --timeout=120s
    equals nginx:1.22 k get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}'
    contains '^3 ' k rollout history deployment/web
}

@test "a deleted pod is replaced" {
    pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
    contains "pod \"$pod\" deleted" k delete pod "$pod"
    until_true 60 equals 3 kubectl -n shop get deployment web -o jsonpath='{.status.readyReplicas}'
    run k get pod "$pod"
    [ "$status" -ne 0 ]
    grep -q 'Error from server (NotFound): pods .* not found' <<<"$output"
}

@test "a killed container is restarted and counted; its last words stay" {
    pod=$(k get pods -l app=redis -o jsonpath='{.items[0].metadata.name}')
    k exec "$pod" -- redis-cli shutdown nosave || true
    until_true 60 equals 1 kubectl -n shop get pod "$pod" -o jsonpath='{.status.containerStatuses[0].restartCount}'
    until_true 60 equals true kubectl -n shop get pod "$pod" -o jsonpath='{.status.containerStatuses[0].ready}'
    contains 'Ready to accept connections|oO0Oo' k logs "$pod" --previous
}

@test "edit, patch, label, annotate" {
    contains 'deployment.apps/web edited' env EDITOR="sed -i 's/minReadySeconds: 0/minReadySeconds: 1/;s/revisionHistoryLimit: 10/revisionHistoryLimit: 5/'" kubectl -n shop edit deployment web
    equals 5 k get deployment web -o jsonpath='{.spec.revisionHistoryLimit}'
    k patch deployment web -p '{"spec":{"revisionHistoryLimit":4}}'
    k patch deployment web --type=json -p '[{"op":"replace","path":"/spec/revisionHistoryLimit","value":3}]'
    k patch deployment web --type=merge -p '{"metadata":{"labels":{"tier":"front"}}}'
    equals 3 k get deployment web -o jsonpath='{.spec.revisionHistoryLimit}'
    k label deployment web tier- team=shop
    contains 'web' k get deployments -l team=shop
    k annotate deployment web note="some note"
    equals "some note" k get deployment web -o jsonpath='{.metadata.annotations.note}'
}

@test "cordon and drain move pods away; uncordon lets them come" {
    contains 'node/node-3 cordoned' kubectl cordon node-3
    contains 'SchedulingDisabled' kubectl get node node-3
    kubectl drain node-3 --ignore-daemonsets --delete-emptydir-data --timeout=90s
    equals "" k get pods --field-selector spec.nodeName=node-3 -o name
    until_true 60 equals 3 kubectl -n shop get deployment web -o jsonpath='{.status.readyReplicas}'
    contains 'node/node-3 uncordoned' kubectl uncordon node-3
}

@test "a pod that fits nowhere says why, and runs when it does" {
    k create -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: picky}
spec:
  nodeSelector: {disk: ssd}
  containers: [{name: c, image: "busybox:1.36", command: ["sleep", "1000"]}]
YAML
    until_true 20 contains '0/3 nodes are available: 3 node\(s\) didn.t match Pod.s node affinity/selector' kubectl -n shop describe pod picky
    kubectl label node node-2 disk=ssd
    until_true 30 equals Running kubectl -n shop get pod picky -o jsonpath='{.status.phase}'
    equals node-2 k get pod picky -o jsonpath='{.spec.nodeName}'
    k delete pod picky --grace-period=0 --force
}

@test "a host port of the node leads to the pod" {
    k create -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: door}
spec:
  nodeName: node-1
  containers:
  - name: nginx
    image: nginx:1.22
    ports: [{containerPort: 80, hostPort: 8081}]
YAML
    k wait --for=condition=Ready pod/door --timeout=30s
    until_true 10 contains 'Welcome to nginx' curl -sS --max-time 5 "http://$(node_ip node-1):8081/"
    run curl -sS --max-time 2 "http://$(node_ip node-2):8081/"
    [ "$status" -ne 0 ]
    k delete pod door --grace-period=1
    until_true 10 sh -c "! curl -sS --max-time 2 http://$(node_ip node-1):8081/"
}

@test "delete cascades, and everything can be applied again" {
    kubectl delete -f "$app" --timeout=120s
    run kubectl get namespace shop
    [ "$status" -ne 0 ]
    contains 'deployment.apps/web created' kubectl apply -f "$app"
    k rollout status deployment/web --timeout=90s
    contains 'Welcome to the shop' curl -sS --max-time 5 "http://$(node_ip node-2):30080/"
}
