//! How much and how long: every bound of the proxy, with its default.

use std::time::Duration;

/// The bounds. A request's body has none: how much an application takes is its own affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections from clients at a time, over all listeners; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request's head; more is answered 431. HTTP/1.1 needs 8 KiB at least.
    pub head_bytes: usize,
    /// Fields of an HTTP/1.1 request's head; more is answered 431.
    pub head_fields: usize,
    /// From a head's first byte to its last, and from a connection's start to its first head.
    pub head_timeout: Duration,
    /// How long a client may keep a connection without a request.
    pub idle_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub stall_timeout: Duration,
    /// Streams at a time in one HTTP/2 connection.
    pub streams: u32,
    /// To open a connection to the application.
    pub connect_timeout: Duration,
    /// From the request's last byte to the head of the application's answer; then 504.
    pub answer_timeout: Duration,
    /// How long a connection to the application is kept without a request. It has to be shorter than the
    /// application's own patience (Node: 5 s), or a request meets a connection that is being closed.
    pub app_idle: Duration,
    /// Requests at a time that wait for an application to come up; more are answered 503 at once.
    pub held: usize,
    /// How long such a request waits; then 503.
    pub hold: Duration,
    /// For both sides of a WebSocket to answer the Close of the drain's end, before they are cut off.
    pub close_grace: Duration,
    /// After SIGTERM: how long connections that are kept stay open, so that clients learn by
    /// `Connection: close`, not by a request that is lost.
    pub lame_duck: Duration,
    /// After that: how long requests and WebSockets may take to end.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            head_bytes: 64 * 1024,
            head_fields: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_mins(1),
            streams: 128,
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_mins(1),
            app_idle: Duration::from_millis(1500),
            held: 1024,
            hold: Duration::from_secs(10),
            close_grace: Duration::from_secs(2),
            lame_duck: Duration::from_secs(3),
            shutdown: Duration::from_secs(30),
        }
    }
}
