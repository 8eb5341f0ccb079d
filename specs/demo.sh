#!/bin/sh
# The whole loop on one machine, with neither a GPU nor a network: a simulated cluster serves in real time, a workload is
# sent to it and observed, the same workload is simulated, and the two are compared. It takes a minute.
#   specs/demo.sh [PYTHON [FLAG...]]    PYTHON has blis installed; the flags change the workload (--rate 3 --horizon 10s).
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
[ $# -eq 0 ] || shift
out=build/demo
cluster=specs/deployments/loop.yaml
mkdir -p "$out"

blis() {
  printf '\n$ blis %s\n' "$*"
  "$python" -m blis "$@"
}

printf '$ blis serve --deployment %s --port 0 &\n' "$cluster"
"$python" -m blis serve --deployment "$cluster" --port 0 >"$out/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || :' EXIT
until url=$(sed -n 's/^blis: serving .* at //p' "$out/server.log") && [ -n "$url" ]; do
  kill -0 "$server" 2>/dev/null || { cat "$out/server.log" >&2; exit 1; }
  sleep 0.1
done
cat "$out/server.log"

blis observe specs/loop.yaml "$@" --server-url "$url" --trace-out "$out/real"
blis simulate specs/loop.yaml "$@" --deployment "$cluster" --trace-out "$out/sim"
blis calibrate "$out/real" "$out/sim"
printf '\nThe traces are in %s.\n' "$out"
