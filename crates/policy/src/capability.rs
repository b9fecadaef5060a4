//! What one may do at a path.

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(u8);

impl Capabilities {
    pub(crate) const CREATE: Self = Self(1);
    pub(crate) const READ: Self = Self(1 << 1);
    pub(crate) const UPDATE: Self = Self(1 << 2);
    pub(crate) const PATCH: Self = Self(1 << 3);
    pub(crate) const DELETE: Self = Self(1 << 4);
    pub(crate) const LIST: Self = Self(1 << 5);
    pub(crate) const SUDO: Self = Self(1 << 6);
    /// Takes everything else away.
    pub(crate) const DENY: Self = Self(1 << 7);

    /// By their names, which is the order in which the API answers them.
    const NAMES: [(&'static str, Self); 8] = [
        ("create", Self::CREATE),
        ("delete", Self::DELETE),
        ("deny", Self::DENY),
        ("list", Self::LIST),
        ("patch", Self::PATCH),
        ("read", Self::READ),
        ("sudo", Self::SUDO),
        ("update", Self::UPDATE),
    ];

    /// The capability of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, capability)| *capability)
    }

    /// What the old `policy` attribute stood for.
    pub(crate) fn of_old_policy(policy: &str) -> Option<Self> {
        let read = Self::READ.with(Self::LIST);
        let write = read.with(Self::CREATE).with(Self::UPDATE).with(Self::DELETE);
        match policy {
            "deny" => Some(Self::DENY),
            "read" => Some(read),
            "write" => Some(write),
            "sudo" => Some(write.with(Self::SUDO)),
            _ => None,
        }
    }

    /// Both; denial stays alone.
    pub(crate) fn with(self, other: Self) -> Self {
        let both = Self(self.0 | other.0);
        if both.denies() { Self::DENY } else { both }
    }

    pub(crate) fn has(self, capability: Self) -> bool {
        self.0 & capability.0 != 0
    }

    pub(crate) fn denies(self) -> bool {
        self.has(Self::DENY)
    }

    /// Whether anything at all may be done.
    pub(crate) fn grants(self) -> bool {
        self.0 != 0 && !self.denies()
    }

    pub(crate) fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(_, capability)| self.has(*capability)).map(|(name, _)| *name).collect()
    }
}
