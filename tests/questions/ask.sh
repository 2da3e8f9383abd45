#!/usr/bin/env bash
# Asks a bundle the questions of a file and counts how often the first passages hold the answer.
#
#   tests/questions/ask.sh FILE.trine tests/questions/NAME.jsonl
#
# A line of the file is {"question", "source", "holds": [text, ...]}; a passage holds the answer when one
# of the texts is in it. Needs jq, curl and a built trine.
set -euo pipefail

bundle=$1 questions=$2
trine=${TRINE:-${CARGO_TARGET_DIR:-target}/release/trine}
log=$(mktemp)
"$trine" serve "$bundle" --listen 127.0.0.1:0 >"$log" &
server=$!
trap 'kill "$server"; rm -f "$log"' EXIT
until address=$(sed -n 's/^listening on //p' "$log") && [ -n "$address" ]; do sleep 0.1; done

asked=0 first=0 any=0 quoted=0 abstained=0
while read -r line; do
    answer=$(jq '{query: .question}' <<<"$line" | curl -sS --fail "$address/v1/answer" -d @-)
    # The ranks of the passages that hold the answer, and whether a quote or passage does.
    found=$(jq -n --argjson asked "$line" --argjson answer "$answer" '
        def holds: . as $text | any($asked.holds[]?; . as $held | $text | contains($held));
        { first: ($answer.passages[0].text | holds),
          any: any($answer.passages[]; .text | holds),
          quoted: ([$answer.citations[].quote] | join("\n") | holds),
          abstained: $answer.abstained }')
    asked=$((asked + 1))
    count() { jq -e ".$1" <<<"$found" >/dev/null && echo 1 || echo 0; }
    first=$((first + $(count first))) any=$((any + $(count any)))
    quoted=$((quoted + $(count quoted))) abstained=$((abstained + $(count abstained)))
done <"$questions"
echo "$asked questions: answer in the first passage $first, in any passage kept $any, in a quote $quoted; abstained $abstained"
