//! Which names a role lets a certificate have.
//!
//! A name is taken apart once, and everything is compared in the form that goes into the certificate: lower case, and
//! in ASCII as IDNA says it (UTS 46). What looks like an allowed domain but is written with other letters is another
//! domain there.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::glob;

/// The longest label of a host name (RFC 1035, 2.3.4).
const LONGEST_LABEL: usize = 63;

/// What a role says about names.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub allowed_domains: &'a [String],
    pub allow_bare_domains: bool,
    pub allow_subdomains: bool,
    pub allow_glob_domains: bool,
    pub allow_wildcard_certificates: bool,
    pub allow_any_name: bool,
    pub allow_localhost: bool,
    pub enforce_hostnames: bool,
}

/// A name that was asked for, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedName {
    /// What stands before the `@` of an email address.
    local: Option<String>,
    /// The leftmost label where there is a `*` in it.
    wildcard: Option<String>,
    /// The rest in lower case ASCII; only lower case where it is no host name.
    host: String,
    is_hostname: bool,
}

impl AskedName {
    /// Takes a name apart. None where it could not mean anything in a certificate.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return None;
        }
        let (local, host) = match text.split_once('@') {
            None => (None, text),
            Some((local, host)) if is_local_part(local) && !host.contains('@') => (Some(local.to_owned()), host),
            Some(_) => return None,
        };
        let (wildcard, host) = match host.contains('*') {
            false => (None, host),
            // An address of a whole domain means nothing.
            true if local.is_some() => return None,
            true => split_wildcard(host)?,
        };
        let ascii = hostname(host);
        let is_hostname = ascii.is_some() || (host.is_empty() && wildcard.is_some());
        let host = ascii.unwrap_or_else(|| host.to_lowercase());
        Some(Self { local, wildcard: wildcard.map(str::to_ascii_lowercase), host, is_hostname })
    }

    pub fn is_email(&self) -> bool {
        self.local.is_some()
    }

    /// The form for a certificate's alternative names. None where it is neither a host name nor an email address.
    pub fn certified(&self) -> Option<String> {
        match (&self.local, &self.wildcard) {
            _ if !self.is_hostname => None,
            (Some(local), _) => Some(format!("{local}@{}", self.host)),
            (None, Some(_)) if self.host.is_empty() => None,
            (None, Some(wildcard)) => is_wildcard_label(wildcard).then(|| format!("{wildcard}.{}", self.host)),
            (None, None) => Some(self.host.clone()),
        }
    }

    /// Whether a role lets a certificate have this name.
    pub fn is_allowed(&self, rules: &Rules<'_>) -> bool {
        if self.wildcard.is_some() && !rules.allow_wildcard_certificates {
            return false;
        }
        let well_formed = self.is_hostname && self.wildcard.as_deref().is_none_or(is_wildcard_label);
        if rules.enforce_hostnames && !well_formed {
            return false;
        }
        if rules.allow_any_name {
            return true;
        }
        let local = ["localhost", "localdomain"];
        if rules.allow_localhost && local.iter().any(|domain| self.is_within(domain, true, rules.allow_subdomains)) {
            return true;
        }
        rules.allowed_domains.iter().any(|domain| self.is_below(domain, rules))
    }

    fn is_below(&self, allowed: &str, rules: &Rules<'_>) -> bool {
        let domain = hostname(allowed).unwrap_or_else(|| allowed.to_lowercase());
        if domain.is_empty() {
            return false;
        }
        if self.is_within(&domain, rules.allow_bare_domains, rules.allow_subdomains) {
            return true;
        }
        rules.allow_glob_domains && domain.contains('*') && glob::matches(&domain, &self.whole())
    }

    fn is_within(&self, domain: &str, bare: bool, subdomains: bool) -> bool {
        let is_domain = self.host == domain;
        let is_below = self.host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match self.wildcard {
            None => (bare && is_domain) || (subdomains && is_below),
            Some(_) => subdomains && (is_domain || is_below),
        }
    }

    fn whole(&self) -> String {
        match (&self.local, &self.wildcard) {
            (Some(local), _) => format!("{local}@{}", self.host),
            (None, Some(wildcard)) => format!("{wildcard}.{}", self.host),
            (None, None) => self.host.clone(),
        }
    }
}

/// A host name in lower case ASCII, without a dot at the end. None where the text is none.
pub fn hostname(text: &str) -> Option<String> {
    let ascii = Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    let ascii = ascii.ok()?.into_owned();
    ascii.split('.').all(is_label).then_some(ascii)
}

fn is_label(label: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A label with one `*`, and letters, digits or hyphens around it (RFC 6125, 6.4.3).
fn is_wildcard_label(label: &str) -> bool {
    match label.split_once('*') {
        None => false,
        Some((before, after)) => [before, after].iter().all(|part| part.is_empty() || is_label(part)),
    }
}

/// The leftmost label and the rest, where the one `*` is in the leftmost label.
fn split_wildcard(host: &str) -> Option<(Option<&str>, &str)> {
    let (label, rest) = host.split_once('.').unwrap_or((host, ""));
    let once = label.matches('*').count() == 1 && !rest.contains('*');
    once.then_some((Some(label), rest))
}

/// What may stand before the `@`: printable ASCII, which is all that a certificate can carry (RFC 5280, 4.2.1.6).
fn is_local_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b",*".contains(&byte))
}

#[cfg(test)]
mod tests;
