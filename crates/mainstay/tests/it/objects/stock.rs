//! The stock clients' programs, and folders for them to carry about.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Bound;

/// Contents of a folder: texts of paths, and bytes.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// A stock client's program, with nothing of the developer's own environment. Where it is not there, nothing is tested,
/// which CI does not accept and everybody else is told.
pub fn program(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    let mut command = Command::new(found.or_else(|| absent(name))?);
    command.env_clear().env("PATH", path);
    Some(command)
}

/// The Python that has the stock clients.
pub fn python() -> Option<Command> {
    let interpreter = std::env::var_os("MAINSTAY_TEST_PYTHON").map(PathBuf::from);
    let mut command = Command::new(interpreter.or_else(|| absent("MAINSTAY_TEST_PYTHON"))?);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

pub fn absent(name: &str) -> Option<PathBuf> {
    assert!(std::env::var_os("CI").is_none(), "{name} is not there; run the tests with: make test");
    eprintln!("SKIPPED: {name} is not there, so nothing was tested with it; run the tests with: make test");
    None
}

/// Gives a client the access key in the variables that most of them know.
pub fn with_key(command: &mut Command, bound: &Bound, home: &Path) {
    command.env("AWS_ACCESS_KEY_ID", &bound.access_key).env("AWS_SECRET_ACCESS_KEY", &bound.secret_key);
    command.env("AWS_DEFAULT_REGION", &bound.region).env("AWS_ENDPOINT_URL", &bound.endpoint);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", home).env("XDG_CACHE_HOME", home.join("cache"));
}

/// What a client printed that has to succeed.
#[track_caller]
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{:?} cannot be run: {error}", command.get_program()));
    let arguments: Vec<OsString> = command.get_args().map(OsString::from).collect();
    assert!(
        output.status.success(),
        "{:?} {arguments:?}: {}{}",
        command.get_program(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Bytes that follow from a number and do not repeat.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut chance = crate::harness::Chance::new(seed);
    let words = std::iter::repeat_with(|| chance.pick(0..u64::MAX).to_le_bytes());
    words.take(size.div_ceil(8)).flatten().take(size).collect()
}

/// Names that clients have to encode, sizes at edges, and something that comes in parts.
pub fn sample() -> Tree {
    let mut tree = Tree::new();
    let names = [
        "plain.txt",
        "with space",
        "ä ö ü",
        "plus+and%20percent",
        "deep/er/down/x",
        "deep/er/y",
        "日本",
        "a&b=c",
        "~!@#$()'",
    ];
    for (number, name) in names.iter().enumerate() {
        tree.insert((*name).to_owned(), noise(number as u64, 1000 * number));
    }
    tree.insert("one mebibyte".to_owned(), noise(100, 1 << 20));
    tree.insert("large/in-parts".to_owned(), noise(101, (17 << 20) + 7));
    tree
}

pub fn write(folder: &Path, tree: &Tree) {
    for (name, bytes) in tree {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

pub fn read(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                tree.insert(name, fs::read(path).unwrap());
            }
        }
    }
    tree
}

/// Fails with the names that differ, and not with megabytes.
#[track_caller]
pub fn same(found: &Tree, wanted: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(wanted));
    let differ: Vec<_> = found.iter().filter(|(name, bytes)| wanted[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differ.is_empty(), "these have other bytes: {differ:?}");
}
