# What the API workflows share: a control plane of their own, and ways to ask it without kubectl. Sourced by .bats files.
# Answers are asked for as kubectl would (compact JSON) and compared whole or by the parts that upstream settles.

: "${SKIFF:=$BATS_TEST_DIRNAME/../../build/release/skiff}"

server_up() { # DIR [flag …]: on a free port of the loopback; SERVER and its pid are kept in DIR
    local dir=$1
    shift
    mkdir -p "$dir"
    cat >"$dir/tokens" <<'TOKENS'
admin-token,root,1,"system:masters"
limited-token,mia,2,"team"
TOKENS
    "$SKIFF" server --data-dir "$dir/data" --listen 127.0.0.1:0 --token-auth-file "$dir/tokens" "$@" \
        >"$dir/out" 2>"$dir/err" 3>&- &
    echo $! >"$dir/pid"
    for _ in $(seq 200); do
        grep -q 'is ready at' "$dir/out" && break
        sleep 0.05
    done
    sed -n 's/.* is ready at \(https:[^ ]*\) .*/\1/p' "$dir/out" >"$dir/url"
    [ -s "$dir/url" ] || { cat "$dir/out" "$dir/err"; return 1; }
}

server_down() { # DIR: fails when the server did not end well (a sanitizer's report, an assert)
    local pid
    pid=$(cat "$1/pid")
    kill "$pid" || { cat "$1/err"; return 1; }
    for _ in $(seq 200); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    ! grep -E 'Sanitizer|runtime error|Assertion' "$1/err"
}

# ask METHOD PATH [BODY [curl flag …]]: sets CODE and BODY. TOKEN and TYPE say who asks
# (none: nobody) and what the body is.
ask() {
    local method=$1 path=$2 body=${3-} out
    shift $(($# > 3 ? 3 : $#))
    local flags=(-sk --max-time 30 -A kubectl -X "$method" -w '\n%{http_code}')
    [ "${TOKEN-}" = none ] || flags+=(-H "Authorization: Bearer ${TOKEN:-admin-token}")
    [ -z "$body" ] || flags+=(-H "Content-Type: ${TYPE:-application/json}" --data-binary "$body")
    out=$(curl "${flags[@]}" "$@" "$SERVER$path") || true
    CODE=${out##*$'\n'}
    BODY=${out%$'\n'*}
    BODY=${BODY%$'\n'}
}

# refused CODE REASON MESSAGE DETAILS METHOD PATH [BODY [curl flag …]]: a Status, member for member.
# REASON "" and DETAILS "" mean that there is no such member.
refused() {
    local code=$1 reason=$2 message=$3 details=$4 wanted
    shift 4
    ask "$@"
    wanted=$(jq -cn --argjson code "$code" --arg reason "$reason" --arg message "$message" --argjson details "${details:-null}" \
        '{kind:"Status",apiVersion:"v1",metadata:{},status:"Failure",message:$message,reason:$reason,details:$details,code:$code}
         | if $reason == "" then del(.reason) else . end | if $details == null then del(.details) else . end')
    [ "$CODE" = "$code" ] && [ "$(jq -c . <<<"$BODY")" = "$wanted" ] && return
    echo "$1 $2 ${3:0:200}"
    echo "wanted: $wanted"
    echo "got:    $CODE $BODY"
    return 1
}

# answers CODE JQ-FILTER WANTED METHOD PATH [BODY [curl flag …]]
answers() {
    local code=$1 filter=$2 wanted=$3 got
    shift 3
    ask "$@"
    got=$(jq -cr "$filter" <<<"$BODY" 2>&1) || true
    [ "$CODE" = "$code" ] && [ "$got" = "$wanted" ] && return
    echo "$1 $2 ${3:0:200}"
    echo "wanted: $code $filter = $wanted"
    echo "got:    $CODE $got in ${BODY:0:2000}"
    return 1
}
