//! As much of WebSocket framing as a clean goodbye needs (RFC 6455, 5.2): where frames end, and Close.

use std::hash::{BuildHasher as _, Hasher as _};

/// Close code 1012, "service restart" (IANA's WebSocket Close Code registry): clients come back.
const SERVICE_RESTART: [u8; 2] = 1012_u16.to_be_bytes();

/// FIN and opcode 8.
const CLOSE: u8 = 0x88;

/// The longest head: two bytes, a length of eight, a mask of four.
const LONGEST_HEAD: usize = 14;

/// A Close frame as a server sends it.
pub fn close_to_client() -> Vec<u8> {
    let [high, low] = SERVICE_RESTART;
    vec![CLOSE, 2, high, low]
}

/// A Close frame as a client sends it: masked. The mask keeps what scripts say from looking like another
/// protocol to things in between (RFC 6455, 10.3); nothing here is a script's, so any will do.
pub fn close_to_app() -> Vec<u8> {
    let [high, low] = SERVICE_RESTART;
    let mask = std::hash::RandomState::new().build_hasher().finish().to_be_bytes();
    vec![CLOSE, 0x80 | 2, mask[0], mask[1], mask[2], mask[3], high ^ mask[0], low ^ mask[1]]
}

/// Follows one direction's bytes and knows where frames end. Fragments and extensions are none of its
/// business: control frames may stand between any two frames.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; LONGEST_HEAD],
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
}

/// What some bytes brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// All of them belong to a frame that goes on.
    Within,
    /// A frame ended after this many of them.
    Ended {
        /// How many bytes belong to it.
        bytes: usize,
        /// It was a Close.
        close: bool,
    },
}

impl Frames {
    /// Between two frames.
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Reads on, to the end of a frame at most.
    pub fn advance(&mut self, bytes: &[u8]) -> Advance {
        let mut used = 0;
        while self.left == 0 {
            let Some(byte) = bytes.get(used) else {
                return Advance::Within;
            };
            self.head[self.have] = *byte;
            self.have += 1;
            used += 1;
            if let Some(payload) = self.payload() {
                if payload == 0 {
                    return self.end(used);
                }
                self.left = payload;
            }
        }
        let rest = bytes.len() - used;
        let taken = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
        self.left -= taken as u64;
        if self.left == 0 { self.end(used + taken) } else { Advance::Within }
    }

    fn end(&mut self, bytes: usize) -> Advance {
        self.have = 0;
        Advance::Ended { bytes, close: self.head[0] & 0x0f == 8 }
    }

    /// The payload's length, once the whole head is there.
    fn payload(&self) -> Option<u64> {
        let head = &self.head[..self.have];
        let second = *head.get(1)?;
        let (length, extra) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(head.get(2..4)?.try_into().ok()?)), 2),
            127 => (u64::from_be_bytes(head.get(2..10)?.try_into().ok()?), 8),
            short => (u64::from(short), 0),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        (self.have == 2 + extra + mask).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask = if masked { 0x80 } else { 0 };
        match length {
            0..126 => frame.push(mask | u8::try_from(length).expect("short")),
            126..0x1_0000 => {
                frame.push(mask + 126);
                frame.extend(u16::try_from(length).expect("two bytes").to_be_bytes());
            }
            _ => {
                frame.push(mask + 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        // Payloads that look like heads, so that a lost position is noticed.
        frame.extend(std::iter::repeat_n(0x88, length + if masked { 4 } else { 0 }));
        frame
    }

    #[test]
    fn the_closes_are_frames() {
        for close in [close_to_client(), close_to_app()] {
            let ended = Advance::Ended { bytes: close.len(), close: true };
            assert_eq!(Frames::default().advance(&close), ended);
        }
        let masked = close_to_app();
        assert_eq!([masked[6] ^ masked[2], masked[7] ^ masked[3]], [0x03, 0xf4]);
    }

    proptest! {
        #[test]
        fn ends_are_found_however_the_bytes_are_cut(
            frames in proptest::collection::vec(
                (prop_oneof![Just(1_u8), Just(2), Just(8), Just(9)],
                 prop_oneof![0..4_usize, 120..130_usize, 65_530..65_540_usize], any::<bool>()),
                1..5),
            cuts in proptest::collection::vec(1..9000_usize, 1..20),
        ) {
            let mut expected = Vec::new();
            let mut bytes = Vec::new();
            for (opcode, length, masked) in frames {
                bytes.extend(frame(opcode, length, masked));
                expected.push((bytes.len(), opcode == 8));
            }
            let (mut found, mut at) = (Vec::new(), 0);
            let mut reader = Frames::default();
            for cut in cuts.iter().cycle() {
                if at == bytes.len() {
                    break;
                }
                let end = (at + cut).min(bytes.len());
                while at < end {
                    match reader.advance(&bytes[at..end]) {
                        Advance::Within => at = end,
                        Advance::Ended { bytes, close } => {
                            at += bytes;
                            found.push((at, close));
                            prop_assert!(reader.at_boundary());
                        }
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
