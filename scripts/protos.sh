#!/usr/bin/env bash
# Lints the protos and generates their Python into services/tandem/{api,internal}, which is committed.
#
#   scripts/protos.sh            lint, generate, remove what no proto stands for any more
#   scripts/protos.sh --to DIR   only generate, into DIR (tests compare that with the tree)
#
# Needs no network. grpcio-tools is pinned: its code loads on the protobuf that the lock files name.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin

generate() { # into $1
    local out=$1 directory file files
    mapfile -t files < <(find protos/tandem -name '*.proto' | LC_ALL=C sort)
    "$bin/python" -m grpc_tools.protoc \
        --proto_path=protos --proto_path=protos/third_party \
        --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" \
        --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" \
        --python_out="$out" --grpc_python_out="$out" --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" \
        "${files[@]}"
    # A file without a service leaves an empty pair behind.
    find "$out" -name '*_pb2_grpc.py' | while read -r file; do
        grep -q '^class ' "$file" || rm -f "$file" "${file}i"
    done
    # Regular packages: tools and zip imports find them alike. The top ones are written by hand.
    find "$out/tandem" -mindepth 2 -type d | while read -r directory; do
        : >"$directory/__init__.py"
    done
}

generated_files() { # below $1, without the hand-written top packages
    (cd "$1" && find . -mindepth 4 -type f -path './tandem/*' \( -path './tandem/api/*' -o -path './tandem/internal/*' \) \
        ! -name '*.pyc' | LC_ALL=C sort)
}

if [[ -z $(find protos/tandem -name '*.proto' 2>/dev/null) ]]; then
    echo "protos: there is no proto in protos/tandem yet"
    exit 0
fi

if [[ ${1:-} == --to ]]; then
    generate "${2:?scripts/protos.sh --to DIR}"
    exit 0
fi

(cd protos && "$bin/buf" lint)
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
generate "$fresh"
generated_files services | while read -r file; do
    [[ -e $fresh/$file ]] || rm "services/$file"
done
# Only what changed is written, so that a running test does not see a file half made.
generated_files "$fresh" | while read -r file; do
    cmp --silent "$fresh/$file" "services/$file" || install -D -m 644 "$fresh/$file" "services/$file"
done
