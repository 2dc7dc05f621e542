//! An HTTP proxy that fails as a seed says: errors, resets, lost replies, slow and stalled bodies. Never changes a byte that it
//! hands on.
//!
//! It can also hold one request for ever, before its effect or after it, so that a test ends the process that waits for the answer.
//!
//! One request a connection: what it answers says `connection: close`. Each request's fate is drawn from the seed and the
//! request's number, so a client that asks one thing after another meets the same faults every time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is slept between two pieces of a slow body, and between two looks at a stalled connection.
const BEAT: Duration = Duration::from_millis(50);
/// Requests larger than this are no business of a test.
const REQUEST_BYTES_MAX: usize = 256 << 20;

/// How often what goes wrong, in percent of the requests that it applies to. Drawn in this order; the first that hits is it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Where the draws begin.
    pub seed: u64,
    /// 503 `SlowDown`, nothing done.
    pub unavailable: u64,
    /// 500 `InternalError`, nothing done.
    pub internal: u64,
    /// The connection is reset before the request is read, nothing done.
    pub reset: u64,
    /// PUT, POST and DELETE: done, and the connection closed without an answer.
    pub reply_lost: u64,
    /// PUT with `if-none-match`: 409 without an effect, as S3 answers while another request for the key is on its way.
    pub conflict: u64,
    /// PUT with `if-none-match`: done, and 412 answered, as if the client's own earlier try had been first.
    pub exists: u64,
    /// Bodies of answers come at `slow_bytes_per_s`.
    pub slow: u64,
    /// Speed of a slow body.
    pub slow_bytes_per_s: u64,
    /// The body of an answer stops half-way and the connection stays open.
    pub stall: u64,
}

/// What it has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests seen.
    pub requests: u64,
    /// 503 and 500 answered.
    pub errors: u64,
    /// Connections reset.
    pub resets: u64,
    /// Replies kept back after the effect.
    pub lost: u64,
    /// 409 and 412 answered.
    pub conflicts: u64,
    /// Bodies slowed down.
    pub slowed: u64,
    /// Bodies stalled.
    pub stalled: u64,
}

/// When a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it was done.
    Before,
    /// It was done, and its client does not know.
    After,
}

/// A request to hold.
#[derive(Debug)]
struct Hold {
    method: &'static str,
    path: String,
    moment: Moment,
    held: Sender<SocketAddr>,
}

/// A running proxy.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    faults: Mutex<Faults>,
    hold: Mutex<Option<Hold>>,
    counts: Mutex<Counts>,
    requests: AtomicU64,
    stop: AtomicBool,
}

/// What becomes of a request.
enum Fate {
    Well,
    Answer(&'static str),
    ReplyLost,
    Exists,
    Slow(u64),
    Stall,
}

/// A request as it came.
struct Request {
    method: String,
    create: bool,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl FaultProxy {
    /// Starts one before the server at `port` of this machine.
    pub fn start(port: u16, faults: Faults) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("no port for the proxy: {e}"));
        let own = listener.local_addr().unwrap_or_else(|e| panic!("no port for the proxy: {e}")).port();
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            faults: Mutex::new(faults),
            hold: Mutex::default(),
            counts: Mutex::default(),
            requests: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let listening = Arc::clone(&shared);
        let listening = std::thread::spawn(move || listen(&listener, &listening));
        Self { port: own, shared, listening: Some(listening) }
    }

