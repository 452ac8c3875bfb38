# The processes of the cluster, each by its name: e1 e2 e3 (etcd), s1 s2 s3 (servers), n1 n2 (agents). Sourced by run.
# Started without a function around them, so that $! is the process itself.

MEMBERS=(e1 e2 e3) SERVERS=(s1 s2 s3) NODES=(n1 n2)
declare -A PID

urls() { # PORT NAME …: as a list with commas; SCHEME
    local port=$1 name list=
    shift
    for name; do list+=${SCHEME:-http}://${ADDRESS[$name]}:$port,; done
    echo "${list%,}"
}

launch_e() { # NAME
    local peer=http://${ADDRESS[$1]}:2380 client=http://${ADDRESS[$1]}:2379 name cluster=
    for name in "${MEMBERS[@]}"; do cluster+=$name=http://${ADDRESS[$name]}:2380,; done
    ip netns exec "$NET-$1" "$ETCD" --name "$1" --data-dir "$DIR/$1/data" --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --listen-client-urls "$client" --advertise-client-urls "$client" --initial-cluster "${cluster%,}" \
        --heartbeat-interval 100 --election-timeout 1000 >>"$DIR/$1/log" 2>&1 3>&- &
    PID[$1]=$!
}

launch_s() { # under a host name of its own, so that leases tell who holds them
    ip netns exec "$NET-$1" unshare -u sh -c 'hostname "$0" && exec "$@"' "$1" "$SKIFF" server --data-dir "$DIR/$1/data" --listen "${ADDRESS[$1]}:6443" --advertise-address "${ADDRESS[$1]}" \
        --store "etcd=$(urls 2379 "${MEMBERS[@]}")" --token-auth-file "$DIR/tokens" \
        --leader-elect-lease-duration 4s --leader-elect-renew-deadline 3s --leader-elect-retry-period 500ms \
        --peer-servers "$(SCHEME=https urls 6443 $(others_of "$1"))" >>"$DIR/$1/out" 2>>"$DIR/$1/log" 3>&- &
    PID[$1]=$!
}

launch_n() {
    if [ "$REAL" = 1 ]; then
        node_agent "$1"
        return
    fi
    ip netns exec "$NET-$1" "$SKIFF" agent --server "$(SCHEME=https urls 6443 "${SERVERS[@]}")" --ca-file "$DIR/ca.crt" --token agent-token \
        --simulated 1 --node-name "$1" >>"$DIR/$1/log" 2>&1 3>&- &
    PID[$1]=$!
}

launch() { # NAME
    mkdir -p "$DIR/$1"
    "launch_${1:0:1}" "$1"
}

alive() { [ -n "${PID[$1]}" ] && kill -0 "${PID[$1]}" 2>/dev/null; }

# kill9 NAME: and reap it
kill9() {
    [ -z "${PID[$1]}" ] || kill -9 "${PID[$1]}" 2>/dev/null
    wait "${PID[$1]}" 2>/dev/null
}

until_true() { # SECONDS COMMAND …
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || { echo "in vain: $*"; return 1; }
        sleep 0.2
    done
}

etcd_well() { # NAME
    ETCDCTL_API=3 in_net client etcdctl --endpoints "http://${ADDRESS[$1]}:2379" --command-timeout 2s get / --limit 1
}

server_well() {
    in_net client curl -sfk --max-time 2 "https://${ADDRESS[$1]}:6443/readyz"
}

kube() { # SERVER kubectl's arguments …
    local server=$1
    shift
    in_net client timeout 10 kubectl --kubeconfig "$DIR/kubeconfig" --server "https://${ADDRESS[$server]}:6443" "$@"
}

any_server() { echo "${SERVERS[RANDOM % ${#SERVERS[@]}]}"; }

