//! `cargo xtask`: the chores of this workspace, in Rust, so that they run the same everywhere.
//!
//! This file owns the list of commands; each command is a module.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod bench;
mod binaries;
mod ci;
mod demo;
mod process;
mod repo;
mod services;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "demo",
        arguments: "[--embedded] [--python] [--orders N] [--otlp URL] [--keep] [--open] [--yes]",
        about: "a shop of eight services, and the trace of each of its orders",
        run: demo::command,
    },
    Command {
        name: "ci",
        arguments: "[--full] [--yes] [--list | STEP…]",
        about: "the checks of a change; `--full` adds the long ones, `--yes` installs system packages",
        run: ci::command,
    },
    Command {
        name: "tidy",
        arguments: "",
        about: "the rules that a program can check: files, tiers, names, language, commits",
        run: tidy::command,
    },
    Command {
        name: "bench",
        arguments: "NAME [ARGUMENT…] | all [--resume] [NAME…] | report",
        about: "one comparison of benchmarks/, or all of them, or benchmarks/RESULTS.md from what they measured",
        run: bench::command,
    },
    Command {
        name: "soak",
        arguments: "NAME [OPTIONS]",
        about: "a long run over real sockets in which every operation is counted",
        run: binaries::soak,
    },
    Command {
        name: "services",
        arguments: "up|down|status [--yes] [NAME…]",
        about: "the servers that tests talk to; `. target/services/env` tells a shell where they are",
        run: services::command,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("which command?\n\n{}", help());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return Ok(());
    }
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(rest),
        None => bail!("there is no command `{name}`\n\n{}", help()),
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for Command { name, arguments, about, .. } in COMMANDS {
        text.push_str(&format!("  {:<38}  {about}\n", format!("{name} {arguments}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, dispatch, help};

    #[test]
    fn an_unknown_command_is_answered_with_the_list() {
        let error = dispatch(&["frobnicate".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("there is no command `frobnicate`"), "{error}");
        assert!(error.ends_with(&help()), "{error}");
    }

    #[test]
    fn no_command_is_answered_with_the_list() {
        assert!(dispatch(&[]).unwrap_err().to_string().ends_with(&help()));
    }

    #[test]
    fn the_help_names_every_command() {
        for command in COMMANDS {
            assert!(help().contains(&format!("  {} ", command.name)), "{}", command.name);
        }
    }
}
