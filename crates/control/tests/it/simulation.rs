//! Random work and random harm, through the real loop: it comes to rest, and the engine has what the view says.
//!
//! The seed is printed; `MAINSTAY_SEED=N` gives the same work and harm again. How they interleave is the scheduler's.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_control::SubmitError;
use mainstay_domain::command::{CreateBinding, DeleteBinding, RenewBinding, ReplacePassword, RotateBinding};
use mainstay_domain::event::{Body, SubjectKind};
use mainstay_domain::view::{BindingState, ClusterState, Credential, InstanceState, View};
use mainstay_engine::fake::Operation;
use mainstay_engine::supervise::RestartPolicy;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec};
use mainstay_types::{BindingId, ClusterName, Health, InstanceId, InstanceName, Parameters, Plan, Presence, Timestamp};

use crate::harness::{Ground, Layer, bind, create, delete, request, tenant, username};

const OPERATIONS: usize = 500;
/// How many faults each operation of the engine is given. More in a row, met by one step, would make it wait longer for
/// its next try than the test waits for rest: eight of them are 51 s.
const FAULTS: usize = 6;
/// How many names the instances have between them: few, so that they meet.
const NAMES: u64 = 12;

/// SplitMix64: numbers from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_of<T>(&mut self, items: impl IntoIterator<Item = T>) -> Option<T> {
        let mut items: Vec<T> = items.into_iter().collect();
        (!items.is_empty()).then(|| items.swap_remove(self.below(items.len() as u64) as usize))
    }
}

