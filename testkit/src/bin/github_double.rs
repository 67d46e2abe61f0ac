//! The GitHub double as a program, for demonstrations and for trying the action without GitHub.
//!
//! `github-double --listen 127.0.0.1:8125 --repository org/app --token TOKEN --git DIR --push-back`

use testkit::github::{Double, DoubleOptions};

const USAGE: &str = "usage: github-double [--listen HOST:PORT] [--repository OWNER/NAME] [--token TOKEN] \
                     [--git DIR [--push-back]]";

fn main() -> std::process::ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return std::process::ExitCode::from(2);
        }
    };
    let double = Double::with(options);
    println!("{}", double.url());
    loop {
        std::thread::park();
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<DoubleOptions, String> {
    let mut options =
        DoubleOptions { listen: "127.0.0.1:8125".to_owned(), wall_clock: true, ..DoubleOptions::default() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--listen" => options.listen = value()?,
            "--token" => options.token = value()?,
            "--git" => options.git = Some(value()?.into()),
            "--push-back" => options.push_back = true,
            "--repository" => {
                let repository = value()?;
                let (owner, name) = repository.split_once('/').ok_or("--repository wants OWNER/NAME")?;
                (options.owner, options.name) = (owner.to_owned(), name.to_owned());
            }
            _ => return Err(format!("unknown argument: {argument}")),
        }
    }
    if options.push_back && options.git.is_none() {
        return Err("--push-back needs --git".to_owned());
    }
    Ok(options)
}
