//! What every verb works with: the API, and where its answers go.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::client::{Client, Pages};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource::Resource;

pub(crate) struct Session {
    pub client: Client,
    /// None where the user named no format: most verbs print a table then, `bind` prints variables.
    pub format: Option<Format>,
}

// === impl Session ===

impl Session {
    pub fn new(client: Client, format: Option<Format>) -> Self {
        Self { client, format }
    }

    pub fn format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    /// Prints one thing, as the API answered it or as a table of one row.
    pub fn print_one<R: Resource>(&self, answer: &str) -> Result<(), Failure> {
        match self.format() {
            Format::Table => output::write(&output::table::<R>(&[output::read(answer)?])),
            format => output::write(&output::document(answer, format)?),
        }
    }

    /// Prints a list, all of its pages.
    pub fn print_list<R: Resource>(&self, path: &str, query: &[(&str, &str)]) -> Result<(), Failure> {
        let answer = Pages::new(&self.client, path, query).collect()?;
        match self.format() {
            Format::Table => {
                let rows: Vec<R> = output::read_items(&answer)?;
                if rows.is_empty() {
                    output::message(&format!("No {}.", R::PLURAL));
                    return Ok(());
                }
                output::write(&output::table::<R>(&rows))
            }
            format => output::write(&output::document(&answer, format)?),
        }
    }
}

/// Reads a small text file, or standard input where its name is `-`.
pub(crate) fn read_file(file: &Path, longest: usize) -> io::Result<String> {
    let mut text = String::new();
    let limit = longest as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)?;
    } else {
        File::open(file)?.take(limit).read_to_string(&mut text)?;
    }
    if text.len() > longest {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {longest} bytes")));
    }
    Ok(text)
}
