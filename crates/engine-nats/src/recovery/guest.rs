//! A user of ours in an instance's account, for as long as its streams are copied.

use std::sync::Arc;

use async_nats::Client;
use mainstay_engine::EngineError;
use mainstay_engine::supervise::{Removal, Removals};
use mainstay_types::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::{Change, GUEST_PREFIX, User, Verifier};
use crate::cluster::Cluster;
use crate::register::Register;

/// Random bytes of its name, and of its password: the latter are 256 bits, which nobody guesses.
const NAME_BYTES: usize = 8;
const PASSWORD_BYTES: usize = 32;

/// The user, until it is dismissed: when that is asked for, when this is dropped, and when a control plane reads the accounts that a
/// dead one has left.
pub(super) struct Guest {
    pub client: Client,
    dismissal: Removal,
}

impl Guest {
    /// Comes into an account.
    pub async fn admit(cluster: &Arc<Cluster>, removals: &Removals, account: &str) -> Result<Self, EngineError> {
        let user = format!("{GUEST_PREFIX}{}", draw(NAME_BYTES)?);
        let password = SecretString::from(draw(PASSWORD_BYTES)?);
        let verifier = Verifier::of(password.expose_secret())?;
        let credential = User { verifier, valid_until: Timestamp::EPOCH };
        let dismissal = removals.at_end({
            let (cluster, account, user) = (cluster.clone(), account.to_owned(), user.clone());
            async move {
                let dismissed = Register::change(&cluster, Change::Dismiss { account, user }).await;
                if let Err(error) = dismissed {
                    tracing::warn!(cluster = %cluster.name, %error, "a user of ours is left in an account");
                }
            }
        });
        let admitted = async {
            let change = Change::Admit { account: account.to_owned(), user: user.clone(), credential };
            Register::change(cluster, change).await?;
            Ok(cluster.admin.connect(&user, &password).await?)
        };
        match admitted.await {
            Ok(client) => Ok(Self { client, dismissal }),
            Err(error) => {
                dismissal.now().await;
                Err(error)
            }
        }
    }

    /// Leaves it.
    pub async fn leave(self) {
        drop(self.client);
        self.dismissal.now().await;
    }
}

fn draw(length: usize) -> Result<String, EngineError> {
    let mut bytes = [0; PASSWORD_BYTES];
    let bytes = &mut bytes[..length];
    getrandom::fill(bytes).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
