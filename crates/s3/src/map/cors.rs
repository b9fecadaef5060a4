//! CORS rules.

use mainstay_bucket::cors::{CorsRule, CorsRules};
use s3s::dto::{CORSConfiguration, CORSRule};

use crate::error::{Failure, Result};

pub fn cors_rules(configuration: CORSConfiguration) -> Result<CorsRules> {
    let rules = configuration.cors_rules.into_iter().map(rule).collect::<Result<_>>()?;
    CorsRules::new(rules).map_err(|error| {
        use mainstay_bucket::cors::CorsError;
        match error {
            CorsError::Count(_) | CorsError::Incomplete => Failure::malformed_xml(error.to_string()),
            _ => Failure::invalid_request(error.to_string()),
        }
    })
}

fn rule(rule: CORSRule) -> Result<CorsRule> {
    let age = rule.max_age_seconds.map(u32::try_from).transpose();
    Ok(CorsRule {
        id: rule.id,
        allowed_origins: rule.allowed_origins,
        allowed_methods: rule.allowed_methods,
        allowed_headers: rule.allowed_headers.unwrap_or_default(),
        expose_headers: rule.expose_headers.unwrap_or_default(),
        max_age_seconds: age.map_err(|_| Failure::invalid_request("MaxAgeSeconds is negative"))?,
    })
}

pub fn cors_told(rules: &CorsRules) -> Vec<CORSRule> {
    let some = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    let told = |rule: &CorsRule| CORSRule {
        id: rule.id.clone(),
        allowed_origins: rule.allowed_origins.clone(),
        allowed_methods: rule.allowed_methods.clone(),
        allowed_headers: some(&rule.allowed_headers),
        expose_headers: some(&rule.expose_headers),
        max_age_seconds: rule.max_age_seconds.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
    };
    rules.iter().map(told).collect()
}
