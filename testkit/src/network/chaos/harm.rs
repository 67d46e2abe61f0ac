//! What the network and broken servers do to an exchange of HTTP; and the drawing of it.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::exchange::{ClientRequest, ServerAnswer};
use crate::clock::now;
use crate::images::tiny_image::{MANIFEST, TinyImage};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The connection is reset (RST) before the request gets anywhere.
    Reset,
    /// The request takes effect, and the connection is reset in place of an answer.
    LostByReset,
    /// The request takes effect, and the connection ends in order, without an answer.
    Lost,
    /// The server's side of the connection ends without an answer; the client's side stays open.
    HalfClosed,
    /// The answer comes in pieces, with pauses.
    Slow,
    /// The request takes effect, and no byte of an answer comes for half a minute; then the connection ends.
    Silent,
    /// The answer's head comes at once, and its body's first 80 bytes one at a time: a quarter of a second for
    /// each.
    Drip,
    /// 429 or 503 in place of an answer.
    Busy(u16, Wait),
    /// Half of the body, as if it were all.
    Truncated,
    /// A body that is not what it says.
    ParseError,
    /// The right body under another content type.
    WrongType,
    /// The answer ends in the middle of what it promised.
    Cut,
    /// The login has run out.
    Expired,
    /// 307 to another host.
    Redirected,
    /// The registry names another digest than that of its bytes, with a status of success.
    OtherDigest,
    /// The registry sends another image, with a status of success.
    OtherBytes,
}

/// What a busy server says of when to come back. Always a moment: tests wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    Unsaid,
    /// So many seconds.
    Seconds(u8),
    /// A date, so many seconds from now.
    Date(u8),
}

impl Harm {
    /// For the table of `scripts/torture`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "connection reset",
            Self::LostByReset => "connection reset after the effect",
            Self::Lost => "answer lost after the effect",
            Self::HalfClosed => "half-closed connection",
            Self::Slow => "slow answer",
            Self::Silent => "no answer in time",
            Self::Drip => "answer that drips",
            Self::Busy(429, Wait::Unsaid) => "429",
            Self::Busy(429, _) => "429 with retry-after",
            Self::Busy(_, Wait::Unsaid) => "503",
            Self::Busy(..) => "503 with retry-after",
            Self::Truncated => "truncated body",
            Self::ParseError => "malformed body",
            Self::WrongType => "wrong content type",
            Self::Cut => "answer cut in the middle",
            Self::Expired => "expired login",
            Self::Redirected => "redirect to another host",
            Self::OtherDigest => "another digest named",
            Self::OtherBytes => "other bytes",
        }
    }

    /// Whether it can happen to this request at all: a login has to be there to run out.
    pub fn can_meet(self, request: &ClientRequest) -> bool {
        self.is_for(&request.line()) && (self != Self::Expired || request.header("authorization").is_some())
    }

    /// Whether it means anything for such a request: `PUT */manifests/1.0.0`.
    pub fn is_for(self, line: &str) -> bool {
        let (is_manifest, is_put) = (line.contains("/manifests/"), line.starts_with("PUT "));
        match self {
            Self::OtherDigest => is_manifest,
            Self::OtherBytes => is_manifest && !is_put,
            // A registry's answer to a PUT has no body.
            Self::Truncated | Self::ParseError | Self::WrongType | Self::Drip => !is_put,
            _ => true,
        }
    }

    /// Whether the request stays without effect.
    pub fn strikes_first(self) -> bool {
        matches!(self, Self::Reset | Self::Busy(..) | Self::Redirected)
    }

    /// What the client gets for this answer of the server's. The connection's faults are not done here.
    pub fn spoil(self, mut answer: ServerAnswer, chance: u64) -> ServerAnswer {
        match self {
            Self::Busy(status, wait) => return busy(status, wait),
            Self::Truncated => answer.body.truncate(answer.body.len() / 2),
            Self::ParseError => {
                let bodies = ["<html>captive portal</html>", "", "{\"unexpected\":1}", "null", "{\"a\":"];
                answer.body = bodies[usize::try_from(chance % 5).expect("small")].into();
            }
            Self::WrongType => answer.set("content-type", "text/html; charset=utf-8"),
            Self::OtherDigest => answer.set("docker-content-digest", &format!("sha256:{}", "0".repeat(64))),
            // Where there is nothing, too.
            Self::OtherBytes if answer.is_manifest() || answer.status == 404 => {
                answer.status = 200;
                let other = TinyImage::labelled(&[("lie", &chance.to_string())]);
                answer.set("content-type", MANIFEST);
                answer.set("docker-content-digest", other.digest().as_str());
                answer.body = other.manifest;
            }
            _ => {}
        }
        answer
    }
}

fn busy(status: u16, wait: Wait) -> ServerAnswer {
    let body =
        json!({ "message": "too busy", "errors": [{ "code": "TOOMANYREQUESTS", "message": "too busy" }] });
    let mut answer = ServerAnswer::new(status, "application/json", body.to_string());
    match wait {
        Wait::Unsaid => {}
        Wait::Seconds(seconds) => answer.set("retry-after", &seconds.to_string()),
        Wait::Date(seconds) => {
            answer.set("date", &http_date(now()));
            answer.set("retry-after", &http_date(now() + i64::from(seconds)));
        }
    }
    answer
}

/// As RFC 9110, 5.6.7 wants it.
pub fn http_date(seconds: i64) -> String {
    let date = jiff::Timestamp::from_second(seconds).expect("a date");
    date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Draws what goes wrong, and where.
#[derive(Debug)]
pub struct Dice {
    random: StdRng,
    /// How many harms are left.
    left: u32,
}

impl Dice {
    /// Of this seed: at most so many harms.
    pub fn new(seed: u64, most: u32) -> Self {
        Self { random: StdRng::seed_from_u64(seed), left: most }
    }

    /// No harm at all.
    pub fn none() -> Self {
        Self::new(0, 0)
    }

    /// What happens to the next request, with a number for choices within it.
    pub fn next(&mut self, request: &ClientRequest) -> Option<(Harm, u64)> {
        // Of the requests the fewest change something, and those are what it is about.
        let one_in = if request.method == "GET" { 10 } else { 3 };
        if self.left == 0 || !self.random.random_ratio(1, one_in) {
            return None;
        }
        let wait = match self.random.random_range(0..4) {
            0 | 1 => Wait::Unsaid,
            2 => Wait::Seconds(self.random.random_range(0..2)),
            _ => Wait::Date(self.random.random_range(0..2)),
        };
        let kinds = [
            Harm::Reset,
            Harm::LostByReset,
            Harm::Lost,
            Harm::HalfClosed,
            Harm::Slow,
            Harm::Busy(429, wait),
            Harm::Busy(503, wait),
            Harm::Truncated,
            Harm::ParseError,
            Harm::WrongType,
            Harm::Cut,
            Harm::Expired,
            Harm::Redirected,
            Harm::OtherDigest,
            Harm::OtherBytes,
        ];
        let harm = kinds[self.random.random_range(0..kinds.len())];
        let chance = self.random.random();
        harm.can_meet(request).then(|| {
            self.left -= 1;
            (harm, chance)
        })
    }
}
