//! From a call to its reply, past everything that is asked of a request.

use std::sync::Arc;

use mainstay_secrets_engine::{Caller, Operation, Refusal, Request};
use mainstay_types::{TenantName, TenantScope, Timestamp};
use secrecy::ExposeSecret;

use crate::allow::{decide, is_for_every_bearer, is_open_to_all, needs_sudo, plain_operation, without_slash};
use crate::asked::Asked;
use crate::audit::{Hasher, Line, Subject, Told};
use crate::call::{Body, Call, Reply};
use crate::envelope;
use crate::mount::{Mounted, Namespace, Served};
use crate::open::Open;
use crate::outcome::{Outcome, OutcomeLease};
use crate::service::Secrets;
use crate::token::{self, Bearer, TokenEntry, TokenKind};
use crate::{cubbyhole, network, system, wrapping};

/// The longest text that is taken for a token.
const LONGEST_TOKEN: usize = 4096;

/// A request whose bearer and whose way are known.
struct Arrival<'a> {
    call: &'a Call,
    namespace: &'a Arc<Namespace>,
    route: Option<(Served, &'a str)>,
    open_to_all: bool,
    bearer: Option<&'a Bearer>,
    now: Timestamp,
}

// === impl Secrets ===

impl Secrets {
    pub(crate) async fn serve(&self, open: &Arc<Open>, hasher: &Hasher, call: &Call) -> Result<Reply, Refusal> {
        let now = Timestamp::now();
        let presented = bearer(open, call, now).await;
        let known = presented.as_ref().ok().and_then(Option::as_ref);
        let tenant = tenant(call, known)?;
        let namespace = match known {
            Some(_) => Some(open.namespace(&tenant).await?),
            // Nobody makes a tenant's namespace without a token.
            None => open.existing_namespace(&tenant).await?,
        };
        let unrouted = || Subject::new(call, &tenant);
        let Some(namespace) = namespace else { return self.refuse(hasher, &unrouted(), Refusal::Denied) };
        let route = namespace.route(&call.path);
        let open_to_all = route.as_ref().is_some_and(|(served, rest)| is_open_to_all(served, rest));
        // Who logs in may still bear a token that has ended. It is not asked for, and so neither refused nor used up.
        let bearer = if open_to_all { Ok(None) } else { take_use(open, call, presented).await };
        let bearer = match bearer {
            Ok(bearer) => bearer,
            Err(refusal) => return self.refuse(hasher, &unrouted(), refusal),
        };
        let arrival = Arrival { call, namespace: &namespace, route, open_to_all, bearer: bearer.as_ref(), now };
        let reply = self.serve_arrival(open, hasher, arrival).await;
        if let Some(bearer) = bearer.filter(|bearer| bearer.is_used_up) {
            // That was the token's last use. What hangs on it is taken back beside the answer.
            open.agenda.put(Timestamp::EPOCH, crate::lease::Due::Token(bearer.key));
        }
        reply
    }

