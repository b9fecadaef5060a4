use clap::{Args, Subcommand};
use mainstay_types::{Role, TenantScope, TokenId};
use serde::Serialize;

use crate::duration::Seconds;
use crate::failure::Failure;
use crate::output;
use crate::resource;
use crate::session::Session;

#[derive(Args)]
pub struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a token; it is shown this once
    Create {
        /// What its bearer may do: viewer, operator or admin
        #[arg(long)]
        role: Role,

        /// Make it good for every tenant, and not for the one of --tenant alone
        #[arg(long)]
        all_tenants: bool,

        /// How long it serves, for example 8h or 90d [default: what the layer grants]
        #[arg(long, value_name = "DURATION")]
        ttl: Option<Seconds>,
    },
    /// List tokens by their ids
    List,
    /// End a token
    Revoke {
        /// The token's id
        id: TokenId,
    },
}

#[derive(Serialize)]
struct NewToken {
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantScope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Seconds>,
}

impl Token {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Create { role, all_tenants, ttl } => {
                let tenant = match session.client.tenant() {
                    _ if all_tenants => Some(TenantScope::Any),
                    tenant => tenant.cloned().map(TenantScope::One),
                };
                let answer = session.client.post("/tokens", &[], &NewToken { role, tenant, ttl })?;
                session.print_one::<resource::NewToken>(&answer)
            }
            Action::List => session.print_list::<resource::Token>("/tokens", &[]),
            Action::Revoke { id } => {
                session.client.delete(&format!("/tokens/{id}"), &[])?;
                output::message(&format!("Revoked {id}."));
                Ok(())
            }
        }
    }
}
