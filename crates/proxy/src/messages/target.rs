//! Characters in a request's target that RFC 3986 does not allow and that users send all the same, such as
//! `?filter={"a":1}`: they are percent-encoded, which says the same, before hyper reads the head, which would
//! refuse it.
//!
//! ```text
//! head    = *CRLF method SP target SP ...
//! method  = 1*tchar                          ; RFC 9110, 5.6.2
//! target  = path [ "?" query ]               ; a byte that is visible, ASCII and not allowed where it stands
//!                                            ; becomes "%" and two digits; all others stay as they are
//! ```
//! Only the first line of a head is ever changed, so no body and no length is: the guard says where a head
//! begins, and where it cannot know, nothing is changed.

use std::sync::LazyLock;

use http::uri::PathAndQuery;

/// Where in a head the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Blank,
    Method,
    Path,
    Query,
    Rest,
}

/// Follows a head's first line, however it is cut.
#[derive(Debug)]
pub struct RequestTarget(Part);

/// What may not stand in a path, and in a query.
static REFUSED: LazyLock<[[bool; 128]; 2]> = LazyLock::new(|| {
    ["/", "/?"].map(|before| {
        let mut refused = [false; 128];
        for byte in b'!'..=b'~' {
            let text = format!("{before}{}", char::from(byte));
            refused[usize::from(byte)] = text.parse::<PathAndQuery>().is_err();
        }
        refused
    })
});

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl RequestTarget {
    /// A head begins.
    pub fn new() -> Self {
        Self(Part::Blank)
    }

    /// Reads on. `None`: the bytes may stay as they are.
    pub fn encoded(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        for (at, byte) in bytes.iter().copied().enumerate() {
            let table = match self.0 {
                Part::Rest => match &mut changed {
                    None => return None,
                    Some(changed) => {
                        changed.extend_from_slice(&bytes[at..]);
                        break;
                    }
                },
                Part::Path => Some(0),
                Part::Query => Some(1),
                Part::Blank | Part::Method => None,
            };
            self.0 = match (self.0, byte) {
                (Part::Blank, b'\r' | b'\n') => Part::Blank,
                (Part::Blank | Part::Method, byte) if is_token(byte) => Part::Method,
                (Part::Method, b' ') => Part::Path,
                (Part::Path, b'?') => Part::Query,
                (part @ (Part::Path | Part::Query), byte) if byte > b' ' && byte != 0x7f => part,
                _ => Part::Rest,
            };
            let refused = table.is_some_and(|table: usize| {
                REFUSED[table].get(usize::from(byte)).copied().unwrap_or_default()
            });
            if refused {
                let changed = changed.get_or_insert_with(|| bytes[..at].to_vec());
                changed.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else if let Some(changed) = &mut changed {
                changed.push(byte);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Vec<u8> {
        RequestTarget::new().encoded(bytes).unwrap_or_else(|| bytes.to_vec())
    }

    #[test]
    fn what_browsers_and_scripts_send_becomes_what_can_be_read() {
        for (line, read) in [
            ("GET /?filter={\"a\":1} HTTP/1.1\r\n", "GET /?filter={%22a%22:1} HTTP/1.1\r\n"),
            ("GET /?a=<b> HTTP/1.1\r\n", "GET /?a=%3Cb%3E HTTP/1.1\r\n"),
            ("\r\nGET /?\" HTTP/1.1\r\nX: \"\r\n\r\n", "\r\nGET /?%22 HTTP/1.1\r\nX: \"\r\n\r\n"),
            ("GET /a%22 HTTP/1.1\r\n", "GET /a%22 HTTP/1.1\r\n"),
            // What is no request's first line, or is broken otherwise, stays as it is.
            ("\"GET\" /?\" HTTP/1.1\r\n", "\"GET\" /?\" HTTP/1.1\r\n"),
            ("X: \"a\"\r\n", "X: \"a\"\r\n"),
            ("GET\t/?\" HTTP/1.1\r\n", "GET\t/?\" HTTP/1.1\r\n"),
            ("GET / \" HTTP/1.1\r\n", "GET / \" HTTP/1.1\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&whole(line.as_bytes())), read, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn every_visible_target_can_be_read_afterwards(target in "/[ -~&&[^ #]]{0,40}") {
            let line = whole(format!("GET {target} HTTP/1.1\r\n").as_bytes());
            let line = String::from_utf8(line).expect("ASCII");
            let read = line.split(' ').nth(1).expect("a target");
            prop_assert!(read.parse::<PathAndQuery>().is_ok(), "{}", read);
        }

        #[test]
        fn cuts_change_nothing(bytes in "[ -~\r\n]{0,60}", cut in 0..60_usize) {
            let bytes = bytes.as_bytes();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut target = RequestTarget::new();
            let mut pieces = target.encoded(first).unwrap_or_else(|| first.to_vec());
            pieces.extend(target.encoded(second).unwrap_or_else(|| second.to_vec()));
            prop_assert_eq!(pieces, whole(bytes));
        }

        #[test]
        fn nothing_after_the_first_line_is_changed(line in "GET /[!-~]{0,20} HTTP/1.1\r\n", rest in "[ -~\r\n]{0,60}") {
            let all = whole(format!("{line}{rest}").as_bytes());
            prop_assert!(all.ends_with(rest.as_bytes()));
        }
    }
}
