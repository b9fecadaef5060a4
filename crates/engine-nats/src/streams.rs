//! Streams as they are on disk, where the server keeps each in a directory: `jetstream/ACCOUNT/streams/STREAM`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What describes a stream, in its directory.
pub(crate) const DESCRIPTION: &str = "meta.inf";
/// The checksum of that.
const CHECKSUM: &str = "meta.sum";

/// Names of streams by account.
pub(crate) type Streams = BTreeMap<String, BTreeSet<String>>;

/// The directory of an account's streams.
pub(crate) fn directory(data: &Path, account: &str) -> PathBuf {
    data.join("jetstream").join(account).join("streams")
}

/// The accounts that something is kept of.
pub(crate) fn accounts_on_disk(data: &Path) -> Vec<String> {
    names_in(&data.join("jetstream")).collect()
}

/// All streams that the server has to bring back when it starts.
pub(crate) fn on_disk(data: &Path) -> Streams {
    let accounts = accounts_on_disk(data).into_iter().map(|account| {
        let streams = names_in(&directory(data, &account)).filter(|stream| is_on_disk(data, &account, stream));
        let streams = streams.collect();
        (account, streams)
    });
    accounts.collect()
}

/// Whether a stream is on disk. One of which a part is missing was being made or deleted when the server was killed.
pub(crate) fn is_on_disk(data: &Path, account: &str, stream: &str) -> bool {
    let stream = directory(data, account).join(stream);
    [DESCRIPTION, CHECKSUM].iter().all(|file| stream.join(file).exists())
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> + use<> {
    // Where there is no such directory there is nothing in it either.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{accounts_on_disk, directory, on_disk};

    #[test]
    fn streams_are_directories_with_a_description() {
        let data = tempfile::tempdir().unwrap();
        assert!(on_disk(data.path()).is_empty());
        for (account, stream, files) in
            [("a", "WHOLE", &["meta.inf", "meta.sum"][..]), ("a", "HALF", &["meta.inf"]), ("b", "EMPTY", &[])]
        {
            let stream = directory(data.path(), account).join(stream);
            fs::create_dir_all(&stream).unwrap();
            files.iter().for_each(|file| fs::write(stream.join(file), "").unwrap());
        }
        assert_eq!(accounts_on_disk(data.path()).len(), 2);
        let found = on_disk(data.path());
        assert_eq!(found["a"].iter().collect::<Vec<_>>(), ["WHOLE"]);
        assert!(found["b"].is_empty());
    }
}
