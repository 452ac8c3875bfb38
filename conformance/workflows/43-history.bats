#!/usr/bin/env bats
# The past can be read for as long as it is kept, and clients learn what to do when it is not: lists in pages, watches from
# old revisions, objects as large as they may be, and readers too slow for all of it.

load ../server

setup() {
    load ../server
    DIR=$BATS_TEST_TMPDIR/s
    export KUBECONFIG=$DIR/data/admin.kubeconfig
}

teardown() {
    [ ! -e "$DIR/readers" ] || kill -9 $(cat "$DIR/readers") 2>/dev/null || true
    [ ! -e "$DIR/pid" ] || server_down "$DIR"
}

start() { # [flag …]
    server_up "$DIR" --disable controllers,scheduler "$@"
    SERVER=$(cat "$DIR/url")
}

CONFIGMAPS=/api/v1/namespaces/default/configmaps

config_maps() { # COUNT
    for i in $(seq "$1"); do
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%02d, labels: {odd: "%d"}}\ndata: {n: "%d"}\n---\n' "$i" $((i % 2)) "$i"
    done | kubectl create -f - >/dev/null
}

# Writes go on until the store has forgotten REVISION.
forgotten() { # REVISION
    for i in $(seq 300); do
        kubectl annotate configmap c01 --overwrite "n=$i" >/dev/null
        ask GET "$CONFIGMAPS?resourceVersion=$1&resourceVersionMatch=Exact&limit=1"
        [ "$CODE" != 410 ] || return 0
        sleep 0.1
    done
    return 1
}

EXPIRED_LIST='The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.'

@test "pages are of one revision, whatever is written meanwhile" {
    start
    config_maps 30
    answers 200 '[(.items | length), .metadata.remainingItemCount]' '[10,20]' GET "$CONFIGMAPS?limit=10"
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    token=$(jq -r .metadata.continue <<<"$BODY")
    kubectl delete configmap c15 c25 >/dev/null
    kubectl create configmap c125 >/dev/null
    kubectl annotate configmap c20 changed=yes >/dev/null
    answers 200 '[.items[].metadata | .name + (.annotations.changed // "")] | join(" ")' \
        'c11 c12 c13 c14 c15 c16 c17 c18 c19 c20' GET "$CONFIGMAPS?limit=10&continue=$token"
    [ "$(jq -r .metadata.resourceVersion <<<"$BODY")" = "$revision" ]
    [ "$(jq -r .metadata.remainingItemCount <<<"$BODY")" = 10 ]
    token=$(jq -r .metadata.continue <<<"$BODY")
    answers 200 '[(.items | length), .items[4].metadata.name, .metadata.continue, .metadata.remainingItemCount]' \
        '[10,"c25",null,null]' GET "$CONFIGMAPS?limit=10&continue=$token"
    # with a selector nobody counts
    answers 200 '[(.items | length), .metadata.remainingItemCount, (.metadata.continue | length > 0)]' '[5,null,true]' \
        GET "$CONFIGMAPS?limit=5&labelSelector=odd%3D1"
    # no more than there are: no token
    answers 200 '[(.items | length), .metadata.continue]' '[29,null]' GET "$CONFIGMAPS?limit=29"
    # kubectl makes pages of its own
    kubectl get configmaps --chunk-size=4 -o name >"$DIR/names"
    [ "$(wc -l <"$DIR/names")" = 29 ]
    [ "$(sort -u "$DIR/names" | wc -l)" = 29 ]
    # a token goes with its list
    answers 400 .message 'specifying resource version is not allowed when using continue' GET \
        "$CONFIGMAPS?limit=10&continue=$token&resourceVersion=$revision"
    answers 400 .reason BadRequest GET "$CONFIGMAPS?limit=10&continue=bm90IGEgdG9rZW4"
}

@test "pages go on after a restart" {
    start
    config_maps 10
    ask GET "$CONFIGMAPS?limit=4"
    token=$(jq -r .metadata.continue <<<"$BODY")
    kubectl delete configmap c06 >/dev/null
    server_down "$DIR"
    start
    answers 200 '[.items[].metadata.name] | join(" ")' 'c05 c06 c07 c08' GET "$CONFIGMAPS?limit=4&continue=$token"
}

