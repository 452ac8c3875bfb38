# What goes wrong, one thing at a time: a fault is a word and its arguments, done by break_WORD and undone by mend_WORD.
# Sourced by run.

others_of() { # NAME: the rest of its kind
    local one list=("${SERVERS[@]}")
    case $1 in e?) list=("${MEMBERS[@]}") ;; n?) list=("${NODES[@]}") ;; esac
    for one in "${list[@]}"; do [ "$one" = "$1" ] || echo "$one"; done
}

etcd_leader() {
    local name
    for name in "${MEMBERS[@]}"; do
        [ "$(ETCDCTL_API=3 in_net client etcdctl --endpoints "http://${ADDRESS[$name]}:2379" --command-timeout 2s endpoint status -w json 2>/dev/null |
            jq '.[0].Status | .header.member_id == .leader')" != true ] || echo "$name"
    done | head -n 1
}

# the server whose controllers run: holders are called after their hosts
controllers_leader() {
    local holder
    holder=$(kube "$(any_server)" -n kube-system get lease kube-controller-manager -o jsonpath='{.spec.holderIdentity}' 2>/dev/null)
    [[ ! $holder =~ ^(s[0-9])_ ]] || echo "${BASH_REMATCH[1]}"
}

break_kill() { kill9 "$1"; }
mend_kill() { launch "$1"; }

break_stop() { [ -z "${PID[$1]}" ] || kill -STOP "${PID[$1]}"; }
mend_stop() { [ -z "${PID[$1]}" ] || kill -CONT "${PID[$1]}"; }

# cut NAME WAY WHOM: members among themselves, servers from members, servers from nodes and clients, …
break_cut() {
    local whom=()
    case $3 in
    peers) mapfile -t whom < <(others_of "$1") ;;
    members) whom=("${MEMBERS[@]}") ;;
    servers) whom=("${SERVERS[@]}") ;;
    users) whom=("${NODES[@]}" client) ;;
    all) whom=("${MEMBERS[@]}" "${SERVERS[@]}" "${NODES[@]}" client) ;;
    esac
    net_cut "$1" "$2" "${whom[@]}"
}
mend_cut() { net_mend "$1"; }

# the disk of a member is full, and what is written does not fit: it dies of it, and is started again when there is room
break_full() {
    local i
    dd if=/dev/zero of="$DIR/$1/data/filler" bs=1M 2>/dev/null
    for i in $(seq 24); do
        head -c 1000000 /dev/zero | tr '\0' x | ETCDCTL_API=3 in_net client timeout 5 etcdctl --endpoints "$(urls 2379 "${MEMBERS[@]}")" put "/filler/$i"
    done >/dev/null 2>&1
}
mend_full() {
    rm -f "$DIR/$1/data/filler"
    if alive "$1"; then
        say "$1 went on with a full disk"
    else
        say "$1 had died of it: $(grep -m 1 'no space' "$DIR/$1/log" | cut -c1-160)"
        launch "$1"
    fi
    ETCDCTL_API=3 in_net client etcdctl --endpoints "$(urls 2379 "${MEMBERS[@]}")" del --prefix /filler/ >/dev/null 2>&1
}

break_killall() {
    local name
    for name; do [ -z "${PID[$name]}" ] || kill -9 "${PID[$name]}" 2>/dev/null; done
    for name; do wait "${PID[$name]}" 2>/dev/null; done
}
mend_killall() {
    local name
    for name; do launch "$name"; done
}

# whoever leads when it happens
break_etcd_leader() { TARGET=$(etcd_leader); TARGET=${TARGET:-e1}; "break_$1" "$TARGET" "${@:2}"; }
mend_etcd_leader() { "mend_$1" "$TARGET" "${@:2}"; }
break_leader() { TARGET=$(controllers_leader); TARGET=${TARGET:-s1}; "break_$1" "$TARGET" "${@:2}"; }
mend_leader() { "mend_$1" "$TARGET" "${@:2}"; }

# every fault there is: each process killed and stopped, each partition, a full disk
faults() {
    local name way
    for name in "${MEMBERS[@]}" "${SERVERS[@]}" "${NODES[@]}"; do
        echo "kill $name"
        echo "stop $name"
    done
    for name in "${MEMBERS[@]}"; do
        for way in both in out; do echo "cut $name $way peers"; done
        echo "cut $name both servers"
    done
    for name in "${SERVERS[@]}"; do
        for way in both in out; do echo "cut $name $way members"; done
        echo "cut $name both all"
        echo "cut $name out users"
    done
    for name in "${NODES[@]}"; do echo "cut $name both servers"; done
    for way in kill stop "cut both members" "cut in members" "cut out members" "cut both all"; do echo "leader $way"; done
    for way in kill stop "cut both peers" "cut in all"; do echo "etcd_leader $way"; done
    echo "full e3"
    echo "killall ${MEMBERS[*]}"
    echo "killall ${SERVERS[*]}"
    echo "killall ${MEMBERS[*]} ${SERVERS[*]} ${NODES[*]}"
}

# the most telling of them, for when time is short
few_faults() {
    cat <<'FEW'
leader kill
leader stop
leader cut both members
leader cut in members
etcd_leader kill
etcd_leader stop
etcd_leader cut both peers
etcd_leader cut in all
cut e1 out peers
cut s2 both all
stop s3
kill n1
stop n2
full e3
killall e1 e2 e3
killall s1 s2 s3
FEW
}