# Nodes of real containers: `skiff up` makes them, on a bridge that the others are joined to; its own server ends, and the
# agents, which are started again by their nodes, find a kubeconfig that names ours.
real_open() {
    "$SKIFF" up --name "$NET" --nodes 2 --kubeconfig "$DIR/up.kubeconfig" >"$DIR/up" 2>&1 || { cat "$DIR/up"; return 1; }
    "$SKIFF" load --name "$NET" "$IMAGES/busybox.tar" >>"$DIR/up" 2>&1 || { cat "$DIR/up"; return 1; }
    kill -9 "$(cut -d' ' -f1 "/run/skiff/$NET/server.pid")"
    BRIDGE=skiff0 SUBNET=10.89.$(sed -n 's/^subnet //p' "/run/skiff/$NET/cluster")
    net_name bridge "/run/skiff/$NET/fabric" || return
    for name in "${NODES[@]}"; do
        number=${name#n}
        ADDRESS[$name]=$SUBNET.$((10 + number))
        net_name "$name" "/proc/$(cut -d' ' -f1 "/run/skiff/$NET/node-$number.pid")/ns/net" || return
    done
}

real_join() {
    local name
    for name in "${NODES[@]}"; do
        cp "$DIR/kubeconfig" "/var/lib/skiff/$NET/nodes/node-${name#n}/kubeconfig"
        node_agent "$name" && kill9 "$name"
    done
}

# The agent of a node that looks after it: its id is found, not made.
node_agent() { # NAME
    local parent
    parent=$(cut -d' ' -f1 "/run/skiff/$NET/node-${1#n}.pid")
    for _ in $(seq 50); do
        PID[$1]=$(pgrep -P "$parent" -f 'agent --kubeconfig' | head -n 1)
        [ -z "${PID[$1]}" ] || return 0
        sleep 0.1
    done
    PID[$1]=
    return 1
}

cluster_start() {
    local name number
    if [ "$REAL" = 1 ]; then
        real_open || return
    else
        net_open || return
        number=31; for name in "${NODES[@]}"; do net_join "$name" $((number++)) || return; done
    fi
    number=111; for name in "${MEMBERS[@]}"; do net_join "$name" $((number++)) || return; done
    number=121; for name in "${SERVERS[@]}"; do net_join "$name" $((number++)) || return; done
    net_join client 141 || return
    echo 'agent-token,agent,1,"system:masters"' >"$DIR/tokens"
    # one member's disk is small, and one server's identities are everybody's
    mkdir -p "$DIR/e3/data" && mount -t tmpfs -o size=256m,mode=700 tmpfs "$DIR/e3/data" || return
    for name in "${MEMBERS[@]}"; do launch "$name"; done
    for name in "${MEMBERS[@]}"; do until_true 20 etcd_well "$name" || return; done
    launch s1
    until_true 20 server_well s1 || { cat "$DIR/s1/log"; return 1; }
    for name in s2 s3; do
        mkdir -p "$DIR/$name/data"
        cp -a "$DIR/s1/data/pki" "$DIR/$name/data/"
        launch "$name"
    done
    for name in "${SERVERS[@]}"; do until_true 20 server_well "$name" || { cat "$DIR/$name/log"; return 1; }; done
    cp "$DIR/s1/data/admin.kubeconfig" "$DIR/kubeconfig"
    cp "$DIR/s1/data/pki/ca.crt" "$DIR/ca.crt" || return
    [ "$REAL" != 1 ] || real_join
    for name in "${NODES[@]}"; do launch "$name"; done
    until_true 30 nodes_ready || { kube s1 get nodes; return 1; }
}

nodes_ready() {
    [ "$(kube s1 get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}')" = "True True" ]
}

cluster_stop() {
    local name
    for name in "${!PID[@]}"; do
        kill9 "$name"
    done
    [ "$REAL" != 1 ] || "$SKIFF" down --name "$NET" --kubeconfig "$DIR/up.kubeconfig" >/dev/null 2>&1
    umount "$DIR/e3/data" 2>/dev/null
    net_close
}