@test "a token that is too old comes back with one to go on with" {
    start --etcd-compaction-interval 1s
    config_maps 30
    ask GET "$CONFIGMAPS?limit=10"
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    token=$(jq -r .metadata.continue <<<"$BODY")
    kubectl delete configmap c15 >/dev/null
    forgotten "$revision"
    answers 410 '[.kind, .status, .reason, .message]' \
        "$(jq -cn --arg m "$EXPIRED_LIST" '["Status","Failure","Expired",$m]')" GET "$CONFIGMAPS?limit=10&continue=$token"
    [ "$(jq -c '.metadata | keys' <<<"$BODY")" = '["continue"]' ]
    token=$(jq -r .metadata.continue <<<"$BODY")
    answers 200 '[.items[].metadata.name] | join(" ")' 'c11 c12 c13 c14 c16 c17 c18 c19 c20 c21' GET \
        "$CONFIGMAPS?limit=10&continue=$token"
    # from here on the list is of one revision again
    [ "$(jq -r .metadata.resourceVersion <<<"$BODY")" -gt "$revision" ]
    token=$(jq -r .metadata.continue <<<"$BODY")
    answers 200 '[.items | length, .[0].metadata.name]' '[9,"c22"]' GET "$CONFIGMAPS?limit=10&continue=$token"
    refused 410 Expired 'The resourceVersion for the provided list is too old.' '' GET \
        "$CONFIGMAPS?resourceVersion=$revision&resourceVersionMatch=Exact"
    # not older than that is no wish for the past
    answers 200 '.items | length' 29 GET "$CONFIGMAPS?resourceVersion=$revision&resourceVersionMatch=NotOlderThan"
    answers 504 '[.reason, .details.causes[0].reason, .details.retryAfterSeconds]' '["Timeout","ResourceVersionTooLarge",1]' \
        GET "$CONFIGMAPS?resourceVersion=99999999&resourceVersionMatch=NotOlderThan"
}

@test "kubectl get in chunks says so when the list has become too old" {
    start --etcd-compaction-interval 1s
    config_maps 60
    # kubectl is stopped between two of its pages
    kubectl get configmaps --chunk-size=1 -o name >"$DIR/names" 2>"$DIR/said" 3>&- &
    pid=$!
    kill -STOP $pid
    ask GET "$CONFIGMAPS?limit=1"
    forgotten "$(jq -r .metadata.resourceVersion <<<"$BODY")"
    kill -CONT $pid
    wait $pid || cat "$DIR/said"
    # all of them, or upstream's words
    [ "$(wc -l <"$DIR/names")" = 60 ] || grep -q 'too old' "$DIR/said"
    # the next one is whole
    [ "$(kubectl get configmaps --chunk-size=1 -o name | wc -l)" = 60 ]
}

@test "a watch begins in the past, or is told in the stream that it cannot" {
    start --etcd-compaction-interval 8s
    config_maps 3
    ask GET "$CONFIGMAPS?limit=1"
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    kubectl label configmap c02 x=1 >/dev/null
    kubectl delete configmap c03 >/dev/null
    ask GET "$CONFIGMAPS?watch=1&resourceVersion=$revision&timeoutSeconds=1"
    [ "$CODE" = 200 ]
    [ "$(jq -rs '[.[] | .type + " " + .object.metadata.name] | join(", ")' <<<"$BODY")" = 'MODIFIED c02, DELETED c03' ]
    [ "$(kubectl get --raw "$CONFIGMAPS?watch=1&resourceVersion=$revision&timeoutSeconds=1" | wc -l)" = 2 ]
    forgotten "$revision"
    for path in "$CONFIGMAPS?watch=1" "/api/v1/watch/namespaces/default/configmaps?x=1" "$CONFIGMAPS?watch=1&fieldSelector=metadata.name%3Dc02"; do
        ask GET "$path&resourceVersion=$revision&timeoutSeconds=5"
        [ "$CODE" = 200 ]
        [ "$(jq -c '[.type, (.object | .kind, .apiVersion, .metadata, .status, .reason, .code)]' <<<"$BODY")" = \
            '["ERROR","Status","v1",{},"Failure","Expired",410]' ]
        [[ "$(jq -r .object.message <<<"$BODY")" =~ ^'too old resource version: '$revision' ('[0-9]+')'$ ]]
    done
    kubectl get --raw "$CONFIGMAPS?watch=1&resourceVersion=$revision" | grep -q 'too old resource version'
}

