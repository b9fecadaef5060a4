//! What the policies of one token come to together.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::capability::Capabilities;
use crate::parameters::Conditions;
use crate::pattern::{Pattern, Priority, Segments};
use crate::policy::{Policy, Rule};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Read,
    Update,
    Patch,
    Delete,
    List,
}

/// What the policies say to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// Whether `sudo` is among the path's capabilities. A path that needs it needs `allowed` too.
    pub sudo: bool,
}

/// Policies, made ready to be asked.
///
/// Of all patterns that match a path one counts: the path itself, else the one whose first `+` or `*` comes last, and so
/// on as `pattern.rs` says. Rules of several policies for one pattern are added up, except that `deny` stands alone.
#[derive(Debug)]
pub struct Acl {
    is_root: bool,
    exact: HashMap<Box<str>, Grant>,
    prefixes: Prefixes,
    /// The one of the highest priority first.
    segments: Vec<(Segments, Grant)>,
}

/// What the rules for one pattern come to.
#[derive(Debug, Default)]
struct Grant {
    capabilities: Capabilities,
    /// None where nothing is asked for, which is the usual case.
    conditions: Option<Box<Conditions>>,
}

/// Grants by prefix, in byte order.
#[derive(Debug, Default)]
struct Prefixes {
    entries: Vec<PrefixEntry>,
}

#[derive(Debug)]
struct PrefixEntry {
    prefix: Box<str>,
    /// The longest other prefix that this one begins with.
    shorter: Option<usize>,
    grant: Grant,
}

// === impl Acl ===

impl Acl {
    /// Adds policies up. Their order does not matter; one root policy among them allows everything.
    pub fn new<P: Borrow<Policy>>(policies: impl IntoIterator<Item = P>) -> Self {
        let mut is_root = false;
        let mut grants: BTreeMap<Pattern, Grant> = BTreeMap::new();
        for policy in policies {
            let policy: &Policy = policy.borrow();
            is_root |= policy.is_root;
            for rule in &policy.rules {
                grants.entry(rule.pattern.clone()).or_default().add(rule);
            }
        }
        let mut acl = Self { is_root, exact: HashMap::new(), prefixes: Prefixes::default(), segments: Vec::new() };
        for (pattern, grant) in grants {
            match pattern {
                Pattern::Exact(path) => drop(acl.exact.insert(path, grant)),
                Pattern::Prefix(prefix) => acl.prefixes.push(prefix, grant),
                Pattern::Segments(segments) => acl.segments.push((segments, grant)),
            }
        }
        acl.segments.sort_by(|(one, _), (other, _)| other.priority().cmp(&one.priority()));
        acl
    }

    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Whether an operation is allowed at a path, with these parameters, and with its answer wrapped for `wrap_ttl`
    /// seconds where it is to be wrapped.
    ///
    /// The path is compared as it is: whoever asks has decoded it once and refused `.` and `..` segments.
    pub fn check(
        &self,
        path: &str,
        operation: Operation,
        data: &Map<String, Value>,
        wrap_ttl: Option<u64>,
    ) -> Decision {
        if self.is_root {
            return Decision { allowed: true, sudo: true };
        }
        let Some(grant) = self.grant(path, operation == Operation::List) else {
            return Decision { allowed: false, sudo: false };
        };
        let allowed = grant.capabilities.has(operation.capability()) && grant.allows(operation, data, wrap_ttl);
        Decision { allowed, sudo: grant.capabilities.has(Capabilities::SUDO) }
    }

