//! What a schedule is made of: choices, and how many of which kind there may be.

use std::fmt;
use std::str::FromStr;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is done and answered.
    Good,
    /// It shows what was there so many writes ago.
    Stale(usize),
    /// It is not done, and that is known: no connection was made.
    FailsBefore,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is given up, and happens later.
    Late,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// This run's call meets this fate.
    Call(usize, Fate),
    /// This run's pause is over.
    Wake(usize),
    /// This run is killed, and begins again.
    Kill(usize),
    /// A call that was given up happens after all.
    Happens(usize),
}

/// What a schedule may do to the runs, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// So many calls fail, are lost or come late.
    pub faults: u8,
    /// So many kills.
    pub kills: u8,
    /// So many lists that lag.
    pub stale: u8,
}

/// Which schedules are looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub budget: Budget,
    /// At most so many times another run goes on although the one before could.
    pub preemptions: Option<u8>,
    /// A call that nobody else can notice happens at once, in any order.
    pub reduced: bool,
}

/// What was done to the runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Injected {
    pub failed_before: u32,
    pub answers_lost: u32,
    pub late: u32,
    pub kills: u32,
    pub stale: u32,
}

impl Injected {
    /// Whether a run may have been kept from its end.
    pub fn hurts(&self) -> bool {
        self.failed_before + self.answers_lost + self.late + self.kills > 0
    }

    /// How much was done.
    pub fn all(&self) -> u32 {
        self.failed_before + self.answers_lost + self.late + self.kills + self.stale
    }

    /// By name.
    pub fn named(&self) -> [(&'static str, u32); 5] {
        [
            ("a call fails before it has an effect", self.failed_before),
            ("an answer is lost after the effect", self.answers_lost),
            ("an effect comes late", self.late),
            ("a run is killed", self.kills),
            ("a list lags", self.stale),
        ]
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(run, Fate::Good) => write!(f, "{run}"),
            Self::Call(run, Fate::Stale(lag)) => write!(f, "{run}s{lag}"),
            Self::Call(run, Fate::FailsBefore) => write!(f, "{run}f"),
            Self::Call(run, Fate::AnswerLost) => write!(f, "{run}l"),
            Self::Call(run, Fate::Late) => write!(f, "{run}t"),
            Self::Wake(run) => write!(f, "{run}w"),
            Self::Kill(run) => write!(f, "{run}k"),
            Self::Happens(place) => write!(f, "{place}h"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?}: expected a number and one of the letters s, f, l, t, w, k, h, or none");
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let number = text[..end].parse().map_err(|_| wrong())?;
        let fate = |fate| Ok(Self::Call(number, fate));
        match &text[end..] {
            "" => fate(Fate::Good),
            "f" => fate(Fate::FailsBefore),
            "l" => fate(Fate::AnswerLost),
            "t" => fate(Fate::Late),
            "w" => Ok(Self::Wake(number)),
            "k" => Ok(Self::Kill(number)),
            "h" => Ok(Self::Happens(number)),
            stale => match stale.strip_prefix('s').and_then(|lag| lag.parse().ok()) {
                Some(lag) => fate(Fate::Stale(lag)),
                None => Err(wrong()),
            },
        }
    }
}
