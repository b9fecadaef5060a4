//! Tables: upper-case headings, columns that line up, colour for what needs attention.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use tabwriter::TabWriter;

use crate::resource::Resource;

const GOOD: Style = AnsiColor::Green.on_default();
const CHANGING: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// One field of a table.
pub(crate) enum Cell {
    Plain(String),
    /// A state: its colour says whether somebody has to act.
    State(String),
}

/// A table with one row for each thing.
pub(crate) fn table<R: Resource>(resources: &[R]) -> String {
    let mut lines = R::COLUMNS.join("\t") + "\n";
    for resource in resources {
        let cells = resource.cells();
        debug_assert_eq!(cells.len(), R::COLUMNS.len());
        lines += &cells.iter().map(Cell::styled).collect::<Vec<_>>().join("\t");
        lines.push('\n');
    }
    aligned(&lines)
}

/// One thing with a line for each of its fields.
pub(crate) fn vertical(fields: &[(&str, Cell)]) -> String {
    let lines: String = fields.iter().map(|(name, cell)| format!("{name}:\t{}\n", cell.styled())).collect();
    aligned(&lines)
}

fn aligned(lines: &str) -> String {
    let mut writer = TabWriter::new(Vec::new()).padding(2).ansi(true);
    // Writing to memory does not fail, and what goes in is text.
    let written = writer.write_all(lines.as_bytes()).and_then(|()| writer.flush());
    let bytes = written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

// === impl Cell ===

impl Cell {
    fn styled(&self) -> String {
        match self {
            Self::Plain(text) => clean(text),
            Self::State(text) => {
                let style = match text.as_str() {
                    "ready" | "succeeded" | "proven" | "active" | "yes" | "current" | "open" => GOOD,
                    "failed" | "degraded" | "no" | "missing" | "overdue" | "revoked" | "expired" | "sealed"
                    | "destroyed" => BAD,
                    _ => CHANGING,
                };
                format!("{style}{}{style:#}", clean(text))
            }
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Plain(number.to_string())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self::Plain("-".to_owned()), Into::into)
    }
}

/// Text from elsewhere without what would break the table or command the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|symbol| if symbol.is_control() { ' ' } else { symbol }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, table, vertical};
    use crate::resource::Resource;

    #[derive(serde::Deserialize)]
    struct Thing(String, String);

    impl Resource for Thing {
        const PLURAL: &'static str = "things";
        const COLUMNS: &'static [&'static str] = &["NAME", "STATE", "NOTE"];

        fn cells(&self) -> Vec<Cell> {
            vec![self.0.as_str().into(), Cell::State(self.1.clone()), None::<u64>.into()]
        }
    }

    #[test]
    fn columns_line_up_and_colour_takes_no_room() {
        let printed = table(&[Thing("a".into(), "ready".into()), Thing("long-name".into(), "failed".into())]);
        assert_eq!(
            printed,
            "NAME       STATE   NOTE\n\
             a          \u{1b}[32mready\u{1b}[0m   -\n\
             long-name  \u{1b}[31mfailed\u{1b}[0m  -\n"
        );
    }

    #[test]
    fn text_from_elsewhere_cannot_command_the_terminal() {
        let printed = vertical(&[("Name", "a\u{1b}[2Jb\tc\nd".into())]);
        assert_eq!(printed, "Name:  a [2Jb c d\n");
    }
}
