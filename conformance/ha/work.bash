# What people do meanwhile, with kubectl: Services come and go, Deployments roll out and are scaled, ConfigMaps are made.
# What was acknowledged is written down in DIR/work. Sourced by run.

work_services() { # Services of two kinds: a cluster address each, a node port every other one
    local i=0 kind name
    while [ ! -e "$DIR/work/stop" ]; do
        name=svc-$((++i))
        kind=clusterip
        ((i % 2)) || kind=nodeport
        kube "$(any_server)" -n work create service "$kind" "$name" --tcp=80:8080 >/dev/null 2>&1 && echo "$name" >>"$DIR/work/services"
        if ((i % 3 == 0)); then
            name=svc-$((i / 3))
            echo "$name" >>"$DIR/work/given-up" # a deletion that is not acknowledged may have been made
            kube "$(any_server)" -n work delete service "$name" --wait=false >/dev/null 2>&1 && echo "$name" >>"$DIR/work/deleted"
        fi
        sleep 0.2
    done
}

work_deployments() {
    local i=0 name
    while [ ! -e "$DIR/work/stop" ]; do
        name=web-$((++i % 3))
        case $((RANDOM % 3)) in
        0) kube "$(any_server)" -n work scale deployment "$name" --replicas=$((RANDOM % 4 + 2)) ;;
        1) kube "$(any_server)" -n work rollout restart deployment "$name" ;;
        2) kube "$(any_server)" -n work delete pods -l "app=$name" --wait=false --grace-period=0 ;;
        esac >/dev/null 2>&1
        sleep 0.7
    done
}

work_configmaps() {
    local i=0
    while [ ! -e "$DIR/work/stop" ]; do
        i=$((i + 1))
        kube "$(any_server)" -n work create configmap "w-$i" --from-literal=n=$i >/dev/null 2>&1 && echo "w-$i" >>"$DIR/work/configmaps"
        sleep 0.1
    done
}

work_start() {
    local name
    mkdir -p "$DIR/work"
    touch "$DIR/work/services" "$DIR/work/given-up" "$DIR/work/deleted" "$DIR/work/configmaps"
    kube s1 create namespace work >/dev/null || return
    for name in web-0 web-1 web-2; do
        kube s2 -n work create deployment "$name" --image=busybox:1.36 --replicas=3 --dry-run=client -o json -- sleep 100000 |
            jq '.spec.template.spec.terminationGracePeriodSeconds = 0' | kube s2 -n work create -f - >/dev/null || return
    done
    WORK=()
    for name in services deployments configmaps; do
        "work_$name" 3>&- &
        WORK+=($!)
    done
}

work_stop() {
    touch "$DIR/work/stop"
    wait "${WORK[@]}"
}

names() { # SERVER KIND
    kube "$1" -n work get "$2" -o name | sed 's|.*/||' | sort
}

# Everything acknowledged, and not asked away, is on every server; nothing that was deleted is.
work_check() {
    local server kind bad=0
    sort -u "$DIR/work/deleted" >"$DIR/work/deleted.sorted"
    sort -u "$DIR/work/given-up" >"$DIR/work/given-up.sorted"
    for server in "${SERVERS[@]}"; do
        for kind in services configmaps; do
            names "$server" $kind >"$DIR/work/there" || return
            sort "$DIR/work/$kind" | comm -23 - "$DIR/work/given-up.sorted" | comm -23 - "$DIR/work/there" >"$DIR/work/lost"
            [ ! -s "$DIR/work/lost" ] || { echo "$server lost $kind: $(tr '\n' ' ' <"$DIR/work/lost")"; bad=1; }
            comm -12 "$DIR/work/there" "$DIR/work/deleted.sorted" >"$DIR/work/back"
            [ $kind != services ] || [ ! -s "$DIR/work/back" ] || { echo "$server still has services: $(tr '\n' ' ' <"$DIR/work/back")"; bad=1; }
        done
        kube "$server" get services -A -o json |
            jq -r '.items[].spec | (.clusterIPs // [])[], (.ports[].nodePort // empty | tostring)' | grep -v None | sort | uniq -d >"$DIR/work/twice"
        [ ! -s "$DIR/work/twice" ] || { echo "$server has addresses or ports twice: $(tr '\n' ' ' <"$DIR/work/twice")"; bad=1; }
    done
    return $bad
}

# Controllers, scheduler and agents work again: every Deployment has what it wants, no more and no less.
work_converged() {
    kube "$(any_server)" -n work get deployments,pods -o json | jq -e '
        [.items[] | select(.kind == "Deployment")] as $deployments
        | [.items[] | select(.kind == "Pod" and .metadata.deletionTimestamp == null)] as $pods
        | ($deployments | length == 3)
          and ($deployments | all(.status.availableReplicas == .spec.replicas and .status.observedGeneration == .metadata.generation))
          and ($pods | length) == ($deployments | map(.spec.replicas) | add)' >/dev/null
}
