use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::progress::Progress;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

#[derive(Args)]
pub struct Restore {
    /// The snapshot; - is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,

    /// Also where custody is not empty: what is in it is lost
    #[arg(long)]
    force: bool,
}

/// A snapshot that is read while it is sent.
struct Source {
    reader: Box<dyn Read>,
    progress: Progress,
    read: u64,
    /// Why it could not be read to its end.
    failed: Option<io::Error>,
}

impl Restore {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let mut source = Source::open(&self.file)?;
        let force = if self.force { "true" } else { "false" };
        let sent = session.client.upload("/custody/restore", &[("force", force)], &mut source);
        if let Some(error) = source.failed.take() {
            return Err(unreadable(&self.file, error));
        }
        sent?;
        drop(source);
        output::message(
            "Restored, and sealed. It opens with the seal that the snapshot was taken under: bring its shares with \
             `mainstay custody unseal`, or restart the layer with its key file in place.",
        );
        Ok(())
    }
}

fn unreadable(file: &Path, error: io::Error) -> Failure {
    let what = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    Failure::local(format!("{what} cannot be read"), error)
}

// === impl Source ===

impl Source {
    fn open(file: &Path) -> Result<Self, Failure> {
        let (reader, length): (Box<dyn Read>, _) = if file == Path::new("-") {
            if io::stdin().is_terminal() {
                return Err(Failure::usage("a snapshot cannot be typed: name a file, or lead one into the input"));
            }
            (Box::new(io::stdin()), None)
        } else {
            let opened = File::open(file).map_err(|error| unreadable(file, error))?;
            let length = opened.metadata().ok().filter(|found| found.is_file()).map(|found| found.len());
            (Box::new(opened), length)
        };
        Ok(Self { reader, progress: Progress::new("sent", length), read: 0, failed: None })
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(into) {
            Ok(length) => {
                self.read += length as u64;
                self.progress.show(self.read);
                Ok(length)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
