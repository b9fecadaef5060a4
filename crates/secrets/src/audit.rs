//! The audit log: each request and each answer as one line of JSON, with every secret as a keyed hash.
//!
//! A line is written before what it tells happens: the request's before it is carried out, the answer's before it is
//! sent. Where a line cannot be written, the request is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::{Map, Value};

/// How often it is looked whether the file was moved away, as programs that rotate logs do.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The file that the audit log goes to.
pub struct AuditFile {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: Option<File>,
    looked: Instant,
}

/// Hashes what must not be readable in the log, the same text always to the same hash.
pub(crate) struct Hasher {
    key: hmac::Key,
}

// === impl AuditFile ===

impl AuditFile {
    /// Opens the file, or makes it with mode 0600.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Some(append_to(path)?);
        Ok(Self { path: path.to_owned(), open: Mutex::new(Open { file, looked: Instant::now() }) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line with one system call, so that lines of several requests do not mix.
    pub(crate) fn write(&self, entry: &Value) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.file.is_none() || open.looked.elapsed() >= LOOK_AGAIN {
            open.file = self.current(open.file.take())?.into();
            open.looked = Instant::now();
        }
        let Some(file) = &mut open.file else { return Err(io::ErrorKind::NotFound.into()) };
        let written = file.write_all(&line);
        if written.is_err() {
            // A part of the line may be there; the next one begins on a line of its own.
            open.file = None;
        }
        written
    }

    /// The file that the path means now.
    fn current(&self, file: Option<File>) -> io::Result<File> {
        if let Some(file) = file {
            let (ours, there) = (file.metadata()?, std::fs::metadata(&self.path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                return Ok(file);
            }
        }
        append_to(&self.path)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > 0 {
        // A line that a full disk has cut short is ended, so that it spoils no other.
        use std::os::unix::fs::FileExt;
        let mut last = [0];
        file.read_exact_at(&mut last, metadata.len() - 1)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

// === impl Hasher ===

impl Hasher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The hash of a text, as `sys/audit-hash` gives it to whoever looks for a value in the log.
    pub(crate) fn text(&self, text: &str) -> String {
        use std::fmt::Write as _;
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut hash = String::with_capacity("hmac-sha256:".len() + 64);
        hash.push_str("hmac-sha256:");
        for byte in tag.as_ref() {
            let _ = write!(hash, "{byte:02x}");
        }
        hash
    }

    /// An object with every text in it hashed, except below the keys that its mount says may be read.
    pub(crate) fn object(&self, object: &Map<String, Value>, readable: &[String]) -> Value {
        let hashed = object.iter().map(|(key, value)| {
            let value = if readable.contains(key) { value.clone() } else { self.value(value) };
            (key.clone(), value)
        });
        Value::Object(hashed.collect())
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(object) => self.object(object, &[]),
            // Numbers are secrets too: a PIN, an account.
            Value::Number(number) => Value::String(self.text(&number.to_string())),
            Value::Bool(_) | Value::Null => value.clone(),
        }
    }
}
