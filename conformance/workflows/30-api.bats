#!/usr/bin/env bats
# The API as a client meets it: every status, reason, message and cause as upstream gives it. Each test asks a control
# plane of its own (no nodes) by curl; `refused` compares the whole Status, `answers` what the filter picks.

load ../server

setup_file() {
    load ../server
    server_up "$BATS_FILE_TMPDIR" --store "${STORE:-memory}" --disable controllers,scheduler
}

teardown_file() {
    load ../server
    server_down "$BATS_FILE_TMPDIR"
}

setup() {
    load ../server
    SERVER=$(cat "$BATS_FILE_TMPDIR/url")
    NS=/api/v1/namespaces/t$BATS_TEST_NUMBER
    CM=$NS/configmaps
    ask POST /api/v1/namespaces '{"metadata":{"name":"t'"$BATS_TEST_NUMBER"'"}}'
}

cm() { # NAME [more members]
    echo "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"$1\"}${2-}}"
}

pod() { # NAME [more metadata [more spec]]
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"${2-}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]${3-}}}"
}

unrecognized() { echo "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: $1"; }

@test "paths that lead nowhere" {
    for path in /nope /api/v2/pods /apis/nope/v1/x /apis/apps/v9/deployments; do
        ask GET $path
        [ "$CODE" = 404 ]
        [ "$BODY" = "404 page not found" ]
    done
    none='the server could not find the requested resource'
    refused 404 NotFound "$none" '{}' GET /api/v1/widgets
    refused 404 NotFound "$none" '{}' GET $NS/widgets/x
    refused 404 NotFound "$none" '{}' GET $NS/configmaps/x/status
    refused 404 NotFound "$none" '{}' GET $NS/nodes
    not='the server does not allow this method on the requested resource'
    refused 405 MethodNotAllowed "$not" '{}' PUT $CM "$(cm a)"
    refused 405 MethodNotAllowed "$not" '{}' POST $CM/a "$(cm a)"
    TYPE=application/merge-patch+json refused 405 MethodNotAllowed "$not" '{}' PATCH $CM '{}'
    refused 405 MethodNotAllowed "$not" '{}' POST /api/v1/configmaps "$(cm a)"
}

