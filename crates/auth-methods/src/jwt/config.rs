//! The configuration of a mount: whose tokens are taken.

use std::sync::Arc;

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Answer, Batch, Fields, Refusal, Request};
use mainstay_types::chain;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::jwt::Jwt;
use crate::jwt::issuer;
use crate::jwt::settings::{Settings, algorithms};
use crate::record;
use crate::token_params::list;

/// The configuration. What belongs to the browser flow is kept for clients that read it back, and used for nothing.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Config {
    pub oidc_discovery_url: String,
    pub oidc_discovery_ca_pem: String,
    pub oidc_client_id: String,
    pub oidc_client_secret: String,
    pub oidc_response_mode: String,
    pub oidc_response_types: Vec<String>,
    pub jwks_url: String,
    pub jwks_ca_pem: String,
    pub jwt_validation_pubkeys: Vec<String>,
    pub jwt_supported_algs: Vec<String>,
    pub bound_issuer: String,
    pub default_role: String,
    pub namespace_in_state: bool,
}

const CONFIG: &str = "config";

/// The end of an issuer's URL that some write along with it.
const DISCOVERY_DOCUMENT: &str = ".well-known/openid-configuration";

/// How many keys a configuration has at most: a token that names none is tried with each.
const MOST_KEYS: usize = 100;

// === impl Config ===

