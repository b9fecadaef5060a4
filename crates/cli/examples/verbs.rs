//! The verbs without the commands of the machine: how a binary composes this crate, and what its tests run.

use std::process::ExitCode;

use clap::Parser;
use mainstay_cli::{Global, Verb};

#[derive(Parser)]
#[command(name = "mainstay", bin_name = "mainstay")]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let Line { global, verb } = Line::parse();
    mainstay_cli::run(&global, verb)
}
