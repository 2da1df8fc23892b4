#!/usr/bin/env bash
# Installs what we did not write and the tests drive: SIPp, baresip, Chromium, and two servers, coturn and Kamailio,
# which are to run in tests alone: Debian would start them at once, and with every boot.
# Without the right to install, the tests that need a missing one are skipped, and pytest says so.
set -euo pipefail

missing=()
servers=()
while read -r program package; do
    command -v "$program" >/dev/null && continue
    missing+=("$package")
    case $program in turnserver | kamailio) servers+=("$package") ;; esac
done <<'EOT'
sipp sip-tester
baresip baresip-core
chromium chromium
turnserver coturn
kamailio kamailio
EOT

[[ ${#missing[@]} -eq 0 ]] && exit 0
install="apt-get install -y --no-install-recommends ${missing[*]}"
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "test tools: not installed, their tests are skipped: ${missing[*]} (as root: $install)"
    exit 0
fi
echo "test tools: $install"
mkdir -p /etc/systemd/system
for server in "${servers[@]}"; do
    ln -sf /dev/null "/etc/systemd/system/$server.service"
done
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && $install; } >/dev/null 2>&1 || echo "test tools: the install failed; tests of what is missing are skipped"
