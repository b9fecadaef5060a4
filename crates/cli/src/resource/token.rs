use mainstay_types::Timestamp;
use serde::Deserialize;

use super::{Resource, age, until};
use crate::output::Cell;

/// A token as it is listed: by its public half.
#[derive(Deserialize)]
pub(crate) struct Token {
    id: String,
    role: String,
    tenant: Option<String>,
    created_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// A token that was just made: the one answer with the token itself.
#[derive(Deserialize)]
pub(crate) struct NewToken {
    id: String,
    token: String,
    role: String,
    tenant: Option<String>,
    expires_at: Option<Timestamp>,
}

impl Resource for Token {
    const PLURAL: &'static str = "tokens";
    const COLUMNS: &'static [&'static str] = &["ID", "ROLE", "TENANT", "EXPIRES IN", "AGE"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.as_str().into(),
            self.role.as_str().into(),
            self.tenant.as_deref().into(),
            until(self.expires_at),
            age(self.created_at),
        ]
    }
}

impl Resource for NewToken {
    const PLURAL: &'static str = "tokens";
    const COLUMNS: &'static [&'static str] = &["ID", "TOKEN", "ROLE", "TENANT", "EXPIRES IN"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.as_str().into(),
            self.token.as_str().into(),
            self.role.as_str().into(),
            self.tenant.as_deref().into(),
            until(self.expires_at),
        ]
    }
}
