//! Access keys and encryption at rest.

use mainstay_bucket::{Encryption, Settings, Versioning};
use mainstay_objects::{AccessKey, KeysError, ReadError};
use secrecy::{ExposeSecret, SecretString};

use crate::harness::account;
use crate::on_both;

on_both! {
    async fn an_access_key_is_kept_sealed(fixture: Fixture) {
        fixture.bucket("docs", Versioning::Unversioned).await;
        let key = |id: &str| AccessKey { id: id.parse().unwrap(), account: account(), valid_until: None };
        fixture.objects.put_access_key(key("one"), &SecretString::from("correct horse")).await.unwrap();
        fixture.objects.put_access_key(key("one"), &SecretString::from("battery staple")).await.unwrap();
        fixture.objects.put_access_key(key("two"), &SecretString::from("other")).await.unwrap();
        *fixture.keys.newest.lock().unwrap() = 2;
        let known = fixture.objects.access_key("one").await.unwrap().unwrap();
        assert_eq!(known.secret.expose_secret(), "battery staple");
        let rows = fixture.rows("SELECT record FROM access_keys").await;
        assert!(rows.iter().all(|row| !row.blob(0).unwrap().windows(7).any(|part| part == b"battery")));

        let fixture = fixture.reopen().await;
        *fixture.keys.reachable.lock().unwrap() = false;
        assert!(matches!(fixture.objects.access_key("one").await, Err(KeysError::Unavailable { .. })));
        assert!(fixture.objects.access_key("none").await.unwrap().is_none());
        *fixture.keys.reachable.lock().unwrap() = true;
        let known = fixture.objects.access_key("one").await.unwrap().unwrap();
        assert_eq!((known.secret.expose_secret(), &known.key.account), ("battery staple", &account()));
        // Once it was opened, it is known; but not while what it was opened with is out of reach.
        *fixture.keys.reachable.lock().unwrap() = false;
        assert!(matches!(fixture.objects.access_key("one").await, Err(KeysError::Unavailable { .. })));
        fixture.objects.forget_secrets();
        *fixture.keys.reachable.lock().unwrap() = true;
        assert!(fixture.objects.access_key("one").await.unwrap().is_some());
        assert_eq!(fixture.objects.access_keys(&account()).len(), 2);
        fixture.objects.remove_access_key(&"one".parse().unwrap()).await.unwrap();
        fixture.objects.remove_access_key(&"one".parse().unwrap()).await.unwrap();
        assert!(fixture.objects.access_key("one").await.unwrap().is_none());
        fixture.objects.remove_account(&account()).await.unwrap();
        assert!(fixture.rows("SELECT id FROM access_keys").await.is_empty());
    }

    async fn content_that_was_encrypted_later_is_still_read(fixture: Fixture) {
        let plain = fixture.bucket("plain", Versioning::Unversioned).await;
        let settings = Settings { encryption: Some(Encryption::Aes256), ..Settings::default() };
        let sealed = fixture.bucket_with("sealed", settings).await;
        let version = fixture.put(&plain, "a", b"same").await;
        fixture.put(&sealed, "a", b"same").await;
        *fixture.keys.newest.lock().unwrap() = 2;
        assert_eq!(fixture.get(&plain, "a").await.unwrap(), b"same");
        assert_eq!(fixture.get(&sealed, "a").await.unwrap(), b"same");
        *fixture.keys.reachable.lock().unwrap() = false;
        let refused = fixture.objects.read(&version, None).await;
        assert!(matches!(refused, Err(ReadError::Keys(KeysError::Unavailable { .. }))));
        let report = fixture.objects.scrub(None, &|_| {}).await.unwrap();
        assert_eq!((report.contents, report.unread, report.damaged.len()), (1, 1, 0));
    }
}
