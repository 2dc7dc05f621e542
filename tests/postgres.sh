# For bash scripts to source: provides a PostgreSQL server's programs for tests. Never starts a server, and never lets Debian start its own.

# Whether initdb and postgres are at hand: on the path, or where Debian puts them.
postgres_present() {
  if command -v initdb >/dev/null && command -v postgres >/dev/null; then return 0; fi
  local folder
  for folder in /usr/lib/postgresql/*/bin; do
    if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then return 0; fi
  done
  return 1
}

# Installs Debian's postgresql where it is missing and this is root; otherwise says what to install and fails. The tests themselves tell loudly
# when they find no server, so a caller may go on: `postgres_install || true`.
postgres_install() {
  if postgres_present; then return 0; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "no PostgreSQL server is installed: the run store's PostgreSQL tests will not run" >&2
    echo "  help: install the package \`postgresql\` (Debian: sudo apt-get install postgresql) and run again" >&2
    return 1
  fi
  # No cluster of the system's is made or started: the tests start a private server. The setting goes in first, because Debian makes the
  # cluster while it installs.
  mkdir -p /etc/postgresql-common/createcluster.d
  local setting=/etc/postgresql-common/createcluster.d/strata-tests.conf
  echo 'create_main_cluster = false' >"$setting"
  local done=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || done=1
  rm -f "$setting"
  if [ "$done" -ne 0 ] || ! postgres_present; then
    echo "PostgreSQL could not be installed: the run store's PostgreSQL tests will not run" >&2
    echo "  help: see what apt-get said above" >&2
    return 1
  fi
}
