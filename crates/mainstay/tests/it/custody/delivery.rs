//! Secrets on their way to programs: the agent through crashes and sealings, and what `run` takes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::Shared;
use crate::harness::{Layer, Vault, until};

const PATIENCE: Duration = Duration::from_secs(30);
const SHARED: &str = "postgresql-shared";

#[test]
fn the_agent_outlives_crashes_and_sealings() {
    let mut shared = Shared::start();
    let root = shared.root();
    let write = |root: &Vault, password: &str| {
        root.post("secret/data/app", &json!({ "data": { "password": password } })).expect(200);
    };
    write(&root, "one");
    let place = shared.layer.scratch().join("agent");
    fs::create_dir(&place).unwrap();
    let token = approle(&root, &place);

    // The same narrow token reads from the command line, which asks what is mounted before.
    let mut get = shared.layer.command();
    get.args(["secret", "get", "secret/app", "--field", "password"]).env("MAINSTAY_TOKEN", &token);
    let got = get.output().unwrap();
    assert!(got.status.success() && got.stdout == b"one", "{got:?}");

    let agent = Agent::start(&shared.layer, &place);
    agent.wait_for("password=one\n", 1);
    shared.layer.kill();
    shared.layer.restart_in_trouble();
    agent.wait_for_trouble();
    agent.expect("password=one\n", 1);
    shared.unseal();
    agent.wait_for_recovery();
    agent.expect("password=one\n", 1);
    write(&root, "two");
    agent.wait_for("password=two\n", 2);

    shared.layer.cli(&["custody", "seal"]).succeed();
    agent.wait_for_trouble();
    agent.expect("password=two\n", 2);
    shared.unseal();
    agent.wait_for_recovery();
    agent.expect("password=two\n", 2);
    write(&root, "three");
    agent.wait_for("password=three\n", 3);
    let said = agent.stop();
    for secret in ["password=", token.as_str(), "three"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_role_is_gone_when_its_program_has_ended() {
    let layer = Layer::shared();
    layer.create("delivery");
    let admin = Vault::of(layer);
    admin.post("sys/mounts/delivery", &json!({ "type": "database" })).expect(204);
    let config = json!({ "plugin_name": "postgresql-database-plugin", "instance": "delivery", "allowed_roles": "*" });
    done(&admin, "delivery/config/delivery", &config);
    let role = json!({ "db_name": "delivery", "default_ttl": "1h",
        "creation_statements": [r#"GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}""#] });
    done(&admin, "delivery/roles/reader", &role);
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    let roles = |name: &str| layer.psql(&superuser, &format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'"));
    let seen =
        layer.cli(&["run", "--secret", "delivery/creds/reader=DB", "--", "sh", "-c", r#"echo "$DB_USERNAME"; exit 3"#]);
    assert_eq!(seen.code, 3, "{seen:?}");
    let name = seen.stdout.trim();
    assert!(!name.is_empty());
    until("the role is gone", PATIENCE, || (roles(name) == "0").then_some(()));
    let leases = admin.list("sys/leases/lookup/delivery/creds/reader/");
    assert_eq!(leases.status, 404, "{leases:?}");
}

/// An AppRole that may read one secret alone: its ids in files, and a token of it.
fn approle(root: &Vault, place: &Path) -> String {
    let policy = r#"path "secret/data/app" { capabilities = ["read"] }"#;
    root.post("sys/policies/acl/app", &json!({ "policy": policy })).expect(204);
    root.post("sys/auth/approle", &json!({ "type": "approle" })).expect(204);
    done(root, "auth/approle/role/app", &json!({ "token_policies": ["app"], "token_no_default_policy": true }));
    let role_id = root.get("auth/approle/role/app/role-id").expect(200)["data"]["role_id"].clone();
    let secret_id = root.post("auth/approle/role/app/secret-id", &json!({})).expect(200)["data"]["secret_id"].clone();
    for (file, text) in [("role-id", &role_id), ("secret-id", &secret_id)] {
        fs::write(place.join(file), text.as_str().unwrap()).unwrap();
    }
    let login = root.with_token("").post("auth/approle/login", &json!({ "role_id": role_id, "secret_id": secret_id }));
    login.expect(200)["auth"]["client_token"].as_str().unwrap().to_owned()
}

fn done(vault: &Vault, path: &str, body: &Value) {
    let answer = vault.post(path, body);
    assert!(matches!(answer.status, 200 | 204), "{path}: {answer:?}");
}

/// A running agent, with one template that is rendered into one file.
struct Agent {
    place: PathBuf,
    process: Child,
}

impl Agent {
    fn start(layer: &Layer, place: &Path) -> Self {
        let path = |file: &str| place.join(file).to_str().unwrap().to_owned();
        fs::write(path("app.j2"), "password={{ secret(\"secret/app\").password }}\n").unwrap();
        let mut command = layer.command();
        command.args(["agent", "--interval", "1s", "--template", &format!("{}={}", path("app.j2"), path("app.env"))]);
        command.args(["--exec", &format!("cat {} >> {}", path("app.env"), path("runs"))]);
        command.args(["--role-id-file", &path("role-id"), "--secret-id-file", &path("secret-id")]);
        let said = fs::File::create(path("said")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Self { place: place.to_owned(), process }
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.place.join(file)).unwrap_or_default()
    }

    /// Waits until the file has this text and the command ran so often.
    fn wait_for(&self, text: &str, runs: usize) {
        until("the file is rendered", PATIENCE, || (self.text("app.env") == text).then_some(()));
        until("the command ran", PATIENCE, || (self.text("runs").lines().count() >= runs).then_some(()));
        self.expect(text, runs);
    }

    #[track_caller]
    fn expect(&self, text: &str, runs: usize) {
        assert_eq!((self.text("app.env").as_str(), self.text("runs").lines().count()), (text, runs));
    }

    fn wait_for_trouble(&self) {
        until("the agent says what is wrong", PATIENCE, || self.is_failing().then_some(()));
    }

    fn wait_for_recovery(&self) {
        until("the agent says that it is over", PATIENCE, || (!self.is_failing()).then_some(()));
    }

    /// Whether the last that it said of a failure was not that it is over.
    fn is_failing(&self) -> bool {
        let said = self.text("said");
        said.rfind(" event=failing ") > said.rfind(" event=recovered ")
    }

    /// Ends it in order, and gives all that it has said.
    fn stop(mut self) -> String {
        rustix::process::kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let ended = until("the agent ends", PATIENCE, || self.process.try_wait().unwrap());
        assert!(ended.success(), "{ended:?}: {}", self.text("said"));
        self.text("said")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One whose test has failed is not left behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