    /// Its address, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From the next request on these faults.
    pub fn set(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// Holds the next request of this method whose path contains `path`, until its client hangs up. Gives the client's address when it holds it.
    pub fn hold(&self, method: &'static str, path: &str, moment: Moment) -> Receiver<SocketAddr> {
        let (held, receiver) = channel();
        *lock(&self.shared.hold) = Some(Hold { method, path: path.to_owned(), moment, held });
        receiver
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        Counts { requests: self.shared.requests.load(Ordering::Relaxed), ..*lock(&self.shared.counts) }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(connection) = connection {
            let shared = Arc::clone(shared);
            // A broken connection is what this is for: the client says what it made of it.
            std::thread::spawn(move || drop(serve(connection, &shared)));
        }
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    // A client that keeps an idle connection must not keep a thread for ever.
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut first = [0; 1];
    if client.peek(&mut first)? == 0 {
        return Ok(());
    }
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let faults = *lock(&shared.faults);
    let mut draw = Draw(faults.seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
    if draw.hits(faults.reset) {
        shared.count(|c| c.resets += 1);
        // Closing with unread bytes resets the connection.
        return Ok(());
    }
    let Some(request) = read_request(&mut client)? else { return Ok(()) };
    if let Some(hold) = shared.to_hold(&request) {
        if hold.moment == Moment::After {
            drop(read_all(ask(shared, &request)?)?);
        }
        // The test may look no more.
        let _ = hold.held.send(client.peer_addr()?);
        return wait_for_hang_up(shared, &mut client);
    }
    match fate(&mut draw, &faults, &request) {
        Fate::Answer(answer) => {
            shared.count(|c| if answer.starts_with("409") { c.conflicts += 1 } else { c.errors += 1 });
            respond(&mut client, answer)
        }
        Fate::ReplyLost => {
            let answer = ask(shared, &request)?;
            drop(read_all(answer)?);
            shared.count(|c| c.lost += 1);
            client.shutdown(Shutdown::Both)
        }
        Fate::Exists => {
            drop(read_all(ask(shared, &request)?)?);
            shared.count(|c| c.conflicts += 1);
            respond(&mut client, "412 Precondition Failed\r\n<Error><Code>PreconditionFailed</Code></Error>")
        }
        Fate::Well => {
            std::io::copy(&mut ask(shared, &request)?, &mut client)?;
            client.shutdown(Shutdown::Both)
        }
        Fate::Slow(bytes_per_s) => {
            shared.count(|c| c.slowed += 1);
            slowly(shared, ask(shared, &request)?, &mut client, bytes_per_s)
        }
        Fate::Stall => {
            shared.count(|c| c.stalled += 1);
            stalled(shared, ask(shared, &request)?, &mut client)
        }
    }
}

fn fate(draw: &mut Draw, faults: &Faults, request: &Request) -> Fate {
    let changes = matches!(request.method.as_str(), "PUT" | "POST" | "DELETE");
    if draw.hits(faults.unavailable) {
        Fate::Answer("503 Slow Down\r\n<Error><Code>SlowDown</Code></Error>")
    } else if draw.hits(faults.internal) {
        Fate::Answer("500 Internal Server Error\r\n<Error><Code>InternalError</Code></Error>")
    } else if draw.hits(faults.reply_lost) && changes {
        Fate::ReplyLost
    } else if draw.hits(faults.conflict) && request.create {
        Fate::Answer("409 Conflict\r\n<Error><Code>ConditionalRequestConflict</Code></Error>")
    } else if draw.hits(faults.exists) && request.create {
        Fate::Exists
    } else if draw.hits(faults.slow) && request.method == "GET" {
        Fate::Slow(faults.slow_bytes_per_s.max(1))
    } else if draw.hits(faults.stall) && request.method == "GET" {
        Fate::Stall
    } else {
        Fate::Well
    }
}

/// Reads a request; `None` where the client left before its end.
fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    };
    let mut body = bytes.split_off(end);
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()));
    let length: usize = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(
        length <= REQUEST_BYTES_MAX && header("transfer-encoding").is_none(),
        "a request that the proxy cannot hand on: {text}"
    );
    while body.len() < length {
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            n => body.extend_from_slice(&buffer[..n]),
        }
    }
    let method = text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    Ok(Some(Request { create: method == "PUT" && header("if-none-match").is_some(), method, head: bytes, body }))
}

/// Hands a request on; what is then read is the server's answer, up to its end.
fn ask(shared: &Shared, request: &Request) -> std::io::Result<TcpStream> {
    let mut server = TcpStream::connect(shared.upstream)?;
    server.set_read_timeout(Some(Duration::from_secs(60)))?;
    // The host stays the client's: it is part of what was signed. The connection is not.
    let mut head = request.head.clone();
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"connection: close\r\n\r\n");
    server.write_all(&head)?;
    server.write_all(&request.body)?;
    Ok(server)
}

fn read_all(mut answer: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    answer.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Answers with a status line and a body, given in two lines.
fn respond(client: &mut TcpStream, answer: &str) -> std::io::Result<()> {
    let (status, body) = answer.split_once("\r\n").unwrap_or((answer, ""));
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())?;
    client.shutdown(Shutdown::Both)
}

/// The head at once, the body at a speed.
fn slowly(shared: &Shared, answer: TcpStream, client: &mut TcpStream, bytes_per_s: u64) -> std::io::Result<()> {
    let bytes = read_all(answer)?;
    let (head, body) = bytes.split_at(body_at(&bytes));
    client.write_all(head)?;
    let piece = (bytes_per_s * BEAT.as_millis() as u64 / 1000).max(1) as usize;
    for piece in body.chunks(piece) {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        client.write_all(piece)?;
        std::thread::sleep(BEAT);
    }
    client.shutdown(Shutdown::Both)
}

/// The head and half of the body, and then nothing until the client leaves.
fn stalled(shared: &Shared, answer: TcpStream, client: &mut TcpStream) -> std::io::Result<()> {
    let bytes = read_all(answer)?;
    let body = body_at(&bytes);
    client.write_all(&bytes[..body + (bytes.len() - body) / 2])?;
    wait_for_hang_up(shared, client)
}

fn wait_for_hang_up(shared: &Shared, client: &mut TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(BEAT))?;
    while !shared.stop.load(Ordering::Relaxed) {
        match client.read(&mut [0; 64]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    Ok(())
}

fn body_at(answer: &[u8]) -> usize {
    answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(answer.len(), |at| at + 4)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The hold that a request is the one of.
    fn to_hold(&self, request: &Request) -> Option<Hold> {
        let path = String::from_utf8_lossy(request.head.split(|b| *b == b'\r').next().unwrap_or_default()).into_owned();
        lock(&self.hold).take_if(|hold| hold.method == request.method && path.contains(&hold.path))
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut lock(&self.counts));
    }
}

/// SplitMix64. Source: Steele, Lea & Flood 2014.
struct Draw(u64);

impl Draw {
    fn hits(&mut self, percent: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % 100 < percent
    }
}
