//! A real S3 server for tests: SeaweedFS on free ports of this machine, gone with its folder when dropped. Never used by the
//! product.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Who may do what. SeaweedFS really refuses others.
const IDENTITIES: &str = r#"{"identities":[
 {"name":"admin","credentials":[{"accessKey":"testkey","secretKey":"testsecret"}],"actions":["Admin","Read","Write","List","Tagging"]},
 {"name":"ro","credentials":[{"accessKey":"rokey","secretKey":"rosecret"}],"actions":["Read:lake","List:lake"]}]}"#;
/// First port of the first block; each port's gRPC twin is 10,000 above it and still below those the system hands out.
const FIRST_PORT: u16 = 12_000;
const BLOCKS: u16 = 900;
const BLOCK_PORTS: u16 = 10;
const STARTS_MAX: usize = 5;

/// A running server with a bucket `lake`.
#[derive(Debug)]
pub struct S3Server {
    process: Child,
    port: u16,
    // Removed after the process has ended.
    folder: TempDir,
}

impl S3Server {
    /// Starts one; several may run at the same time. Takes about four seconds. Panics where the `weed` binary is not installed.
    pub fn start() -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(server) = Self::try_start() {
                server.create_bucket("lake");
                return server;
            }
        }
        panic!("SeaweedFS did not start {STARTS_MAX} times");
    }

    fn try_start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("no folder for SeaweedFS: {e}"));
        let identities = folder.path().join("s3.json");
        std::fs::write(&identities, IDENTITIES).unwrap_or_else(|e| panic!("{}: {e}", identities.display()));
        let port = free_block();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap_or_else(|e| panic!("{}: {e}", data.display()));
        let process = spawn(port, &data, &identities, &folder.path().join("log"));
        let mut server = Self { process, port, folder };
        // Unsigned requests are refused as soon as somebody is there to refuse them.
        for _ in 0..300 {
            if status(port).is_some_and(|answer| answer.contains(" 403 ")) {
                return Some(server);
            }
            if server.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("SeaweedFS did not answer within 30 s; its log:\n{}", server.log());
    }

    /// Its address, e.g. for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The environment of a process that may do everything.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.endpoint(), "testkey", "testsecret")
    }

    /// The environment of a process that may only read the bucket `lake`.
    pub fn environment_of_reader(&self) -> Vec<(String, String)> {
        environment(&self.endpoint(), "rokey", "rosecret")
    }

    /// Makes another bucket.
    pub fn create_bucket(&self, name: &str) {
        let mut shell = Command::new(weed());
        shell.arg("shell").arg(format!("-master=127.0.0.1:{}", self.port + 1)).arg(format!("-filer=127.0.0.1:{}", self.port + 3));
        let mut shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("weed shell: {e}"));
        if let Some(mut input) = shell.stdin.take() {
            let sent = input.write_all(format!("s3.bucket.create -name {name}\nexit\n").as_bytes());
            sent.unwrap_or_else(|e| panic!("weed shell: {e}"));
        }
        let said = shell.wait_with_output().unwrap_or_else(|e| panic!("weed shell: {e}"));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(&format!("created bucket {name}")), "{said}\n{}", self.log());
    }

    /// Makes or replaces an object, not by way of S3.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let (head, _) = self.filer("PUT", bucket, key, bytes);
        assert!(head.contains(" 201 ") || head.contains(" 200 "), "{bucket}/{key}: {head}");
    }

    /// The same for every file below a local folder.
    pub fn put_folder(&self, bucket: &str, prefix: &str, folder: &Path) {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path();
            let key = format!("{prefix}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            match path.is_dir() {
                true => self.put_folder(bucket, &key, &path),
                false => self.put(bucket, &key, &std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
            }
        }
    }

    /// The bytes of an object, not by way of S3; `None` where there is none.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let (head, body) = self.filer("GET", bucket, key, &[]);
        head.contains(" 200 ").then_some(body)
    }

    /// The keys of all objects of a bucket below a folder, in order, not by way of S3.
    pub fn keys(&self, bucket: &str, folder: &str) -> Vec<String> {
        let (head, body) = self.filer("GET", bucket, &format!("{folder}/"), &[]);
        assert!(head.contains(" 200 "), "{bucket}/{folder}: {head}");
        let listed: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(listed["ShouldDisplayLoadMore"] != true, "{bucket}/{folder} holds more than is listed at once");
        let root = format!("/buckets/{bucket}/");
        let mut out = vec![];
        for entry in listed["Entries"].as_array().into_iter().flatten() {
            let key = entry["FullPath"].as_str().and_then(|p| p.strip_prefix(&root)).unwrap_or_default();
            // The highest bit of a mode says that it is a folder; parts of uploads are no objects.
            match entry["Mode"].as_u64().is_some_and(|mode| mode >> 31 & 1 == 1) {
                _ if key.starts_with(".uploads") => {}
                true => out.extend(self.keys(bucket, key)),
                false => out.push(key.to_owned()),
            }
        }
        out.sort();
        out
    }

    /// Asks the file system behind the buckets. Head and body of its answer.
    fn filer(&self, method: &str, bucket: &str, key: &str, body: &[u8]) -> (String, Vec<u8>) {
        let key: String = key
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        let path = format!("/buckets/{bucket}/{}", key.replace("%2F", "/").trim_start_matches('/'));
        // A folder is listed, an object given.
        let query = if path.ends_with('/') { "?limit=100000" } else { "" };
        let head = format!(
            "{method} {path}{query} HTTP/1.0\r\naccept: application/json\r\ncontent-type: application/octet-stream\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut answer = Vec::new();
        let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port + 3)).and_then(|mut filer| {
            filer.write_all(head.as_bytes())?;
            filer.write_all(body)?;
            filer.read_to_end(&mut answer)
        });
        asked.unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", self.log()));
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: no answer"));
        let body = answer.split_off(at + 4);
        (String::from_utf8_lossy(&answer).into_owned(), body)
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `AWS_*` settings for an endpoint, e.g. that of a proxy before the server.
pub fn environment(endpoint: &str, key: &str, secret: &str) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// The binary that tests/run.sh installed, or one on the path.
fn weed() -> String {
    crate::setting("STRATA_TEST_WEED").unwrap_or_else(|| "weed".to_owned())
}

fn spawn(port: u16, data: &Path, identities: &Path, log: &Path) -> Child {
    let log = File::create(log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
    let mut server = Command::new(weed());
    server.args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    server.arg(format!("-dir={}", data.display()));
    server.arg(format!("-master.port={}", port + 1)).arg(format!("-volume.port={}", port + 2));
    server.arg("-filer").arg(format!("-filer.port={}", port + 3));
    server.arg("-s3").arg(format!("-s3.port={port}")).args([
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]);
    server.arg(format!("-s3.config={}", identities.display()));
    server.args(["-master.volumeSizeLimitMB=256", "-volume.max=0"]);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    server.spawn().unwrap_or_else(|e| panic!("cannot start SeaweedFS (`weed`): {e}; run the tests by tests/run.sh"))
}

/// The first port of a block that nobody listens in.
fn free_block() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes begin at different blocks, so that two of them rarely try the same one at once.
    let own = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0).wrapping_mul(37) % BLOCKS;
    for _ in 0..BLOCKS {
        let block = (own + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
        let port = FIRST_PORT + block * BLOCK_PORTS;
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (port..port + 4).all(|p| free(p) && free(p + 10_000)) {
            return port;
        }
    }
    panic!("no block of free ports");
}

/// The first line of the answer to an unsigned request.
fn status(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = [0; 64];
    let read = connection.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..read]).into_owned())
}
