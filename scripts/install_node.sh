#!/usr/bin/env bash
# Installs the npm packages of the interop tests, once per content of each package.json: those of tests/interop into
# .node/, those of its folders legacy, modern8, browser and axe into folders of these names in it. All at once: npm mostly
# waits. The modules of the page in browser are bundled into browser/modules.js.
# Without Node.js it says so and succeeds: those tests then skip, and name what is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "no Node.js with npm: the interop tests will skip (apt-get install nodejs npm)"
  exit 0
fi

key_of() { echo "$(node --version) $(cksum <"$root/tests/interop/$1/package.json")"; }

installed() { [ -f "$root/.node/$1/.installed" ] && [ "$(cat "$root/.node/$1/.installed")" = "$(key_of "$1")" ]; }

install_set() {
  local folder=$root/.node/$1 attempt
  rm -rf "$folder/.installed" "$folder/node_modules" "$folder/modules.js"
  mkdir -p "$folder"
  cp "$root/tests/interop/$1/package.json" "$folder/package.json"
  # No install scripts: every native package here carries a prebuilt file that is found when it is loaded.
  for attempt in 1 2 3; do
    if (cd "$folder" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error &&
      npm run bundle --if-present) >"$folder/install.log" 2>&1; then
      key_of "$1" >"$folder/.installed"
      return
    fi
    echo "npm install of $folder/package.json failed (attempt $attempt of 3)"
  done
  tail -n 40 "$folder/install.log"
  rm -rf "$folder/node_modules"
  return 1
}

mkdir -p "$root/.node"
# Two runs at once would write over each other's packages.
exec 9>"$root/.node/.lock"
if command -v flock >/dev/null; then flock 9; fi

missing=()
for set in . legacy modern8 browser axe; do
  installed "$set" || missing+=("$set")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing the npm packages of the interop tests into .node (about a minute)"
running=()
for set in "${missing[@]}"; do
  install_set "$set" &
  running+=($!)
done
failed=false
for job in "${running[@]}"; do
  wait "$job" || failed=true
done
if $failed; then
  # A machine without a registry still runs every other test; continuous integration must not lose these unnoticed.
  if [ "${CI:-}" = true ]; then
    exit 1
  fi
  echo "the interop tests will skip"
fi
