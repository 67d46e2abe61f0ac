//! The server's program. What it does is in the library; see `receiver::cli`.

use std::process::ExitCode;

use autotag_deploy::receiver::cli;

fn main() -> ExitCode {
    cli::main().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        cli::Exit::of(&error).into()
    })
}
