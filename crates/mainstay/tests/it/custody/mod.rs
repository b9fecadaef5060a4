//! Secret custody from outside: stock clients, attacks, crashes, and searches for what should be nowhere.

mod audit;
mod crash;
mod delivery;
mod floods;
mod hvac;
mod paths;
mod recorded_calls;
mod rollback;
mod sealed;
mod snapshot;
mod vaultrs;

use serde_json::{Value, json};

use crate::harness::{Layer, Options, Vault};

/// A layer whose key is split among operators, initialised and unsealed, with its shares and its root token.
struct Shared {
    layer: Layer,
    keys: Vec<String>,
    root: String,
}

impl Shared {
    fn start() -> Self {
        let environment = vec![("Custody__Seal", "shamir".to_owned())];
        let mut layer = Layer::new(Options { environment, ..Options::default() });
        layer.restart_in_trouble();
        let nobody = Vault::of(&layer).with_token("");
        assert_eq!(nobody.get("sys/health").status, 501);
        let made = nobody.put("sys/init", &json!({ "secret_shares": 5, "secret_threshold": 3 })).expect(200);
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let shared = Self { keys: texts(&made["keys"]), root: made["root_token"].as_str().unwrap().to_owned(), layer };
        assert_eq!(nobody.get("sys/health").status, 503);
        shared.unseal();
        shared
    }

    fn unseal(&self) {
        let nobody = Vault::of(&self.layer).with_token("");
        for (number, key) in self.keys.iter().skip(1).take(3).enumerate() {
            let status = nobody.put("sys/unseal", &json!({ "key": key })).expect(200);
            assert_eq!(status["sealed"], number < 2, "{status}");
        }
        assert_eq!(nobody.get("sys/health").status, 200);
    }

    fn root(&self) -> Vault {
        Vault::of(&self.layer).with_token(&self.root)
    }
}
