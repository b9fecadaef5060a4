//! A control plane of a test's own, which can be killed and started again on what it left behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_control::{Accepted, Config, Control, Depot, Reconciler, RecoveryLoop, SubmitError, Tempo, draw_id};
use mainstay_custody::{Below, Custody, MasterKey};
use mainstay_domain::command::{
    Command, CreateBinding, CreateInstance, DeleteBinding, DeleteInstance, MoveInstance, ReplacePassword, Request,
    RotateBinding,
};
use mainstay_domain::event::{Actor, Body, EngineRestarted, Event};
use mainstay_domain::view::{Binding, Cluster, Instance, Operation, OperationState, View};
use mainstay_engine::Engine;
use mainstay_engine::fake::FakeEngine;
use mainstay_engine::supervise::RestartPolicy;
use mainstay_journal::Journal;
use mainstay_storage::{Location, Service, Store};
use mainstay_types::{BindingId, ClusterName, InstanceId, OperationId, Parameters, Plan, TenantName, TokenId};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The longest that anything may take to come about, on a machine that runs other tests too.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at that nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A tempo at which a test need not wait: a crash loop after three ends, and another try a second later.
pub fn fast() -> Tempo {
    Tempo {
        observe_every: Duration::from_millis(20),
        restarts: RestartPolicy { delays_millis: &[0, 10, 20], give_up_after: 3, window_seconds: 60, retry_seconds: 1 },
    }
}

/// What outlives a control plane: the stores, and the engines with all that is on them.
#[derive(Clone)]
pub struct Ground {
    journal: Store,
    pub custody: Custody,
    pub fake: FakeEngine,
    /// What the control plane is given: the fake engine, or something in front of it.
    engine: Arc<dyn Engine>,
    pub tempo: Tempo,
    pub data_dir: Option<PathBuf>,
    pub depot: Option<Arc<dyn Depot>>,
}

/// A running control plane on its ground.
pub struct Layer {
    pub ground: Ground,
    pub control: Control,
    /// Of its own, so that it can be killed wherever it stands.
    runtime: Option<Runtime>,
    _stop: watch::Sender<bool>,
}

impl Ground {
    pub async fn in_memory() -> Self {
        Self::at(&Location::InMemory).await
    }

    pub async fn at(location: &Location) -> Self {
        let journal = Store::open(location, Service::Journal, mainstay_journal::SCHEMA).await.unwrap();
        // Custody stays in memory where the journal is on a disk that is to fill up: the two do not fail together.
        let custody = Custody::open(&Location::InMemory, MasterKey::from_bytes([7; 32])).await.unwrap();
        let fake = FakeEngine::default();
        let engine = Arc::new(fake.clone());
        Self { journal, custody, fake, engine, tempo: fast(), data_dir: None, depot: None }
    }

    pub fn with_engine(self, engine: impl FnOnce(FakeEngine) -> Arc<dyn Engine>) -> Self {
        let engine = engine(self.fake.clone());
        Self { engine, ..self }
    }

