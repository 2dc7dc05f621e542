//! A private PostgreSQL server for tests. Never touches a server that somebody else started, and never outlives the process that started it.

use std::fs::{self, DirBuilder};
use std::io::{Error, ErrorKind, Result};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;
use std::{env, process};

/// Somebody else may take the free port before the server does.
const TRIES: u32 = 3;
const POLL: Duration = Duration::from_millis(50);
/// Polls until a server that is not ready counts as failed: a minute.
const POLLS_TO_START_MAX: u32 = 1200;
/// Polls until a server that was asked to stop is killed: 20 s.
const POLLS_TO_STOP_MAX: u32 = 400;

/// Makes the cluster, runs the server, and waits until the pipe from the test closes: that happens however the test's process ends. Then it
/// stops the server and removes everything. Arguments: folder of the binaries, folder of the cluster, port.
const SCRIPT: &str = r#"
"$1/initdb" -D "$2/data" -U strata --pwfile="$2/password" -A password -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -h 127.0.0.1 -p "$3" -c unix_socket_directories= -c fsync=on -c max_connections=400 \
  -c shared_buffers=32MB >>"$2/log" 2>&1 &
server=$!
read -r _ || :
kill -INT "$server"
wait "$server"
cd / && rm -rf "$2"
"#;

/// A server on 127.0.0.1 with a cluster of its own in the folder for temporary files. Stopped and removed when dropped.
#[derive(Debug)]
pub struct PostgresServer {
    url: String,
    folder: PathBuf,
    watch: Child,
    /// Open as long as the server is to run.
    pipe: Option<ChildStdin>,
}

impl PostgresServer {
    /// Starts one; takes some seconds. Errors: `NotFound` if no server is installed; others with what the server said.
    pub fn start() -> Result<Self> {
        let binaries = binaries().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "no PostgreSQL server is installed\n  help: install the package `postgresql` (see tests/postgres.sh)",
            )
        })?;
        let mut tries = 1;
        loop {
            match Self::start_on(&binaries, free_port()?) {
                Err(e) if e.kind() == ErrorKind::AddrInUse && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Where to connect, as a user that may do everything, e.g. make databases.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn start_on(binaries: &Path, port: u16) -> Result<Self> {
        let folder = folder()?;
        fs::write(folder.join("password"), "strata\n")?;
        let mut command = unprivileged(&folder)?;
        command.args(["sh", "-c", SCRIPT, "strata-postgres"]).arg(binaries).arg(&folder).arg(port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").process_group(0);
        let mut watch = command.spawn()?;
        let pipe = watch.stdin.take();
        let mut server = Self { url: format!("postgresql://strata:strata@127.0.0.1:{port}/postgres"), folder, watch, pipe };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        for _ in 0..POLLS_TO_START_MAX {
            let status = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
            // The eighth line tells, as `pg_ctl --wait` reads it.
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let said = self.said();
            if said.contains("FATAL:") || self.watch.try_wait()?.is_some() {
                let kind = if said.contains("could not bind") { ErrorKind::AddrInUse } else { ErrorKind::Other };
                return Err(Error::new(kind, format!("the PostgreSQL server did not start: {said}")));
            }
            sleep(POLL);
        }
        Err(Error::new(ErrorKind::TimedOut, format!("the PostgreSQL server did not become ready: {}", self.said())))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.pipe.take());
        for _ in 0..POLLS_TO_STOP_MAX {
            if self.watch.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(POLL);
        }
        Command::new("kill").args(["-KILL", "--", &format!("-{}", self.watch.id())]).status()?;
        self.watch.wait().map(drop)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Nothing is left to be done about a server that cannot be stopped.
        let _ = self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder with `initdb` and `postgres`: on the path, or Debian's newest.
fn binaries() -> Option<PathBuf> {
    let on_path: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    debian.sort();
    let debian = debian.into_iter().rev().map(|(_, folder)| folder);
    on_path.into_iter().chain(debian).find(|folder| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file()))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn folder() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("strata-postgres-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = env::temp_dir().join(name);
    DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

/// A command that runs the one in its arguments, as somebody else if this is root, whom PostgreSQL refuses. That user gets the folder.
fn unprivileged(folder: &Path) -> Result<Command> {
    // Who made the folder is who this process runs as.
    if fs::metadata(folder)?.uid() != 0 {
        return Ok(Command::new("env"));
    }
    let user = if succeeds(Command::new("id").arg("postgres")) { "postgres" } else { "nobody" };
    if !succeeds(Command::new("chown").args(["-R", user]).arg(folder)) {
        return Err(Error::other(format!("the folder for PostgreSQL could not be given to `{user}`")));
    }
    let group = Command::new("id").args(["-g", user]).output()?.stdout;
    let group = String::from_utf8_lossy(&group).trim().to_owned();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"]);
    Ok(command)
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
