//! The policies that come with a namespace.

use mainstay_policy::{ADMIN, BUILT_IN, DEFAULT, OPERATOR, Operation, RESPONSE_WRAPPING, VIEWER};

use crate::{acl, allowed};

const ALL: [Operation; 6] =
    [Operation::Create, Operation::Read, Operation::Update, Operation::Patch, Operation::Delete, Operation::List];

#[test]
fn all_of_them_are_policies_of_valid_names() {
    for (name, text) in BUILT_IN {
        assert_eq!(mainstay_policy::PolicyName::parse(name).expect(name).as_str(), name);
        acl(&[text]);
    }
}

#[test]
fn every_token_may_look_after_itself() {
    let acl = acl(&[DEFAULT]);
    for path in ["auth/token/renew-self", "auth/token/revoke-self", "sys/capabilities-self", "sys/wrapping/unwrap"] {
        assert!(allowed(&acl, Operation::Update, path), "{path}");
    }
    assert!(allowed(&acl, Operation::Read, "auth/token/lookup-self"));
    assert!(ALL.iter().filter(|operation| allowed(&acl, **operation, "cubbyhole/x/")).count() == 5);
    for path in ["auth/token/lookup", "auth/token/create", "secret/data/x", "sys/leases/revoke", "sys/mounts"] {
        assert_eq!(acl.capabilities(path), ["deny"], "{path}");
    }
}

#[test]
fn an_admin_may_do_everything() {
    let acl = acl(&[ADMIN]);
    for path in ["sys/policies/acl/x", "auth/token/create", "secret/data/x", "sys/audit/file"] {
        assert!(ALL.iter().all(|operation| allowed(&acl, *operation, path)), "{path}");
        assert!(acl.check(path, Operation::Read, &serde_json::Map::new(), None).sudo);
    }
}

#[test]
fn an_operator_works_with_secrets_and_not_with_rights() {
    let acl = acl(&[OPERATOR, DEFAULT]);
    for path in ["secret/data/app", "kv1/app", "team/transit/keys/x", "database/config/main", "pki/issue/web"] {
        assert!(ALL.iter().all(|operation| allowed(&acl, *operation, path)), "{path}");
    }
    let refused = [
        "sys/policies/acl/admin",
        "sys/policy/admin",
        "sys/auth/approle",
        "sys/audit/file",
        "sys/seal",
        "sys/rotate",
        "sys/remount",
        "sys/leases/revoke-prefix/database/",
        "auth/approle/role/app",
        "auth/userpass/users/me",
        "auth/token/create-orphan",
        "auth/token/revoke",
        "auth/token/revoke-accessor",
        "auth/token/lookup",
        "auth/token/roles/x",
        "identity/entity",
    ];
    for path in refused {
        for operation in [Operation::Create, Operation::Update, Operation::Patch, Operation::Delete] {
            assert!(!allowed(&acl, operation, path), "{operation:?} {path}");
        }
    }
    assert!(allowed(&acl, Operation::Update, "sys/mounts/kv2") && !allowed(&acl, Operation::Delete, "sys/mounts/kv2"));
    assert!(allowed(&acl, Operation::Update, "auth/token/renew-self"));
    for path in ["secret/data/x", "sys/mounts", "auth/token/create"] {
        assert!(!acl.check(path, Operation::Read, &serde_json::Map::new(), None).sudo, "{path}");
    }
}

#[test]
fn a_viewer_sees_no_value_and_changes_nothing() {
    let acl = acl(&[VIEWER]);
    let values = [
        "secret/data/app",
        "secret/subkeys/app",
        "kv1/app",
        "kv1/metadata/app",
        "cubbyhole/x",
        "database/creds/app",
        "database/static-creds/app",
        "transit/export/encryption-key/app",
        "transit/backup/app",
        "transit/datakey/plaintext/app",
        "pki/issue/web",
        "auth/approle/role/app/secret-id",
        "sys/raw/x",
    ];
    for path in values {
        for operation in ALL {
            assert_eq!(allowed(&acl, operation, path), operation == Operation::List, "{operation:?} {path}");
        }
    }
    for path in ["secret/metadata/app", "transit/keys/app", "sys/mounts", "sys/policies/acl/viewer"] {
        assert!(allowed(&acl, Operation::Read, path), "{path}");
        assert!(ALL[2..5].iter().all(|operation| !allowed(&acl, *operation, path)), "{path}");
    }
}

#[test]
fn a_wrapping_token_unwraps_and_nothing_else() {
    let acl = acl(&[RESPONSE_WRAPPING]);
    assert!(allowed(&acl, Operation::Update, "sys/wrapping/unwrap"));
    assert!(!allowed(&acl, Operation::Update, "sys/wrapping/rewrap"));
    assert_eq!(acl.capabilities("cubbyhole/response"), ["create", "read"]);
    assert_eq!(acl.capabilities("cubbyhole/other"), ["deny"]);
}