    pub async fn start(self) -> Layer {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (ground, reconciler_stop) = (self.clone(), stopped);
        let opening = runtime.spawn(async move {
            let journal = Journal::open(ground.journal).await.unwrap();
            let config = Config { dedicated_ports: 7500..=7599, data_dir: ground.data_dir, depot: ground.depot };
            let control = Control::new(journal, ground.custody, vec![ground.engine], config);
            if let Some(recovery) = RecoveryLoop::new(control.clone()) {
                tokio::spawn(recovery.run(reconciler_stop.clone()));
            }
            tokio::spawn(Reconciler::new(control.clone()).with_tempo(ground.tempo).run(reconciler_stop));
            control
        });
        let control = opening.await.unwrap();
        Layer { ground: self, control, runtime: Some(runtime), _stop: stop }
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Layer {
    pub async fn in_memory() -> Self {
        Ground::in_memory().await.start().await
    }

    /// Ends the control plane wherever it stands; what it was about to do it does not do any more.
    pub async fn kill(mut self) -> Ground {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        self.ground.clone()
    }

    pub fn fake(&self) -> &FakeEngine {
        &self.ground.fake
    }

    pub fn view(&self) -> Arc<View> {
        self.control.view()
    }

    pub async fn submit(&self, command: impl Into<Command>) -> Result<Accepted, SubmitError> {
        self.control.submit(user(), command).await
    }

    /// Asks for an instance; answers the operation.
    pub async fn create(&self, name: &str, plan: Plan) -> OperationId {
        self.submit(create(name, plan)).await.unwrap().operation.unwrap()
    }

    pub async fn bind(&self, instance: &str, lease_seconds: u64) -> (BindingId, OperationId) {
        let command = bind(instance, lease_seconds);
        let id = command.id.clone();
        (id, self.submit(command).await.unwrap().operation.unwrap())
    }

    pub async fn unbind(&self, id: &BindingId) -> OperationId {
        let command = DeleteBinding { request: request(), tenant: tenant(), id: id.clone() };
        self.submit(command).await.unwrap().operation.unwrap()
    }

    pub async fn rotate(&self, id: &BindingId, overlap_seconds: u64) -> OperationId {
        let overlap_seconds = Some(overlap_seconds);
        let command = RotateBinding { request: request(), tenant: tenant(), id: id.clone(), overlap_seconds };
        self.submit(command).await.unwrap().operation.unwrap()
    }

    pub async fn replace_password(&self, id: &BindingId) -> OperationId {
        let command = ReplacePassword { request: request(), tenant: tenant(), id: id.clone() };
        self.submit(command).await.unwrap().operation.unwrap()
    }

    pub async fn relocate(&self, name: &str) -> OperationId {
        let command = MoveInstance {
            request: request(),
            tenant: tenant(),
            name: name.parse().unwrap(),
            engine: None,
            plan: None,
            busy_ports: Default::default(),
        };
        self.submit(command).await.unwrap().operation.unwrap()
    }

    pub async fn delete(&self, name: &str, force: bool) -> OperationId {
        self.submit(delete(name, force)).await.unwrap().operation.unwrap()
    }

    /// A ready instance with a binding, on a shared cluster.
    pub async fn with_bound(name: &str) -> (Self, BindingId) {
        let layer = Self::in_memory().await;
        let binding = layer.bound(name).await;
        (layer, binding)
    }

    pub async fn bound(&self, name: &str) -> BindingId {
        self.succeeded(&self.create(name, Plan::Shared).await).await;
        let (binding, operation) = self.bind(name, 3600).await;
        self.succeeded(&operation).await;
        binding
    }

    pub async fn finished(&self, operation: &OperationId) -> Arc<Operation> {
        self.control.wait_for(operation, PATIENCE).await.unwrap()
    }

    pub async fn succeeded(&self, operation: &OperationId) {
        let operation = self.finished(operation).await;
        assert_eq!(operation.state, OperationState::Succeeded, "{operation:?}");
    }

    /// The code and the detail that an operation failed with.
    pub async fn failed(&self, operation: &OperationId) -> (String, String) {
        match &self.finished(operation).await.state {
            OperationState::Failed { code, detail } => (code.clone(), detail.clone()),
            state => panic!("the operation is {state:?}"),
        }
    }

    /// Waits until the view is as it should be.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&View) -> bool) -> Arc<View> {
        let mut views = self.control.journal().watch();
        let found = tokio::time::timeout(PATIENCE, views.wait_for(|view| holds(view))).await;
        match found {
            Ok(view) => view.unwrap().clone(),
            Err(_) => panic!("it should become true that {what}; the events: {:#?}", self.kinds().await),
        }
    }

    /// Waits until something outside the view is as it should be.
    pub async fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "it should become true that {what}; the events: {:#?}", self.kinds().await);
    }

    /// Waits for the first event of a type.
    pub async fn event(&self, kind: &str) -> Event {
        self.nth(1, kind).await
    }

    /// Waits for so many events of a type; answers the last of them.
    pub async fn nth(&self, mut number: usize, kind: &str) -> Event {
        let mut follower = self.control.journal().follow(0);
        let waiting = async {
            loop {
                let event = follower.next().await.unwrap().unwrap();
                number -= usize::from(event.kind == kind);
                if number == 0 {
                    return event;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(event) => {
                // An event can be read a moment before the view that has it is published.
                self.until("the view has the event", |view| view.sequence() >= event.sequence).await;
                event
            }
            Err(_) => panic!("no {kind} comes; the events: {:#?}", self.kinds().await),
        }
    }

    pub async fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.sequence);
            let page = self.control.journal().read(after, 1000).await.unwrap();
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }

    pub async fn kinds(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.kind).collect()
    }

    pub async fn count(&self, kind: &str) -> usize {
        self.kinds().await.iter().filter(|found| *found == kind).count()
    }

    pub async fn restarts(&self) -> Vec<EngineRestarted> {
        let bodies = self.events().await.into_iter().map(|event| event.body().unwrap());
        bodies
            .filter_map(|body| if let Body::EngineRestarted(restarted) = body { Some(restarted) } else { None })
            .collect()
    }

    pub fn instance(&self, name: &str) -> Arc<Instance> {
        self.view().instance(&tenant(), &name.parse().unwrap()).unwrap().clone()
    }

    pub fn binding(&self, id: &BindingId) -> Arc<Binding> {
        self.view().binding(id).unwrap().clone()
    }

    pub fn cluster(&self) -> Arc<Cluster> {
        self.view().cluster(&shared()).unwrap().clone()
    }

    /// Whether a consumer can connect with what the layer hands out for a binding now.
    pub async fn connects(&self, id: &BindingId) -> bool {
        let Ok(delivery) = self.control.deliver(id).await else { return false };
        let text = |key: &str| secrecy::ExposeSecret::expose_secret(&delivery[key]).to_owned();
        let port = text("port").parse().unwrap();
        self.fake().can_connect(port, &text("database"), &text("username"), &text("password"))
    }

    pub async fn password(&self, id: &BindingId) -> String {
        let delivery = self.control.deliver(id).await.unwrap();
        secrecy::ExposeSecret::expose_secret(&delivery["password"]).to_owned()
    }

    /// Where custody keeps passwords of bindings.
    pub async fn passwords_kept(&self) -> Vec<String> {
        let below = Below::Path("binding".parse().unwrap());
        let kept = self.ground.custody.list(&below, None).await.unwrap();
        kept.iter().map(ToString::to_string).collect()
    }

    /// Everything that holds of a journal at any time.
    pub async fn check_journal(&self) {
        let journal = self.control.journal();
        let verified = journal.verify(|_, _| {}).await.unwrap();
        let view = self.view();
        assert!(verified.events <= view.sequence());
        if verified.events == view.sequence() {
            assert_eq!(journal.replay().await.unwrap(), *view, "the replay is the live view");
        }
    }
}

