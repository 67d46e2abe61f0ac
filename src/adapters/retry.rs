//! The one place where a call outside is repeated.
//!
//! | what came back | read or idempotent | otherwise |
//! |---|---|---|
//! | no connection was made (refused, no route, name not found) | again | again |
//! | reset, timeout, cut off before the answer was complete | again | never: it may have taken effect |
//! | 408, 5xx but 501, 505, 511 | again | never: it may have taken effect |
//! | 429, or 403 that speaks of a rate limit | again, after the time asked for | again, likewise |
//! | any other status, an answer that makes no sense, a certificate that is not valid | never | never |
//!
//! [`super::http_error`] turns an answer or a failure of the connection into one of these rows. The pause
//! doubles from [`RetryPolicy::first_delay`] to [`RetryPolicy::max_delay`] and is drawn evenly between
//! nothing and that ("full jitter"): runs that failed together do not come back together. A waiting
//! time that the other side asks for is kept in full, or, where it does not fit into the deadline, the
//! call is given up at once: to come back early only prolongs a rate limit.
//!
//! The deadline is looked at between tries and cancels none: a try that is under way may be taking
//! effect. A single try ends by its own [`Deadlines`].

use std::time::Duration;

use autotag_base::clock;
use autotag_base::clock::Stopwatch;
use autotag_base::{CallError, CallErrorKind, CallResult, Effect};

/// What doing a call twice would mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// It changes nothing.
    Read,
    /// It changes something, and twice is the same as once.
    Idempotent,
    /// Twice is not once: repeated only where the first certainly had no effect.
    OnlyIfUntouched,
}

/// How long one try over HTTP may take. What it asked for may have happened all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TryDeadlines {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Before the answer, and between any two pieces of it.
    pub silence: Duration,
    /// For the request and its whole answer: one that drips is never silent.
    pub whole: Duration,
}

/// How long to go on trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// At most so many tries, the first included.
    pub attempts: u32,
    /// The longest pause before the second try.
    pub first_delay: Duration,
    /// The longest pause of all, but for one that the other side asks for.
    pub max_delay: Duration,
    /// No try begins later than this after the first one's start.
    pub deadline: Duration,
    /// Each try's own. (Docker's push is none over HTTP, and ends by the Engine's.)
    pub each: TryDeadlines,
}

impl Default for RetryPolicy {
    /// Sits out a registry's restart and a short rate limit, and no more: a job is paid by the minute.
    fn default() -> Self {
        Self {
            attempts: 6,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(20),
            deadline: Duration::from_mins(2),
            each: TryDeadlines {
                connect: Duration::from_secs(10),
                silence: Duration::from_mins(1),
                whole: Duration::from_mins(2),
            },
        }
    }
}

impl RetryPolicy {
    /// For tests against something that is near: three tries within a moment.
    pub fn quick() -> Self {
        Self {
            attempts: 3,
            first_delay: Duration::from_millis(5),
            max_delay: Duration::from_millis(20),
            deadline: Duration::from_secs(10),
            ..Self::default()
        }
    }
}

/// What to do after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this pause.
    Retry(Duration),
    /// Say what went wrong.
    GiveUp(Reason),
}

/// Why there is no further try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It would give the same answer, or do harm.
    Futile,
    /// That was the last of the tries.
    Attempts,
    /// The next try would begin after the deadline.
    Deadline,
    /// The other side asks for a longer pause than the deadline leaves.
    AskedTooMuch(Duration),
}

/// Decides after the try with the number `tries` (from 1). `jitter` is drawn from 0 to 1.
pub fn decide(
    patience: &RetryPolicy,
    repeat: Idempotency,
    error: &CallError,
    tries: u32,
    elapsed: Duration,
    jitter: f64,
) -> Decision {
    let passing = matches!(error.kind, CallErrorKind::Unreachable | CallErrorKind::Throttled);
    let harmless = repeat != Idempotency::OnlyIfUntouched || error.effect == Effect::None;
    if !passing || !harmless {
        return Decision::GiveUp(Reason::Futile);
    }
    if tries >= patience.attempts {
        return Decision::GiveUp(Reason::Attempts);
    }
    // 2^31 times any delay is past every maximum, and `checked_pow` need not fail first.
    let doubled = patience.first_delay.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(31)));
    let drawn = doubled.min(patience.max_delay).mul_f64(jitter.clamp(0.0, 1.0));
    // Spread also what many were told at once ("come back in 60 s").
    let pause = error.retry_after.map_or(drawn, |asked| asked.saturating_add(drawn));
    if elapsed.saturating_add(pause) <= patience.deadline {
        return Decision::Retry(pause);
    }
    match error.retry_after {
        Some(asked) if elapsed.saturating_add(asked) > patience.deadline => {
            Decision::GiveUp(Reason::AskedTooMuch(asked))
        }
        _ => Decision::GiveUp(Reason::Deadline),
    }
}

