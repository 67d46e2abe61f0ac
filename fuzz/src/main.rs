//! One target for all parsers: `AUTOTAG_DEPLOY_PARSER` says which one. They are linked once, which takes
//! longer than most of them are fuzzed for.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

use testkit::parsers;

#[expect(clippy::disallowed_methods, reason = "libFuzzer has the arguments for itself")]
static ENTRY: LazyLock<&'static parsers::Entry> = LazyLock::new(|| {
    let name = std::env::var("AUTOTAG_DEPLOY_PARSER").expect("AUTOTAG_DEPLOY_PARSER names a parser");
    parsers::find(&name).unwrap_or_else(|| panic!("there is no parser {name}"))
});

fuzz_target!(|bytes: &[u8]| (ENTRY.check)(bytes));
