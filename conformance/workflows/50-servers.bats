#!/usr/bin/env bats
# Three servers on one etcd are one cluster: any of them answers anything, controllers and scheduler run on one of them,
# and when that one dies or stops another goes on. Simulated nodes, stock kubectl; the cases build on each other.

load ../server

QUICK="--leader-elect-lease-duration 2s --leader-elect-renew-deadline 1500ms --leader-elect-retry-period 300ms"

setup_file() {
    command -v etcd >/dev/null || skip "etcd is not installed"
    load ../server
    export DIR=$BATS_FILE_TMPDIR PORT ETCD
    PORT=$(free_port)
    local port peer
    port=$(free_port) peer=$(free_port)
    ETCD=http://127.0.0.1:$port
    etcd --data-dir "$DIR/etcd" --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >"$DIR/etcd.log" 2>&1 3>&- &
    echo $! >"$DIR/etcd-pid"
    # the first starts on an empty store race
    mkdir -p "$DIR/1"
    "$SKIFF" server --data-dir "$DIR/1/data" --store memory --listen 127.0.0.1:0 >"$DIR/pki.out" 2>&1 3>&- &
    port=$!
    for _ in $(seq 100); do grep -q 'is ready' "$DIR/pki.out" && break || sleep 0.05; done
    kill $port
    wait $port
    peer=""
    for n in 1 2 3; do up "$n" $QUICK & peer="$peer $!"; done
    for port in $peer; do wait "$port"; done
    # knows the first server alone; learns the others
    sed '/extensions:/,/name: skiff-servers/d' "$(config 1)" >"$DIR/agent.kubeconfig"
    "$SKIFF" agent --kubeconfig "$DIR/agent.kubeconfig" --simulated 3 --node-name sim >"$DIR/agent.log" 2>&1 3>&- &
    echo $! >"$DIR/agent-pid"
}

setup() {
    [ -e "$DIR/etcd-pid" ] || skip "etcd is not installed"
}

