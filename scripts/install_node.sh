#!/usr/bin/env bash
# Installs the npm packages of the interop tests into .node/, once per content of tests/interop/package.json.
# Without Node.js it says so and succeeds: those tests then skip, and name what is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wanted=$root/tests/interop/package.json
folder=$root/.node
stamp=$folder/.installed

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "no Node.js with npm: the interop tests will skip (apt-get install nodejs npm)"
  exit 0
fi

key="$(node --version) $(cksum <"$wanted")"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then
  exit 0
fi

mkdir -p "$folder"
# Two runs at once would write over each other's packages.
exec 9>"$folder/.lock"
if command -v flock >/dev/null; then
  flock 9
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then
    exit 0
  fi
fi

rm -rf "$stamp" "$folder/node_modules"
cp "$wanted" "$folder/package.json"
log=$folder/install.log
echo "installing the npm packages of the interop tests into .node (about a minute)"
# No install scripts: every native package here carries a prebuilt file that is found when it is loaded.
for attempt in 1 2 3; do
  if (cd "$folder" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error) >"$log" 2>&1; then
    echo "$key" >"$stamp"
    exit 0
  fi
  echo "npm install failed (attempt $attempt of 3)"
done
tail -n 40 "$log"
# A machine without a registry still runs every other test; continuous integration must not lose these unnoticed.
if [ "${CI:-}" = true ]; then
  exit 1
fi
echo "the interop tests will skip"
rm -rf "$folder"
