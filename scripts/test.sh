#!/usr/bin/env bash
# Everything that must hold: lints, tests with real clients, the README's commands.
# Installs missing tools when run as root on Debian; otherwise names the one command that does.
set -euo pipefail
cd "$(dirname "$0")/.."

stage() { printf '\n=== %s\n' "$1"; }

stage "tools"
scripts/install-tools.sh

stage "lint"
scripts/lint.sh

stage "tests"
log=${CARGO_TARGET_DIR:-target}/test.log
mkdir -p "$(dirname "$log")"
# Most socket tests wait for deadlines rather than compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}
if ! cargo test --locked --no-fail-fast >"$log" 2>&1; then
  # What failed and why, before anything else.
  awk '/^failures:$/ { shown = 1 } /^test result:/ { shown = 0 } shown || /FAILED$/' "$log"
  tail -n 30 "$log"
  exit 1
fi
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
  END { printf "tests: %d passed, %d failed, %d ignored\n", passed, failed, ignored
        exit failed + ignored > 0 || passed == 0 }' "$log"

stage "load scripts"
scripts/smoke.sh

stage "the README's commands"
scripts/readme.sh