/// Does a call, and repeats it as the table above allows.
///
/// The error is that of the last try; where there were several it says how many and for how long. If
/// any try may have taken effect the error says so, whatever the last one was answered.
pub async fn with_retries<T>(
    patience: &RetryPolicy,
    repeat: Idempotency,
    mut call: impl AsyncFnMut() -> CallResult<T>,
) -> CallResult<T> {
    let stopwatch = Stopwatch::start();
    let mut perhaps_done = false;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if repeat == Idempotency::Read {
            error.effect = Effect::None;
        }
        perhaps_done |= error.effect == Effect::Unknown;
        match decide(patience, repeat, &error, tries, stopwatch.elapsed(), rand::random()) {
            Decision::Retry(pause) => {
                tracing::warn!("{error}; trying again in {:.1} s", pause.as_secs_f64());
                clock::sleep(pause).await;
            }
            Decision::GiveUp(reason) => {
                error.why.push_str(&epilogue(reason, tries, stopwatch.elapsed()));
                return Err(if perhaps_done { error.perhaps_done() } else { error });
            }
        }
    }
}

fn epilogue(reason: Reason, tries: u32, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match reason {
        Reason::AskedTooMuch(asked) => {
            format!(
                " (asked to wait {} s, which is longer than this run waits; tries: {tries})",
                asked.as_secs()
            )
        }
        Reason::Futile if tries == 1 => String::new(),
        Reason::Futile | Reason::Attempts => format!(" (tries: {tries}, in {seconds} s)"),
        Reason::Deadline => format!(" (given up after {seconds} s; tries: {tries})"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error(kind: CallErrorKind, effect: Effect, asked: Option<u64>) -> CallError {
        let mut error = CallError::new(kind, "asking", "no answer");
        error.effect = effect;
        error.retry_after = asked.map(Duration::from_secs);
        error
    }

    #[test]
    fn the_table() {
        use CallErrorKind::{Build, Denied, InvalidResponse, Rejected, Throttled, Unreachable};
        use Effect::{None as Untouched, Unknown};
        use Idempotency::{Idempotent, OnlyIfUntouched, Read};

        let futile = Decision::GiveUp(Reason::Futile);
        let first = Decision::Retry(Duration::from_millis(500));
        for (repeat, kind, effect, expected) in [
            (Read, Unreachable, Untouched, first),
            (Read, Unreachable, Unknown, first),
            (Idempotent, Unreachable, Unknown, first),
            (OnlyIfUntouched, Unreachable, Untouched, first),
            (OnlyIfUntouched, Unreachable, Unknown, futile),
            (Read, Throttled, Untouched, first),
            (OnlyIfUntouched, Throttled, Untouched, first),
            (Read, Denied, Untouched, futile),
            (Idempotent, Rejected, Untouched, futile),
            (Read, InvalidResponse, Untouched, futile),
            (Read, Build, Untouched, futile),
        ] {
            let decision =
                decide(&RetryPolicy::default(), repeat, &error(kind, effect, None), 1, Duration::ZERO, 1.0);
            assert_eq!(decision, expected, "{repeat:?} {kind:?} {effect:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let patience = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::default() };
        let lost = error(CallErrorKind::Unreachable, Effect::None, None);
        let pause = |tries, jitter| match decide(
            &patience,
            Idempotency::Read,
            &lost,
            tries,
            Duration::ZERO,
            jitter,
        ) {
            Decision::Retry(pause) => pause.as_millis(),
            Decision::GiveUp(reason) => panic!("{reason:?}"),
        };
        let longest: Vec<u128> =
            [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX - 1].map(|tries| pause(tries, 1.0)).into();
        assert_eq!(longest, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000]);
        assert_eq!(pause(3, 0.0), 0);
        assert_eq!(pause(3, 0.25), 500);
    }

    #[test]
    fn tries_deadline_and_the_time_asked_for_are_kept() {
        let patience = RetryPolicy::default();
        for (asked, tries, elapsed, expected) in [
            (None, 6, 0, Decision::GiveUp(Reason::Attempts)),
            (None, 5, 0, Decision::Retry(8 * SECOND)),
            (None, 5, 112, Decision::Retry(8 * SECOND)),
            (None, 5, 113, Decision::GiveUp(Reason::Deadline)),
            (Some(60), 1, 0, Decision::Retry(Duration::from_millis(60_500))),
            (Some(119), 1, 0, Decision::Retry(Duration::from_millis(119_500))),
            (Some(120), 1, 0, Decision::GiveUp(Reason::Deadline)),
            (Some(121), 1, 0, Decision::GiveUp(Reason::AskedTooMuch(121 * SECOND))),
            (Some(60), 1, 61, Decision::GiveUp(Reason::AskedTooMuch(60 * SECOND))),
            (Some(u64::MAX), 1, 1, Decision::GiveUp(Reason::AskedTooMuch(Duration::from_secs(u64::MAX)))),
        ] {
            let throttled = error(CallErrorKind::Throttled, Effect::None, asked);
            let decision =
                decide(&patience, Idempotency::OnlyIfUntouched, &throttled, tries, elapsed * SECOND, 1.0);
            assert_eq!(decision, expected, "asked {asked:?}, try {tries}, after {elapsed} s");
        }
    }

    /// Plays the outcomes in turn and gives the result with the number of calls.
    async fn play(repeat: Idempotency, outcomes: Vec<CallResult<u8>>) -> (CallResult<u8>, usize) {
        let left = RefCell::new(outcomes.into_iter());
        let calls = RefCell::new(0);
        let outcome = with_retries(&RetryPolicy::default(), repeat, async || {
            *calls.borrow_mut() += 1;
            left.borrow_mut().next().expect("no more calls than outcomes")
        })
        .await;
        (outcome, calls.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_until_it_works() {
        let lost = || Err(error(CallErrorKind::Unreachable, Effect::Unknown, None));
        let (outcome, calls) = play(Idempotency::Idempotent, vec![lost(), lost(), Ok(7)]).await;
        assert_eq!((outcome, calls), (Ok(7), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_asked_for_passes_before_the_next_try() {
        let stopwatch = Stopwatch::start();
        let throttled = Err(error(CallErrorKind::Throttled, Effect::None, Some(30)));
        let (outcome, _) = play(Idempotency::OnlyIfUntouched, vec![throttled, Ok(1)]).await;
        assert_eq!(outcome, Ok(1));
        let elapsed = stopwatch.elapsed();
        assert!(elapsed >= 30 * SECOND && elapsed < 31 * SECOND, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_taken_effect_is_never_repeated_blindly() {
        let lost = Err(error(CallErrorKind::Unreachable, Effect::Unknown, None));
        let (outcome, calls) = play(Idempotency::OnlyIfUntouched, vec![lost, Ok(1)]).await;
        assert_eq!((outcome.expect_err("given up").effect, calls), (Effect::Unknown, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubt_of_an_earlier_try_stays_but_for_reads() {
        for (repeat, effect) in
            [(Idempotency::Idempotent, Effect::Unknown), (Idempotency::Read, Effect::None)]
        {
            let lost = Err(error(CallErrorKind::Unreachable, Effect::Unknown, None));
            let denied = Err(error(CallErrorKind::Denied, Effect::None, None));
            let (outcome, calls) = play(repeat, vec![lost, denied]).await;
            let error = outcome.expect_err("denied");
            assert_eq!((error.kind, error.effect, calls), (CallErrorKind::Denied, effect, 2), "{repeat:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_patience_says_how_much_there_was() {
        let lost = || Err(error(CallErrorKind::Unreachable, Effect::None, None));
        let (outcome, calls) = play(Idempotency::Read, (0..6).map(|_| lost()).collect()).await;
        let why = outcome.expect_err("all tries failed").why;
        assert_eq!(calls, 6);
        assert!(why.starts_with("no answer (tries: 6, in "), "{why}");

        let stopwatch = Stopwatch::start();
        let throttled = Err(error(CallErrorKind::Throttled, Effect::None, Some(3600)));
        let (outcome, calls) = play(Idempotency::Read, vec![throttled]).await;
        let why = outcome.expect_err("an hour is too long").why;
        assert_eq!(calls, 1);
        assert!(why.contains("asked to wait 3600 s"), "{why}");
        assert_eq!(stopwatch.elapsed(), Duration::ZERO);
    }
}