@test "bodies that are not JSON, or not whole" {
    refused 400 BadRequest "$(unrecognized "unexpected end of JSON input ({)")" '' POST $CM '{'
    refused 400 BadRequest "$(unrecognized 'unexpected end of JSON input ({"kind":"ConfigMap","metadata" ...)')" '' POST $CM '{"kind":"ConfigMap","metadata":{"name":5}'
    refused 400 BadRequest "$(unrecognized "invalid character 'h' looking for beginning of value (68656c6c6f)")" '' POST $CM hello
    refused 400 BadRequest "$(unrecognized "unexpected end of JSON input (<empty>)")" '' POST $CM
    refused 400 BadRequest "$(unrecognized 'json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b5d)')" '' POST $CM '[]'
    { printf '{"apiVersion":"v1","kind":"ConfigMap","data":'; head -c 20000 /dev/zero | tr '\0' '['; } >"$BATS_TEST_TMPDIR/deep"
    refused 400 BadRequest "$(unrecognized "invalid character '[' exceeded max depth ({\"apiVersion\":\"v1\",\"kind\":\"Con ...)")" '' POST $CM "@$BATS_TEST_TMPDIR/deep"
}

@test "bodies that are too large, of another type, wanted in another" {
    head -c 3145729 /dev/zero | tr '\0' a >"$BATS_TEST_TMPDIR/big"
    refused 413 RequestEntityTooLarge 'Request entity too large: limit is 3145728' '' POST $CM "@$BATS_TEST_TMPDIR/big"
    refused 413 RequestEntityTooLarge 'Request entity too large: limit is 3145728' '' POST $CM "@$BATS_TEST_TMPDIR/big" --http1.1
    refused 413 RequestEntityTooLarge 'Request entity too large: limit is 3145728' '' POST $CM "@$BATS_TEST_TMPDIR/big" --http1.1 -H 'Transfer-Encoding: chunked'
    unknown='the body of the request was in an unknown format - accepted media types include: '
    TYPE=text/plain refused 415 UnsupportedMediaType "${unknown}application/json, application/yaml, application/vnd.kubernetes.protobuf" '' POST $CM "$(cm a)"
    TYPE=application/json-patch+json refused 415 UnsupportedMediaType "${unknown}application/json, application/yaml, application/vnd.kubernetes.protobuf" '' POST $CM "$(cm a)"
    TYPE=application/json answers 415 .reason UnsupportedMediaType PATCH $CM/a '{}'
    answers 406 .reason NotAcceptable GET $CM '' -H 'Accept: text/html'
    answers 406 .reason NotAcceptable GET $CM '' -H 'Accept: application/json;as=Nothing;g=meta.k8s.io;v=v1'
    answers 200 .kind ConfigMapList GET $CM '' -H 'Accept: text/html, */*;q=0.1'
}

@test "bodies of another kind or version" {
    registered() { echo "$1 in version \"${2##*/}\" cannot be handled as a ConfigMap: no kind \"$1\" is registered for version \"$2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""; }
    refused 400 BadRequest "$(registered configmap v1)" '' POST $CM '{"kind":"configmap","apiVersion":"v1"}'
    refused 400 BadRequest "$(registered ConfigMap apps/v1)" '' POST $CM '{"kind":"ConfigMap","apiVersion":"apps/v1"}'
    refused 400 BadRequest 'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion' '' POST $CM '{"kind":"Pod","apiVersion":"v1"}'
    refused 400 BadRequest 'Deployment in version "v1" cannot be handled as a Job: converting (v1.Deployment) to (batch.Job): unknown conversion' '' POST /apis/batch/v1/namespaces/default/jobs '{"kind":"Deployment","apiVersion":"apps/v1"}'
    refused 400 BadRequest 'the API version in the data (autoscaling/v2) does not match the expected API version (autoscaling/v1)' '' POST /apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers '{"kind":"HorizontalPodAutoscaler","apiVersion":"autoscaling/v2"}'
    refused 400 BadRequest 'the object provided is unrecognized (must be of type ConfigMap): unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c"})' '' POST $CM '{"apiVersion":"a/b/c"}'
}

@test "members of the wrong type" {
    wrong() { refused 400 BadRequest "$1 in version \"v1\" cannot be handled as a $1: $2" '' POST "$3" "$4"; }
    wrong ConfigMap 'json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string' $CM '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":5}}'
    wrong ConfigMap 'json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta' $CM '{"apiVersion":"v1","kind":"ConfigMap","metadata":[]}'
    wrong ConfigMap 'json: cannot unmarshal number into Go struct field ConfigMap.data of type string' $CM "$(cm a ',"data":{"a":1}')"
    wrong ConfigMap 'json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string' $CM "$(cm a ',"data":["a"]')"
    p='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":'
    wrong Pod 'json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container' $NS/pods "$p{}}}"
    wrong Pod 'json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32' $NS/pods "$p"'[{"ports":[{"containerPort":"80"}]}]}}'
    wrong Pod 'json: cannot unmarshal number 80.5 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32' $NS/pods "$p"'[{"ports":[{"containerPort":80.5}]}]}}'
    wrong Pod "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)\$'" $NS/pods "$p"'[{"resources":{"limits":{"cpu":"x1"}}}]}}'
    wrong Pod 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"' $NS/pods '{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"yesterday"}}'
}

@test "fields nobody knows: dropped, warned about, refused" {
    answers 201 .metadata.name ignored POST "$CM?fieldValidation=Ignore" "$(cm ignored ',"dota":{}')" -D "$BATS_TEST_TMPDIR/headers"
    ! grep -i '^warning:' "$BATS_TEST_TMPDIR/headers"
    answers 201 .dota null POST $CM "$(cm warned ',"dota":{},"data":{"a":"1","a":"2"}')" -D "$BATS_TEST_TMPDIR/headers"
    grep -F 'warning: 299 - "unknown field \"dota\""' "$BATS_TEST_TMPDIR/headers"
    grep -F 'warning: 299 - "duplicate field \"data.a\""' "$BATS_TEST_TMPDIR/headers"
    answers 400 .message 'strict decoding error: unknown field "dota", duplicate field "data.a"' POST "$CM?fieldValidation=Strict" "$(cm strict ',"dota":{},"data":{"a":"1","a":"2"}')"
    answers 422 .details.causes[0].field fieldValidation POST "$CM?fieldValidation=Bad" "$(cm strict)"
}

@test "names: bad, missing, generated, taken, not the path's" {
    dns="a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    cause=$(jq -cn --arg m "Invalid value: \"A_b\": $dns" '{name:"A_b",kind:"ConfigMap",causes:[{reason:"FieldValueInvalid",message:$m,field:"metadata.name"}]}')
    refused 422 Invalid "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": $dns" "$cause" POST $CM "$(cm A_b)"
    refused 422 Invalid 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required' \
        '{"kind":"ConfigMap","causes":[{"reason":"FieldValueRequired","message":"Required value: name or generateName is required","field":"metadata.name"}]}' POST $CM '{}'
    answers 201 '.metadata.name | test("^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$")' true POST $CM '{"metadata":{"generateName":"gen-"}}'
    answers 201 .metadata.name taken POST $CM "$(cm taken)"
    refused 409 AlreadyExists 'configmaps "taken" already exists' '{"name":"taken","kind":"configmaps"}' POST $CM "$(cm taken)"
    ask POST /apis/apps/v1${NS#/api/v1}/deployments "$(deployment d)"
    refused 409 AlreadyExists 'deployments.apps "d" already exists' '{"name":"d","group":"apps","kind":"deployments"}' POST /apis/apps/v1${NS#/api/v1}/deployments "$(deployment d)"
    refused 400 BadRequest 'the name of the object (other) does not match the name on the URL (taken)' '' PUT $CM/taken "$(cm other)"
    refused 400 BadRequest 'the namespace of the provided object does not match the namespace sent on the request' '' POST $CM '{"metadata":{"name":"a","namespace":"elsewhere"}}'
    refused 404 NotFound 'namespaces "nowhere" not found' '{"name":"nowhere","kind":"namespaces"}' POST /api/v1/namespaces/nowhere/configmaps "$(cm a)"
    refused 404 NotFound 'configmaps "absent" not found' '{"name":"absent","kind":"configmaps"}' PUT $CM/absent "$(cm absent)"
    refused 500 '' 'resourceVersion should not be set on objects to be created' '' POST $CM '{"metadata":{"name":"a","resourceVersion":"5"}}'
}

deployment() {
    echo "{\"metadata\":{\"name\":\"$1\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"${2-b}\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"${2-b}\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"
}

@test "updates: unconditional, stale, of what may not change" {
    modified='Operation cannot be fulfilled on configmaps "u": the object has been modified; please apply your changes to the latest version and try again'
    answers 201 .metadata.name u POST $CM "$(cm u)"
    first=$(jq -r .metadata.resourceVersion <<<"$BODY") uid=$(jq -r .metadata.uid <<<"$BODY")
    answers 200 .data.a 1 PUT $CM/u "$(cm u ',"data":{"a":"1"}')"
    refused 409 Conflict "$modified" '{"name":"u","kind":"configmaps"}' PUT $CM/u "{\"metadata\":{\"name\":\"u\",\"resourceVersion\":\"$first\"}}"
    refused 409 Conflict "Operation cannot be fulfilled on configmaps \"u\": Precondition failed: UID in precondition: none, UID in object meta: $uid" '{"name":"u","kind":"configmaps"}' PUT $CM/u '{"metadata":{"name":"u","uid":"none"}}'
    ask GET $CM/u
    before=$(jq -r .metadata.resourceVersion <<<"$BODY")
    answers 200 .metadata.resourceVersion "$before" PUT $CM/u "$(cm u ',"data":{"a":"1"}')"
    answers 200 .immutable true PUT $CM/u "$(cm u ',"data":{"a":"1"},"immutable":true')"
    refused 422 Invalid 'ConfigMap "u" is invalid: data: Forbidden: field is immutable when `immutable` is set' \
        '{"name":"u","kind":"ConfigMap","causes":[{"reason":"FieldValueForbidden","message":"Forbidden: field is immutable when `immutable` is set","field":"data"}]}' PUT $CM/u "$(cm u ',"data":{"a":"2"},"immutable":true')"
    apps=/apis/apps/v1${NS#/api/v1}/deployments
    answers 201 .metadata.generation 1 POST $apps "$(deployment d)"
    answers 422 '.details.causes[0] | .field + " " + .message' 'spec.selector Invalid value: {"matchLabels":{"a":"c"}}: field is immutable' PUT $apps/d "$(deployment d c)"
    ask POST $NS/serviceaccounts '{"metadata":{"name":"default"}}'
    answers 201 .kind Pod POST $NS/pods "$(pod p)"
    answers 422 '.details.causes[0].message | startswith("Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,")' true PUT $NS/pods/p "$(pod p '' ',"hostname":"h"')"
}

@test "selectors" {
    bad() { refused 400 BadRequest "$2" '' GET "$CM?$1"; }
    bad labelSelector=a%3D%3D%3Db "unable to parse requirement: found '=', expected: identifier"
    bad labelSelector=a+in "unable to parse requirement: found '' expected: '('"
    bad labelSelector=-a "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    bad fieldSelector=data.x%3D1 '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"'
    bad fieldSelector=foo "invalid selector: 'foo'; can't understand 'foo'"
    refused 400 BadRequest 'field label not supported: spec.foo' '' GET "$NS/pods?fieldSelector=spec.foo%3D1"
    for i in 1 2 3; do ask POST $CM '{"metadata":{"name":"s'$i'","labels":{"n":"'$i'","all":""}}}'; done
    names='[.items[].metadata.name] | join(" ")'
    answers 200 "$names" 's1 s3' GET "$CM?labelSelector=n+in+(1,3)"
    answers 200 "$names" 's1 s2' GET "$CM?labelSelector=all,n!%3D3"
    answers 200 "$names" 's3' GET "$CM?labelSelector=n%3E2"
    answers 200 "$names" 's2' GET "$CM?fieldSelector=metadata.name%3Ds2"
    answers 200 "$names" '' GET "$CM?labelSelector=!all"
}

@test "lists in pages keep to one snapshot while writes go on" {
    for i in 1 2 3 4 5; do ask POST $CM "$(cm p$i)"; done
    answers 200 '.metadata.remainingItemCount' 3 GET "$CM?limit=2"
    next=$(jq -r .metadata.continue <<<"$BODY") rv=$(jq -r .metadata.resourceVersion <<<"$BODY")
    ask DELETE $CM/p4
    ask POST $CM "$(cm p3b)"
    answers 200 '[.items[].metadata.name, .metadata.resourceVersion] | join(" ")' "p3 p4 $rv" GET "$CM?limit=2&continue=$next"
    next=$(jq -r .metadata.continue <<<"$BODY")
    answers 200 '[.items[].metadata.name, .metadata.continue // "end"] | join(" ")' "p5 end" GET "$CM?limit=2&continue=$next"
    refused 400 BadRequest 'specifying resource version is not allowed when using continue' '' GET "$CM?continue=$next&resourceVersion=$rv"
    answers 400 '.message | startswith("invalid continue token: continue key is not valid: ")' true GET "$CM?continue=garbled"
    answers 400 .message 'strconv.ParseInt: parsing "abc": invalid syntax' GET "$CM?limit=abc"
}

@test "resourceVersion: exact, at least, in the future" {
    ask POST $CM "$(cm r1)"
    rv=$(jq -r .metadata.resourceVersion <<<"$BODY")
    ask POST $CM "$(cm r2)"
    names='[.items[].metadata.name] | join(" ")'
    answers 200 "$names" r1 GET "$CM?resourceVersion=$rv&resourceVersionMatch=Exact"
    answers 200 "$names" 'r1 r2' GET "$CM?resourceVersion=$rv&resourceVersionMatch=NotOlderThan"
    answers 200 "$names" 'r1 r2' GET "$CM?resourceVersion=0"
    for path in "$CM?resourceVersion=99999999" "$CM/r1?resourceVersion=99999999"; do
        answers 504 '[.reason, .details.causes[0].reason, .details.retryAfterSeconds] | join(" ")' 'Timeout ResourceVersionTooLarge 1' GET "$path"
        [[ $(jq -r .message <<<"$BODY") == 'Timeout: Too large resource version: 99999999, current: '* ]]
    done
    answers 422 .details.causes[0].message 'Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided' GET "$CM?resourceVersionMatch=Exact"
    answers 422 .details.causes[0].message 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"' GET "$CM?resourceVersionMatch=Exact&resourceVersion=0"
    answers 422 .details.causes[0].message 'Unsupported value: "Foo": supported values: "Exact", "NotOlderThan"' GET "$CM?resourceVersionMatch=Foo&resourceVersion=5"
}

@test "watches: from a version, with what is there, bookmarks, time outs" {
    ask POST $CM "$(cm w1)"
    rv=$(jq -r .metadata.resourceVersion <<<"$BODY")
    ask PUT $CM/w1 "$(cm w1 ',"data":{"a":"1"}')"
    ask DELETE $CM/w1
    ask POST $CM "$(cm w2)"
    events='[.type, .object.metadata.name // ""] | join(" ")'
    watch() { ask GET "$CM?watch=1&timeoutSeconds=1&$1"; jq -r "$events" <<<"$BODY" | tr '\n' ','; }
    [ "$(watch resourceVersion=$rv)" = 'MODIFIED w1,DELETED w1,ADDED w2,' ]
    [ "$(watch resourceVersion=0)" = 'ADDED w2,' ]
    [ "$(watch '')" = 'ADDED w2,' ]
    [ "$(watch 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true')" = 'ADDED w2,BOOKMARK ,' ]
    ask GET "$CM?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    [ "$(jq -r 'select(.type=="BOOKMARK") | .object.metadata.annotations["k8s.io/initial-events-end"]' <<<"$BODY")" = true ]
    [ "$(watch 'resourceVersion=0&fieldSelector=metadata.name%3Dnone')" = '' ]
    answers 422 '[.details.causes[].field] | join(" ")' 'resourceVersionMatch sendInitialEvents' GET "$CM?watch=1&sendInitialEvents=true"
    answers 422 '.details.causes[0].message' 'Forbidden: sendInitialEvents is forbidden for list' GET "$CM?sendInitialEvents=true"
    ask GET "/api/v1/watch/namespaces/t$BATS_TEST_NUMBER/configmaps?timeoutSeconds=1"
    [ "$(jq -r "$events" <<<"$BODY")" = 'ADDED w2' ]
}

@test "patches of each type, and patches that do not fit" {
    patch() { # TYPE FILTER WANTED BODY
        TYPE=application/$1 answers 200 "$2" "$3" PATCH $CM/p "$4"
    }
    unfit='the server rejected our request due to an error in our request'
    ask POST $CM "$(cm p ',"data":{"k":"v"}')"
    patch json-patch+json .data.j 1 '[{"op":"test","path":"/data/k","value":"v"},{"op":"add","path":"/data/j","value":"1"}]'
    patch merge-patch+json '.data | tojson' '{"j":"1"}' '{"data":{"k":null}}'
    patch strategic-merge-patch+json '.data | tojson' '{"s":"1"}' '{"data":{"$patch":"replace","s":"1"}}'
    for body in '[{"op":"remove","path":"/data/nosuch"}]' '[{"op":"test","path":"/data/s","value":"2"}]' '[{"op":"add"}]' '[{"op":"fly","path":"/data/s"}]'; do
        TYPE=application/json-patch+json refused 422 Invalid "$unfit" '{}' PATCH $CM/p "$body"
    done
    decode() { TYPE=application/$1 refused 400 BadRequest "$2" '' PATCH $CM/p "$3"; }
    decode json-patch+json 'error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp' '{}'
    decode json-patch+json "error decoding patch: invalid character 'g' looking for beginning of value" garbage
    decode merge-patch+json 'error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}' '[]'
    decode merge-patch+json 'error decoding patch: unexpected end of JSON input' '{"data":'
    decode strategic-merge-patch+json 'json: cannot unmarshal array into Go value of type map[string]interface {}' '[1]'
    TYPE=application/strategic-merge-patch+json refused 422 Invalid ' "" is invalid: patch: Invalid value: "map[data:map[k:7]]": cannot convert int64 to string' \
        '{"causes":[{"reason":"FieldValueInvalid","message":"Invalid value: \"map[data:map[k:7]]\": cannot convert int64 to string","field":"patch"}]}' PATCH $CM/p '{"data":{"k":7}}'
    TYPE=application/merge-patch+json answers 422 '.details.causes[0] | .field + " " + (.message | sub(".*}\": "; ""))' 'patch json: cannot unmarshal number into Go struct field ConfigMap.data of type string' PATCH $CM/p '{"data":{"k":7}}'
    TYPE=application/merge-patch+json answers 409 .reason Conflict PATCH $CM/p '{"metadata":{"resourceVersion":"1"}}'
    TYPE=application/merge-patch+json answers 400 .message 'the name of the object (q) does not match the name on the URL (p)' PATCH $CM/p '{"metadata":{"name":"q"}}'
    TYPE=application/merge-patch+json refused 404 NotFound 'configmaps "absent" not found' '{"name":"absent","kind":"configmaps"}' PATCH $CM/absent '{}'
    for i in $(seq 10); do (TYPE=application/merge-patch+json ask PATCH $CM/p "{\"data\":{\"n$i\":\"1\"}}") & done
    wait
    answers 200 '.data | length' 11 GET $CM/p
}

@test "deletes: preconditions, options, finalizers, collections" {
    answers 201 .metadata.name d POST $CM "$(cm d)"
    uid=$(jq -r .metadata.uid <<<"$BODY") rv=$(jq -r .metadata.resourceVersion <<<"$BODY")
    conflict='Operation cannot be fulfilled on configmaps "d": Precondition failed: '
    refused 409 Conflict "${conflict}UID in precondition: bad, UID in object meta: $uid" '{"name":"d","kind":"configmaps"}' DELETE $CM/d '{"preconditions":{"uid":"bad"}}'
    refused 409 Conflict "${conflict}ResourceVersion in precondition: 1, ResourceVersion in object meta: $rv" '{"name":"d","kind":"configmaps"}' DELETE $CM/d '{"preconditions":{"resourceVersion":"1"}}'
    answers 422 .details.causes[0].message 'Unsupported value: "Bogus": supported values: "All"' DELETE "$CM/d?dryRun=Bogus"
    answers 422 .details.causes[0].field propagationPolicy DELETE $CM/d '{"propagationPolicy":"Nope"}'
    answers 200 .status Success DELETE "$CM/d?dryRun=All"
    answers 200 '{status,details} | tojson' "{\"status\":\"Success\",\"details\":{\"name\":\"d\",\"kind\":\"configmaps\",\"uid\":\"$uid\"}}" DELETE $CM/d
    answers 404 .reason NotFound GET $CM/d
    answers 201 .kind ConfigMap POST $CM '{"metadata":{"name":"f","finalizers":["example.com/x"]}}'
    answers 200 '.metadata | has("deletionTimestamp")' true DELETE $CM/f
    answers 200 .metadata.name f DELETE $CM/f
    refused 409 AlreadyExists 'object is being deleted: configmaps "f" already exists' '{"name":"f","kind":"configmaps"}' POST $CM "$(cm f)"
    TYPE=application/merge-patch+json answers 422 .details.causes[0].message 'Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/y"}' PATCH $CM/f '{"metadata":{"finalizers":["example.com/x","example.com/y"]}}'
    TYPE=application/merge-patch+json answers 200 .metadata.name f PATCH $CM/f '{"metadata":{"finalizers":null}}'
    answers 404 .reason NotFound GET $CM/f
    for i in 1 2 3; do ask POST $CM '{"metadata":{"name":"c'$i'","labels":{"n":"'$i'"}}}'; done
    answers 200 '[.items[].metadata.name] | join(" ")' 'c1 c2' DELETE "$CM?labelSelector=n+in+(1,2)"
    answers 200 '[.items[].metadata.name] | join(" ")' c3 GET $CM
}

@test "pods leave with their grace" {
    refused 403 Forbidden "pods \"bound\" is forbidden: error looking up service account t$BATS_TEST_NUMBER/default: serviceaccount \"default\" not found" '{"name":"bound","kind":"pods"}' POST $NS/pods "$(pod bound)"
    ask POST $NS/serviceaccounts '{"metadata":{"name":"default"}}'
    ask POST $NS/pods "$(pod bound '' ',"nodeName":"n"')"
    answers 200 '.metadata.deletionGracePeriodSeconds' 7 DELETE "$NS/pods/bound?gracePeriodSeconds=7"
    answers 200 '.metadata.deletionGracePeriodSeconds' 3 DELETE $NS/pods/bound '{"gracePeriodSeconds":3}'
    answers 200 .kind Pod DELETE "$NS/pods/bound?gracePeriodSeconds=0"
    answers 404 .reason NotFound GET $NS/pods/bound
    ask POST $NS/pods "$(pod unbound)"
    answers 200 .kind Pod DELETE $NS/pods/unbound
    answers 404 .reason NotFound GET $NS/pods/unbound
}

@test "a namespace that is ending takes nothing new" {
    ask POST /api/v1/namespaces '{"metadata":{"name":"ending"}}'
    ask POST /api/v1/namespaces/ending/configmaps "$(cm a)"
    answers 200 .status.phase Terminating DELETE /api/v1/namespaces/ending
    refused 403 Forbidden 'configmaps "b" is forbidden: unable to create new content in namespace ending because it is being terminated' \
        '{"name":"b","kind":"configmaps","causes":[{"reason":"NamespaceTerminating","message":"namespace ending is being terminated","field":"metadata.namespace"}]}' POST /api/v1/namespaces/ending/configmaps "$(cm b)"
    answers 403 .message 'namespaces "default" is forbidden: this namespace may not be deleted' DELETE /api/v1/namespaces/default
}

@test "subresources: status, scale, binding, eviction, token" {
    apps=/apis/apps/v1${NS#/api/v1}/deployments
    ask POST $apps "$(deployment d)"
    answers 200 '[.spec.replicas, .status.replicas] | tojson' '[1,4]' PUT $apps/d/status "$(deployment d | jq -c '.spec.replicas=9 | .status.replicas=4')"
    answers 200 '[.kind, .apiVersion, .spec.replicas, .status.selector] | tojson' '["Scale","autoscaling/v1",1,"a=b"]' GET $apps/d/scale
    answers 200 .spec.replicas 3 PUT $apps/d/scale "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"d\",\"namespace\":\"t$BATS_TEST_NUMBER\"},\"spec\":{\"replicas\":3}}"
    TYPE=application/merge-patch+json answers 200 .spec.replicas 2 PATCH $apps/d/scale '{"spec":{"replicas":2}}'
    answers 200 '[.spec.replicas, .metadata.generation] | tojson' '[2,3]' GET $apps/d
    ask POST $NS/serviceaccounts '{"metadata":{"name":"default"}}'
    ask POST $NS/pods "$(pod b)"
    answers 201 .status Success POST $NS/pods/b/binding '{"target":{"kind":"Node","name":"n"}}'
    answers 200 '[.spec.nodeName, .status.conditions[0].type] | tojson' '["n","PodScheduled"]' GET $NS/pods/b
    answers 409 .message 'Operation cannot be fulfilled on pods/binding "b": pod b is already assigned to node "n"' POST $NS/pods/b/binding '{"target":{"kind":"Node","name":"m"}}'
    answers 201 .status Success POST $NS/pods/b/eviction '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"b"},"deleteOptions":{"gracePeriodSeconds":0}}'
    answers 404 .reason NotFound GET $NS/pods/b
    ask POST $NS/serviceaccounts '{"metadata":{"name":"robot"}}'
    answers 201 '.kind + " " + (.spec.expirationSeconds | tostring)' 'TokenRequest 600' POST $NS/serviceaccounts/robot/token '{"spec":{"expirationSeconds":600}}'
    token=$(jq -r .status.token <<<"$BODY")
    TOKEN=$token answers 201 .status.userInfo.username "system:serviceaccount:t$BATS_TEST_NUMBER:robot" POST /apis/authentication.k8s.io/v1/selfsubjectreviews '{}'
    answers 422 .details.causes[0].message 'Invalid value: 5: may not specify a duration less than 10 minutes' POST $NS/serviceaccounts/robot/token '{"spec":{"expirationSeconds":5}}'
}

@test "who may: a role, a stranger, an impostor, nobody" {
    rbac=/apis/rbac.authorization.k8s.io/v1${NS#/api/v1} ns=t$BATS_TEST_NUMBER
    ask POST $rbac/roles '{"metadata":{"name":"reader"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list"]},{"apiGroups":[""],"resources":["secrets"],"resourceNames":["one"],"verbs":["get"]}]}'
    ask POST $rbac/rolebindings '{"metadata":{"name":"reader"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"reader"},"subjects":[{"kind":"Group","apiGroup":"rbac.authorization.k8s.io","name":"team"}]}'
    ask POST $CM "$(cm seen)"
    export TOKEN=limited-token
    answers 200 '.items[0].metadata.name' seen GET $CM
    answers 200 .metadata.name seen GET $CM/seen
    answers 404 .message 'secrets "one" not found' GET $NS/secrets/one
    refused 403 Forbidden "secrets \"two\" is forbidden: User \"mia\" cannot get resource \"secrets\" in API group \"\" in the namespace \"$ns\"" '{"name":"two","kind":"secrets"}' GET $NS/secrets/two
    refused 403 Forbidden "configmaps is forbidden: User \"mia\" cannot watch resource \"configmaps\" in API group \"\" in the namespace \"$ns\"" '{"kind":"configmaps"}' GET "$CM?watch=1"
    refused 403 Forbidden "configmaps is forbidden: User \"mia\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"$ns\"" '{"kind":"configmaps"}' POST $CM "$(cm no)"
    refused 403 Forbidden 'nodes is forbidden: User "mia" cannot list resource "nodes" in API group "" at the cluster scope' '{"kind":"nodes"}' GET /api/v1/nodes
    refused 403 Forbidden "deployments.apps \"d\" is forbidden: User \"mia\" cannot get resource \"deployments/scale\" in API group \"apps\" in the namespace \"$ns\"" '{"name":"d","group":"apps","kind":"deployments"}' GET /apis/apps/v1/namespaces/$ns/deployments/d/scale
    refused 403 Forbidden 'forbidden: User "mia" cannot get path "/metrics"' '{}' GET /metrics
    refused 403 Forbidden 'users "root" is forbidden: User "mia" cannot impersonate resource "users" in API group "" at the cluster scope' '{"name":"root","kind":"users"}' GET $CM '' -H 'Impersonate-User: root'
    answers 201 .status.allowed true POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews "{\"spec\":{\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"configmaps\",\"namespace\":\"$ns\"}}}"
    answers 201 .status.allowed false POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews "{\"spec\":{\"resourceAttributes\":{\"verb\":\"delete\",\"resource\":\"configmaps\",\"namespace\":\"$ns\"}}}"
    TOKEN=wrong refused 401 Unauthorized Unauthorized '' GET $CM
    export TOKEN=admin-token
    refused 403 Forbidden "secrets is forbidden: User \"joe\" cannot list resource \"secrets\" in API group \"\" in the namespace \"$ns\"" '{"kind":"secrets"}' GET $NS/secrets '' -H 'Impersonate-User: joe'
    answers 200 .kind ConfigMapList GET $CM '' -H 'Impersonate-User: joe' -H 'Impersonate-Group: team'
    TOKEN=none refused 403 Forbidden 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope' '{"kind":"pods"}' GET /api/v1/pods
}

@test "nobody gives away more than they have" {
    rbac=/apis/rbac.authorization.k8s.io/v1
    ask POST $rbac/clusterroles '{"metadata":{"name":"role-maker"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["create"]}]}'
    ask POST $rbac/clusterrolebindings '{"metadata":{"name":"role-maker"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"role-maker"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"maker"}]}'
    answers 403 '.message | split("\n")[0]' 'roles.rbac.authorization.k8s.io "grab" is forbidden: user "maker" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:' \
        POST $rbac${NS#/api/v1}/roles '{"metadata":{"name":"grab"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}' -H 'Impersonate-User: maker' -H 'Impersonate-Group: system:authenticated'
}

@test "one object in many forms" {
    ask POST $CM "$(cm forms ',"data":{"a":"1"}')"
    as() { answers 200 "$2" "$3" GET "$4" '' -H "Accept: application/json;as=$1;v=v1;g=meta.k8s.io"; }
    as Table '[.kind, .columnDefinitions[0].name, .rows[0].cells[0], .rows[0].cells[1], .rows[0].object.kind] | join(" ")' 'Table Name forms 1 PartialObjectMetadata' $CM/forms
    as Table '[.rows[].cells[0]] | join(" ")' forms $CM
    as Table '.rows[0].object.data.a' 1 "$CM?includeObject=Object"
    as Table '.rows[0].object' null "$CM?includeObject=None"
    as PartialObjectMetadata '[.kind, .apiVersion, .metadata.name, .data] | tojson' '["PartialObjectMetadata","meta.k8s.io/v1","forms",null]' $CM/forms
    as PartialObjectMetadataList '[.kind, .items[0].kind, .items[0].data] | tojson' '["PartialObjectMetadataList","PartialObjectMetadata",null]' $CM
    ask GET $CM/forms '' -H 'Accept: application/yaml'
    grep -qx '  a: "1"' <<<"$BODY"
    TYPE=application/yaml answers 201 .data.key 'yes' POST $CM $'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata:\n  key: "yes"\n'
    ask GET "$CM/forms?pretty=true"
    grep -qx '  "kind": "ConfigMap",' <<<"$BODY"
    ask GET $CM/forms '' -A curl/8
    grep -qx '  "kind": "ConfigMap",' <<<"$BODY"
}

@test "two groups or versions, one object" {
    hpa=/apis/autoscaling/v2${NS#/api/v1}/horizontalpodautoscalers
    ask POST $hpa '{"metadata":{"name":"h"},"spec":{"maxReplicas":5,"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":70}}},{"type":"Resource","resource":{"name":"memory","target":{"type":"Utilization","averageUtilization":60}}}]}}'
    answers 200 '[.apiVersion, .spec.targetCPUUtilizationPercentage] | tojson' '["autoscaling/v1",70]' GET ${hpa/v2/v1}/h
    object=$BODY
    answers 200 .spec.targetCPUUtilizationPercentage 75 PUT ${hpa/v2/v1}/h "$(jq -c '.spec.targetCPUUtilizationPercentage=75' <<<"$object")"
    answers 200 '[.spec.metrics[].resource.target.averageUtilization] | sort | tojson' '[60,75]' GET $hpa/h
    ask POST $NS/events "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"t$BATS_TEST_NUMBER\"},\"reason\":\"Because\",\"message\":\"words\",\"type\":\"Normal\",\"count\":2,\"source\":{\"component\":\"me\"}}"
    answers 200 '[.apiVersion, .regarding.name, .note, .deprecatedCount, .deprecatedSource.component] | tojson' '["events.k8s.io/v1","p","words",2,"me"]' GET /apis/events.k8s.io/v1${NS#/api/v1}/events/e
    answers 200 '[.items[].metadata.name] | tojson' '["e"]' GET "$NS/events?fieldSelector=involvedObject.name%3Dp,reason%3DBecause"
    answers 200 '[.items[].metadata.name] | tojson' '[]' GET "$NS/events?fieldSelector=involvedObject.name%3Dq"
}

@test "discovery, schemas, version, health, metrics" {
    answers 200 '[.kind, .versions[0]] | tojson' '["APIVersions","v1"]' GET /api
    answers 200 '[.kind, .groups[0].name] | tojson' '["APIGroupList","apiregistration.k8s.io"]' GET /apis/
    answers 200 .kind APIGroup GET /apis/apps
    answers 200 '.resources[] | select(.name=="deployments/scale").kind' Scale GET /apis/apps/v1/
    answers 200 '[.kind, .items[0].versions[0].version] | tojson' '["APIGroupDiscoveryList","v1"]' GET /api '' -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
    answers 200 '.paths["apis/apps/v1"].serverRelativeURL | startswith("/openapi/v3/apis/apps/v1?hash=")' true GET /openapi/v3
    answers 200 '.components.schemas["io.k8s.api.apps.v1.Deployment"].type' object GET /openapi/v3/apis/apps/v1
    answers 200 '[.major, .minor] | tojson' '["1","36"]' GET /version
    ask GET /livez
    [ "$CODE $BODY" = '200 ok' ]
    ask GET /readyz
    [ "$CODE $BODY" = '200 ok' ]
    ask GET /healthz
    [ "$CODE $BODY" = '200 ok' ]
    ask GET /readyz?verbose
    [[ $BODY == *'[+]ping ok'*'readyz check passed'* ]]
    ask GET /metrics
    grep -q '^apiserver_request_total{' <<<"$BODY"
}

@test "what speaks of the server comes back; its own services are there" {
    answers 200 .kind Service DELETE /api/v1/namespaces/default/services/kubernetes
    for _ in $(seq 150); do
        ask GET /api/v1/namespaces/default/services/kubernetes
        [ "$CODE" = 404 ] || break
        sleep 0.1
    done
    answers 200 .spec.clusterIP 10.96.0.1 GET /api/v1/namespaces/default/services/kubernetes
    answers 200 '.rows[0].cells[:3] | tojson' '["v1.","Local","True"]' GET /apis/apiregistration.k8s.io/v1/apiservices '' -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io'
}
