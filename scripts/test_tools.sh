#!/usr/bin/env bash
# Installs the phones and the browser that we did not write and that the tests drive: SIPp, baresip, Chromium.
# Without the right to install, the tests that need a missing one are skipped, and pytest says so.
set -euo pipefail

missing=()
while read -r program package; do
    command -v "$program" >/dev/null || missing+=("$package")
done <<'EOT'
sipp sip-tester
baresip baresip-core
chromium chromium
EOT

[[ ${#missing[@]} -eq 0 ]] && exit 0
install="apt-get install -y --no-install-recommends ${missing[*]}"
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "test tools: not installed, their tests are skipped: ${missing[*]} (as root: $install)"
    exit 0
fi
echo "test tools: $install"
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && $install; } >/dev/null 2>&1 || echo "test tools: the install failed; tests of what is missing are skipped"
