#!/usr/bin/env bash
# Installs the Debian packages that tests run: coturn, nftables and iproute2 (NAT), chromium (a peer in a browser) and
# redis-server (the hub's broker). Quiet where they are there. Never fails the build for their absence, except in
# continuous integration (CI=true): those tests then skip.
set -euo pipefail

packages=(coturn nftables iproute2 chromium redis-server)
programs=(turnserver nft ip chromium redis-server)

missing=()
for i in "${!programs[@]}"; do
  PATH=$PATH:/usr/sbin:/sbin command -v "${programs[$i]}" >/dev/null || missing+=("${packages[$i]}")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

give_up() {
  echo "$1; the tests that need them will skip. To run these: apt-get update && apt-get install -y ${missing[*]}"
  if [ "${CI:-}" = true ]; then
    exit 1
  fi
  exit 0
}

command -v apt-get >/dev/null || give_up "no apt-get here to install ${missing[*]}"
[ "$(id -u)" = 0 ] || give_up "not root: can't install ${missing[*]}"

echo "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3; do
  if { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    exit 0
  fi
  echo "apt-get failed (attempt $attempt of 3)"
done
tail -n 30 "$log"
give_up "apt-get could not install ${missing[*]}"
