//! Access keys, as s3s asks for them.

use async_trait::async_trait;
use mainstay_objects::{KnownKey, Objects};
use mainstay_types::Timestamp;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};
use secrecy::ExposeSecret;

use crate::error::{Failure, Result};

/// Verifies requests with the access keys of the object store.
pub struct Auth(pub Objects);

#[async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match known_key(&self.0, access_key).await {
            Ok(known) => Ok(SecretKey::from(known.secret.expose_secret())),
            Err(failure) => {
                // The span in which it is asked for names the request.
                failure.log("GetSecretKey", None);
                Err(failure.into_s3())
            }
        }
    }
}

/// An access key whose time is not over.
pub async fn known_key(objects: &Objects, id: &str) -> Result<KnownKey> {
    let known = objects.access_key(id).await?;
    let valid = known.filter(|known| known.key.valid_until.is_none_or(|until| Timestamp::now() < until));
    valid.ok_or_else(|| {
        let message = "The AWS Access Key Id you provided does not exist in our records.";
        Failure::from(S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, message))
    })
}
