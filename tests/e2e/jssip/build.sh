#!/usr/bin/env bash
# Makes JsSIP for the tests' pages, once, and prints where it is: the packages of package-lock.json, each held to its
# hash, bundled into one file below .cache/. Needs npm.
set -euo pipefail
cd "$(dirname "$0")"
cache=../../../.cache/jssip-$(sha256sum package-lock.json | cut -c1-16)
made=$cache/jssip.js
if [[ ! -f $made ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp package.json package-lock.json "$work"
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)
    "$work"/node_modules/@esbuild/linux-*/bin/esbuild "$work/node_modules/jssip/lib/JsSIP.js" --bundle --minify \
        --format=iife --global-name=JsSIP --log-level=error --outfile="$work/jssip.js"
    mkdir -p "$cache"
    mv "$work/jssip.js" "$made"
fi
realpath "$made"
