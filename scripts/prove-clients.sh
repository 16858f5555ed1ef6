#!/usr/bin/env bash
# Real clients publish and play for --time seconds: the rows of tests/clients.rs, all at once, with
# one loop and with three. Prints what was compared.
#
# Promises: no difference, no lost frame, no row that is too short.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag time 60 2 'Seconds that are compared.'
parse "$@"
seconds=$time

scripts/install-tools.sh
cargo test --locked --release --quiet --test clients --no-run
log=$(mktemp)
trap 'rm -f "$log"' EXIT
rows() { grep -o 'row [a-z0-9-]* | .*' "$log" | cut -c 5- | sort; }
status=0
# Players join after a second: the clips are longer than what is compared.
MILLRACE_CLIP_SECONDS=$((seconds + 3)) RUST_TEST_THREADS=16 \
  timeout $((seconds + 600)) cargo test --locked --release --test clients -- --nocapture \
  >"$log" 2>&1 || status=$?
{
  echo "clip|loops|publisher|player|video frames|audio frames|seconds compared|offset ms"
  rows | sed 's/ | /|/g'
} | column -t -s '|'
if [ "$status" != 0 ]; then
  grep -v 'row [a-z0-9-]* | ' "$log" >&2
  exit 1
fi
rows | awk -F ' [|] ' -v least="$seconds" '
  $7 < least { short++ }
  END { printf "rows: %d, all equal; too short: %d\n", NR, short; exit short > 0 || NR == 0 }'
