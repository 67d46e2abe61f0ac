//! What went wrong on real inputs, by number: the index.
//!
//! A is the action, S the server, X what an attacker tried. One line here for each right value; the check itself
//! stands in the module of its subject. `cargo test --test all cases::s1` runs what belongs to S1.
