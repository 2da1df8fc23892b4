#!/usr/bin/env bash
# Writes the lock files from pyproject.toml. Pins stay as they are where they still fit;
# `scripts/lock.sh --upgrade` moves them all, `--upgrade-package NAME` one.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/uv pip compile --quiet pyproject.toml --generate-hashes --universal --python-version 3.11 \
        --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" "$@"
}

compile --group build --output-file requirements/runtime.txt "$@"
compile --group build --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt "$@"
