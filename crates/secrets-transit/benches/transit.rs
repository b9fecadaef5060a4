//! How many transit operations one core does inside the process, through `Backend::handle`, JSON included, and how that
//! compares with the bare AES-GCM of aws-lc on the same data. `cargo bench -p mainstay-secrets-transit`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_secrets_engine::{Answer, Backend, Kind, Mount, Operation, Request, Storage};
use mainstay_secrets_transit::TransitKind;
use mainstay_types::{TenantName, Timestamp};
use serde_json::{Map, Value, json};

/// How long each measurement takes: long enough that clocks and caches do not matter.
const MEASURED: Duration = Duration::from_secs(2);

/// The size of what is encrypted and signed.
const SIZE: usize = 1024;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let bare = bare_encryption();
    println!("bare AES-256-GCM with a random nonce, 1 KiB: {bare:>9.0} /s");
    runtime.block_on(async {
        let bench = Bench::open().await;
        let plaintext = STANDARD.encode([7; SIZE]);
        let encrypting = json!({ "plaintext": plaintext });
        for key_type in ["aes256-gcm96", "aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305"] {
            bench.ask(&format!("keys/{key_type}"), json!({ "type": key_type })).await;
            let rate = bench.rate(&format!("encrypt/{key_type}"), &encrypting).await;
            println!("encrypt {key_type:<20} 1 KiB: {rate:>9.0} /s, {:.0} % of bare", 100.0 * rate / bare);
        }
        let ciphertext = bench.ask("encrypt/aes256-gcm96", encrypting.clone()).await["ciphertext"].clone();
        let rate = bench.rate("decrypt/aes256-gcm96", &json!({ "ciphertext": ciphertext })).await;
        println!("decrypt {:<20} 1 KiB: {rate:>9.0} /s, {:.0} % of bare", "aes256-gcm96", 100.0 * rate / bare);

        bench.ask("keys/derived", json!({ "derived": true, "convergent_encryption": true })).await;
        let rate = bench.rate("encrypt/derived", &json!({ "plaintext": plaintext, "context": "Y29udGV4dA==" })).await;
        println!("encrypt {:<20} 1 KiB: {rate:>9.0} /s", "derived, convergent");

        let rate = bench.rate("hmac/aes256-gcm96", &json!({ "input": plaintext })).await;
        println!("hmac    {:<20} 1 KiB: {rate:>9.0} /s", "sha2-256");
        for key_type in ["ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-4096"] {
            bench.ask(&format!("keys/{key_type}"), json!({ "type": key_type })).await;
            let input = json!({ "input": plaintext });
            let signing = bench.rate(&format!("sign/{key_type}"), &input).await;
            let signature = bench.ask(&format!("sign/{key_type}"), input).await["signature"].clone();
            let verifying = json!({ "input": plaintext, "signature": signature });
            let verifying = bench.rate(&format!("verify/{key_type}"), &verifying).await;
            println!("sign    {key_type:<20} 1 KiB: {signing:>9.0} /s, verify {verifying:>9.0} /s");
        }
    });
}

struct Bench {
    backend: Arc<dyn Backend>,
    mount: Arc<Mount>,
}

impl Bench {
    async fn open() -> Self {
        let mount = Arc::new(Mount {
            path: "transit/".to_owned(),
            accessor: "transit_1".to_owned(),
            uuid: "1".to_owned(),
            options: Default::default(),
            default_lease_seconds: 3600,
            max_lease_seconds: 3600,
        });
        let backend = TransitKind.open(Arc::clone(&mount), Storage::scratch().await).await;
        Self { backend: backend.unwrap_or_else(|error| panic!("transit opens: {error}")), mount }
    }

    /// Operations a second. The body is parsed from JSON and the answer is written as JSON each time, as a server does.
    async fn rate(&self, path: &str, body: &Value) -> f64 {
        let body = body.to_string();
        let (started, mut done) = (Instant::now(), 0_u32);
        while started.elapsed() < MEASURED {
            for _ in 0..16 {
                let data = serde_json::from_str(&body).expect("the body is JSON");
                let answer = self.answer(path, data).await;
                let written = serde_json::to_vec(&answer.data).expect("the answer is JSON");
                std::hint::black_box(written);
            }
            done += 16;
        }
        f64::from(done) / started.elapsed().as_secs_f64()
    }

    async fn ask(&self, path: &str, body: Value) -> Map<String, Value> {
        let Value::Object(data) = body else { panic!("the body is an object") };
        self.answer(path, data).await.data.unwrap_or_default()
    }

    async fn answer(&self, path: &str, data: Map<String, Value>) -> Answer {
        let request = Request {
            operation: Operation::Update,
            path: path.to_owned(),
            data,
            raw_body: Vec::new(),
            mount: Arc::clone(&self.mount),
            caller: None,
            tenant: TenantName::default_tenant(),
            remote: None,
            now: Timestamp::EPOCH,
        };
        self.backend.handle(&request).await.unwrap_or_else(|error| panic!("{path} answers: {error}"))
    }
}

fn bare_encryption() -> f64 {
    let key = UnboundKey::new(&AES_256_GCM, &[1; 32]).expect("the key has the right length");
    let key = LessSafeKey::new(key);
    let (started, mut done) = (Instant::now(), 0_u32);
    let mut buffer = vec![7; SIZE];
    while started.elapsed() < MEASURED {
        for _ in 0..64 {
            let mut nonce = [0; 12];
            rand::fill(&mut nonce).expect("there are random bytes");
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut buffer);
            let _ = std::hint::black_box(tag.expect("it encrypts"));
        }
        done += 64;
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}
