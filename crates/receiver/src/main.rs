//! The server's program. What it does is in the library; see `autotag_receiver::cli`.

use std::process::ExitCode;

use autotag_receiver::cli;

fn main() -> ExitCode {
    cli::main().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        cli::Exit::of(&error).into()
    })
}
