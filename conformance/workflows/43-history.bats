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
    for i in $(seq 100); do
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
    start --etcd-compaction-interval 2s
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