large_pod() { # NAME BYTES: of one environment variable
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","labels":{"size":"large"}},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"PAD","value":"%s"}]}]}}' \
        "$1" "$(head -c "$2" /dev/zero | tr '\0' x)"
}

@test "objects as large as they may be, and larger ones" {
    start
    kubectl create serviceaccount default >/dev/null || true
    ask GET "/api/v1/namespaces/default/pods?limit=1"
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    large_pod big 1400000 >"$DIR/big.json"
    kubectl create -f "$DIR/big.json"
    [ "$(kubectl get pod big -o json | jq '.spec.containers[0].env[0].value | length')" = 1400000 ]
    kubectl label pod big more=yes
    kubectl patch pod big -p '{"metadata":{"annotations":{"a":"b"}}}'
    for i in 1 2 3 4; do
        large_pod "big-$i" 1300000 | kubectl create -f -
    done
    [ "$(kubectl get pods -o json | jq '[.items[].spec.containers[0].env[0].value | length] | add')" = 6600000 ]
    kubectl get --raw "/api/v1/namespaces/default/pods?watch=1&resourceVersion=$revision&timeoutSeconds=2" >"$DIR/events"
    [ "$(jq -rs '[.[] | .type + " " + .object.metadata.name + " " + (.object.spec.containers[0].env[0].value | length | tostring)] | join(", ")' "$DIR/events")" = \
        'ADDED big 1400000, MODIFIED big 1400000, MODIFIED big 1400000, ADDED big-1 1300000, ADDED big-2 1300000, ADDED big-3 1300000, ADDED big-4 1300000' ]
    kubectl delete pods -l size=large --now >/dev/null
    # all of it comes back after a restart, too
    kubectl create -f "$DIR/big.json"
    server_down "$DIR"
    start
    [ "$(kubectl get pod big -o json | jq '.spec.containers[0].env[0].value | length')" = 1400000 ]
    # in etcd's words where etcd would say no, in the API server's where it would not even ask
    large_pod larger 1600000 >"$DIR/larger.json"
    run kubectl create -f "$DIR/larger.json"
    [ "$status" = 1 ]
    [ "$output" = "Error from server: error when creating \"$DIR/larger.json\": etcdserver: request is too large" ]
    refused 500 '' 'etcdserver: request is too large' '' POST /api/v1/namespaces/default/pods @"$DIR/larger.json"
    large_pod largest 3200000 >"$DIR/largest.json"
    run kubectl create -f "$DIR/largest.json"
    [ "$status" = 1 ]
    [ "$output" = "Error from server (RequestEntityTooLarge): error when creating \"$DIR/largest.json\": Request entity too large: limit is 3145728" ]
    refused 413 RequestEntityTooLarge 'Request entity too large: limit is 3145728' '' POST /api/v1/namespaces/default/pods @"$DIR/largest.json"
    head -c 1048576 /dev/zero | tr '\0' x >"$DIR/mib"
    kubectl create configmap full --from-file=d="$DIR/mib"
    [ "$(kubectl get configmap full -o json | jq '.data.d | length')" = 1048576 ]
    printf x >>"$DIR/mib"
    run kubectl create configmap fuller --from-file=d="$DIR/mib"
    [ "$status" = 1 ]
    echo "$output" | cut -c1-300
    [[ "$output" == *'ConfigMap "fuller" is invalid: []: Too long: may not be more than 1048576 bytes' ]]
}

# (WATCH_EVENTS says how many; the default is for quick runs.) Updates of one object, 4 KB each, many at a time on few connections.
updates() { # FROM TO
    awk -v from="$1" -v to="$2" -v url="$SERVER$CONFIGMAPS/busy" 'BEGIN {
        for (i = 0; i < 4000; i++) pad = pad "x"
        for (i = from; i <= to; i++)
            printf "%sinsecure\nurl = \"%s\"\nrequest = PUT\noutput = /dev/null\nheader = \"Authorization: Bearer admin-token\"\nheader = \"Content-Type: application/json\"\ndata = \"{\\\"metadata\\\":{\\\"name\\\":\\\"busy\\\"},\\\"data\\\":{\\\"n\\\":\\\"%d\\\",\\\"pad\\\":\\\"%s\\\"}}\"\n",
                (i > from ? "next\n" : ""), url, i, pad
    }' >"$DIR/updates"
    curl --no-progress-meter --parallel --parallel-immediate --parallel-max 32 -K "$DIR/updates"
}