#[tokio::test]
async fn the_loop_comes_to_rest_and_the_engine_is_as_the_view_says() {
    let seed = std::env::var("MAINSTAY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Timestamp::now().as_micros() as u64);
    println!("MAINSTAY_SEED={seed}");
    let mut draw = Draw(seed);
    let mut ground = Ground::in_memory().await;
    // Given up now and then, but tried again within the test's patience.
    ground.tempo.restarts =
        RestartPolicy { delays_millis: &[0, 10], give_up_after: 4, window_seconds: 1, retry_seconds: 1 };
    let mut layer = ground.start().await;
    let mut faults = BTreeMap::new();
    for number in 0..OPERATIONS {
        if draw.below(4) == 0 {
            harm(&layer, &mut draw, &mut faults);
        }
        ask(&layer, &mut draw).await;
        if draw.below(10) == 0 {
            let before = layer.view().sequence();
            let in_progress = layer.view().operations().any(|operation| !operation.is_finished());
            if in_progress {
                layer.until("something happens", |view| view.sequence() > before).await;
            }
        }
        if number % 125 == 124 {
            layer = layer.kill().await.start().await;
        }
    }
    come_to_rest(&layer).await;
    layer.check_journal().await;
    let view = layer.view();
    println!(
        "{} events, {} instances, {} bindings",
        view.sequence(),
        view.instances().count(),
        view.bindings().count()
    );
}

/// One thing that a consumer asks for. A refusal is an answer like any other here.
async fn ask(layer: &Layer, draw: &mut Draw) {
    let view = layer.view();
    let name = format!("i{}", draw.below(NAMES));
    let binding = draw.one_of(view.bindings().map(|binding| binding.id.clone()));
    let lease = if draw.below(4) == 0 { 1 + draw.below(3) } else { 3600 };
    let statements = (draw.below(3) == 0).then(|| vec!["ALLOW".to_owned()]);
    let answer = match (draw.below(11), binding) {
        (0..=2, _) => {
            let plan = if draw.below(4) == 0 { Plan::Dedicated } else { Plan::Shared };
            layer.submit(create(&name, plan)).await
        }
        (3, _) => layer.submit(delete(&name, draw.below(2) == 0)).await,
        (4, Some(id)) => layer.submit(DeleteBinding { request: request(), tenant: tenant(), id }).await,
        (5, Some(id)) => {
            let overlap_seconds = Some(draw.below(3));
            layer.submit(RotateBinding { request: request(), tenant: tenant(), id, overlap_seconds }).await
        }
        (6, Some(id)) => layer.submit(RenewBinding { tenant: tenant(), id, lease_seconds: Some(lease) }).await,
        (7, Some(id)) => layer.submit(ReplacePassword { request: request(), tenant: tenant(), id }).await,
        _ => layer.submit(CreateBinding { statements, ..bind(&name, lease) }).await,
    };
    assert!(matches!(answer, Ok(_) | Err(SubmitError::Rejected(_))), "{answer:?}");
}

/// One thing that goes wrong.
fn harm(layer: &Layer, draw: &mut Draw, faults: &mut BTreeMap<Operation, usize>) {
    use Operation::{Bind, Deprovision, Observe, Provision, Reconfigure, Remove, Start, Unbind};
    let view = layer.view();
    let fake = layer.fake();
    let Some(cluster) = draw.one_of(view.clusters().map(|cluster| cluster.name.clone())) else { return };
    match draw.below(12) {
        0 => fake.end_process(&cluster, "it was killed by signal 9"),
        1 => fake.change_setting(&cluster, "fsync was switched off"),
        2 => {
            if let Some(instance) = draw.one_of(view.instances_on(&cluster)) {
                fake.drift_instance(&cluster, &instance.id, "PUBLIC may connect to it");
            }
        }
        kind @ 3..=4 => {
            let on_cluster = view.instances_on(&cluster).flat_map(|instance| view.bindings_of(instance));
            if let Some(binding) = draw.one_of(on_cluster) {
                let newest = binding.credentials.last().map_or(0, Credential::login);
                let username = username(&binding.id, newest);
                match kind {
                    3 => fake.drop_credential(&cluster, &username),
                    _ => fake.drift_credential(&cluster, &username, "it may not log in"),
                }
            }
        }
        kind => {
            let (operation, error) = if kind == 5 {
                let error = EngineError::permanent("it is refused", "nothing helps");
                (draw.one_of([Provision, Bind, Start]).unwrap(), error)
            } else {
                let all = [Start, Observe, Reconfigure, Remove, Provision, Deprovision, Bind, Unbind];
                (draw.one_of(all).unwrap(), EngineError::transient("the connection broke"))
            };
            let given = faults.entry(operation).or_insert(0);
            if *given < FAULTS {
                *given += 1;
                fake.fail_next(operation, error);
            }
        }
    }
}

/// Waits until nothing is left to do and nothing is wrong.
async fn come_to_rest(layer: &Layer) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let differences = differences(layer).await;
        if differences.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not come to rest: {differences:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Where the engine and custody are not as the view says, or work is not done.
async fn differences(layer: &Layer) -> Vec<String> {
    let view = layer.view();
    let mut found = Vec::new();
    found.extend(view.operations().filter(|o| !o.is_finished()).map(|o| format!("{o:?}")));
    let ever = Ever::of(layer).await;
    for name in &ever.clusters {
        let observed = observe(layer, &view, name, &ever).await;
        let Some(cluster) = view.cluster(name) else {
            if !matches!(observed.health, Health::Down { .. }) {
                found.push(format!("cluster {name} is still there"));
            }
            continue;
        };
        if cluster.state != ClusterState::Ready || observed.health != Health::Serving {
            found.push(format!("cluster {name} is {}, and seen as {:?}", cluster.state, observed.health));
            continue;
        }
        if !observed.changed_settings.is_empty() {
            found.push(format!("cluster {name} has changed settings"));
        }
        for (id, seen) in &observed.instances {
            let wanted = view.instance_by_id(id).filter(|instance| instance.cluster == *name);
            match wanted.map(|instance| instance.state) {
                // Whatever is left of it stays until it is deleted.
                Some(InstanceState::Failed) => {}
                Some(InstanceState::Ready) if *seen == Presence::Present => {}
                None if *seen == Presence::Missing => {}
                state => found.push(format!("instance {id} is {state:?}, and seen as {seen:?}")),
            }
        }
        for ((id, generation), seen) in &observed.credentials {
            let binding = view.binding(id).filter(|binding| ever.cluster_of(&view, &binding.instance_id) == Some(name));
            let lives = |binding: &&std::sync::Arc<mainstay_domain::view::Binding>| {
                let instance = view.instance_by_id(&binding.instance_id);
                instance.is_some_and(|instance| instance.state == InstanceState::Ready)
            };
            if binding.is_some_and(|binding| !lives(&binding)) {
                continue;
            }
            let wanted = binding.is_some_and(|binding| {
                let mut names = binding.credentials.iter().map(Credential::login);
                binding.state == BindingState::Ready && names.any(|login| login == *generation)
            });
            if wanted != (seen.presence == Presence::Present) || (!wanted && seen.presence != Presence::Missing) {
                let state = binding.map(|binding| binding.state);
                found.push(format!("credential {id}/{generation} is {state:?}, and seen as {:?}", seen.presence));
            }
        }
    }
    let passwords: BTreeSet<String> = layer.passwords_kept().await.into_iter().collect();
    let may_be: BTreeSet<String> = view
        .bindings()
        .flat_map(|binding| binding.credentials.iter().map(|c| format!("binding/{}/{}", binding.id, c.generation)))
        .collect();
    found.extend(passwords.difference(&may_be).map(|path| format!("the password {path} is left over")));
    for binding in view.bindings().filter(|binding| binding.state == BindingState::Ready) {
        let instance = view.instance_by_id(&binding.instance_id).unwrap();
        if instance.state == InstanceState::Ready && !layer.connects(&binding.id).await {
            found.push(format!("the consumer of {} can not connect", binding.id));
        }
    }
    found
}

async fn observe(layer: &Layer, view: &View, name: &ClusterName, ever: &Ever) -> mainstay_types::Observation {
    let cluster = view.cluster(name);
    let spec = ClusterSpec {
        name: name.clone(),
        node: mainstay_types::NodeName::local(),
        plan: Plan::Shared,
        port: cluster.map_or(0, |cluster| cluster.port),
        parameters: Parameters::default(),
        identity: None,
    };
    let instances: Vec<_> = ever
        .instances
        .iter()
        .map(|id| InstanceSpec { id: id.clone(), name: InstanceName::first(), parameters: Parameters::default() })
        .collect();
    let credentials: Vec<_> = ever
        .credentials
        .iter()
        .map(|(binding, generation)| {
            let known = view.binding(binding);
            let of_name = |credential: &&Credential| credential.login() == *generation;
            let credential = known.and_then(|known| Some((known, known.credentials.iter().rev().find(of_name)?)));
            CredentialSpec {
                binding: binding.clone(),
                generation: *generation,
                login: *generation,
                statements: known.and_then(|known| known.statements.clone()),
                instance: known.map_or(InstanceId::from_random(0), |known| known.instance_id.clone()),
                valid_until: credential.map_or(Timestamp::EPOCH, |(known, credential)| known.valid_until(credential)),
            }
        })
        .collect();
    loop {
        // A fault that nobody has met yet may be met here.
        if let Ok(observation) = layer.fake().observe(&spec, &instances, &credentials).await {
            return observation;
        }
    }
}

/// Everything that there ever was, so that what is left over is found too.
struct Ever {
    clusters: BTreeSet<ClusterName>,
    instances: BTreeSet<InstanceId>,
    /// By binding and the generation that the user name tells.
    credentials: BTreeSet<(BindingId, u32)>,
}

impl Ever {
    async fn of(layer: &Layer) -> Self {
        let mut ever = Self { clusters: BTreeSet::new(), instances: BTreeSet::new(), credentials: BTreeSet::new() };
        for event in layer.events().await {
            let id = &event.subject.id;
            match event.body().unwrap() {
                Body::ClusterRequested(_) => drop(ever.clusters.insert(id.parse().unwrap())),
                Body::InstanceRequested(body) => drop(ever.instances.insert(body.instance)),
                Body::BindingRequested(_) => drop(ever.credentials.insert((id.parse().unwrap(), 1))),
                Body::BindingRotationRequested(body) => {
                    ever.credentials.insert((id.parse().unwrap(), body.login.unwrap_or(body.generation)));
                }
                _ => assert!(!matches!(event.subject.kind, SubjectKind::Token)),
            }
        }
        ever
    }

    fn cluster_of<'a>(&'a self, view: &View, instance: &InstanceId) -> Option<&'a ClusterName> {
        self.clusters.get(&view.instance_by_id(instance)?.cluster)
    }
}
