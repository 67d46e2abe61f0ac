//! A way to the Engine that counts what goes over it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use autotag_deploy::adapters::docker::Docker;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Where this machine's Engine listens.
const ENGINE: &str = "/var/run/docker.sock";

/// Passes every connection on to this machine's Engine. Ends when it is dropped.
pub struct CountingRelay {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
    _directory: TempDir,
    address: String,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    open: AtomicUsize,
    before_next: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl CountingRelay {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).pass(client));
            }
        });
        Self { counts, task, _directory: directory, address: format!("unix://{}", socket.display()) }
    }

    pub async fn engine(&self) -> Docker {
        Docker::connect_to(&self.address).await.expect("the Engine")
    }

    /// What was sent to the Engine, in bytes.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Does this when the next connection has come, before anything goes over it.
    pub fn before_next(&self, act: impl FnOnce() + Send + 'static) {
        *self.counts.before_next.lock().expect("no panic") = Some(Box::new(act));
    }
}

impl Drop for CountingRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counts {
    async fn pass(self: Arc<Self>, client: UnixStream) {
        self.open.fetch_add(1, Ordering::SeqCst);
        if let Some(act) = self.before_next.lock().expect("no panic").take() {
            act();
        }
        let engine = UnixStream::connect(ENGINE).await.expect("the Engine's socket");
        let (mut from_client, to_client) = client.into_split();
        let (from_engine, mut to_engine) = engine.into_split();
        let up = async {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                self.sent.fetch_add(count as u64, Ordering::SeqCst);
                if to_engine.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            let _ = to_engine.shutdown().await;
        };
        tokio::join!(up, copy(from_engine, to_client));
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Takes connections by TLS, and passes them on to this machine's Engine; gives the port.
pub async fn by_tls(config: rustls::ServerConfig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut engine =
                    UnixStream::connect(PathBuf::from(ENGINE)).await.expect("the Engine's socket");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    port
}
