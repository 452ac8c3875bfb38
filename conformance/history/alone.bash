# One server on RocksDB under a recorder. Sourced with `seed` set; sets dir (logs; DIR, or a temporary one that stays when
# something was found), makes RANDOM follow from the seed, stops what it started.

: "${SKIFF:=$(dirname "${BASH_SOURCE[0]}")/../../build/release/skiff}"
recorder=$(dirname "$SKIFF")/recorder
dir=${DIR:-$(mktemp -d "${TMPDIR:-/var/tmp}/skiff-history-XXXXXX")}
RANDOM=$seed
port=$((20000 + RANDOM % 20000))
server='' record=''

stop() {
    trap - EXIT
    [ -z "$record" ] || kill -9 "$record" 2>/dev/null
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null
    ! declare -F cleanup >/dev/null || cleanup
}
trap stop EXIT
trap 'exit 1' INT TERM

start() { # in the background; it is ready when a line says so
    "$SKIFF" server --data-dir "$dir/data" --listen "127.0.0.1:$port" --disable controllers,scheduler ${SERVER_FLAGS---etcd-compaction-interval 2s} \
        >"$dir/out" 2>>"$dir/err" 3>&- &
    server=$!
}

ready() {
    for _ in $(seq 400); do
        grep -q 'is ready at' "$dir/out" && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.025
    done
    echo "the server does not start:"
    tail -n 20 "$dir/err"
    exit 1
}

record() { # [flag …]
    "$recorder" record --kubeconfig "$dir/data/admin.kubeconfig" --log "$dir/log" --seconds 3600 --seed $((seed + 1)) "$@" \
        >"$dir/recorder" 2>&1 3>&- &
    record=$!
}

finish() { # the recorder ends, the server too, and what was recorded is checked
    kill -TERM "$record"
    wait "$record" || { cat "$dir/recorder"; exit 1; }
    record=
    kill "$server"
    wait "$server" || { echo "the server did not end well"; tail -n 20 "$dir/err"; exit 1; }
    server=
    cat "$dir/recorder"
    "$recorder" check "$dir/log" || exit 1
    stop
    [ -n "${DIR-}" ] || rm -r "$dir"
}

mkdir -p "$dir"
echo "seed $seed, $dir"
