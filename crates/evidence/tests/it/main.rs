//! Evidence as a stranger sees it.

use mainstay_evidence::{
    AssertionShown, Bundle, CheckShown, Digests, DrillShown, Entry, Envelope, Flaw, InstanceShown, Measured, PublicKey,
    RecoveryPointShown, SigningKey, Statement, Subject,
};

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn statement() -> Statement {
    let drill = DrillShown {
        result: "passed".to_owned(),
        reason: None,
        instance: InstanceShown {
            id: "i-0123456789ab".to_owned(),
            tenant: "default".to_owned(),
            name: "shop".to_owned(),
            contract: Some("postgresql/v1".to_owned()),
            engine: Some("postgresql".to_owned()),
        },
        recovery_point: Some(RecoveryPointShown {
            id: "bk-0123456789ab".to_owned(),
            engine_version: Some("15.18".to_owned()),
            began_at: Some("2026-11-21T00:00:00.000000Z".to_owned()),
            ended_at: Some("2026-11-21T00:01:00.000000Z".to_owned()),
            parts: Some(1),
        }),
        checks: vec![CheckShown {
            name: "assertion SELECT count(*) FROM \"bücher\"".to_owned(),
            passed: true,
            seen: "12".to_owned(),
            failure: None,
        }],
        assertions: vec![AssertionShown {
            query: "SELECT count(*) FROM \"bücher\"".to_owned(),
            expected: "12".to_owned(),
            met: Some(true),
        }],
        measured: Measured {
            rto_milliseconds: Some(1_730),
            rpo_milliseconds: Some(212),
            newest_change: Some("2026-11-21T01:59:59.788000Z".to_owned()),
        },
        began_at: "2026-11-21T02:00:00.000000Z".to_owned(),
        ended_at: "2026-11-21T02:00:04.000000Z".to_owned(),
        journal: Entry {
            layer: "aa".repeat(32),
            sequence: 42,
            kind: "v1.drill.passed".to_owned(),
            digest: "bb".repeat(32),
            previous: "cc".repeat(32),
        },
        mainstay_version: Some("0.1.0".to_owned()),
    };
    let digest = Digests { blake3: Some("dd".repeat(32)), sha256: Some("ee".repeat(32)) };
    Statement::about(drill, [Subject { name: "bk-0123456789ab/base".to_owned(), digest }])
}

/// Whoever changes these bytes breaks evidence of long ago: what is exported again has to be what was exported then.
#[test]
fn evidence_has_the_same_bytes_for_ever() {
    let sample = include_str!("../samples/drill-1.json");
    assert_eq!(Envelope::seal(&statement(), &key(7)).to_file(), sample);
    let read: Envelope = serde_json::from_str(sample).unwrap();
    assert_eq!(read.open(&[key(7).public()]).unwrap(), statement());
}

#[test]
fn whatever_is_changed_is_seen() {
    let trusted = [key(6).public(), key(7).public()];
    let sealed = Envelope::seal(&statement(), &key(7));
    assert_eq!(sealed.open(&trusted), Ok(statement()));
    assert!(matches!(sealed.open(&trusted[..1]), Err(Flaw::UnknownKey(id)) if id == key(7).public().id()));

    let mut other = statement();
    other.predicate.measured.rto_milliseconds = Some(1);
    let forged = Envelope { payload: Envelope::seal(&other, &key(8)).payload, ..sealed.clone() };
    assert!(matches!(forged.open(&trusted), Err(Flaw::Signature(_))));
    assert_eq!(forged.claims(), Some(other), "what was forged can be named");
    let retyped = Envelope { payload_type: "text/plain".to_owned(), ..sealed.clone() };
    assert!(matches!(retyped.open(&trusted), Err(Flaw::PayloadType(_))));
    let unsigned = Envelope { signatures: Vec::new(), ..sealed.clone() };
    assert_eq!(unsigned.open(&trusted), Err(Flaw::Unsigned));
    for position in 0..sealed.payload.len() {
        let mut payload = sealed.payload.clone().into_bytes();
        payload[position] = if payload[position] == b'A' { b'B' } else { b'A' };
        let changed = Envelope { payload: String::from_utf8(payload).unwrap(), ..sealed.clone() };
        assert!(changed.open(&trusted).is_err(), "at {position}");
    }
}

#[test]
fn keys_are_what_other_programs_read() {
    // The first test vector of RFC 8032, section 7.1.
    let byte = |text: &str, at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    let bytes =
        |text: &str| <[u8; 32]>::try_from((0..64).step_by(2).map(|at| byte(text, at)).collect::<Vec<_>>()).unwrap();
    let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(SigningKey::from_seed(&seed).public().as_bytes(), &public);

    let key = key(7).public();
    assert!(key.to_pem().starts_with("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA"), "{}", key.to_pem());
    assert_eq!(PublicKey::from_pem(&key.to_pem()), Ok(key));
    assert_eq!(key.id().as_str().len(), 64);
    for bad in ["", "key", &key.to_pem().replace("MCow", "MCox"), &key.to_pem().replace("PUBLIC", "PRIVATE")] {
        assert!(PublicKey::from_pem(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_bundle_is_read_as_it_was_written() {
    let sealed = Envelope::seal(&statement(), &key(7));
    let bundle = Bundle::new(vec![sealed], vec![key(7).public().to_pem()]);
    assert_eq!(serde_json::from_str::<Bundle>(&bundle.to_file()).unwrap(), bundle);
}