/// Whoever asks from outside; the layer itself is another actor.
pub fn user() -> Actor {
    Actor::Token(TokenId::from_random(1))
}

pub fn tenant() -> TenantName {
    TenantName::default_tenant()
}

pub fn shared() -> ClusterName {
    "postgresql-shared".parse().unwrap()
}

pub fn request() -> Request {
    Request { operation: OperationId::from_random(draw_id()), idempotency: None }
}

pub fn create(name: &str, plan: Plan) -> CreateInstance {
    CreateInstance {
        request: request(),
        tenant: tenant(),
        name: name.parse().unwrap(),
        contract: "postgresql/v1".parse().unwrap(),
        plan: Some(plan),
        engine: None,
        environment: None,
        parameters: Parameters::default(),
        id: InstanceId::from_random(draw_id()),
        busy_ports: Default::default(),
    }
}

pub fn bind(instance: &str, lease_seconds: u64) -> CreateBinding {
    CreateBinding {
        request: request(),
        tenant: tenant(),
        instance: instance.parse().unwrap(),
        consumer: "web".parse().unwrap(),
        lease_seconds: Some(lease_seconds),
        id: BindingId::from_random(draw_id()),
        statements: None,
    }
}

pub fn delete(name: &str, force: bool) -> DeleteInstance {
    DeleteInstance { request: request(), tenant: tenant(), name: name.parse().unwrap(), force }
}

/// The name that a binding's credential logs in with.
pub fn username(id: &BindingId, generation: u32) -> String {
    format!("b_{}_{generation}", id.suffix())
}
