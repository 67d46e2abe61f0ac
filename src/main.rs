//! The action's program.

use std::process::ExitCode;

use autotag_deploy::app;
use autotag_deploy::inputs::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    ExitCode::from(app::main(Environment::of_process(), &arguments).await)
}
