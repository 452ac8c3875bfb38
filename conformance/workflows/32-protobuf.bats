#!/usr/bin/env bats
# Kubernetes' binary encoding, as Go's clients ask for it: what is answered in it can be sent back as it is. (The bytes
# themselves are compared with Go's in openapi/protobuf_encode_test.c.)

load ../server

setup_file() {
    load ../server
    server_up "$BATS_FILE_TMPDIR/s" --disable controllers,scheduler
}

teardown_file() {
    load ../server
    server_down "$BATS_FILE_TMPDIR/s"
}

setup() {
    load ../server
    SERVER=$(cat "$BATS_FILE_TMPDIR/s/url")
    cd "$BATS_TEST_TMPDIR"
}

PROTOBUF=application/vnd.kubernetes.protobuf

get() { # PATH [curl flag …]: into the file `body`; CODE and KIND (content type)
    local path=$1 out
    shift
    out=$(curl -sk --max-time 30 -H 'Authorization: Bearer admin-token' -o body -w '%{http_code} %{content_type}' "$@" "$SERVER$path")
    CODE=${out%% *} KIND=${out#* }
}

magic() { [ "$(head -c 4 "${1:-body}" | od -An -tx1 | tr -d ' \n')" = 6b387300 ]; }

holds() { grep -qaF -- "$1" "${2:-body}"; }

@test "an object there and back" {
    answers 201 .kind ConfigMap POST /api/v1/namespaces/default/configmaps \
        '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","labels":{"b":"2","a":"1"}},"data":{"k":"hunter2"}}'
    get /api/v1/namespaces/default/configmaps/c -H "Accept: $PROTOBUF,application/json"
    [ "$CODE $KIND" = "200 $PROTOBUF" ]
    magic
    holds hunter2
    mv body first
    sed 's/hunter2/hunter3/' first >second
    get /api/v1/namespaces/default/configmaps/c -X PUT -H "Content-Type: $PROTOBUF" -H "Accept: $PROTOBUF" --data-binary @second
    [ "$CODE $KIND" = "200 $PROTOBUF" ]
    holds hunter3
    answers 200 .data.k hunter3 GET /api/v1/namespaces/default/configmaps/c
    answers 200 '.metadata.labels | keys | join(",")' a,b GET /api/v1/namespaces/default/configmaps/c
    get /api/v1/namespaces/default/configmaps/c -X PUT -H "Content-Type: $PROTOBUF" -H "Accept: $PROTOBUF" --data-binary @first
    [ "$CODE $KIND" = "409 $PROTOBUF" ] # the revision of before
    magic
    holds 'the object has been modified'
}

@test "lists, pages, other versions" {
    for i in 1 2 3; do
        answers 201 .kind Secret POST /api/v1/namespaces/default/secrets \
            '{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s'$i'"},"stringData":{"a":"word-'$i'"}}'
    done
    get /api/v1/namespaces/default/secrets -H "Accept: $PROTOBUF"
    [ "$CODE $KIND" = "200 $PROTOBUF" ]
    magic && holds SecretList && holds word-1 && holds word-2 && holds word-3
    get '/api/v1/namespaces/default/secrets?limit=2' -H "Accept: $PROTOBUF"
    holds word-2
    ! holds word-3
    get '/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Ds2' -H "Accept: $PROTOBUF"
    holds word-2
    ! holds word-1
    answers 201 .kind HorizontalPodAutoscaler POST /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers \
        '{"kind":"HorizontalPodAutoscaler","apiVersion":"autoscaling/v2","metadata":{"name":"h"},"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"}}}'
    for version in v1 v2; do
        get /apis/autoscaling/$version/namespaces/default/horizontalpodautoscalers -H "Accept: $PROTOBUF"
        [ "$CODE $KIND" = "200 $PROTOBUF" ]
        holds "autoscaling/$version"
    done
}

bytes_at() { # FILE OFFSET COUNT: in hexadecimal
    tail -c +$(($2 + 1)) "$1" | head -c "$3" | od -An -v -tx1 | tr -d ' \n'
}

# varint FILE OFFSET: sets VALUE and NEXT, the offset behind it
varint() {
    local byte shift=0
    VALUE=0 NEXT=$2
    while :; do
        byte=$((16#$(bytes_at "$1" "$NEXT" 1)))
        NEXT=$((NEXT + 1)) VALUE=$((VALUE | (byte & 127) << shift)) shift=$((shift + 7))
        [ $byte -ge 128 ] || return 0
    done
}

# items FILE: what lies behind the list's metadata; the lengths in front are right
items() {
    local file=$1 size
    size=$(wc -c <"$file")
    varint "$file" 5                    # of the type
    varint "$file" $((NEXT + VALUE + 1)) # of the list
    [ $((NEXT + VALUE + 4)) = "$size" ] || { echo "$((NEXT + VALUE + 4)) bytes announced, $size sent" >&2; return 1; }
    local end=$((size - 4))
    varint "$file" $((NEXT + 1)) # of its metadata
    tail -c +$((NEXT + VALUE + 1)) "$file" | head -c $((end - NEXT - VALUE))
}

@test "a list of 3,000 pods, item by item: byte for byte its pages" {
    local after
    ask POST /api/v1/namespaces/default/serviceaccounts '{"metadata":{"name":"default"}}' # no controller makes it here
    awk -v url="$SERVER/api/v1/namespaces/default/pods" 'BEGIN {
        for (i = 0; i < 600; i++) pad = pad "x"
        for (i = 1; i <= 3000; i++)
            printf "%sinsecure\nurl = \"%s\"\noutput = /dev/null\nwrite-out = \"%%{http_code}\\n\"\nheader = \"Authorization: Bearer admin-token\"\nheader = \"Content-Type: application/json\"\ndata = \"{\\\"metadata\\\":{\\\"name\\\":\\\"many-%d\\\",\\\"labels\\\":{\\\"odd\\\":\\\"%d\\\"},\\\"annotations\\\":{\\\"a\\\":\\\"%s\\\"}},\\\"spec\\\":{\\\"containers\\\":[{\\\"name\\\":\\\"c\\\",\\\"image\\\":\\\"i\\\"}]}}\"\n",
                (i > 1 ? "next\n" : ""), url, i, i % 2, pad
    }' >creations
    curl --no-progress-meter --parallel --parallel-max 32 -K creations >codes
    [ "$(grep -c 201 codes)" = 3000 ] || { sort codes | uniq -c; return 1; }
    for selector in "" "labelSelector=odd%3D1"; do
        : >pages
        get "/api/v1/namespaces/default/pods?$selector" -H "Accept: $PROTOBUF,application/json"
        [ "$CODE $KIND" = "200 $PROTOBUF" ]
        items body >whole
        [ "$(wc -c <whole)" -gt 1300000 ] # more than is held
        after=
        while :; do
            get "/api/v1/namespaces/default/pods?limit=700&$selector$after" -H "Accept: $PROTOBUF"
            items body >>pages
            ask GET "/api/v1/namespaces/default/pods?limit=700&$selector$after"
            after=$(jq -r '.metadata.continue // ""' <<<"$BODY")
            [ -n "$after" ] || break
            after="&continue=$after"
        done
        cmp whole pages
    done
    get "/api/v1/namespaces/default/pods?limit=2500" -H "Accept: $PROTOBUF"
    items body >page
    cmp -n "$(wc -c <page)" page <(get "/api/v1/namespaces/default/pods" -H "Accept: $PROTOBUF" && items body)
}

@test "a watch: frames with their length in front" {
    answers 201 .kind ConfigMap POST /api/v1/namespaces/default/configmaps \
        '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"w","labels":{"watch":"me"}},"data":{"k":"first-event"}}'
    get '/api/v1/namespaces/default/configmaps?watch=1&labelSelector=watch&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true' \
        -H "Accept: $PROTOBUF,application/json"
    [ "$CODE $KIND" = "200 $PROTOBUF;stream=watch" ]
    local len
    len=$((16#$(head -c 4 body | od -An -tx1 | tr -d ' \n')))
    tail -c +5 body | head -c "$len" >event
    [ "$(wc -c <event)" = "$len" ]
    [ "$(head -c 7 event)" = $'\n\x05ADDED' ]
    holds first-event event
    tail -c +$((len + 9)) body >rest # the next one's length left out
    [ "$(head -c 10 rest)" = $'\n\x08BOOKMARK' ]
    holds k8s.io/initial-events-end rest
}

@test "metadata alone" {
    local as='as=PartialObjectMetadata;g=meta.k8s.io;v=v1'
    get /api/v1/namespaces/default/configmaps/c -H "Accept: $PROTOBUF;$as,application/json;$as,application/json"
    [ "$CODE $KIND" = "200 $PROTOBUF" ]
    magic && holds PartialObjectMetadata && holds meta.k8s.io/v1
    ! holds hunter2
    as='as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
    get /apis/apiextensions.k8s.io/v1/customresourcedefinitions -H "Accept: $PROTOBUF;$as,application/json;$as,application/json"
    [ "$CODE $KIND" = "200 $PROTOBUF" ]
    magic && holds PartialObjectMetadataList
}

@test "what has no binary form, and what nobody speaks" {
    get /apis/apiextensions.k8s.io/v1/customresourcedefinitions -H "Accept: $PROTOBUF,application/json"
    [ "$CODE $KIND" = "200 application/json" ]
    get /apis/apiextensions.k8s.io/v1/customresourcedefinitions -H "Accept: $PROTOBUF"
    [ "$CODE" = 406 ]
    holds 'only the following media types are accepted: application/json, application/yaml"'
    get /api/v1/pods -H 'Accept: text/html'
    [ "$CODE" = 406 ]
    holds "only the following media types are accepted: application/json, application/yaml, $PROTOBUF"
    get /api/v1/pods -H 'Accept: */*'
    [ "$KIND" = application/json ]
}
