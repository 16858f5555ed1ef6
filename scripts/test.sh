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
# Most socket tests wait for deadlines rather than compute.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-6} cargo test --locked --quiet 2>&1 | tee target/test.log | grep -v '^\.*$' || {
  tail -n 100 target/test.log
  exit 1
}
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "tests: %d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0 }' target/test.log
