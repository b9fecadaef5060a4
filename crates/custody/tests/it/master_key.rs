//! The file of the master key.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use mainstay_custody::{MasterKey, MasterKeyError};

#[test]
fn a_new_key_is_for_its_owner_alone_and_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("master.key");
    assert!(matches!(MasterKey::read(&file), Err(MasterKeyError::Missing { .. })));
    let created = MasterKey::read_or_create(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read(&file).unwrap().len(), 32);
    assert_eq!(MasterKey::read_or_create(&file).unwrap().fingerprint(), created.fingerprint());
    assert!(matches!(MasterKey::create(&file), Err(MasterKeyError::Exists { .. })));
    assert_eq!(MasterKey::read(&file).unwrap().fingerprint(), created.fingerprint());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("master.key");
    MasterKey::create(&file).unwrap();
    for (mode, refused) in [(0o400, false), (0o600, false), (0o640, true), (0o604, true), (0o620, true), (0o666, true)]
    {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        match MasterKey::read(&file) {
            Ok(_) => assert!(!refused, "{mode:o}"),
            Err(error) => {
                assert!(refused, "{mode:o}");
                assert!(error.to_string().contains(&format!("(mode {mode:04o}); take it back with `chmod 600 ")));
            }
        }
    }
}

#[test]
fn only_a_regular_file_of_32_bytes_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("master.key");
    for length in [0, 31, 33, 1 << 20] {
        fs::write(&file, vec![7; length]).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let error = MasterKey::read(&file).unwrap_err();
        assert!(matches!(error, MasterKeyError::Length { .. }), "{length}: {error}");
    }
    assert!(matches!(MasterKey::read(directory.path()), Err(MasterKeyError::NotAFile { .. })));
    assert!(matches!(MasterKey::read("/dev/zero".as_ref()), Err(MasterKeyError::NotAFile { .. })));
}

#[test]
fn a_key_does_not_show_itself() {
    let key = MasterKey::from_bytes(*b"0123456789abcdef0123456789abcdef");
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("MasterKey({})", key.fingerprint()));
    assert_eq!(key.fingerprint().to_string().len(), 16);
}
