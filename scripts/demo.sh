#!/usr/bin/env bash
# From a fresh checkout to a cited answer: builds everything, indexes docs/, serves it on a free
# port, asks it a question over HTTP, prints the answer, and stops it again.
#
#   scripts/demo.sh ["question"]
set -euo pipefail
cd "$(dirname "$0")/.."

question=${1:-"When does trine say that it does not know?"}
target=${CARGO_TARGET_DIR:-target}

say() { printf '\n== %s\n' "$*"; }

say "1/4 toolchain for the wasm components"
scripts/setup-guest-toolchain.sh

say "2/4 building (the first time 10 to 15 minutes on two cores)"
cargo build --release --locked

say "3/4 indexing docs/ (the model, 91 MB, is downloaded the first time)"
"$target/release/trine" index docs -o "$target/docs.trine"

say "4/4 serving it and asking: $question"
log=$(mktemp)
"$target/release/trine" serve "$target/docs.trine" --listen 127.0.0.1:0 >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -f "$log"' EXIT
until address=$(sed -n 's/^listening on //p' "$log") && [ -n "$address" ]; do
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done
cat "$log"
response=$(curl --silent --show-error --fail --get "$address/answer" --data-urlencode "q=$question")
echo
if command -v jq >/dev/null; then
    jq -r '.answer, "", (.citations[] | "  \(.source), bytes \(.start)..\(.end)"), "",
           "  \(.timings_ms | to_entries | map("\(.key) \(.value * 10 | round / 10) ms") | join(", "))"' <<<"$response"
else
    echo "$response"
fi
kill -INT "$server"
wait "$server"
trap 'rm -f "$log"' EXIT

echo
echo "To keep it serving: $target/release/trine serve $target/docs.trine"