    async fn serve_arrival(&self, open: &Arc<Open>, hasher: &Hasher, arrival: Arrival<'_>) -> Result<Reply, Refusal> {
        let Arrival { call, namespace, route, open_to_all, bearer, now } = arrival;
        let tenant = &namespace.tenant;
        let mut subject = Subject { bearer, ..Subject::new(call, tenant) };
        let Some((target, rest)) = route else {
            // Who may do nothing there is not told that nothing is mounted.
            let allowed = match bearer {
                Some(bearer) => {
                    let policies = namespace.acl(&bearer.entry.policies).await?;
                    decide(&policies, call, &subject).allowed
                }
                None => false,
            };
            let refusal = if allowed { no_handler(&call.path) } else { Refusal::Denied };
            return self.refuse(hasher, &subject, refusal);
        };
        let mounted = match &target {
            Served::Backend(mounted) => Some(mounted.clone()),
            _ => None,
        };
        subject.mounted = mounted.as_deref();
        let mut request = mounted.as_ref().map(|mounted| request(call, mounted, rest, tenant, bearer, now));
        if !open_to_all && bearer.is_none() {
            return self.refuse(hasher, &subject, Refusal::Denied);
        }
        if let (Some(mounted), Some(request), true) = (&mounted, &mut request, call.is_write()) {
            if mounted.backend.exists(request).await? == Some(false) {
                request.operation = Operation::Create;
            }
            subject.operation = request.operation;
        }
        let mut acl = None;
        let mut sudo = false;
        if let (false, Some(bearer)) = (open_to_all, bearer) {
            let policies = namespace.acl(&bearer.entry.policies).await?;
            let decision = decide(&policies, call, &subject);
            let needs_sudo = needs_sudo(&target, rest) || needs_sudo(&target, without_slash(rest));
            sudo = decision.sudo;
            let allowed = decision.allowed || is_for_every_bearer(&target, without_slash(rest));
            if !allowed || (needs_sudo && !decision.sudo) {
                return self.refuse(hasher, &subject, Refusal::Denied);
            }
            acl = Some(policies);
        }
        let told = Told::new(hasher, &subject);
        self.audit(&told.request_line(None))?;
        let outcome = match (target, bearer, &acl) {
            (Served::Backend(mounted), ..) => {
                let request = request.as_ref().ok_or_else(|| no_handler(&call.path))?;
                dispatch(open, namespace, &mounted, request, bearer, call, now).await
            }
            (target, Some(bearer), Some(acl)) => {
                let asked = Asked {
                    open,
                    namespace,
                    bearer,
                    token: call.token.as_ref().map_or("", ExposeSecret::expose_secret),
                    acl,
                    sudo,
                    operation: subject.operation,
                    is_wrapped: call.wrap_seconds.is_some_and(|seconds| seconds > 0),
                    path: rest,
                    data: &call.data,
                    now,
                };
                match target {
                    Served::System => system::handle(self, &asked).await,
                    Served::Token => token::handle(&asked).await,
                    _ => cubbyhole::handle(&asked).await.map(Outcome::answer),
                }
            }
            _ => Err(Refusal::Denied),
        };
        let outcome = match outcome {
            Ok(outcome) => self.wrapped(open, &subject, outcome, now).await,
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(outcome) => {
                let reply = envelope::reply(&subject.id, subject.mounted, outcome);
                self.audit(&told.answer_line(&reply))?;
                Ok(reply)
            }
            Err(refusal) => {
                let reply = Reply::from(&refusal);
                self.audit(&told.answer_line(&reply))?;
                Err(refusal)
            }
        }
    }

    /// Puts an answer into the cubbyhole of a wrapping token, where the caller asked for that.
    async fn wrapped(
        &self,
        open: &Open,
        subject: &Subject<'_>,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let Some(seconds) = subject.call.wrap_seconds.filter(|seconds| *seconds > 0) else { return Ok(outcome) };
        if outcome.unwrapped.is_some() || outcome.answer.raw.is_some() {
            return Ok(outcome);
        }
        let accessor = outcome.wrapped_accessor.clone();
        let reply = envelope::reply(&subject.id, subject.mounted, outcome);
        let Body::Json(envelope) = reply.body else { return Ok(Outcome::default()) };
        let scope = TenantScope::One(subject.tenant.clone());
        let path = &subject.call.path;
        let info = wrapping::wrap(open, &scope, &envelope, seconds, path, accessor, now).await?;
        Ok(Outcome { unwrapped: Some(serde_json::json!({ "wrap_info": info })), ..Outcome::default() })
    }

    /// Writes a line of the audit log; without it nothing is done and nothing is answered.
    fn audit(&self, line: &Line<'_>) -> Result<(), Refusal> {
        self.audit_file().write(line).map_err(|error| {
            let path = self.audit_file().path().display();
            Refusal::failed(format!("the audit log {path} cannot be written, so nothing is answered"), error)
        })
    }

    fn refuse(&self, hasher: &Hasher, subject: &Subject<'_>, refusal: Refusal) -> Result<Reply, Refusal> {
        self.audit(&Told::new(hasher, subject).request_line(Some(&refusal.to_string())))?;
        Err(refusal)
    }
}

impl<'a> Subject<'a> {
    fn new(call: &'a Call, tenant: &'a TenantName) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self { id, call, tenant, operation: plain_operation(call), bearer: None, mounted: None }
    }
}