impl Config {
    /// A whole new configuration: what a request does not say is empty.
    fn parse(fields: &Fields<'_>, before: Option<&Config>) -> Result<Self, Refusal> {
        if fields
            .get("provider_config")
            .is_some_and(|config| config.as_object().is_none_or(|config| !config.is_empty()))
        {
            return Err(Refusal::invalid(
                "invalid provider_config: there is no special treatment of any provider here",
            ));
        }
        let text = |name| Ok::<_, Refusal>(fields.text(name)?.unwrap_or_default().trim().to_owned());
        let config = Self {
            oidc_discovery_url: text("oidc_discovery_url")?,
            oidc_discovery_ca_pem: text("oidc_discovery_ca_pem")?,
            oidc_client_id: text("oidc_client_id")?,
            oidc_client_secret: text("oidc_client_secret")?,
            oidc_response_mode: text("oidc_response_mode")?,
            oidc_response_types: list(fields, "oidc_response_types")?.unwrap_or_default(),
            jwks_url: text("jwks_url")?,
            jwks_ca_pem: text("jwks_ca_pem")?,
            jwt_validation_pubkeys: list(fields, "jwt_validation_pubkeys")?.unwrap_or_default(),
            jwt_supported_algs: list(fields, "jwt_supported_algs")?.unwrap_or_default(),
            bound_issuer: text("bound_issuer")?,
            default_role: text("default_role")?.to_lowercase(),
            namespace_in_state: fields
                .boolean("namespace_in_state")?
                .unwrap_or(before.is_none_or(|before| before.namespace_in_state)),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Refusal> {
        let sources =
            [!self.jwt_validation_pubkeys.is_empty(), !self.jwks_url.is_empty(), !self.oidc_discovery_url.is_empty()];
        let refused = |why: &str| Err(Refusal::invalid(why));
        if sources.into_iter().filter(|given| *given).count() != 1 {
            return refused("exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set");
        }
        if self.oidc_client_id.is_empty() != self.oidc_client_secret.is_empty() {
            return refused("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC");
        }
        if !self.oidc_client_id.is_empty() && self.oidc_discovery_url.is_empty() {
            return refused("'oidc_discovery_url' must be set for OIDC");
        }
        if self.jwt_validation_pubkeys.len() > MOST_KEYS {
            return Err(Refusal::Invalid(format!("jwt_validation_pubkeys has more than {MOST_KEYS} keys")));
        }
        algorithms(&self.jwt_supported_algs)?;
        self.check_browser_flow()
    }

    fn check_browser_flow(&self) -> Result<(), Refusal> {
        let types = &self.oidc_response_types;
        if types.iter().any(|kind| kind != "code" && kind != "id_token") {
            let types = types.join(" ");
            return Err(Refusal::Invalid(format!(
                "invalid response_types [{types}]. 'code' and 'id_token' are allowed"
            )));
        }
        match self.oidc_response_mode.as_str() {
            "" | "query" if types.iter().any(|kind| kind == "id_token") => {
                Err(Refusal::invalid("query response_mode may not be used with an id_token response_type"))
            }
            "" | "query" | "form_post" => Ok(()),
            other => Err(Refusal::Invalid(format!("invalid response_mode: {other:?}"))),
        }
    }

    fn answer(&self) -> Value {
        json!({
            "oidc_discovery_url": self.oidc_discovery_url,
            "oidc_discovery_ca_pem": self.oidc_discovery_ca_pem,
            "oidc_client_id": self.oidc_client_id,
            "oidc_response_mode": self.oidc_response_mode,
            "oidc_response_types": self.oidc_response_types,
            "jwks_url": self.jwks_url,
            "jwks_ca_pem": self.jwks_ca_pem,
            "jwt_validation_pubkeys": self.jwt_validation_pubkeys,
            "jwt_supported_algs": self.jwt_supported_algs,
            "bound_issuer": self.bound_issuer,
            "default_role": self.default_role,
            "provider_config": {},
            "namespace_in_state": self.namespace_in_state,
        })
    }
}

// === impl Jwt ===

impl Jwt {
    /// What tokens are verified with; none before somebody configures it.
    pub(super) async fn settings(&self) -> Result<Option<Arc<Settings>>, Refusal> {
        if let Some(settings) = self.settings.read().await.as_ref() {
            return Ok(Some(Arc::clone(settings)));
        }
        let mut settings = self.settings.write().await;
        if settings.is_none() {
            let stored = record::load::<Config>(&self.storage, CONFIG).await?;
            *settings = stored.map(|stored| Settings::new(stored.value)).transpose()?.map(Arc::new);
        }
        Ok(settings.clone())
    }

    pub(super) async fn read_config(&self) -> Result<Answer, Refusal> {
        let settings = self.settings().await?.ok_or(Refusal::NotFound)?;
        Ok(Answer::data(settings.config.answer()))
    }

    pub(super) async fn write_config(&self, request: &Request) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let before = self.settings().await?;
        let mut config = Config::parse(&fields, before.as_ref().map(|settings| &settings.config))?;
        let mut answer = Answer::nothing();
        if let Some((issuer, _)) = config.oidc_discovery_url.split_once(DISCOVERY_DOCUMENT) {
            config.oidc_discovery_url = issuer.to_owned();
            answer =
                answer.warning(format!("modifying provided `OIDCDiscoveryURL` to {:?}", config.oidc_discovery_url));
        }
        check_ca_pems(&config)?;
        let settings = Settings::new(config)?;
        if let Err(error) = settings.keys.check(request.now).await {
            let what = unreachable_issuer(&settings.config);
            tracing::warn!(error = &error as &dyn std::error::Error, what);
            if !fields.boolean("skip_jwks_validation")?.unwrap_or(false) {
                return Err(Refusal::Invalid(format!("{what}: {}", chain(&error))));
            }
            answer = answer.warning(what);
        }
        let mut current = self.settings.write().await;
        let mut batch = Batch::default();
        record::put(&mut batch, CONFIG, Expect::Anything, &settings.config);
        self.storage.commit(batch).await?;
        *current = Some(Arc::new(settings));
        Ok(answer)
    }
}

fn check_ca_pems(config: &Config) -> Result<(), Refusal> {
    for (name, ca_pem) in
        [("oidc_discovery_ca_pem", &config.oidc_discovery_ca_pem), ("jwks_ca_pem", &config.jwks_ca_pem)]
    {
        issuer::check_ca_pem(ca_pem).map_err(|error| Refusal::Invalid(format!("error checking {name}: {error}")))?;
    }
    Ok(())
}

fn unreachable_issuer(config: &Config) -> &'static str {
    if config.jwks_url.is_empty() { "error checking oidc discovery URL" } else { "error checking jwks URL" }
}
