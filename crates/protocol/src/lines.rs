//! Lines out of a stream of bytes, never more than a limit at a time.

/// A line is longer than the protocol allows; the connection is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {limit} bytes")]
pub struct TooLong {
    /// The limit in bytes, the line break not counted.
    pub limit: usize,
}

/// Cuts what arrives into lines. It holds at most the limit, whatever the peer sends.
///
/// It waits for nothing and reads nothing itself, so that the SSH side (not blocking, no tokio) and the
/// server's side share it.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    partial: Vec<u8>,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new() }
    }

    /// Takes the next line out of `bytes`, which is moved behind it; `None` where it has not ended yet.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        let (part, rest, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&bytes[..at], &bytes[at + 1..], true),
            None => (*bytes, &bytes[bytes.len()..], false),
        };
        if self.partial.len() + part.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        self.partial.extend_from_slice(part);
        *bytes = rest;
        Ok(ended.then(|| std::mem::take(&mut self.partial)))
    }

    /// What came after the last line break: at the stream's end, a line that was cut short.
    pub fn unfinished(&self) -> &[u8] {
        &self.partial
    }
}
