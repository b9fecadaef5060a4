//! The paths below a mount.

use crate::approle::field::Field;
use crate::entry_name::EntryName;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Login,
    Roles,
    Role(EntryName),
    Field(EntryName, Field),
    RoleId(EntryName),
    LocalSecretIds(EntryName),
    SecretIds(EntryName),
    CustomSecretId(EntryName),
    LookupSecretId(EntryName),
    DestroySecretId(EntryName),
    LookupAccessor(EntryName),
    DestroyAccessor(EntryName),
    Tidy,
}

impl Route {
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        let (name, rest) = match segments.as_slice() {
            ["login"] => return Some(Self::Login),
            ["role"] => return Some(Self::Roles),
            ["tidy", "secret-id"] => return Some(Self::Tidy),
            ["role", name, rest @ ..] => (EntryName::in_path(name)?, rest),
            _ => return None,
        };
        match rest {
            [] => Some(Self::Role(name)),
            ["role-id"] => Some(Self::RoleId(name)),
            ["local-secret-ids"] => Some(Self::LocalSecretIds(name)),
            ["secret-id"] => Some(Self::SecretIds(name)),
            ["custom-secret-id"] => Some(Self::CustomSecretId(name)),
            ["secret-id", "lookup"] => Some(Self::LookupSecretId(name)),
            ["secret-id", "destroy"] => Some(Self::DestroySecretId(name)),
            ["secret-id-accessor", "lookup"] => Some(Self::LookupAccessor(name)),
            ["secret-id-accessor", "destroy"] => Some(Self::DestroyAccessor(name)),
            [field] => Some(Self::Field(name, Field::in_path(field)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Route;
    use crate::approle::field::Field;
    use crate::entry_name::EntryName;

    #[test]
    fn paths_lead_where_vault_s_do() {
        let web = || EntryName::in_path("web").unwrap();
        let table = [
            ("login", Some(Route::Login)),
            ("role", Some(Route::Roles)),
            ("role/", Some(Route::Roles)),
            ("role/Web", Some(Route::Role(web()))),
            ("role/web/secret-id/", Some(Route::SecretIds(web()))),
            ("role/web/secret-id/lookup", Some(Route::LookupSecretId(web()))),
            ("role/web/token-ttl", Some(Route::Field(web(), Field::TokenTtl))),
            ("tidy/secret-id", Some(Route::Tidy)),
            ("", None),
            ("role/web/other", None),
            ("role/web/secret-id/lookup/more", None),
            ("role/-web", None),
            ("login/web", None),
        ];
        for (path, route) in table {
            assert_eq!(Route::parse(path), route, "{path}");
        }
    }
}
