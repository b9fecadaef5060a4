//! Logging in.

use std::collections::BTreeMap;

use mainstay_secrets_engine::{Answer, Login, Refusal, Request};
use serde_json::json;

use crate::entry_name::EntryName;
use crate::network;
use crate::userpass::Userpass;
use crate::userpass::users::password;

impl Userpass {
    pub(super) async fn login(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let given = password(request)?.ok_or_else(|| Refusal::invalid("missing password"))?;
        self.must_not_be_locked(name, request)?;
        // The turn comes before the second look and lasts until a failure is noted: of many guesses at once only as many
        // get past the lock as hash at once.
        let turn = self.passwords.turn().await?;
        self.must_not_be_locked(name, request)?;
        let user = self.user(name).await?.map(|stored| stored.value);
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let (right, _turn) = self.passwords.verify(turn, given, hash).await?;
        let Some(user) = user.filter(|_| right) else {
            self.lockout.failed(name.as_str(), request.now);
            return Err(Refusal::invalid("invalid username or password"));
        };
        self.lockout.succeeded(name.as_str());
        if !network::admits(&user.token.bound_cidrs, request.remote) {
            return Err(Refusal::Denied);
        }
        Ok(Answer::login(Login {
            metadata: BTreeMap::from([("username".to_owned(), name.as_str().to_owned())]),
            display_name: name.as_str().to_owned(),
            alias: name.as_str().to_owned(),
            internal: json!({ "username": name.as_str() }),
            ..user.token.login()?
        }))
    }

    /// Names without a user lock too, so that a lock does not tell which names have one.
    fn must_not_be_locked(&self, name: &EntryName, request: &Request) -> Result<(), Refusal> {
        if self.lockout.is_locked(name.as_str(), request.now) { Err(Refusal::Denied) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use mainstay_secrets_engine::{Backend, Kind, Mount, Operation, Refusal, Request, Storage};
    use mainstay_types::Timestamp;
    use serde_json::{Value, json};

    use crate::userpass::UserpassKind;

    const NOW: Timestamp = Timestamp::from_micros(1_795_262_400_000_000);

    struct Scene {
        kind: UserpassKind,
        backend: Arc<dyn Backend>,
        mount: Arc<Mount>,
    }

    impl Scene {
        async fn new() -> Self {
            let mount = Arc::new(Mount {
                path: "auth/userpass/".to_owned(),
                accessor: String::new(),
                uuid: String::new(),
                options: BTreeMap::new(),
                default_lease_seconds: 60,
                max_lease_seconds: 600,
            });
            let kind = UserpassKind::default();
            let backend = kind.open(Arc::clone(&mount), Storage::scratch().await).await.unwrap();
            Self { kind, backend, mount }
        }

        async fn write(&self, path: &str, data: Value, now: Timestamp) -> Result<bool, Refusal> {
            let mut request = Request {
                operation: Operation::Create,
                path: path.to_owned(),
                data: data.as_object().unwrap().clone(),
                mount: Arc::clone(&self.mount),
                caller: None,
                tenant: "default".parse().unwrap(),
                remote: None,
                raw_body: Vec::new(),
                now,
            };
            if self.backend.exists(&request).await?.unwrap_or(true) {
                request.operation = Operation::Update;
            }
            self.backend.handle(&request).await.map(|answer| answer.login.is_some())
        }

        async fn login(&self, name: &str, password: &str, now: Timestamp) -> Result<bool, Refusal> {
            self.write(&format!("login/{name}"), json!({ "password": password }), now).await
        }
    }

    #[tokio::test]
    async fn an_unknown_user_costs_the_same_hash() {
        let scene = Scene::new().await;
        scene.write("users/ada", json!({ "password": "right" }), NOW).await.unwrap();
        let made = || scene.kind.passwords.made();
        for (name, password) in [("ada", "wrong"), ("nobody", "wrong"), ("ada", "right")] {
            let before = made();
            let result = scene.login(name, password, NOW).await;
            assert_eq!(made() - before, 1, "{name} {password}");
            match password {
                "right" => assert!(result.unwrap()),
                _ => assert_eq!(result.unwrap_err().to_string(), "invalid username or password"),
            }
        }
    }

    #[tokio::test]
    async fn a_name_is_locked_after_five_failures_whether_it_has_a_user_or_not() {
        let scene = Scene::new().await;
        scene.write("users/ada", json!({ "password": "right" }), NOW).await.unwrap();
        for name in ["ada", "Ada-is-nobody"] {
            for _ in 0..5 {
                assert!(matches!(scene.login(name, "wrong", NOW).await, Err(Refusal::Invalid(_))));
            }
            let before = scene.kind.passwords.made();
            assert!(matches!(scene.login(name, "right", NOW).await, Err(Refusal::Denied)), "{name}");
            assert_eq!(scene.kind.passwords.made(), before, "a locked name costs no hash");
        }
        assert!(scene.login("ADA", "right", NOW.plus_seconds(15 * 60)).await.unwrap());
    }

    #[tokio::test]
    async fn many_guesses_at_once_do_not_get_past_the_lock() {
        let scene = Scene::new().await;
        scene.write("users/ada", json!({ "password": "right" }), NOW).await.unwrap();
        let before = scene.kind.passwords.made();
        let guesses = (0..60).map(|guess| {
            let scene = &scene;
            async move { scene.login("ada", &guess.to_string(), NOW).await }
        });
        let results = futures::future::join_all(guesses).await;
        assert!(results.iter().all(Result::is_err));
        let guessed = scene.kind.passwords.made() - before;
        assert!(guessed <= 5 + crate::userpass::passwords::HASHES_AT_ONCE, "{guessed} guesses");
    }
}
