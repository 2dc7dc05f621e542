//! Mutual TLS between the processes of a cluster, and TLS for the run API. Never accepts a peer that the cluster's own authority has not signed,
//! where both sides are to be known; never writes a key anywhere.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use tokio_rustls::server::TlsStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// A peer that has not said who it is by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time.
const HANDSHAKES_MAX: usize = 256;
/// Connections that wait to be taken.
const WAITING_MAX: usize = 256;

/// Customises connections of the engine's clients.
pub type Endpoints = Arc<dyn Fn(Endpoint) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// What is wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error(
        "cannot read `{path}`: {why}\n  help: give PEM files: the authority's certificate, this process's certificate and its key"
    )]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// They do not fit together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
}

/// Who this process is, and whom it believes. Its key is never shown.
#[derive(Clone)]
pub struct Identity {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// From PEM files. Errors: `File`, or `Unusable` where a file holds something else.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|e| Error::File { path: path.display().to_string(), why: e.to_string() });
        let identity = Self { authority: read(authority)?, certificate: read(certificate)?, key: read(key)? };
        identity.server(true)?;
        Ok(identity)
    }

    fn server(&self, known_peers: bool) -> Result<ServerConfig, Error> {
        let unusable = |e: &dyn std::fmt::Display| Error::Unusable(e.to_string());
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(&e))?;
        let builder = match known_peers {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                for authority in CertificateDer::pem_slice_iter(&self.authority) {
                    roots.add(authority.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|e| unusable(&e))?)
            }
        };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>().map_err(|e| unusable(&e))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|e| unusable(&e))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|e| unusable(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority))
            .identity(tonic::transport::Identity::from_pem(&self.certificate, &self.key))
    }
}

/// Turns the engine's plain connections into ones on which both sides are known.
pub fn endpoints(identity: Identity) -> Endpoints {
    Arc::new(move |endpoint: Endpoint| {
        let secure = endpoint.uri().to_string().replacen("http://", "https://", 1);
        let endpoint = Endpoint::from_shared(secure)?
            .connect_timeout(Duration::from_secs(20))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        Ok(endpoint.tls_config(identity.client())?)
    })
}

/// Connections that passed their handshake, as they come. With `known_peers` only peers whose certificate the authority signed pass; a peer
/// that does not pass is dropped and costs nobody else anything.
pub fn accept(
    listener: TcpListener,
    identity: &Identity,
    known_peers: bool,
) -> Result<mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>, Error> {
    let acceptor = TlsAcceptor::from(Arc::new(identity.server(known_peers)?));
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let turns = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    tokio::spawn(async move {
        while !sender.is_closed() {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!("cannot accept a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let _turn = turn;
                // Latency of small messages matters more than a packet.
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    // A closed receiver ends the loop above.
                    Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                    // It only looked whether anybody listens.
                    Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => tracing::debug!("{peer} hung up at once"),
                    Ok(Err(e)) => tracing::warn!("refused a connection from {peer}: {e}"),
                    Err(_) => tracing::warn!("refused a connection from {peer}: no handshake in time"),
                }
            });
        }
    });
    Ok(receiver)
}

/// Hands every connection that passed its handshake on to `inner`, which listens on this machine only: the engine's own servers have no
/// transport security. Runs until the receiver ends.
pub async fn tunnel(mut accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>, inner: SocketAddr) {
    while let Some((mut outside, peer)) = accepted.recv().await {
        tokio::spawn(async move {
            match TcpStream::connect(inner).await {
                Ok(mut inside) => {
                    let _ = inside.set_nodelay(true);
                    // Either side may hang up at any time.
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
                Err(e) => tracing::warn!("a connection from {peer} found nobody at home: {e}"),
            }
        });
    }
}