# Memory of its own: code comes and goes with what runs.
rss_kb() { awk '/^RssAnon/ {print $2}' "/proc/$(cat "$DIR/pid")/status"; }

@test "a watcher that stops reading costs nothing and misses nothing" {
    local n=${WATCH_EVENTS:-20000} warm=5000
    start --etcd-compaction-interval 10m
    kubectl create configmap busy >/dev/null
    updates 1 $warm
    ask GET "$CONFIGMAPS/busy"
    revision=$(jq -r .metadata.resourceVersion <<<"$BODY")
    for name in stopped live; do
        curl -skN -H 'Authorization: Bearer admin-token' "$SERVER$CONFIGMAPS?watch=1&resourceVersion=$revision" >"$DIR/$name" 3>&- &
        printf '%s\n' $! | tee "$DIR/$name.pid" >>"$DIR/readers"
    done
    sleep 0.5
    kill -STOP "$(cat "$DIR/stopped.pid")"
    before=$(rss_kb)
    updates $((warm + 1)) $((warm + n))
    after=$(rss_kb)
    # whoever reads has seen it all
    for _ in $(seq 100); do
        [ "$(wc -l <"$DIR/live")" -lt "$n" ] || break
        sleep 0.1
    done
    wc -l "$DIR/live" "$DIR/stopped"
    tail -n 1 "$DIR/live" | cut -c1-300
    [ "$(wc -l <"$DIR/live")" = "$n" ]
    [ "$(wc -l <"$DIR/stopped")" -lt $((n / 4)) ]
    echo "RSS $before KB, with one watcher $n events behind $after KB"
    [ $((after - before)) -lt 32768 ]
    # and goes on where it was: nothing twice, nothing left out, nothing out of order
    kill -CONT "$(cat "$DIR/stopped.pid")"
    for _ in $(seq 300); do
        [ "$(wc -l <"$DIR/stopped")" -lt "$n" ] || break
        sleep 0.1
    done
    echo "RSS $(rss_kb) KB after it has caught up"
    [ $(($(rss_kb) - before)) -lt 49152 ]
    kill "$(cat "$DIR/stopped.pid")" "$(cat "$DIR/live.pid")"
    cmp "$DIR/live" "$DIR/stopped"
    grep -o '"resourceVersion":"[0-9]*"' "$DIR/live" | tr -dc '0-9\n' | sort -nuc
}

@test "a list whose reader stands still, or crawls, lets go of what it reads" {
    [ -n "${SLOW-}" ] || skip "takes a minute and a half (SLOW=1)"
    start
    kubectl create serviceaccount default >/dev/null || true
    for i in $(seq 24); do
        large_pod "pod-$i" 1400000 | kubectl create -f - >/dev/null
    done
    list() { exec curl -sk -H 'Authorization: Bearer admin-token' "$@" "$SERVER/api/v1/namespaces/default/pods"; }
    # 33 MB: one takes nothing, one far too little, one little but steadily enough
    list -o "$DIR/still" 3>&- &
    still=$!
    list -o "$DIR/crawls" --limit-rate 100k 3>&- &
    crawls=$!
    list -o "$DIR/walks" --limit-rate 500k 3>&- &
    walks=$!
    sleep 0.3
    kill -STOP $still
    before=$(rss_kb)
    echo $still $crawls $walks >"$DIR/readers"
    sleep 80
    echo "RSS $before KB, with three slow readers $(rss_kb) KB"
    [ $(($(rss_kb) - before)) -lt 16384 ]
    run wait $crawls
    [ "$status" != 0 ]
    kill -CONT $still
    run wait $still
    [ "$status" != 0 ]
    wait $walks
    [ "$(jq '.items | length' "$DIR/walks")" = 24 ]
}
