#!/usr/bin/env bash
# Micro-benchmarks of the media path: times, or with --count instructions in user space, which no
# neighbour on the machine changes. Usage: scripts/bench.sh [--count] [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --help ]; then
  sed -n '2,/^[^#]/s/^# \?//p' "$0"
  exit 0
fi
if [ "${1:-}" != --count ]; then
  exec cargo bench --locked --bench micro -- "$@"
fi
shift
command -v valgrind > /dev/null || { echo "bench.sh: --count needs valgrind" >&2; exit 1; }

# The newest one: cargo says where it put it.
program=$(cargo bench --locked --bench micro --no-run --message-format json |
  sed -n 's/.*"name":"micro".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
result=$(mktemp)
trap 'rm -f "$result"' EXIT

instructions() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" count "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : //p'
}

readonly few=100 many=1100
[ $# -gt 0 ] || mapfile -t < <("$program" names)
for name in "${@:-${MAPFILE[@]}}"; do
  # Lists have grown and caches are filled after the first ones.
  before=$(instructions "$name" "$few") after=$(instructions "$name" "$many")
  echo "$name $(((after - before) / (many - few)))" >> "$result"
done
column -t "$result"
