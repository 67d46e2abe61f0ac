//! Runs parsers by hand, and measures them.
//!
//! ```text
//! parsers                    their names
//! parsers NAME FILE...       checks what stands in these files: a find of the fuzzer, say. Each may need
//!                            64 MiB and no more
//! parsers measure            the large texts of all: NAME, number, bytes, peak of memory, milliseconds
//! parsers measure NAME       those of one
//! ```

use std::alloc::System;

use cap::Cap;
use testkit::parsers::{Entry, all, find};

/// Counts what is allocated, to the byte; beyond the limit there is no memory, and the program ends.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 1 << 30);

/// What the check of one file may hold at a time, in bytes: a text of a few kilobytes that needs more was
/// believed about a length.
const FOR_A_FILE: usize = 64 << 20;

/// Of the smaller texts; the larger ones have ten times as many bytes.
const SIZE: usize = 8_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (None, _) => all().for_each(|entry| println!("{}", entry.name)),
        (Some(word), None) if word == "measure" => all().for_each(measure),
        (Some(word), Some(name)) if word == "measure" => measure(known(&name)),
        (Some(name), first) => {
            for path in first.into_iter().chain(arguments) {
                let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
                println!("{name}: {path}");
                ALLOCATOR.set_limit(ALLOCATOR.allocated() + FOR_A_FILE).expect("it is not yet above it");
                (known(&name).check)(&bytes);
            }
        }
    }
}

fn known(name: &str) -> &'static Entry {
    find(name).unwrap_or_else(|| panic!("there is no parser {name}; without arguments all are listed"))
}

/// One line for each text and size.
fn measure(entry: &'static Entry) {
    // What is made once and for all is no part of it.
    (entry.check)(b"");
    for size in [SIZE, 10 * SIZE] {
        for (number, text) in (entry.large)(size).iter().enumerate() {
            // The peak cannot be set back: where this text raises it, what it needed is known; where it does
            // not, no more is known than that an earlier text needed as much.
            let (held, peak, started) = (ALLOCATOR.allocated(), ALLOCATOR.max_allocated(), milliseconds());
            (entry.check)(text);
            let highest = ALLOCATOR.max_allocated();
            let needed = if highest > peak { highest - held } else { 0 };
            println!("{}\t{number}\t{}\t{needed}\t{}", entry.name, text.len(), milliseconds() - started);
        }
    }
}

/// The processor time of this process so far: other processes do not count, as they would in real time.
fn milliseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("the kernel tells of this process");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // utime and stime, in hundredths of a second (proc_pid_stat(5)).
    fields[11..13].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}
