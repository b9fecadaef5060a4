//! Requests about roles.

use mainstay_secrets_engine::{Answer, Operation, Refusal, Request};

use crate::backend::Pki;
use crate::role::Role;
use crate::store::ROLES;

impl Pki {
    pub(crate) async fn roles(&self, request: &Request, is_list: bool, path: &[&str]) -> Result<Answer, Refusal> {
        let name = match path {
            [] if is_list => {
                let names = self.store.storage().list(ROLES).await?;
                return if names.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::keys(names)) };
            }
            [name] if is_name(name) => *name,
            [] => return Err(Refusal::UnsupportedOperation),
            _ => return Err(Refusal::UnsupportedPath),
        };
        match request.operation {
            Operation::Read => {
                let role = self.store.role(name).await?.ok_or(Refusal::NotFound)?;
                Ok(Answer::data(shown(&role)))
            }
            Operation::Create | Operation::Update => self.write_role(request, name, Role::default()).await,
            Operation::Patch => {
                let role = self.store.role(name).await?;
                let role = role.ok_or_else(|| Refusal::invalid("Unable to fetch role entry to patch"))?;
                self.write_role(request, name, role).await
            }
            Operation::Delete => {
                self.store.remove(&[format!("{ROLES}{name}")]).await?;
                Ok(Answer::nothing())
            }
            Operation::List => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn write_role(&self, request: &Request, name: &str, base: Role) -> Result<Answer, Refusal> {
        let asked = base.overlaid(&request.fields())?;
        let wants_lease = asked.generate_lease;
        let role = asked.checked()?;
        self.store.put(&format!("{ROLES}{name}"), &role).await?;
        let mut answer = Answer::data(shown(&role));
        if wants_lease && role.no_store {
            answer = answer.warning("mutually exclusive values no_store=true and generate_lease=true were both specified; no_store=true takes priority");
        } else if wants_lease {
            answer = answer.warning("it is encouraged to disable generate_lease and rely on PKI's native capabilities when possible; this option can cause Vault-wide issues with large numbers of issued certificates");
        }
        if self.store.issuer(&role.issuer_ref).await.is_err() {
            answer = answer.warning(match role.issuer_ref.as_str() {
                "default" => "Issuing Certificate was set to default, but no default issuing certificate (configurable at /config/issuers) is currently set".to_owned(),
                other => format!("Issuing Certificate was set to {other} but no issuing certificate currently has that name"),
            });
        }
        Ok(answer)
    }
}

fn shown(role: &Role) -> serde_json::Value {
    serde_json::to_value(role).unwrap_or_default()
}

/// Letters, digits and underscores, with dots and hyphens between: what Vault's paths take for a name.
pub(crate) fn is_name(text: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.chars().all(|letter| is_word(letter) || ['-', '.'].contains(&letter))
}
