#!/usr/bin/env bash
# Every load script with --smoke: its exit code, its results field by field, and that it leaves no
# process; that wrong flags, broken promises and signals are answered as they should be.
set -euo pipefail
cd "$(dirname "$0")/.."

# As the scripts do it, so that none of them has to.
cargo build --locked --release --quiet --bins
cargo build --locked --release --quiet --example hostile
work=$(mktemp -d)
passed=0 failed=0
# Processes of a script carry this in their environment.
export MILLRACE_SMOKE=$work
current=
finish() {
  [ -z "$current" ] || kill "$current" 2>/dev/null || true
  [ -z "$current" ] || wait "$current" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

verdict() { # OK|FAILED WHAT [FILE]
  if [ "$1" = OK ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $2"
    [ -z "${3-}" ] || tail -n 20 "$3"
  fi
}

# Runs a script in at most 60 seconds; its exit code must be $1.
expect() { # CODE SCRIPT FLAGS...
  local wanted=$1 script=$2 status=0 log=$work/$2.log
  shift 2
  timeout -k 5 60 "scripts/$script.sh" "$@" > "$log" 2>&1 < /dev/null &
  current=$!
  wait "$current" || status=$?
  current=
  if [ "$status" = "$wanted" ]; then
    verdict OK
  else
    verdict FAILED "$script.sh $*: exit code $status instead of $wanted" "$log"
  fi
  leaves_nothing "$script.sh $*"
}

# No process that a script started is there any more.
leaves_nothing() { # WHAT
  local file pid left=''
  # shellcheck disable=SC2013 # a path of /proc has no spaces
  for file in $(grep -lsz "^MILLRACE_SMOKE=$work\$" /proc/[0-9]*/environ); do
    pid=${file#/proc/} pid=${pid%/environ}
    # This one, and what it ran to find out, which is gone by now.
    if [ "$pid" != $$ ] && [ -e "/proc/$pid/exe" ]; then left+=" $pid"; fi
  done
  if [ -z "$left" ]; then verdict OK; else verdict FAILED "$1 leaves processes:$left"; fi
}

results() { # SCRIPT
  if python3 scripts/check-results.py "$1" "$work/$1" > "$work/$1.checks"; then
    passed=$((passed + $(sed -n 's/^checks //p' "$work/$1.checks")))
  else
    verdict FAILED "results of $1.sh" "$work/$1.checks"
  fi
}

for script in load latency churn slow idle soak compare floor loops tune prove-memory; do
  began=$SECONDS
  expect 0 "$script" --smoke --out "$work/$script"
  results "$script"
  expect 0 "$script" --help
  echo "$script.sh: $((SECONDS - began)) s"
done

# Wrong flags, each answered before anything starts.
expect 2 load --no-such-flag 1
expect 2 load --players
expect 2 slow --players many
expect 2 churn --time 1 --time 2
expect 2 compare --smoke --other nonsense --out "$work/other"
expect 2 idle word
expect 2 load --smoke --out "$work/load"

# A broken promise is told, and the results are there all the same.
expect 1 idle --smoke --bytes 0 --out "$work/broken"
if grep -q '^BROKEN: .* bytes for each' "$work/idle.log" && [ -s "$work/broken/rows.csv" ]; then
  verdict OK
else
  verdict FAILED 'idle.sh --bytes 0 does not say what is broken' "$work/idle.log"
fi

# Sizes are for people.
expect 0 tune --out "$work/sizes"
if grep -q '^host  memory  .* [0-9.]* [MG]iB  .* [0-9.]* [MG]iB  ' "$work/tune.log"; then
  verdict OK
else
  verdict FAILED 'tune.sh shows no sizes in MiB and GiB' "$work/tune.log"
fi

# A signal ends it and all that it started.
scripts/soak.sh --smoke --minutes 1 --out "$work/ended" > "$work/ended.log" 2>&1 < /dev/null &
current=$!
for _ in $(seq 400); do
  [ ! -s "$work/ended/samples.csv" ] || break
  sleep 0.05
done
status=0
kill -TERM "$current"
wait "$current" || status=$?
current=
if [ "$status" = 143 ] && [ -s "$work/ended/samples.csv" ]; then
  verdict OK
else
  verdict FAILED "soak.sh ends with $status at SIGTERM" "$work/ended.log"
fi
leaves_nothing 'soak.sh at SIGTERM'

echo "load scripts: $passed checks passed, $failed failed"
[ "$failed" = 0 ]
