//! How much and how long: every bound of the proxy, with its default.

use std::time::Duration;

/// The bounds. The length of a request's body has none: how much an application takes is its own affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections from clients at a time, over all listeners. A further one takes the place of one without
    /// a request; where there is none, it waits in the kernel's queue.
    pub connections: usize,
    /// Requests and tunnels under way, of all applications; how they are shared out is told in
    /// [`super::shares`]. Fewer than the connections, so that there is always one without a request.
    pub requests: usize,
    /// Of those, how many one client may have with one application; then 429.
    pub requests_each_client: usize,
    /// Connections to applications that are kept without a request.
    pub spare: usize,
    /// Bytes a second that a client has to send of a body, and to take of an answer, when it alone is waited
    /// for. It may rest, but for no longer than `stall_timeout`.
    pub least_rate: u64,
    /// How much of one body an HTTP/2 connection takes in before the application does, in bytes.
    pub stream_window: u32,
    /// Bytes of a request's head; more is answered 431. HTTP/1.1 needs 8 KiB at least.
    pub head_bytes: usize,
    /// Fields of an HTTP/1.1 request's head; more is answered 431.
    pub head_fields: usize,
    /// From a head's first byte to its last, and from a connection's start to its first head.
    pub head_timeout: Duration,
    /// How long a client may keep a connection without a request.
    pub idle_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it, or send none that are waited for.
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
            requests: 6144,
            requests_each_client: 1024,
            spare: 1024,
            least_rate: 240,
            stream_window: 256 * 1024,
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

/// Descriptors for everything else: the admin socket and its connections, the listeners and the connection
/// that each of them is about to accept, the runtime, the log.
const KEPT_BACK: usize = 128;

impl Limits {
    /// The same within this many open files: no number of clients takes the last of them.
    #[must_use]
    pub fn within(self, descriptors: usize) -> Self {
        // A connection from a client, three quarters of one to an application, an eighth of a spare one.
        let most = (descriptors.saturating_sub(KEPT_BACK) / 15 * 8).max(16);
        let connections = self.connections.min(most);
        let requests = self.requests.min(connections / 4 * 3);
        Self {
            connections,
            requests,
            requests_each_client: self.requests_each_client.min((requests / 6).max(256).min(requests / 2)),
            spare: self.spare.min(connections / 8),
            ..self
        }
    }
}

/// How many files this process may have open (proc(5), `/proc/self/limits`); `None` where it is not said.
pub fn descriptors() -> Option<usize> {
    soft_limit(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bounds_together_leave_descriptors() {
        for descriptors in [256, 512, 1024, 2048, 20_000, 65_536, 1_000_000] {
            let limits = Limits::default().within(descriptors);
            let all = limits.connections + limits.requests + limits.spare + KEPT_BACK;
            assert!(all <= descriptors, "{descriptors}: {limits:?}");
            assert!(limits.requests_each_client * 2 <= limits.requests, "{descriptors}: {limits:?}");
            assert!(limits.requests < limits.connections, "{descriptors}: {limits:?}");
        }
        assert_eq!(Limits::default().within(65_536), Limits::default());
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max processes             93809                93809                processes \n\
                     Max open files            2048                 1048576              files     \n";
        assert_eq!(soft_limit(table), Some(2048));
        assert!(descriptors().is_some_and(|descriptors| descriptors > 0));
    }
}
