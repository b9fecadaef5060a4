//! Who a statement is about.

use mainstay_types::{BindingId, InstanceId};

use super::request::Caller;

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principal {
    /// Whoever it is, also without a signature.
    Anybody,
    /// Whoever has one of these.
    OneOf(Vec<Named>),
    /// Whoever has none of these, also without a signature.
    NoneOf(Vec<Named>),
}

/// A caller that is named: an instance, one of its bindings, or an access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// The instance that it must be of, where an ARN tells one.
    account: Option<String>,
    /// What more it must be; the account as a whole where there is nothing.
    user: Option<String>,
}

impl Principal {
    pub(super) fn matches(&self, caller: Caller<'_>) -> bool {
        match self {
            Self::Anybody => true,
            Self::OneOf(names) => names.iter().any(|name| name.matches(caller)),
            Self::NoneOf(names) => !names.iter().any(|name| name.matches(caller)),
        }
    }
}

impl Named {
    /// Reads `arn:aws:iam::ACCOUNT:root`, `arn:aws:iam::ACCOUNT:user/NAME`, or the bare id of an account or access key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let parsed = match text.strip_prefix("arn:aws:iam::") {
            Some(arn) => match arn.split_once(':') {
                Some((account, "root")) if is_plain(account) => Some(Self { account: named(account), user: None }),
                Some((account, user)) => user
                    .strip_prefix("user/")
                    .filter(|name| !name.is_empty() && is_plain(account) && is_plain(name))
                    .map(|name| Self { account: named(account), user: named(name) }),
                None => None,
            },
            None => (!text.is_empty() && is_plain(text)).then(|| Self { account: None, user: named(text) }),
        };
        match parsed {
            Some(Self { account: None, user: None }) | None => Err(format!(
                "the principal {text:?} is none: name `*`, an instance's id, a binding's id, an access key's id, or \
                 `arn:aws:iam::INSTANCE:root`"
            )),
            Some(principal) => Ok(principal),
        }
    }

    fn matches(&self, caller: Caller<'_>) -> bool {
        let Caller::Account { instance, access_key } = caller else { return false };
        let in_account = self.account.as_ref().is_none_or(|account| account == instance.as_str());
        let is_user = self.user.as_ref().is_none_or(|user| {
            user == access_key
                || user.parse::<InstanceId>().is_ok_and(|id| id == *instance)
                || is_of_binding(access_key, user)
        });
        in_account && is_user
    }
}

/// Whether an access key is one of a binding's, which has another with each rotation.
fn is_of_binding(access_key: &str, name: &str) -> bool {
    let Ok(binding) = name.parse::<BindingId>() else { return false };
    access_key
        .strip_prefix("b_")
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(suffix, _)| suffix == binding.suffix())
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'$' | b'/'))
}
