//! What the proxy has counted, and how Prometheus reads it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Some more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of the histogram of durations, in milliseconds.
const BOUNDS: [u64; 10] = [1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 60_000];

/// What happened with one application's requests.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers by the first digit of their status, 1xx to 5xx.
    answers: [Counter; 5],
    /// Exchanges by duration, one per bound, each counted once (made cumulative when written).
    durations: [Counter; BOUNDS.len()],
    /// All durations together.
    microseconds: Counter,
    /// All exchanges that ended.
    exchanges: Counter,
    /// Bytes of bodies that clients sent.
    pub received: Counter,
    /// Bytes of bodies that clients were sent.
    pub sent: Counter,
    /// Answers that broke off: the application or the drain's deadline ended them.
    pub cut_short: Counter,
    /// Requests that had to wait for the application to come up.
    pub held: Counter,
    /// Requests refused because too many waited, or for too long.
    pub unserved: Counter,
    /// Requests refused because the application, or their client, had too many under way.
    pub over_bounds: Counter,
    /// Connections to the application that could not be opened.
    pub connect_failures: Counter,
    /// Requests that were sent and got no answer.
    pub unanswered: Counter,
    /// Changes of the container that serves.
    pub swaps: Counter,
}

impl Counters {
    /// An exchange has ended.
    pub fn ended(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.answers[class].inc();
        let milliseconds = took.as_millis();
        if let Some(at) = BOUNDS.iter().position(|bound| milliseconds <= u128::from(*bound)) {
            self.durations[at].inc();
        }
        self.microseconds.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.exchanges.inc();
    }
}

/// One application, as it is shown.
#[derive(Debug)]
pub struct Shown<'a> {
    /// Its name.
    pub app: &'a str,
    /// Its counters.
    pub counters: &'a Counters,
    /// Requests under way, over all its containers.
    pub requests: usize,
    /// Tunnels under way, likewise.
    pub tunnels: usize,
    /// Requests that wait now.
    pub waiting: usize,
    /// Whether a container serves.
    pub up: bool,
}

/// A family of metrics: name, kind, help, and how an application's value is read.
type Family = (&'static str, &'static str, &'static str, fn(&Shown<'_>) -> u64);

const FAMILIES: [Family; 13] = [
    ("received_bytes_total", "counter", "Bytes of bodies that clients sent.", |s| s.counters.received.get()),
    ("sent_bytes_total", "counter", "Bytes of bodies that clients were sent.", |s| s.counters.sent.get()),
    ("cut_short_total", "counter", "Answers that broke off.", |s| s.counters.cut_short.get()),
    ("held_total", "counter", "Requests that waited for the application to come up.", |s| {
        s.counters.held.get()
    }),
    ("unserved_total", "counter", "Requests refused after or instead of waiting.", |s| {
        s.counters.unserved.get()
    }),
    ("over_bounds_total", "counter", "Requests refused because too many were in flight.", |s| {
        s.counters.over_bounds.get()
    }),
    ("connect_failures_total", "counter", "Connections to the application that failed.", |s| {
        s.counters.connect_failures.get()
    }),
    ("unanswered_total", "counter", "Requests that were sent and got no answer.", |s| {
        s.counters.unanswered.get()
    }),
    ("swaps_total", "counter", "Changes of the container that serves.", |s| s.counters.swaps.get()),
    ("requests", "gauge", "Requests in flight.", |s| s.requests as u64),
    ("tunnels", "gauge", "WebSockets and other tunnels that are open.", |s| s.tunnels as u64),
    ("waiting", "gauge", "Requests that wait for the application to come up.", |s| s.waiting as u64),
    ("up", "gauge", "Whether a container serves.", |s| u64::from(s.up)),
];

/// Prometheus' text format, version 0.0.4.
pub fn prometheus(apps: &[Shown<'_>], connections: usize, refused: u64) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: &mut dyn FnMut(&mut String, &str)| {
        let name = format!("autotag_proxy_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        lines(&mut text, &name);
    };
    family("connections", "gauge", "Connections from clients.", &mut |text, name| {
        let _ = writeln!(text, "{name} {connections}");
    });
    family(
        "refused_total",
        "counter",
        "Requests refused as malformed or for no application.",
        &mut |text, name| {
            let _ = writeln!(text, "{name} {refused}");
        },
    );
    family("answers_total", "counter", "Answers by class of status.", &mut |text, name| {
        for shown in apps {
            for (class, counter) in (1..).zip(&shown.counters.answers) {
                let _ =
                    writeln!(text, "{name}{{app=\"{}\",class=\"{class}xx\"}} {}", shown.app, counter.get());
            }
        }
    });
    family("seconds", "histogram", "Duration of exchanges.", &mut |text, name| {
        for shown in apps {
            write_histogram(text, name, shown);
        }
    });
    for (name, kind, help, value) in FAMILIES {
        family(name, kind, help, &mut |text, name| {
            for shown in apps {
                let _ = writeln!(text, "{name}{{app=\"{}\"}} {}", shown.app, value(shown));
            }
        });
    }
    text
}

fn write_histogram(text: &mut String, name: &str, shown: &Shown<'_>) {
    let (app, counters) = (shown.app, shown.counters);
    // Read first: the last bucket must not be lower than one that grew meanwhile.
    let mut below = 0;
    let buckets: Vec<u64> = counters
        .durations
        .iter()
        .map(|counter| {
            below += counter.get();
            below
        })
        .collect();
    let all = counters.exchanges.get().max(below);
    for (bound, count) in BOUNDS.iter().zip(buckets) {
        let seconds = Duration::from_millis(*bound).as_secs_f64();
        let _ = writeln!(text, "{name}_bucket{{app=\"{app}\",le=\"{seconds}\"}} {count}");
    }
    let _ = writeln!(text, "{name}_bucket{{app=\"{app}\",le=\"+Inf\"}} {all}");
    let sum = Duration::from_micros(counters.microseconds.get()).as_secs_f64();
    let _ = writeln!(text, "{name}_sum{{app=\"{app}\"}} {sum}\n{name}_count{{app=\"{app}\"}} {all}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_what_is_shown() {
        let counters = Counters::default();
        counters.ended(StatusCode::OK, Duration::from_millis(1));
        counters.ended(StatusCode::NOT_FOUND, Duration::from_millis(7));
        counters.ended(StatusCode::OK, Duration::from_mins(2));
        counters.sent.add(12);
        let shown = Shown { app: "web", counters: &counters, requests: 2, tunnels: 1, waiting: 0, up: true };
        let text = prometheus(&[shown], 5, 3);
        for line in [
            "# TYPE autotag_proxy_seconds histogram",
            "autotag_proxy_connections 5",
            "autotag_proxy_refused_total 3",
            "autotag_proxy_answers_total{app=\"web\",class=\"2xx\"} 2",
            "autotag_proxy_answers_total{app=\"web\",class=\"4xx\"} 1",
            "autotag_proxy_seconds_bucket{app=\"web\",le=\"0.001\"} 1",
            "autotag_proxy_seconds_bucket{app=\"web\",le=\"0.01\"} 2",
            "autotag_proxy_seconds_bucket{app=\"web\",le=\"60\"} 2",
            "autotag_proxy_seconds_bucket{app=\"web\",le=\"+Inf\"} 3",
            "autotag_proxy_seconds_sum{app=\"web\"} 120.008",
            "autotag_proxy_sent_bytes_total{app=\"web\"} 12",
            "autotag_proxy_requests{app=\"web\"} 2",
            "autotag_proxy_up{app=\"web\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
