#!/usr/bin/env bash
# Formatting, lints, documentation; scripts where shellcheck is installed. Tests may fail by panicking
# and may read the clock.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --locked --lib --bins -- -D warnings
cargo clippy --locked --all-targets -- -D warnings \
  -A missing_docs -A unreachable_pub -A clippy::unwrap_used -A clippy::expect_used \
  -A clippy::panic -A clippy::unreachable -A clippy::indexing_slicing \
  -A clippy::cast_possible_truncation -A clippy::cast_possible_wrap -A clippy::cast_sign_loss \
  -A clippy::disallowed_methods -A clippy::print_stderr -A clippy::print_stdout \
  -A clippy::too_many_lines -A clippy::type_complexity
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
if command -v shellcheck > /dev/null; then
  shellcheck -x scripts/*.sh
else
  echo 'shellcheck is not installed: scripts are not checked'
fi
