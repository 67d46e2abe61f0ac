//! stand-in
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
/// d
#[derive(Debug)]
pub enum Door {
    /// t
    Tcp(SocketAddr),
    /// u
    Unix(PathBuf),
}
/// a
#[derive(Debug)]
pub struct Answer {
    /// s
    pub status: u16,
    /// b
    pub body: Vec<u8>,
}
/// g
pub async fn get(_: &Door, _: &str, _: &str, _: Duration) -> Result<Answer, String> {
    tokio::task::yield_now().await;
    Err("stub".to_owned())
}
