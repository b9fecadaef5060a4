//! Events at rest: canonical, and read back as they were written.

use dcbor::CBOR;
use mainstay_domain::event::{Body, Event};

use crate::simulation::busy_history;

#[test]
fn every_event_is_canonical_cbor_and_reads_back() {
    let events = busy_history(7, 400);
    let mut kinds = std::collections::BTreeSet::new();
    for event in &events {
        for bytes in [&event.encode()[..], &event.payload[..]] {
            // dcbor refuses whatever is not deterministic encoding (RFC 8949, section 4.2).
            CBOR::try_from_data(bytes).unwrap_or_else(|error| panic!("{}: {error}", event.kind));
        }
        let read: Event = minicbor::decode(&event.encode()).unwrap();
        assert_eq!(read, *event);
        let body = event.body().unwrap();
        assert_eq!(body.encode(), &event.payload[..]);
        assert!(body.to_json().unwrap().is_object(), "{}", event.kind);
        kinds.insert(body.kind());
    }
    assert!(kinds.len() > 20, "the history shows {} of {} types", kinds.len(), Body::KINDS.len());
}

#[test]
fn type_names_have_the_published_form() {
    for kind in Body::KINDS {
        let parts: Vec<&str> = kind.split('.').collect();
        assert!(matches!(parts[..], ["v1", _, _]), "{kind}");
        assert!(kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b)), "{kind}");
    }
}

#[test]
fn an_unknown_type_is_named() {
    let error = Body::decode("v9.moon.landed", &[]).unwrap_err();
    assert!(error.to_string().contains("v9.moon.landed"), "{error}");
}

/// Payloads as versions wrote them that knew no statements, no user names that stay, and nothing to say of success.
#[test]
fn older_payloads_are_read_as_they_were_written() {
    let of_version_1 = [
        (
            "v1.binding.requested",
            "85746170702d396533373739623937663461376331356e692d6e307a6d6d7a3571737664776473686f701a000151801b00071afd498d0000",
        ),
        ("v1.binding.rotation-requested", "8202183c"),
        ("v1.operation.succeeded", "80"),
    ];
    for (kind, hex) in of_version_1 {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let payload: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let body = Body::decode(kind, &payload).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        match &body {
            Body::BindingRequested(body) => assert_eq!((body.lease_seconds, &body.statements), (86_400, &None)),
            Body::BindingRotationRequested(body) => assert_eq!((body.overlap_seconds, body.login), (60, None)),
            Body::OperationSucceeded(body) => assert_eq!(body.detail, None),
            body => panic!("{body:?}"),
        }
        assert_eq!(body.encode(), payload, "and written as they were");
        assert!(!body.to_json().unwrap().to_string().contains("null"));
    }
}
