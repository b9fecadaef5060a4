//! A world in which plans are carried out, with crashes, losses and commands at random: whatever happens, planning and
//! acting in a loop comes to rest, and then the world is as the view says.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::command::{
    ClusterRemoval, ClusterStart, Command, CredentialApplied, CredentialRemoved, InstanceProvisioned, InstanceRemoved,
    MoveCompleted, MoveFailure, Reconfigured, StartOutcome,
};
use mainstay_domain::event::Event;
use mainstay_domain::plan::{Step, plan};
use mainstay_domain::view::{Cluster, InstanceState, View};
use mainstay_types::{
    BindingId, ClusterName, CredentialObservation, Generation, Health, InstanceId, Observation, Plan, Presence,
    Timestamp,
};
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::harness::Layer;

/// What the engines really have.
#[derive(Default)]
struct World {
    serving: BTreeSet<ClusterName>,
    databases: BTreeSet<InstanceId>,
    /// By binding and the generation that the user name tells: whose password it has, and until when.
    credentials: BTreeMap<(BindingId, Generation), (Generation, Timestamp)>,
    drifted: BTreeSet<ClusterName>,
}

/// One thing that happens. The numbers choose among what there is.
#[derive(Debug, Clone)]
enum Happening {
    Create {
        name: u8,
        dedicated: bool,
    },
    Delete {
        name: u8,
        force: bool,
    },
    Move {
        name: u8,
        successor: bool,
    },
    Bind {
        name: u8,
        lease: u64,
    },
    Rotate {
        which: usize,
    },
    Replace {
        which: usize,
    },
    Unbind {
        which: usize,
    },
    KillEngine {
        which: usize,
    },
    DropRole {
        which: usize,
    },
    ChangeSetting {
        which: usize,
    },
    Wait {
        seconds: u64,
    },
    /// A few steps of the plan are carried out; `report` says whether the outcome of the last is recorded, or lost to
    /// a crash of the control plane.
    Work {
        steps: usize,
        report: bool,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{
        Bind, ChangeSetting, Create, Delete, DropRole, KillEngine, Move, Replace, Rotate, Unbind, Wait, Work,
    };
    proptest::prop_oneof![
        4 => (0..6u8, any::<bool>()).prop_map(|(name, dedicated)| Create { name, dedicated }),
        2 => (0..6u8, any::<bool>()).prop_map(|(name, force)| Delete { name, force }),
        3 => (0..6u8, any::<bool>()).prop_map(|(name, successor)| Move { name, successor }),
        6 => (0..6u8, 1..100_000u64).prop_map(|(name, lease)| Bind { name, lease }),
        3 => any::<usize>().prop_map(|which| Rotate { which }),
        3 => any::<usize>().prop_map(|which| Replace { which }),
        2 => any::<usize>().prop_map(|which| Unbind { which }),
        1 => any::<usize>().prop_map(|which| KillEngine { which }),
        1 => any::<usize>().prop_map(|which| DropRole { which }),
        1 => any::<usize>().prop_map(|which| ChangeSetting { which }),
        2 => (1..50_000u64).prop_map(|seconds| Wait { seconds }),
        8 => (1..12usize, any::<bool>()).prop_map(|(steps, report)| Work { steps, report }),
    ]
}

proptest! {
    #![proptest_config(Config::default())]

    #[test]
    fn the_loop_comes_to_rest_and_the_world_is_as_the_view_says(happenings in proptest::collection::vec(happening(), 1..80)) {
        let (mut layer, mut world) = (Layer::new(), World::default());
        for happening in happenings {
            happen(&mut layer, &mut world, happening);
        }
        rest(&mut layer, &mut world);
        check_rest(&layer.view, &world);
        let replayed = View::replay(&layer.events).unwrap();
        prop_assert_eq!(minicbor::to_vec(&replayed).unwrap(), minicbor::to_vec(&layer.view).unwrap());
        let restored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
        prop_assert_eq!(restored, layer.view);
    }
}

/// A long history with everything in it, the same for the same seed.
pub fn busy_history(seed: u8, length: usize) -> Vec<Event> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut layer, mut world) = (Layer::new(), World::default());
    for _ in 0..length {
        let tree = happening().new_tree(&mut runner).unwrap();
        happen(&mut layer, &mut world, proptest::strategy::ValueTree::current(&tree));
    }
    rest(&mut layer, &mut world);
    layer.events
}