teardown_file() {
    for f in "$DIR"/[123]/pid "$DIR/agent-pid" "$DIR/etcd-pid"; do
        [ ! -e "$f" ] || kill -9 "$(cat "$f")" 2>/dev/null || true
    done
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

config() { echo "$DIR/$1/data/admin.kubeconfig"; }

k() { # SERVER …: kubectl
    kubectl --kubeconfig "$(config "$1")" "${@:2}"
}

up() { # SERVER [flag …]: on the address 127.0.0.SERVER, with the identities of the first
    local n=$1 others=""
    shift
    if [ "$n" != 1 ] && [ ! -e "$DIR/$n/data/pki" ]; then
        mkdir -p "$DIR/$n/data"
        cp -r "$DIR/1/data/pki" "$DIR/$n/data/"
    fi
    for i in 1 2 3; do [ "$i" = "$n" ] || others=$others${others:+,}https://127.0.0.$i:$PORT; done
    server_up "$DIR/$n" --listen "127.0.0.$n:$PORT" --advertise-address "127.0.0.$n" --store "etcd=$ETCD" \
        --peer-servers "$others" "$@"
}

until_is() { # SECONDS WANTED COMMAND …
    local until=$((SECONDS + $1)) wanted=$2 got
    shift 2
    while :; do
        got=$("$@" 2>&1) || true
        [ "$got" != "$wanted" ] || return 0
        [ $SECONDS -lt "$until" ] || break
        sleep 0.1
    done
    echo "$*"
    echo "wanted: $wanted"
    echo "got:    $got"
    return 1
}

holder() { # SERVER-TO-ASK LEASE
    k "$1" get lease "$2" -n kube-system -o 'jsonpath={.spec.holderIdentity}'
}

# The server whose log says that this identity, which holds the lease, became leader.
leader() { # SERVER-TO-ASK LEASE
    local who
    who=$(holder "$1" "$2")
    [ -n "$who" ] || return 1
    for n in 1 2 3; do
        ! grep -q "leader: $2: $who became leader" "$DIR/$n/err" || { echo "$n"; return; }
    done
    return 1
}

other_than() { # SERVER …: one that is none of them
    for n in 1 2 3; do
        [[ " $* " == *" $n "* ]] || { echo "$n"; return; }
    done
}

ready() { # SERVER DEPLOYMENT
    k "$1" get deployment "$2" -o 'jsonpath={.status.readyReplicas}'
}

listed() { # SERVER: the addresses of the kubernetes Service
    k "$1" get endpoints kubernetes -o 'jsonpath={.subsets[*].addresses[*].ip}' 2>/dev/null
}

since() { # NANOSECONDS-THEN: in milliseconds
    echo $((($(date +%s%N) - $1) / 1000000))
}

@test "what one has acknowledged every other shows at once" {
    for i in $(seq 8); do
        k 1 create configmap "c$i" --from-literal="n=$i" -o name >/dev/null
        [ "$(k 2 get configmap "c$i" -o 'jsonpath={.data.n}')" = "$i" ]
        [ "$(k 3 get configmaps -o name | grep -c "/c$i\$")" = 1 ]
        k 3 delete configmap "c$i" >/dev/null
        [ "$(k 1 get configmap "c$i" --ignore-not-found)" = "" ]
    done
}

@test "one leader of each kind, on whose Lease and Events kubectl sees it" {
    for lease in kube-controller-manager kube-scheduler; do
        leader 2 $lease
        [[ $(holder 3 $lease) =~ ^$(hostname)_[0-9a-f-]{36}$ ]]
        [ "$(k 1 get lease $lease -n kube-system -o 'jsonpath={.spec.leaseDurationSeconds}')" = 2 ]
        [[ $(k 1 get events -n kube-system --field-selector "involvedObject.kind=Lease,involvedObject.name=$lease" \
            -o 'jsonpath={.items[0].reason}: {.items[0].message}') == "LeaderElection: $(holder 3 $lease) became leader" ]]
    done
    [ "$(cat "$DIR"/[123]/err | grep -c 'kube-scheduler: .* became leader')" = 1 ]
}

@test "of two who ask two servers for the same port or address at once, one gets it" {
    local yaml='apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {%sports: [{port: 80%s}]}\n'
    for i in $(seq 6); do
        printf "$yaml" "p1-$i" 'type: NodePort, ' ", nodePort: $((30000 + i))" | k 1 create -f - >"$DIR/one" 2>&1 3>&- &
        printf "$yaml" "p2-$i" 'type: NodePort, ' ", nodePort: $((30000 + i))" | k 2 create -f - >"$DIR/two" 2>&1 || true
        wait $! || true
        [ "$(grep -c created "$DIR/one" "$DIR/two" | grep -c ':1')" = 1 ]
        grep -q 'provided port is already allocated' "$DIR/one" "$DIR/two"
        printf "$yaml" "q1-$i" "clusterIP: 10.96.0.10$i, " "" | k 3 create -f - >"$DIR/one" 2>&1 3>&- &
        printf "$yaml" "q2-$i" "clusterIP: 10.96.0.10$i, " "" | k 2 create -f - >"$DIR/two" 2>&1 || true
        wait $! || true
        [ "$(grep -c created "$DIR/one" "$DIR/two" | grep -c ':1')" = 1 ]
        grep -q 'provided IP is already allocated' "$DIR/one" "$DIR/two"
    done
    k 1 get services -o name | grep -v /kubernetes | xargs kubectl --kubeconfig "$(config 1)" delete >/dev/null
}

@test "all servers are endpoints of the kubernetes Service" {
    until_is 15 "127.0.0.1 127.0.0.2 127.0.0.3" listed 2
    [ "$(k 3 get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[0]}')" = "127.0.0.1 127.0.0.2 127.0.0.3" ]
}

@test "kubectl's first server is one of several in the kubeconfig" {
    [ "$(k 1 config view -o 'jsonpath={.clusters[0].cluster.server}')" = "https://127.0.0.1:$PORT" ]
    grep -q "https://127.0.0.3:$PORT" "$(config 1)"
}

@test "a server with other identities is refused" {
    run "$SKIFF" server --data-dir "$DIR/stranger" --listen 127.0.0.4:0 --store "etcd=$ETCD"
    [ "$status" = 1 ]
    [[ $output == *"another certificate authority"*"copy it from a server that runs to $DIR/stranger/pki"* ]]
    rm -r "$DIR/stranger"
    mkdir "$DIR/stranger"
    cp -r "$DIR/1/data/pki" "$DIR/stranger/"
    rm "$DIR/stranger/pki/encryption.yaml"
    run "$SKIFF" server --data-dir "$DIR/stranger" --listen 127.0.0.4:0 --store "etcd=$ETCD"
    [ "$status" = 1 ]
    [[ $output == *"another encryption key"* ]]
}

@test "a Secret made on one is read on another and sealed in etcd" {
    k 1 create secret generic s --from-literal=word=capercaillie
    [ "$(k 3 get secret s -o 'jsonpath={.data.word}' | base64 -d)" = capercaillie ]
    ! grep -rqa capercaillie "$DIR/etcd"
}

@test "addresses, ports, uids and pod ranges given out by several at once are unique" {
    for n in 1 2 3; do
        for i in $(seq 12); do
            printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: s%s-%s}\nspec: {type: NodePort, ports: [{port: 80}]}\n' "$n" "$i"
            printf -- '---\napiVersion: v1\nkind: Node\nmetadata: {name: n%s-%s}\n' "$n" "$i"
        done >"$DIR/many-$n.yaml"
    done
    for n in 1 2 3; do k $n create -f "$DIR/many-$n.yaml" >"$DIR/many-$n.out" 2>&1 3>&- & pids="$pids $!"; done
    for pid in $pids; do wait "$pid" || { cat "$DIR"/many-*.out; false; }; done
    k 2 get services -o json >"$DIR/services"
    for of in .metadata.uid .spec.clusterIP '.spec.ports[0].nodePort'; do
        [ "$(jq -r "[.items[] | select(.spec.type == \"NodePort\") | $of] | unique | length" "$DIR/services")" = 36 ]
    done
    ranges() { k 3 get nodes -o json | jq -r '[.items[].spec.podCIDR | values] | unique | length'; }
    until_is 20 39 ranges
    for n in 1 2 3; do k $n delete -f "$DIR/many-$n.yaml" --wait=false >/dev/null; done
}

@test "the leader is killed: another goes on in under three seconds when asked" {
    k 2 create deployment web --image=nginx --replicas=3
    until_is 30 3 ready 2 web
    local dead alive then took
    dead=$(leader 2 kube-controller-manager)
    alive=$(other_than "$dead")
    kill -9 "$(cat "$DIR/$dead/pid")"
    then=$(date +%s%N)
    taken() { leader "$alive" kube-controller-manager; }
    until [ "$(taken || echo "$dead")" != "$dead" ]; do
        [ "$(since "$then")" -lt 15000 ]
        sleep 0.05
    done
    took=$(since "$then")
    k "$alive" scale deployment web --replicas=6
    until_is 60 6 ready "$alive" web
    echo "# taken over after $took ms; six pods ready after $(since "$then") ms" >&3
    [ "$took" -lt 10000 ] # three seconds, on a machine that has nothing else to do
    until_is 40 2 bash -c "kubectl --kubeconfig $(config "$alive") get endpoints kubernetes -o json | jq '[.subsets[].addresses[]] | length'"
    up "$dead" $QUICK
    until_is 20 "127.0.0.1 127.0.0.2 127.0.0.3" listed "$alive"
}

@test "the leader is stopped in the middle of its work: another finishes it, and nothing stale is written afterwards" {
    local stopped alive then
    stopped=$(leader 2 kube-controller-manager)
    alive=$(other_than "$stopped")
    k "$alive" create deployment many --image=nginx --replicas=150
    kill -STOP "$(cat "$DIR/$stopped/pid")"
    then=$(date +%s%N)
    until_is 60 150 ready "$alive" many
    echo "# 150 pods ready after $(since "$then") ms" >&3
    [ "$(leader "$alive" kube-controller-manager)" != "$stopped" ]
    kill -CONT "$(cat "$DIR/$stopped/pid")"
    until_is 20 0 bash -c "grep -c 'kube-controller-manager: .*: the term is over' $DIR/$stopped/err | grep -xq 0; echo \$(( ! \$? ))"
    [ "$(k "$stopped" get pods -l app=many --field-selector status.phase=Running -o name | wc -l)" = 150 ]
    [ "$(k "$alive" get pods -l app=many -o name | wc -l)" = 150 ]
    echo "# writes refused by the fence: $(k "$stopped" get --raw /metrics | awk '/^skiff_fenced_writes_total/ {n += $2} END {print n + 0}')" >&3
}

@test "the lease is taken from a leader: it stops at once and stands again" {
    local who n
    n=$(leader 1 kube-scheduler)
    k 1 patch lease kube-scheduler -n kube-system --type merge -p '{"spec":{"holderIdentity":"somebody"}}'
    grep -q 'kube-scheduler: somebody else has it: the term is over' "$DIR/$n/err"
    again() { leader 1 kube-scheduler >/dev/null && echo yes; }
    until_is 20 yes again
    k 2 scale deployment web --replicas=7
    until_is 30 7 ready 3 web
}

@test "a leader that ends in order gives its lease back: another leads at once" {
    local n alive then
    n=$(leader 1 kube-controller-manager)
    alive=$(other_than "$n")
    then=$(date +%s%N)
    server_down "$DIR/$n"
    other() { [ "$(leader "$alive" kube-controller-manager)" != "$n" ] && echo yes; }
    until_is 10 yes other
    echo "# stopped and taken over in $(since "$then") ms" >&3
    [[ " $(listed "$alive") " != *" 127.0.0.$n "* ]]
    up "$n" $QUICK
}

@test "by default: under fifteen seconds" {
    for n in 1 2 3; do
        server_down "$DIR/$n"
        up $n
    done
    local dead alive then
    led() { leader 1 kube-controller-manager >/dev/null && leader 1 kube-scheduler >/dev/null && echo yes; }
    until_is 40 yes led
    sleep 1 # into the middle between two renewals
    dead=$(leader 1 kube-scheduler)
    alive=$(other_than "$dead")
    kill -9 "$(cat "$DIR/$dead/pid")"
    then=$(date +%s%N)
    k "$alive" create deployment last --image=nginx --replicas=2
    until_is 60 2 ready "$alive" last
    echo "# pods placed and ready after $(since "$then") ms" >&3
    rm "$DIR/$dead/pid"
}
