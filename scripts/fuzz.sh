#!/bin/sh
# Fuzzes every parser entry with cargo-fuzz.
#
#   scripts/fuzz.sh SECONDS [TARGET...]     SECONDS for each target; all targets by default
#   FUZZ_JOBS=N scripts/fuzz.sh 600         N targets at a time (default 1)
#
# Exit codes: 0 no finding, 1 a finding (its input is named), 2 something is missing or wrong.
# What the fuzzer learns goes to target/fuzz/corpus, findings to target/fuzz/artifacts.
# cargo-fuzz wants a nightly compiler; RUSTC_BOOTSTRAP lets the stable one do.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "fuzz.sh: $*" >&2
    exit 2
}

# Runs one target; its last line says what came of it.
fuzz() {
    seconds=$1 target=$2
    work=target/fuzz/corpus/$target artifacts=target/fuzz/artifacts/$target
    log=target/fuzz/$target.log
    mkdir -p "$work" "$artifacts"
    status=0
    FUZZ_TARGET=$target nice -n 19 "$FUZZ_PROGRAM" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=1024 -malloc_limit_mb=64 -print_final_stats=1 \
        -artifact_prefix="$artifacts/" "$work" "tests/fuzz/corpus/$target" >"$log" 2>&1 ||
        status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log"
        echo "$target: FINDING after ${executions:-?} executions, see $log"
        exit 1
    fi
    echo "$target: $seconds s, ${executions:-?} executions, no finding"
    exit 0
}

if [ "${1:-}" = --help ]; then
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
fi
seconds=${1:-}
case $seconds in
    '' | *[!0-9]* | 0*) fail "usage: scripts/fuzz.sh SECONDS [TARGET...]" ;;
esac
shift
[ -z "${FUZZ_PROGRAM:-}" ] || fuzz "$seconds" "$1"

cargo fuzz --version >/dev/null 2>&1 ||
    fail "cargo-fuzz is missing; install it with: cargo install cargo-fuzz"
all=$(sed -n 's/^    ("\([a-z0-9_]*\)", [a-z0-9_]*),$/\1/p' tests/fuzz/src/targets.rs)
# shellcheck disable=SC2086 # a word each, here and below
[ $# -gt 0 ] || set -- $all
for target in "$@"; do
    # shellcheck disable=SC2086
    echo "$all" | grep -qx "$target" || fail "there is no target $target; there are:" $all
done

RUSTC_BOOTSTRAP=1 nice -n 19 cargo fuzz build --fuzz-dir tests/fuzz \
    --target-dir target/fuzz/build parsers || fail "the fuzzer does not build"
FUZZ_PROGRAM=$(find target/fuzz/build -path '*/release/parsers' -type f | head -n 1)
[ -x "$FUZZ_PROGRAM" ] || fail "cargo fuzz build has left no program"
export FUZZ_PROGRAM

# Each target in a process of its own: xargs keeps FUZZ_JOBS of them busy, one that fails does
# not stop the others.
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-1}" -I TARGET "$0" "$seconds" TARGET || exit 1
