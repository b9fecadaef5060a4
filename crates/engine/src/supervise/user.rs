//! The unprivileged user that engines run as.

use nix::unistd::{Uid, User};

/// Who an engine's processes run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Why no user for engines was found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("the user {name} that engines are to run as does not exist; create it with: useradd --system {name}")]
    Unknown { name: String },
    #[error(
        "engines do not run as root, and there is neither a user mainstay nor a user postgres; create one with: \
         useradd --system mainstay"
    )]
    None,
    #[error("engines are to run as {name}, which only root can arrange; run as root or as {name}")]
    NotRoot { name: String },
    #[error("engines are not allowed to run as root; name another user or create one with: useradd --system mainstay")]
    Root,
    #[error("the user with id {uid} has no name, which peer authentication needs; add it to /etc/passwd")]
    Nameless { uid: u32 },
    #[error("the list of users could not be read")]
    Lookup(#[source] std::io::Error),
}

/// Users that are taken when none is configured, in this order.
const CANDIDATES: [&str; 2] = ["mainstay", "postgres"];

impl EngineUser {
    /// The configured user, else `mainstay`, else `postgres`, when we are root; ourselves when we are not.
    pub fn resolve(configured: Option<&str>) -> Result<Self, UserError> {
        let ourselves = Self::ourselves()?;
        match configured {
            Some(name) => {
                let user = Self::find(name)?.ok_or_else(|| UserError::Unknown { name: name.to_owned() })?;
                match (user.uid, ourselves.uid) {
                    (0, _) => Err(UserError::Root),
                    (wanted, own) if own == 0 || own == wanted => Ok(user),
                    _ => Err(UserError::NotRoot { name: user.name }),
                }
            }
            None if ourselves.uid == 0 => {
                for name in CANDIDATES {
                    if let Some(user) = Self::find(name)? {
                        return Ok(user);
                    }
                }
                Err(UserError::None)
            }
            None => Ok(ourselves),
        }
    }

    /// The user that this process runs as.
    pub fn ourselves() -> Result<Self, UserError> {
        let uid = Uid::effective();
        let user = User::from_uid(uid).map_err(|errno| UserError::Lookup(errno.into()))?;
        user.map(Self::from).ok_or(UserError::Nameless { uid: uid.as_raw() })
    }

    /// Whether this process runs as another user, and so has to change to this one.
    pub(crate) fn is_another(&self) -> bool {
        self.uid != Uid::effective().as_raw()
    }

    fn find(name: &str) -> Result<Option<Self>, UserError> {
        Ok(User::from_name(name).map_err(|errno| UserError::Lookup(errno.into()))?.map(Self::from))
    }
}

impl From<User> for EngineUser {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

#[cfg(test)]
mod tests {
    use super::{EngineUser, UserError};

    #[test]
    fn an_engine_never_runs_as_root() {
        assert!(EngineUser::resolve(Some("root")).is_err());
        if let Ok(user) = EngineUser::resolve(None) {
            assert_ne!(user.uid, 0);
        }
    }

    #[test]
    fn an_unknown_user_is_named_with_its_remedy() {
        let error = EngineUser::resolve(Some("nobody-has-this-name")).unwrap_err();
        assert!(matches!(error, UserError::Unknown { .. }));
        assert!(error.to_string().contains("useradd --system nobody-has-this-name"), "{error}");
    }
}