    /// The capabilities at a path by their names, as `sys/capabilities-self` answers them.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.is_root {
            return vec!["root"];
        }
        match self.grant(path, true) {
            Some(grant) if grant.capabilities.grants() => grant.capabilities.names(),
            _ => vec!["deny"],
        }
    }

    /// Whether anything may be done at a mount, whose path ends with a slash, or below it: then its owner may know
    /// that it is there.
    pub fn reaches_below(&self, mount: &str) -> bool {
        if self.is_root || self.grant(mount, true).is_some_and(|grant| grant.capabilities.grants()) {
            return true;
        }
        let exact = self.exact.iter().filter(|(path, _)| path.starts_with(mount)).map(|(_, grant)| grant);
        let prefixes = self.prefixes.entries.iter().filter(|entry| entry.prefix.starts_with(mount));
        let segments = self.segments.iter().filter(|(segments, _)| segments.reaches_below(mount));
        exact
            .chain(prefixes.map(|entry| &entry.grant))
            .chain(segments.map(|(_, grant)| grant))
            .any(|grant| grant.capabilities.grants())
    }

    /// The rules that count for a path.
    fn grant(&self, path: &str, is_list: bool) -> Option<&Grant> {
        let path = path.trim_start_matches('/');
        if let Some(grant) = self.exact.get(path) {
            return Some(grant);
        }
        // A folder is listed with a slash at the end, and rules are often written without.
        let folder = path.strip_suffix('/').filter(|_| is_list);
        let Some(folder) = folder else { return self.wildcard_grant(path) };
        if let Some(grant) = self.exact.get(folder) {
            return Some(grant);
        }
        let with_slash = self.wildcard_grant(path);
        match self.wildcard_grant(folder) {
            // Vault lets the rule without the slash count alone, and so lists `private/` in spite of a denial of
            // `private/*` (GHSA-xp3c-3jw3-4vcr). Here a denial of either counts.
            Some(_) if with_slash.is_some_and(|grant| grant.capabilities.denies()) => with_slash,
            Some(grant) => Some(grant),
            None => with_slash,
        }
    }

    fn wildcard_grant(&self, path: &str) -> Option<&Grant> {
        let prefix = self.prefixes.longest(path);
        let segments = self.segments.iter().find(|(segments, _)| segments.matches(path));
        match (prefix, segments) {
            (Some(entry), Some((segments, _))) if Priority::of_prefix(&entry.prefix) > segments.priority() => {
                Some(&entry.grant)
            }
            (_, Some((_, grant))) => Some(grant),
            (Some(entry), None) => Some(&entry.grant),
            (None, None) => None,
        }
    }
}

// === impl Grant ===

impl Grant {
    fn add(&mut self, rule: &Rule) {
        self.capabilities = self.capabilities.with(rule.capabilities);
        if self.capabilities.denies() {
            self.conditions = None;
        } else if !rule.conditions.is_empty() {
            self.conditions.get_or_insert_default().merge(&rule.conditions);
        }
    }

    /// Whether the request is as the rules ask.
    fn allows(&self, operation: Operation, data: &Map<String, Value>, wrap_ttl: Option<u64>) -> bool {
        let Some(conditions) = &self.conditions else { return true };
        let has_parameters = !matches!(operation, Operation::Delete | Operation::List);
        conditions.allow_wrapping(wrap_ttl) && (!has_parameters || conditions.allow_parameters(data))
    }
}

// === impl Prefixes ===

impl Prefixes {
    /// Adds the next prefix in byte order.
    fn push(&mut self, prefix: Box<str>, grant: Grant) {
        let shorter = self.longest_from(self.entries.len().checked_sub(1), &prefix);
        self.entries.push(PrefixEntry { prefix, shorter, grant });
    }

    /// The longest prefix that a path begins with.
    ///
    /// It is the greatest prefix that is not greater than the path, or one that this one begins with: whatever sorts
    /// between a prefix of the path and the path begins with that prefix too.
    fn longest(&self, path: &str) -> Option<&PrefixEntry> {
        let not_greater = self.entries.partition_point(|entry| &*entry.prefix <= path);
        let found = self.longest_from(not_greater.checked_sub(1), path)?;
        Some(&self.entries[found])
    }

    fn longest_from(&self, mut candidate: Option<usize>, path: &str) -> Option<usize> {
        while let Some(index) = candidate {
            let entry = &self.entries[index];
            if path.starts_with(&*entry.prefix) {
                return candidate;
            }
            candidate = entry.shorter;
        }
        None
    }
}

// === impl Operation ===

impl Operation {
    fn capability(self) -> Capabilities {
        match self {
            Self::Create => Capabilities::CREATE,
            Self::Read => Capabilities::READ,
            Self::Update => Capabilities::UPDATE,
            Self::Patch => Capabilities::PATCH,
            Self::Delete => Capabilities::DELETE,
            Self::List => Capabilities::LIST,
        }
    }
}
