# A network of our own: a namespace with a bridge, and one for each member, joined to it. Nothing of it is seen by the
# host's network. Sourced by run.

NET=skiff-ha-$$ # what every namespace's name begins with
SUBNET=10.99.0
declare -A ADDRESS

BRIDGE=br0

net_open() {
    ip netns add "$NET-bridge" || return
    ip -n "$NET-bridge" link add $BRIDGE type bridge forward_delay 0
    ip -n "$NET-bridge" link set $BRIDGE up
}

net_name() { # NAME FILE: a namespace that somebody else made
    touch "/run/netns/$NET-$1" && mount --bind "$2" "/run/netns/$NET-$1"
}

net_join() { # NAME NUMBER
    ADDRESS[$1]=$SUBNET.$2
    ip netns add "$NET-$1" || return
    ip -n "$NET-$1" link set lo up
    ip -n "$NET-$1" link add eth0 type veth peer name "$1" netns "$NET-bridge"
    ip -n "$NET-$1" addr add "${ADDRESS[$1]}/24" dev eth0
    ip -n "$NET-$1" link set eth0 up
    ip -n "$NET-$1" route add default via "$SUBNET.1" 2>/dev/null
    ip -n "$NET-bridge" link set "$1" master $BRIDGE up
}

in_net() { # NAME COMMAND …
    ip netns exec "$NET-$1" "${@:2}"
}

# net_cut NAME both|in|out OTHER …: what comes from, or goes to, the others is dropped at NAME
net_cut() {
    local name=$1 way=$2 list
    shift 2
    list=$(for other; do printf '%s,' "${ADDRESS[$other]}"; done)
    {
        echo 'table ip cut {'
        [ "$way" = out ] || echo "chain input { type filter hook input priority 0; ip saddr { ${list%,} } drop; }"
        [ "$way" = in ] || echo "chain output { type filter hook output priority 0; ip daddr { ${list%,} } drop; }"
        echo '}'
    } | in_net "$name" nft -f -
}

net_mend() { # NAME
    in_net "$1" nft delete table ip cut
}

net_close() {
    local name
    for name in $(ip netns list | awk '{print $1}'); do
        [[ $name == "$NET"-* ]] || continue
        [ "$name" = "$NET-bridge" ] || ip netns pids "$name" | xargs -r kill -9 2>/dev/null # what was forgotten
        ip netns del "$name"
    done
}
