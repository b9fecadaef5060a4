//! Whether a request is allowed where it goes: its policies, and what is special about its path.

use mainstay_policy::{Acl, Decision};
use mainstay_secrets_engine::Operation;

use crate::audit::Subject;
use crate::call::{Call, Method};
use crate::mount::Served;
use crate::{system, token};

pub(crate) fn decide(acl: &Acl, call: &Call, subject: &Subject<'_>) -> Decision {
    let operation = match subject.operation {
        Operation::Create => mainstay_policy::Operation::Create,
        Operation::Read => mainstay_policy::Operation::Read,
        Operation::Update => mainstay_policy::Operation::Update,
        Operation::Patch => mainstay_policy::Operation::Patch,
        Operation::Delete => mainstay_policy::Operation::Delete,
        Operation::List => mainstay_policy::Operation::List,
    };
    let decision = acl.check(&call.path, operation, &call.data, call.wrap_seconds);
    let bare = without_slash(&call.path);
    if bare == call.path || subject.operation == Operation::List {
        return decision;
    }
    // Engines take a path with a slash at its end for the one without: a denial of that one counts.
    let other = acl.check(bare, operation, &call.data, call.wrap_seconds);
    Decision { allowed: decision.allowed && other.allowed, sudo: decision.sudo && other.sudo }
}

/// Whether a path is for everybody, as those are where one logs in.
pub(crate) fn is_open_to_all(served: &Served, rest: &str) -> bool {
    let Served::Backend(mounted) = served else { return false };
    mounted.backend.globs().unauthenticated.iter().any(|pattern| fits(pattern, rest))
}

pub(crate) fn needs_sudo(served: &Served, rest: &str) -> bool {
    match served {
        Served::System => system::needs_sudo(rest),
        Served::Token => token::SUDO.contains(&rest),
        Served::Backend(mounted) => mounted.backend.globs().sudo.iter().any(|pattern| fits(pattern, rest)),
        Served::Cubbyhole => false,
    }
}

pub(crate) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

pub(crate) fn plain_operation(call: &Call) -> Operation {
    match call.method {
        Method::Get => Operation::Read,
        Method::Post | Method::Put => Operation::Update,
        Method::Patch => Operation::Patch,
        Method::Delete => Operation::Delete,
        Method::List => Operation::List,
    }
}

/// Whether a path asks for a token and for no policy.
pub(crate) fn is_for_every_bearer(served: &Served, rest: &str) -> bool {
    matches!(served, Served::System) && system::is_for_every_bearer(rest)
}

/// Whether a path fits a backend's glob: `*` at the end for every rest, `+` for one segment.
pub(crate) fn fits(glob: &str, path: &str) -> bool {
    let (glob, open_ended) = glob.strip_suffix('*').map_or((glob, false), |prefix| (prefix, true));
    if !glob.contains('+') {
        return if open_ended { path.starts_with(glob) } else { path == glob };
    }
    let (mut wanted, mut given) = (glob.split('/').peekable(), path.split('/'));
    while let Some(segment) = wanted.next() {
        let Some(other) = given.next() else { return false };
        let is_last = wanted.peek().is_none();
        let same = segment == "+" || segment == other || (is_last && open_ended && other.starts_with(segment));
        if !same {
            return false;
        }
    }
    open_ended || given.next().is_none()
}
