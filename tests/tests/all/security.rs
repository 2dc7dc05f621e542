//! Who may reach a cluster: certificates between its processes, tokens for people, nothing beyond this machine without both. Never weakens a
//! check for a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use strata_testkit::cluster::free_port;
use strata_testkit::{binary, repository};

const TOKEN: &str = "canary-token-5f1c";

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Authority {
    params: rcgen::CertificateParams,
    key: rcgen::KeyPair,
    pem: String,
}

fn authority() -> Authority {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { params, key, pem }
}

/// Writes a certificate of `authority` for addresses of this machine, and its key; gives the arguments that name them.
fn node(dir: &Path, name: &str, authority: &Authority) -> Vec<String> {
    let names = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "localhost"].map(str::to_owned);
    let params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&authority.params, &authority.key);
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let file = |what: &str, text: &str| -> String {
        let path: PathBuf = dir.join(format!("{name}-{what}.pem"));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    [("--tls-cert", file("cert", &certificate)), ("--tls-key", file("key", &key.serialize_pem()))]
        .into_iter()
        .flat_map(|(k, v)| [k.to_owned(), v])
        .collect()
}

fn start(dir: &Path, log: &str, arguments: &[String]) -> Process {
    let file = std::fs::File::create(dir.join(log)).unwrap();
    let mut command = Command::new(binary());
    command.args(arguments).env("STRATA_LOG", "info,libraries=info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    Process(command.spawn().unwrap())
}

fn strata(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn nobody_listens_beyond_this_machine_without_certificates_and_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("r.db").display().to_string();
    for arguments in [
        vec!["coordinator", "--listen", "0.0.0.0:0", "--workers-listen", "127.0.0.1:0", "--store", &store],
        vec!["coordinator", "--listen", "127.0.0.1:0", "--workers-listen", "0.0.0.0:0", "--store", &store],
        vec!["worker", "--listen", "0.0.0.0"],
    ] {
        let done = strata(&arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("can be reached from other machines") && said.contains("help:"), "{said}");
    }
}

#[test]
fn only_known_workers_and_known_people_get_in() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    let (ours, theirs) = (authority(), authority());
    let ca = dir.join("ca.pem").display().to_string();
    std::fs::write(&ca, &ours.pem).unwrap();
    let (good, bad) = (node(dir, "good", &ours), node(dir, "bad", &theirs));
    let token_file = dir.join("token").display().to_string();
    std::fs::write(&token_file, TOKEN).unwrap();
    let tokens = dir.join("tokens").display().to_string();
    std::fs::write(
        &tokens,
        format!("ops runner {}\nlook viewer {}\n", strata_testkit_digest(TOKEN), strata_testkit_digest("other")),
    )
    .unwrap();
    let (api, scheduler) = (free_port(), free_port());
    let mut coordinator = words(&format!(
        "coordinator --listen 127.0.0.1:{api} --workers-listen 127.0.0.3:{scheduler} --advertise 127.0.0.3 --tls-ca {ca} --tokens {tokens}"
    ));
    coordinator.extend([
        "--store".into(),
        dir.join("r.db").display().to_string(),
        "--work".into(),
        dir.join("work").display().to_string(),
    ]);
    coordinator.extend(good.clone());
    let _coordinator = start(dir, "coordinator.log", &coordinator);
    let worker = |name: &str, tls: &[String]| -> Vec<String> {
        let mut out =
            words(&format!("worker --slots 1 --coordinator 127.0.0.3:{scheduler} --listen 127.0.0.2 --tls-ca {ca} --work-dir"));
        out.push(dir.join(name).display().to_string());
        out.extend(tls.iter().cloned());
        out
    };
    std::thread::sleep(Duration::from_secs(1));
    let rogue: Vec<String> = worker("rogue", &bad);
    let refused = strata(&rogue.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    let plain = strata(&[
        "worker",
        "--slots",
        "1",
        "--coordinator",
        &format!("127.0.0.3:{scheduler}"),
        "--work-dir",
        &dir.join("plain").display().to_string(),
    ]);
    assert_eq!(plain.status.code(), Some(1), "{}", String::from_utf8_lossy(&plain.stderr));
    let _worker = start(dir, "worker.log", &worker("worker", &good));

    let url = format!("https://127.0.0.1:{api}");
    let case = repository().join("tests/cases/panel").display().to_string();
    let (data, out) = (format!("data={case}"), format!("out={}", dir.join("out").display()));
    let began = Instant::now();
    let run = strata(&["run", &case, "-p", &data, "-p", &out, "--to", &url, "--ca", &ca, "--token-file", &token_file]);
    assert!(run.status.success(), "after {:?}: {}", began.elapsed(), String::from_utf8_lossy(&run.stderr));
    let nobody = strata(&["runs", "list", "--to", &url, "--ca", &ca]);
    assert_eq!(nobody.status.code(), Some(6), "{}", String::from_utf8_lossy(&nobody.stderr));
    std::fs::write(&token_file, "other").unwrap();
    let viewer = strata(&["run", &case, "-p", &data, "-p", &out, "--to", &url, "--ca", &ca, "--token-file", &token_file]);
    assert_eq!(viewer.status.code(), Some(6), "{}", String::from_utf8_lossy(&viewer.stderr));

    for log in ["coordinator.log", "worker.log"] {
        let text = std::fs::read_to_string(dir.join(log)).unwrap();
        assert!(!text.contains(TOKEN) && !text.contains("PRIVATE KEY"), "{log} shows a secret");
    }
    let store = std::fs::read(dir.join("r.db")).unwrap();
    assert!(!store.windows(TOKEN.len()).any(|w| w == TOKEN.as_bytes()), "the run store holds the token");
}

fn strata_testkit_digest(token: &str) -> String {
    strata_coordinator::api::auth::digest_hex(token)
}
