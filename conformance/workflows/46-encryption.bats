#!/usr/bin/env bats
# Keys for what is stored: a key management service with its rotations and failures, keys that change while the server
# runs, and plain text that leaves the disk. Every test has a control plane of its own.

load ../server

setup() {
    load ../server
    DIR=$BATS_TEST_TMPDIR/s
    DATA=$DIR/data
    CONFIG=$DIR/encryption.yaml
    export KUBECONFIG=$DATA/admin.kubeconfig
    mkdir -p "$DIR"
}

teardown() {
    [ ! -e "$DIR/pid" ] || server_down "$DIR"
    [ ! -e "$DIR/plugin" ] || plugin_down
}

start() { # [flag …]
    server_up "$DIR" --disable controllers,scheduler --encryption-provider-config "$CONFIG" "$@"
    SERVER=$(cat "$DIR/url")
}

stop() {
    server_down "$DIR"
    rm "$DIR/pid"
}

plugin_up() {
    "$(dirname "$SKIFF")/kms-plugin" "$DIR" >"$DIR/plugin.out" 2>&1 3>&- &
    echo $! >"$DIR/plugin"
    until_true 5 test -S "$DIR/kms.sock"
}

plugin_down() {
    kill "$(cat "$DIR/plugin")" || true
    rm "$DIR/plugin"
    until_true 5 test ! -e "$DIR/kms.sock"
}

until_true() { # SECONDS COMMAND …
    local tries=$(($1 * 10))
    shift
    for _ in $(seq "$tries"); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "not within $((tries / 10)) s: $*"
    "$@"
}

with_config() { # PROVIDERS…, as YAML list items, for Secrets
    (umask 077 && {
        printf 'kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n'
        printf -- '- resources: [secrets]\n  providers:\n'
        printf '  - %s\n' "$@"
    } >"$CONFIG.new")
    mv "$CONFIG.new" "$CONFIG"
}

new_secret() { head -c 32 /dev/urandom | base64; }

kms() { echo "kms: {apiVersion: v2, name: vault, endpoint: unix://$DIR/kms.sock, timeout: 1s}"; }

logged() { # TEXT [SECONDS]
    until_true "${2:-10}" grep -qF -- "$1" "$DIR/err"
}

on_disk() { grep -rqaF -e "$1" "$DATA/store"; }

gone_from_disk() { ! on_disk "$1"; }

word() { kubectl get secret treasure -o jsonpath='{.data.word}' | base64 -d; }

ready() { ask GET /readyz/kms-providers && [ "$CODE" = "$1" ]; }

not_ready() { ready 500; }

@test "Secrets under a key management service" {
    plugin_up
    with_config "$(kms)" 'identity: {}'
    start
    kubectl create secret generic treasure --from-literal=word=correct-horse-battery
    [ "$(word)" = correct-horse-battery ]
    ready 200
    stop
    on_disk k8s:enc:kms:v2:vault:
    ! on_disk "$(printf correct-horse-battery | base64)"
    start # another server process asks for the seed
    [ "$(word)" = correct-horse-battery ]
    ask GET /metrics
    grep -q 'apiserver_envelope_encryption_kms_operations_latency_seconds_count{provider_name="vault",method_name="Decrypt",grpc_status_code="OK"} 1' <<<"$BODY"
    kill -USR1 "$(cat "$DIR/plugin")" # another key, noticed at the next start or within a minute
    stop
    start
    logged '1 sealed anew'
    [ "$(word)" = correct-horse-battery ]
}

@test "a service that is away, hangs or is ill" {
    plugin_up
    with_config "$(kms)"
    start
    kubectl create secret generic treasure --from-literal=word=correct-horse-battery
    kill -USR2 "$(cat "$DIR/plugin")"
    until_true 30 not_ready # a health check asks when the last answer is twenty seconds old
    [[ $BODY == *'kmsv2 Provider vault is not healthy, error: got unexpected healthz status: the vault is sealed'* ]]
    kubectl create secret generic meanwhile --from-literal=a=b # for three minutes
    kill -USR2 "$(cat "$DIR/plugin")"
    until_true 15 ready 200
    stop
    plugin_down
    # It comes back while the server waits for it.
    (sleep 2 && "$(dirname "$SKIFF")/kms-plugin" "$DIR" >/dev/null 2>&1 3>&- & echo $! >"$DIR/plugin.soon") 3>&-
    start
    plugin=$(pgrep -f "kms-plugin $DIR\$")
    echo "$plugin" >"$DIR/plugin"
    logged 'waiting up to'
    [ "$(word)" = correct-horse-battery ]
}

@test "a service that was never there: everything but Secrets works" {
    with_config "$(kms)" 'identity: {}'
    start_without_service
    kubectl create configmap open --from-literal=a=b
    run kubectl create secret generic treasure --from-literal=word=x
    [ "$status" -ne 0 ]
    echo "$output"
    [[ $output == *'KMS provider vault has given no key yet: '* ]]
    not_ready
    plugin_up
    until_true 20 ready 200
    kubectl create secret generic treasure --from-literal=word=correct-horse-battery
}

start_without_service() { # the server waits half a minute for it
    "$SKIFF" server --data-dir "$DATA" --listen 127.0.0.1:0 --disable controllers,scheduler \
        --encryption-provider-config "$CONFIG" --token-auth-file <(echo 'admin-token,root,1,"system:masters"') \
        >"$DIR/out" 2>"$DIR/err" 3>&- &
    echo $! >"$DIR/pid"
    until_true 50 grep -q 'is ready at' "$DIR/out"
    SERVER=$(sed -n 's/.* is ready at \(https:[^ ]*\) .*/\1/p' "$DIR/out")
}

@test "the configuration is read again while the server runs, and plain text leaves the disk" {
    local one="aesgcm: {keys: [{name: one, secret: $(new_secret)}]}"
    with_config 'identity: {}'
    start --encryption-provider-config-automatic-reload --etcd-compaction-interval 1s
    kubectl create secret generic treasure --from-literal=word=correct-horse-battery
    on_disk "$(printf correct-horse-battery | base64)"
    with_config "$one" 'identity: {}'
    logged "the encryption configuration $CONFIG was reloaded"
    logged '1 sealed anew'
    on_disk k8s:enc:aesgcm:v1:one:
    logged 'files are clean of what was stored before' 40
    until_true 10 gone_from_disk "$(printf correct-horse-battery | base64)"
    with_config 'aesgcm: {keys: []}'
    logged 'the encryption configuration was not reloaded: '
    with_config "$(kms)" "$one"
    logged 'connect: no such file or directory'
    kubectl create secret generic second --from-literal=a=b # under the keys from before
    [ "$(word)" = correct-horse-battery ]
    ready 200
    ask GET /metrics
    grep -q 'apiserver_encryption_config_controller_automatic_reloads_total{status="success"} 1' <<<"$BODY"
}

@test "a key file that every user can read is refused" {
    "$SKIFF" server --data-dir "$DATA" --listen 127.0.0.1:0 >"$DIR/out" 2>"$DIR/err" 3>&- &
    local pid=$!
    until_true 20 grep -q 'is ready at' "$DIR/out"
    kill "$pid"
    wait "$pid" || true
    chmod 644 "$DATA/pki/encryption.yaml"
    run "$SKIFF" server --data-dir "$DATA" --listen 127.0.0.1:0
    [ "$status" -ne 0 ]
    [[ $output == *'is open to every user of this machine (mode 0644): chmod 600 it'* ]]
}
