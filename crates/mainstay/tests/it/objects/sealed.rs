//! The S3 API of a layer whose secret custody is sealed.

use std::time::Duration;

use serde_json::json;

use super::Bound;
use crate::harness::{Layer, Options, Vault, until};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn while_sealed_it_says_so_and_afterwards_goes_on() {
    let environment = vec![("Custody__Seal", "shamir".to_owned())];
    let mut layer = Layer::new(Options { environment, ..Options::default() });
    layer.restart_in_trouble();
    let nobody = Vault::of(&layer).with_token("");
    let made = nobody.put("sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 })).expect(200);
    let (share, root) = (made["keys"][0].clone(), made["root_token"].as_str().unwrap().to_owned());
    let unseal = || nobody.put("sys/unseal", &json!({ "key": share })).expect(200);
    unseal();
    let bound = Bound::new(&layer, "sealed", json!({}));
    bound.put("plain", b"plain").expect(200);
    let encrypt = [("x-amz-server-side-encryption", "AES256")];
    bound.call("PUT", &format!("/{}/secret", bound.bucket), &encrypt, b"secret").expect(200);

    Vault::of(&layer).with_token(&root).put("sys/seal", &json!({})).expect(204);
    expect_sealed(&bound);
    unseal();
    until("it goes on", PATIENCE, || (bound.get("plain").status == 200).then_some(()));
    assert_eq!(bound.get("plain").expect(200), b"plain");
    assert_eq!(bound.get("secret").expect(200), b"secret");

    // A crash leaves it sealed, with nothing in memory that could be asked for.
    layer.kill();
    layer.restart_in_trouble();
    until("the S3 API answers", PATIENCE, || {
        std::net::TcpStream::connect(("127.0.0.1", layer.s3_port())).is_ok().then_some(())
    });
    expect_sealed(&bound);
    unseal();
    until("it goes on", PATIENCE, || (bound.get("plain").status == 200).then_some(()));
    assert_eq!(bound.get("secret").expect(200), b"secret");
}

fn expect_sealed(bound: &Bound) {
    for key in ["plain", "secret", "nothing"] {
        let message = bound.get(key).refused(503, "ServiceUnavailable");
        assert!(!message.is_empty() && !message.contains("sqlite"), "{message}");
    }
    bound.put("new", b"new").refused(503, "ServiceUnavailable");
}