fn happen(layer: &mut Layer, world: &mut World, happening: Happening) {
    let nth = |which: usize, layer: &Layer| {
        let all: Vec<_> = layer.view.bindings().map(|binding| binding.id.clone()).collect();
        (!all.is_empty()).then(|| all[which % all.len()].clone())
    };
    // A refusal is an answer like any other here.
    match happening {
        Happening::Create { name, dedicated } => {
            let mut create = layer.create(&format!("i{name}"));
            create.plan = Some(if dedicated { Plan::Dedicated } else { Plan::Shared });
            let _ = layer.submit(create);
        }
        Happening::Delete { name, force } => {
            let delete = layer.delete(&format!("i{name}"), force);
            let _ = layer.submit(delete);
        }
        Happening::Move { name, successor } => {
            let mut relocate = layer.relocate(&format!("i{name}"));
            relocate.engine = successor.then(|| "successor".parse().unwrap());
            let _ = layer.submit(relocate);
        }
        Happening::Bind { name, lease } => {
            let mut bind = layer.bind(&format!("i{name}"));
            bind.lease_seconds = Some(lease);
            let _ = layer.submit(bind);
        }
        Happening::Rotate { which } => {
            if let Some(id) = nth(which, layer) {
                let rotate = layer.rotate(&id);
                let _ = layer.submit(rotate);
            }
        }
        Happening::Replace { which } => {
            if let Some(id) = nth(which, layer) {
                let replace = layer.replace(&id);
                let _ = layer.submit(replace);
            }
        }
        Happening::Unbind { which } => {
            if let Some(id) = nth(which, layer) {
                let unbind = layer.unbind(&id);
                let _ = layer.submit(unbind);
            }
        }
        Happening::KillEngine { which } => {
            let victim = world.serving.iter().nth(which % world.serving.len().max(1)).cloned();
            victim.map(|victim| world.serving.remove(&victim));
        }
        Happening::DropRole { which } => {
            let victim = world.credentials.keys().nth(which % world.credentials.len().max(1)).cloned();
            victim.map(|victim| world.credentials.remove(&victim));
        }
        Happening::ChangeSetting { which } => {
            let victim = world.serving.iter().nth(which % world.serving.len().max(1)).cloned();
            world.drifted.extend(victim);
        }
        Happening::Wait { seconds } => layer.now = layer.now.plus_seconds(seconds),
        Happening::Work { steps, report } => {
            for nth in 1..=steps {
                work(layer, world, nth < steps || report);
            }
        }
    }
}

/// Carries out the first step that any cluster needs; answers whether there was one.
fn work(layer: &mut Layer, world: &mut World, report: bool) -> bool {
    let clusters: Vec<_> = layer.view.clusters().map(|cluster| cluster.name.clone()).collect();
    for cluster in clusters {
        let observed = world.observe(&layer.view, &cluster);
        if let Some(step) = plan(&layer.view, &cluster, Some(&observed), layer.now).steps.into_iter().next() {
            carry_out(layer, world, &cluster, step, report);
            return true;
        }
    }
    false
}

fn rest(layer: &mut Layer, world: &mut World) {
    for _ in 0..2000 {
        if !work(layer, world, true) {
            return;
        }
    }
    panic!("the loop does not come to rest; the last events: {:?}", layer.kinds_after(layer.view.sequence() - 20));
}

