//! Where answers go: tables for people, documents for programs, messages beside both.

mod document;
mod table;

use std::io::{self, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

pub(crate) use document::document;
pub(crate) use table::{Cell, clean, table, vertical};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    Json,
    Yaml,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Prints data; its colours only where a terminal shows them.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = AutoStream::auto(io::stdout().lock());
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Prints a value as it is, escape sequences included: it is somebody's data and not ours.
pub(crate) fn write_raw(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Says something to the person at the terminal.
pub(crate) fn message(text: &str) {
    // Whoever has closed standard error does not want to be told.
    let _ = writeln!(AutoStream::auto(io::stderr().lock()), "{text}");
}

/// Says what went wrong and what to do next.
pub(crate) fn error(what: &str, remedy: Option<&str>) {
    message(&format!("{ERROR}error:{ERROR:#} {what}"));
    if let Some(remedy) = remedy {
        message(&format!("  remedy: {remedy}"));
    }
}

/// What a table shows of an answer.
pub(crate) fn read<T: DeserializeOwned>(answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(Failure::NotUnderstood)
}

/// What a table shows of a list.
pub(crate) fn read_items<T: DeserializeOwned>(answer: &str) -> Result<Vec<T>, Failure> {
    #[derive(Deserialize)]
    struct List<T> {
        items: Vec<T>,
    }
    read::<List<T>>(answer).map(|list| list.items)
}
