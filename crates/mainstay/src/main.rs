//! `mainstay`: what was typed is either done here, on this machine, or asked of a running layer.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mainstay::local::{DataPlane, Doctor, Down, Journal, Recover, Server, Up};
use mainstay_cli::{Global, Verb};
use mainstay_custody::{ZEROIZE_ON_FREE, ZeroizeOnFree};

/// Secrets pass through request bodies, answers and their copies: what is freed is overwritten, whatever it held.
#[global_allocator]
static ALLOCATOR: ZeroizeOnFree = ZEROIZE_ON_FREE;

/// Databases and other stateful services, as standard connections to real engines
#[derive(Parser)]
#[command(name = "mainstay", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole layer on this machine, for development
    Up(Up),
    /// Stop the layer on this machine; the data stays
    Down(Down),
    /// Run the control plane in production: fails fast on missing configuration
    Server(Server),
    /// Run the data plane as a process of its own, behind a Unix socket
    ///
    /// A control plane with DataPlane:Mode = remote leaves all bytes to it. Both have the same configuration.
    #[command(name = "dataplane")]
    DataPlane(DataPlane),
    /// Show what this machine has and lacks, each with its remedy
    Doctor(Doctor),
    /// Look after the journal
    #[command(subcommand)]
    Journal(Journal),
    /// Bring the whole layer back onto an empty machine, from its repository
    ///
    /// Journal, secrets, configuration and every instance, with the same names, ports, passwords and tokens. It needs no
    /// running layer, and can be repeated after a crash. Exits with 1 where something did not come back.
    Recover(Recover),
    #[command(flatten)]
    Remote(Verb),
}

fn main() -> ExitCode {
    mainstay::memory::keep_little();
    let Arguments { global, command } = Arguments::parse();
    match command {
        Command::Up(up) => up.run(&global),
        Command::Down(down) => down.run(&global),
        Command::Server(server) => server.run(&global),
        Command::DataPlane(dataplane) => dataplane.run(&global),
        Command::Doctor(doctor) => doctor.run(&global),
        Command::Journal(journal) => journal.run(&global),
        Command::Recover(recover) => recover.run(&global),
        Command::Remote(verb) => mainstay_cli::run(&global, verb),
    }
}