fn carry_out(layer: &mut Layer, world: &mut World, cluster: &ClusterName, step: Step, report: bool) {
    let mut tell = |command: Command| {
        if report {
            layer.submit(command).expect("reports are not refused");
        }
    };
    match step {
        Step::Start { cause } => {
            world.serving.insert(cluster.clone());
            tell(
                ClusterStart {
                    cluster: cluster.clone(),
                    identity: cluster.to_string(),
                    version: "15.18".to_owned(),
                    outcome: StartOutcome::Restarted { cause, downtime_milliseconds: 40 },
                }
                .into(),
            );
        }
        Step::Reconfigure { changes } => {
            world.drifted.remove(cluster);
            tell(Reconfigured { cluster: cluster.clone(), changes }.into());
        }
        Step::Remove => {
            for instance in layer.view.instances_on(cluster) {
                world.databases.remove(&instance.id);
                for binding in layer.view.bindings_of(instance) {
                    world.credentials.retain(|(id, _), _| *id != binding.id);
                }
            }
            world.serving.remove(cluster);
            world.drifted.remove(cluster);
            if report {
                layer.submit(ClusterRemoval { cluster: cluster.clone() }).unwrap();
            }
        }
        Step::Provision { instance, repaired } => {
            world.databases.insert(instance.clone());
            tell(InstanceProvisioned { instance, repaired }.into());
        }
        Step::Deprovision { instance } => {
            world.databases.remove(&instance);
            tell(InstanceRemoved { instance }.into());
        }
        Step::Bind { binding, generation, repaired, .. } => {
            let of = layer.view.binding(&binding).unwrap();
            let credential = of.credential(generation).unwrap();
            let valid_until = of.valid_until(credential);
            world.credentials.insert((binding.clone(), credential.login()), (generation, valid_until));
            if report {
                layer.submit(CredentialApplied { binding, generation, valid_until, repaired }).unwrap();
            }
        }
        Step::Unbind { binding, generation, .. } => {
            let of = layer.view.binding(&binding).unwrap();
            let credential = of.credential(generation).unwrap();
            if of.successor(credential).is_none() {
                world.credentials.remove(&(binding.clone(), credential.login()));
            }
            if report {
                layer.submit(CredentialRemoved { binding, generation }).unwrap();
            }
        }
        Step::Move { instance } => {
            let of = layer.view.instance_by_id(&instance).unwrap();
            let outcome: Command = match world.serving.contains(&of.cluster) {
                true => MoveCompleted { instance, cluster: cluster.clone(), write_pause_milliseconds: 7 }.into(),
                false => {
                    let reason = "the source does not serve".to_owned();
                    MoveFailure { instance, cluster: cluster.clone(), reason }.into()
                }
            };
            if report {
                layer.submit(outcome).unwrap();
            }
        }
        Step::Report(command) => tell(command),
    }
}

impl World {
    fn observe(&self, view: &View, cluster: &ClusterName) -> Observation {
        if !self.serving.contains(cluster) {
            return Observation::without_service(Health::Down { cause: "ended by signal 9".to_owned() });
        }
        let mut observation = Observation::without_service(Health::Serving);
        let presence = |there: bool| if there { Presence::Present } else { Presence::Missing };
        for instance in view.instances_on(cluster).filter(|instance| instance.state == InstanceState::Ready) {
            observation.instances.insert(instance.id.clone(), presence(self.databases.contains(&instance.id)));
            for binding in view.bindings_of(instance) {
                for credential in binding.credentials.iter().filter(|credential| credential.applied.is_some()) {
                    let key = (binding.id.clone(), credential.generation);
                    let there = self.credentials.contains_key(&(binding.id.clone(), credential.login()));
                    let presence = presence(there);
                    observation.credentials.insert(key, CredentialObservation { presence, sessions: 0 });
                }
            }
        }
        if self.drifted.contains(cluster) {
            observation.changed_settings.push("work_mem was changed".to_owned());
        }
        observation
    }
}

/// At rest, nothing is under way, and the engines have exactly what the view says.
fn check_rest(view: &View, world: &World) {
    assert!(view.operations().all(|operation| operation.is_finished()), "an operation is left in progress");
    let databases: BTreeSet<_> = view.instances().map(|instance| instance.id.clone()).collect();
    assert_eq!(databases, world.databases);
    assert!(view.instances().all(|instance| instance.state == InstanceState::Ready));
    let credentials: BTreeMap<_, _> = view
        .bindings()
        .flat_map(|binding| {
            binding.credentials.iter().map(move |credential| {
                let name = (binding.id.clone(), credential.login());
                (name, (credential.generation, binding.valid_until(credential)))
            })
        })
        .collect();
    assert_eq!(credentials, world.credentials);
    assert!(world.drifted.is_empty());
    assert!(view.instances().all(|instance| instance.moving.is_none()));
    let lived_on: BTreeSet<_> = view.instances().map(|instance| instance.cluster.clone()).collect();
    let needed = |cluster: &Cluster| cluster.plan == Plan::Shared || lived_on.contains(&cluster.name);
    assert!(view.clusters().all(|cluster| needed(cluster)), "a cluster is left that nobody lives on");
    let ports: BTreeSet<_> = view.clusters().map(|cluster| cluster.port).collect();
    assert_eq!(ports.len(), view.clusters().count(), "two clusters have one port");
}
