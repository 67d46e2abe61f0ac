//! Faults for real: the real program against GitHub's double, a real registry and a real sshd, with a proxy
//! between them that breaks exchanges.
//!
//! A run under faults may fail; it may never lie. Once the faults are over, every commit is run again, and
//! then everything must be as if nothing had ever gone wrong.

mod behind;
mod round;

mod answers;
mod deployed;
mod effects;
mod faults;
mod lines;
mod pushes;
mod signals;
mod silence;
