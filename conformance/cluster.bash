# What the workflows share: a cluster of their own, and ways to ask it. Sourced by every .bats file.
# SKIFF (the binary) and IMAGES (the directory of archives) come from ci/test; by hand:
#   SKIFF=build/release/skiff IMAGES=/tmp/images bats conformance/workflows

: "${SKIFF:=$BATS_TEST_DIRNAME/../../build/release/skiff}" "${IMAGES:=/tmp/skiff-images}"
CLUSTER=${CLUSTER:-check}
export KUBECONFIG=${BATS_SUITE_TMPDIR:-/tmp}/kubeconfig

cluster_up() { # NODES
    "$SKIFF" down --name "$CLUSTER" >/dev/null 2>&1 || true
    "$SKIFF" up --name "$CLUSTER" --nodes "$1" --kubeconfig "$KUBECONFIG"
}

cluster_down() {
    "$SKIFF" down --name "$CLUSTER" --kubeconfig "$KUBECONFIG"
}

load_images() { # NAME …
    local name files=()
    for name; do files+=("$IMAGES/$name.tar"); done
    "$SKIFF" load --name "$CLUSTER" "${files[@]}"
}

# until_true SECONDS COMMAND …: run it until it succeeds; says what it printed last when time is up
until_true() {
    local deadline=$((SECONDS + $1)) out
    shift
    while ! out=$("$@" 2>&1); do
        if [ $SECONDS -ge $deadline ]; then
            echo "in vain: $*"
            echo "$out"
            return 1
        fi
        sleep 0.2
    done
}

equals() { # WANTED COMMAND …
    local wanted=$1 got
    shift
    got=$("$@") || return 1
    [ "$got" = "$wanted" ] || { echo "wanted: $wanted"; echo "got:    $got"; return 1; }
}

contains() { # PATTERN COMMAND …  (extended regular expression)
    local pattern=$1 got
    shift
    got=$("$@" 2>&1) || { echo "$got"; return 1; }
    grep -qE -- "$pattern" <<<"$got" || { echo "no match for: $pattern"; echo "$got"; return 1; }
}

node_pid() { # NODE
    cut -d' ' -f1 "/run/skiff/$CLUSTER/$1.pid"
}

in_node() { # NODE COMMAND …
    local pid
    pid=$(node_pid "$1")
    shift
    nsenter -t "$pid" -m -p -n -- "$@"
}

node_ip() { # NODE
    kubectl get node "$1" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}'
}
