//! The service: from a call to its reply.
//!
//! ```text
//! call -> token -> namespace -> mount -> policies -> audit -> backend -> lease or token -> wrapping -> audit -> reply
//! ```

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use mainstay_custody::{Custody, RestoreError, SnapshotError, SnapshotSummary, Target};
use mainstay_policy::{Acl, Decision};
use mainstay_secrets_engine::{Caller, Kind, Operation, Refusal, Request};
use mainstay_types::{Role, TenantName, TenantScope, Timestamp, TokenId};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::asked::Asked;
use crate::audit::{AuditFile, Hasher, Line, Subject, Told};
use crate::call::{Body, Call, Method, Reply};
use crate::directory::TokenDirectory;
use crate::envelope;
use crate::key_file::KeyFile;
use crate::kinds::Kinds;
use crate::mount::{Mounted, Namespace, Served};
use crate::open::Open;
use crate::outcome::{Outcome, OutcomeLease};
use crate::token::{self, Bearer, TokenEntry, TokenKind};
use crate::witness::{CustodyEvent, Witness};
use crate::{cubbyhole, network, system, wrapping};

/// The longest path of a request, in bytes: the longest mount, and a key below it.
const LONGEST_PATH: usize = 2048;

/// How often the journal is told how far custody's store has come, where it has come further: an older copy than that is
/// found when it is put back.
const WITNESSED: Duration = Duration::from_secs(600);

/// The longest text that is taken for a token.
const LONGEST_TOKEN: usize = 4096;

/// How long an unsealing waits for requests from before the sealing, all of which find custody sealed at their next step,
/// and how often it looks for them.
const CLOSED_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Secret custody with the Vault HTTP API. A clone is another handle to the same.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    custody: Custody,
    kinds: Arc<Kinds>,
    directory: Arc<dyn TokenDirectory>,
    witness: Arc<dyn Witness>,
    /// None where operators hold the key in shares.
    key_file: Option<Arc<dyn KeyFile>>,
    audit: AuditFile,
    /// What is known while custody is unsealed; nothing while it is sealed.
    unsealed: RwLock<Option<Unsealed>>,
    /// What was known when custody was sealed last, while somebody still works with it.
    closed: Mutex<Weak<Open>>,
    /// Held while custody is opened or closed.
    change: tokio::sync::Mutex<()>,
    /// What the root token that operators are bringing shares for is to be told with.
    pad: Mutex<Option<Zeroizing<String>>>,
    /// Why custody stays sealed although its seal was opened, where it does.
    old_copy: Mutex<Option<String>>,
}

struct Unsealed {
    open: Arc<Open>,
    hasher: Arc<Hasher>,
    /// Ended when custody is sealed.
    _tasks: JoinSet<()>,
}