/// Whose token a call bears. A token that is not accepted is no token; one that comes from the wrong place is refused.
async fn bearer(open: &Arc<Open>, call: &Call, now: Timestamp) -> Result<Option<Bearer>, Refusal> {
    let Some(token) = call.token.as_ref().map(ExposeSecret::expose_secret).filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    if token.len() > LONGEST_TOKEN {
        return Err(Refusal::Denied);
    }
    let bearer = open.tokens.authenticate(token, now).await?.ok_or_else(|| not_accepted(call))?;
    if !network::allows(&bearer.entry.bound_cidrs, call.remote) {
        return Err(Refusal::Denied);
    }
    Ok(Some(bearer))
}

/// Takes one of the uses that the token of a call may have, whatever becomes of the call.
async fn take_use(
    open: &Open,
    call: &Call,
    presented: Result<Option<Bearer>, Refusal>,
) -> Result<Option<Bearer>, Refusal> {
    let Some(mut bearer) = presented? else { return Ok(None) };
    // Looking at a wrapped answer's age does not use its token up.
    let only_looks = bearer.entry.kind == TokenKind::Wrapping && call.path == "sys/wrapping/lookup";
    if bearer.entry.num_uses > 0 && !only_looks {
        let left = open.tokens.use_once(&bearer.key).await?.ok_or_else(|| not_accepted(call))?;
        bearer.is_used_up = left == 0;
    }
    Ok(Some(bearer))
}

/// What is said of a token that is not accepted.
fn not_accepted(call: &Call) -> Refusal {
    if call.path.starts_with("sys/wrapping/") { wrapping::invalid() } else { Refusal::Denied }
}

/// The tenant of a call: the one it names, if the token may act there.
fn tenant(call: &Call, bearer: Option<&Bearer>) -> Result<TenantName, Refusal> {
    let own = bearer.and_then(|bearer| bearer.entry.scope.tenant().cloned());
    let named =
        call.namespace.as_deref().map(|name| name.trim_matches('/')).filter(|name| !name.is_empty() && *name != "root");
    let Some(named) = named else { return Ok(own.unwrap_or_else(TenantName::default_tenant)) };
    let named: TenantName = named.parse().map_err(|error| Refusal::invalid(format!("namespace: {error}")))?;
    match bearer {
        Some(bearer) if !bearer.entry.scope.covers(&named) => Err(Refusal::Denied),
        _ => Ok(named),
    }
}

fn request(
    call: &Call,
    mounted: &Mounted,
    rest: &str,
    tenant: &TenantName,
    bearer: Option<&Bearer>,
    now: Timestamp,
) -> Request {
    Request {
        operation: plain_operation(call),
        path: rest.to_owned(),
        data: call.data.clone(),
        raw_body: call.raw_body.clone(),
        mount: mounted.mount.clone(),
        caller: bearer.map(|bearer| caller(&bearer.entry)),
        tenant: tenant.clone(),
        remote: call.remote,
        now,
    }
}

fn caller(entry: &TokenEntry) -> Caller {
    Caller {
        accessor: entry.accessor.to_string(),
        display_name: entry.display_name.clone(),
        entity_id: String::new(),
        policies: entry.policies.clone(),
    }
}

/// Asks a backend, and makes the lease or the token for what it answers.
async fn dispatch(
    open: &Arc<Open>,
    namespace: &Namespace,
    mounted: &Mounted,
    request: &Request,
    bearer: Option<&Bearer>,
    call: &Call,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let mut answer = mounted.backend.handle(request).await?;
    let mut outcome = Outcome::default();
    if let Some(login) = answer.login.take() {
        let scope = TenantScope::One(namespace.tenant.clone());
        let lives = (mounted.record.default_lease_seconds(), mounted.record.max_lease_seconds());
        if !network::allows(&login.bound_cidrs, call.remote) {
            return Err(Refusal::Denied);
        }
        let made = token::from_login(open, scope, &call.path, login, lives, now).await?;
        outcome.auth = Some(made.auth);
        outcome.wrapped_accessor = Some(made.accessor);
    }
    if let Some(lease) = answer.lease.take() {
        let Some(bearer) = bearer else {
            return Err(Refusal::Failed { what: "a lease was asked for without a token".to_owned(), source: None });
        };
        let entry = open.grant(&namespace.tenant, &call.path, mounted, bearer, lease, now).await?;
        outcome.lease = Some(OutcomeLease { id: entry.key.id, renewable: entry.renewable, seconds: entry.ttl_seconds });
    }
    outcome.answer = answer;
    Ok(outcome)
}

fn no_handler(path: &str) -> Refusal {
    Refusal::NoHandler(path.to_owned())
}