/// Whoever bears a token of custody's own, in the words of the native API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBearer {
    pub id: TokenId,
    pub role: Role,
    pub scope: TenantScope,
}

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
    /// Custody as it is now, sealed or not. What is unsealed is opened at once.
    pub async fn new(
        custody: Custody,
        kinds: Vec<Arc<dyn Kind>>,
        directory: Arc<dyn TokenDirectory>,
        witness: Arc<dyn Witness>,
        key_file: Option<Arc<dyn KeyFile>>,
        audit: AuditFile,
    ) -> Result<Self, Refusal> {
        let inner = Inner {
            custody,
            kinds: Arc::new(Kinds::new(kinds)),
            directory,
            witness,
            key_file,
            audit,
            unsealed: RwLock::new(None),
            closed: Mutex::default(),
            change: tokio::sync::Mutex::new(()),
            pad: Mutex::new(None),
            old_copy: Mutex::new(None),
        };
        let secrets = Self { inner: Arc::new(inner) };
        match secrets.follow_seal().await {
            // The rest of the layer serves what it can, and says why its secrets cannot be read.
            Err(refusal) if secrets.old_copy().is_some() => {
                tracing::error!(%refusal, "custody stays sealed");
            }
            followed => followed?,
        }
        Ok(secrets)
    }

    /// Answers a call. Nothing of it fails: what goes wrong is in the reply.
    pub async fn handle(&self, call: &Call) -> Reply {
        if let Err(refusal) = check_path(&call.path) {
            return Reply::from(&refusal);
        }
        if let Some(reply) = system::seal::without_token(self, call).await {
            return reply;
        }
        let Some((open, hasher)) = self.open() else { return Reply::errors(503, "Vault is sealed") };
        if call.path.ends_with('/') && call.is_write() {
            // As in Vault: whoever does that has a name in mind that this is not.
            return Reply::errors(400, "cannot write to a path ending in '/'");
        }
        let outcome = self.serve(&open, &hasher, call).await;
        outcome.unwrap_or_else(|refusal| {
            if let Refusal::Failed { .. } | Refusal::Unavailable { .. } = &refusal {
                tracing::warn!(
                    error = &refusal as &dyn std::error::Error,
                    path = call.path,
                    "custody could not answer"
                );
            }
            Reply::from(&refusal)
        })
    }

    /// Who bears a token of custody's own, where one of its policies is a role of the native API.
    pub async fn role_bearer(&self, token: &SecretString) -> Result<Option<RoleBearer>, Refusal> {
        let Some((open, _)) = self.open() else { return Ok(None) };
        let bearer = open.tokens.authenticate(token.expose_secret(), Timestamp::now()).await?;
        Ok(bearer.and_then(|bearer| role_bearer(&bearer.entry)))
    }

    /// Whether the token of an id, of custody's own, would be let in now.
    pub async fn accepts(&self, id: &TokenId) -> bool {
        let Some((open, _)) = self.open() else { return false };
        open.tokens.is_accepted(id, Timestamp::now()).await.unwrap_or(false)
    }

    /// Whether a call bears a token of the native API that may do everything for every tenant.
    pub(crate) fn is_layer_admin(&self, call: &Call) -> bool {
        let token = call.token.as_ref().and_then(|token| self.inner.directory.find(token.expose_secret()));
        token.is_some_and(|token| token.role == Role::Admin && token.scope == TenantScope::Any)
    }

    /// What is sealed and wrapped.
    pub(crate) fn custody(&self) -> &Custody {
        &self.inner.custody
    }

    /// The file that the key is in, where it is in one.
    pub(crate) fn key_file(&self) -> Option<&dyn KeyFile> {
        self.inner.key_file.as_deref()
    }

    pub(crate) fn audit_path(&self) -> String {
        self.inner.audit.path().display().to_string()
    }

    pub(crate) fn hasher(&self, open: &Open) -> Hasher {
        Hasher::new(&open.salts.audit)
    }

    /// Puts a one-time pad in the place of the one there was.
    pub(crate) fn set_pad(&self, pad: Option<Zeroizing<String>>) -> Option<Zeroizing<String>> {
        std::mem::replace(&mut *self.inner.pad.lock().unwrap_or_else(PoisonError::into_inner), pad)
    }

    /// Whether nothing can be read.
    pub fn is_sealed(&self) -> bool {
        self.inner.custody.is_sealed()
    }

    /// Writes all of custody, sealed as it is.
    pub async fn snapshot<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> Result<SnapshotSummary, SnapshotError> {
        self.inner.custody.snapshot(writer).await
    }

    /// Puts a snapshot in the place of what there is. Custody is sealed then, and knows nothing of what it was.
    pub async fn restore<R: AsyncRead + Unpin>(&self, reader: &mut R, target: Target) -> Result<(), RestoreError> {
        let restored = self.inner.custody.restore(reader, target).await;
        if restored.is_ok() {
            // The position begins anew: whoever was let in to restore a snapshot knows that it is an older state.
            self.record(CustodyEvent::Restored, 0).await;
            self.set_old_copy(None);
        }
        if let Err(refusal) = self.follow_seal().await {
            tracing::warn!(error = &refusal as &dyn std::error::Error, "custody could not be opened after a restore");
        }
        restored
    }

    /// Seals custody: nothing is readable from here on.
    pub async fn seal(&self) -> Result<(), Refusal> {
        let position = self.inner.custody.position();
        self.inner.custody.seal().await;
        self.set_pad(None);
        self.record(CustodyEvent::Sealed, position).await;
        self.follow_seal().await
    }

    /// Opens what is unsealed and closes what is sealed.
    pub(crate) async fn follow_seal(&self) -> Result<(), Refusal> {
        let _change = self.inner.change.lock().await;
        let is_open = self.open().is_some();
        match (self.inner.custody.is_sealed(), is_open) {
            (true, true) => {
                let closed = self.write().take();
                *self.lock_closed() = closed.map_or_else(Weak::new, |unsealed| Arc::downgrade(&unsealed.open));
            }
            (false, false) => {
                self.wait_for_closed().await?;
                self.check_position().await?;
                let mut tasks = JoinSet::new();
                tasks.spawn(witness_position(self.inner.custody.clone(), self.inner.witness.clone()));
                let barrier = self.inner.custody.barrier();
                let (kinds, directory) = (self.inner.kinds.clone(), self.inner.directory.clone());
                let open = Open::begin(barrier, kinds, directory, &mut tasks).await?;
                let hasher = Arc::new(Hasher::new(&open.salts.audit));
                *self.write() = Some(Unsealed { open, hasher, _tasks: tasks });
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until nobody works any more with what was known before custody was sealed: what they change would be missed
    /// by what is read now.
    async fn wait_for_closed(&self) -> Result<(), Refusal> {
        let ended = async {
            while self.lock_closed().strong_count() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(CLOSED_TIMEOUT, ended).await.map_err(|_| Refusal::Unavailable {
            what: "requests from before custody was sealed have not ended; unseal again".to_owned(),
            source: None,
        })
    }

    fn lock_closed(&self) -> std::sync::MutexGuard<'_, Weak<Open>> {
        self.inner.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the journal remember an event. Where it cannot now, what happened has happened all the same.
    pub(crate) async fn record(&self, event: CustodyEvent, position: u64) {
        if let Err(error) = self.inner.witness.record(event, position).await {
            tracing::warn!(?event, position, %error, "the journal was not told what happened to custody");
        }
    }

    /// Why custody stays sealed although its seal was opened, where it does.
    pub fn old_copy(&self) -> Option<String> {
        self.inner.old_copy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_old_copy(&self, reason: Option<String>) {
        *self.inner.old_copy.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Holds the store against what the journal has seen of it, and seals it where it has come less far.
    async fn check_position(&self) -> Result<(), Refusal> {
        let (here, seen) = (self.inner.custody.position(), self.inner.witness.position());
        if here >= seen {
            return Ok(());
        }
        self.inner.custody.seal().await;
        let what = format!(
            "custody's store is an old copy: it has come to position {here}, and the journal has seen it at {seen}; put the \
             newer one back, or restore a snapshot with force"
        );
        self.set_old_copy(Some(what.clone()));
        Err(Refusal::Unavailable { what, source: None })
    }

    /// What is unsealed, if it is.
    pub(crate) fn open(&self) -> Option<(Arc<Open>, Arc<Hasher>)> {
        let unsealed = self.inner.unsealed.read().unwrap_or_else(PoisonError::into_inner);
        unsealed.as_ref().map(|unsealed| (unsealed.open.clone(), unsealed.hasher.clone()))
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Unsealed>> {
        self.inner.unsealed.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, open: &Arc<Open>, hasher: &Hasher, call: &Call) -> Result<Reply, Refusal> {
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
        self.inner.audit.write(line).map_err(|error| {
            let path = self.inner.audit.path().display();
            Refusal::failed(format!("the audit log {path} cannot be written, so nothing is answered"), error)
        })
    }

    fn refuse(&self, hasher: &Hasher, subject: &Subject<'_>, refusal: Refusal) -> Result<Reply, Refusal> {
        self.audit(&Told::new(hasher, subject).request_line(Some(&refusal.to_string())))?;
        Err(refusal)
    }
}

// === impl Subject ===

impl<'a> Subject<'a> {
    fn new(call: &'a Call, tenant: &'a TenantName) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self { id, call, tenant, operation: plain_operation(call), bearer: None, mounted: None }
    }
}

/// Lets the journal remember how far the store has come, from time to time.
async fn witness_position(custody: Custody, witness: Arc<dyn Witness>) {
    loop {
        if let Err(error) = witness.record(CustodyEvent::Witnessed, custody.position()).await {
            tracing::warn!(%error, "the journal was not told how far custody has come");
        }
        tokio::time::sleep(WITNESSED).await;
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

fn decide(acl: &Acl, call: &Call, subject: &Subject<'_>) -> Decision {
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
fn is_open_to_all(served: &Served, rest: &str) -> bool {
    let Served::Backend(mounted) = served else { return false };
    mounted.backend.globs().unauthenticated.iter().any(|pattern| fits(pattern, rest))
}

fn needs_sudo(served: &Served, rest: &str) -> bool {
    match served {
        Served::System => system::needs_sudo(rest),
        Served::Token => token::SUDO.contains(&rest),
        Served::Backend(mounted) => mounted.backend.globs().sudo.iter().any(|pattern| fits(pattern, rest)),
        Served::Cubbyhole => false,
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

fn plain_operation(call: &Call) -> Operation {
    match call.method {
        Method::Get => Operation::Read,
        Method::Post | Method::Put => Operation::Update,
        Method::Patch => Operation::Patch,
        Method::Delete => Operation::Delete,
        Method::List => Operation::List,
    }
}

/// Whether a path asks for a token and for no policy.
fn is_for_every_bearer(served: &Served, rest: &str) -> bool {
    matches!(served, Served::System) && system::is_for_every_bearer(rest)
}

/// Whether a path fits a backend's glob: `*` at the end for every rest, `+` for one segment.
fn fits(glob: &str, path: &str) -> bool {
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

/// Refuses paths that could mean something else to somebody else. There is one way to write each.
fn check_path(path: &str) -> Result<(), Refusal> {
    let segments_are_plain = without_slash(path).split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if path.len() > LONGEST_PATH {
        return Err(Refusal::invalid(format!("the path has {} bytes and may have {LONGEST_PATH}", path.len())));
    }
    if !segments_are_plain || path.chars().any(char::is_control) {
        return Err(Refusal::invalid("the path has an empty, '.' or '..' segment, or a control character"));
    }
    Ok(())
}

fn no_handler(path: &str) -> Refusal {
    Refusal::NoHandler(path.to_owned())
}

fn role_bearer(entry: &TokenEntry) -> Option<RoleBearer> {
    let roles = entry.policies.iter().filter_map(|policy| match policy.as_str() {
        "root" => Some(Role::Admin),
        name => name.parse().ok(),
    });
    let role = roles.max()?;
    // A token that may be used so many times only, or from somewhere only, is for this API's paths.
    let is_plain = entry.num_uses == 0 && entry.bound_cidrs.is_empty() && entry.kind == TokenKind::Service;
    is_plain.then(|| RoleBearer { id: entry.accessor.clone(), role, scope: entry.scope.clone() })
}
