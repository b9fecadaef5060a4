//! Events as a layer in use has them: instances that come, are bound, and mostly go again.

use mainstay_domain::event::{
    Actor, BindingCreated, BindingRequested, BindingRevocationRequested, BindingRevoked, Body, InstanceDeleted,
    InstanceDeletionRequested, InstanceReady, InstanceRequested, NewEvent, OperationKind, OperationStarted,
    OperationSucceeded, Subject, SubjectKind,
};
use mainstay_types::{
    BindingId, ClusterName, EngineName, EnvironmentName, InstanceId, InstanceName, OperationId, Parameters, Plan,
    TenantName, Timestamp,
};

/// Events in the whole life of an instance.
pub const LIFE: u64 = 16;

/// One in so many instances stays, and its binding with it.
const STAYS: u64 = 10;

/// The whole life of an instance, in order. Every tenth instance stays, and its life is shorter.
pub fn life(number: u64) -> Vec<NewEvent> {
    // Spread like drawn ids are, so that the view's maps are filled in no particular order.
    let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let name: InstanceName = format!("app-{bits:x}").parse().unwrap();
    let id = InstanceId::from_random(bits);
    let binding = BindingId::from_random(bits);
    let on_instance = |body| event(SubjectKind::Instance, &name, body);
    let on_binding = |body| event(SubjectKind::Binding, &binding, body);
    let instance = Subject::new(SubjectKind::Instance, &name);
    let until = Timestamp::from_micros(2_000_000_000_000_000);
    let mut events = Vec::with_capacity(LIFE as usize);
    let mut work = |place: u64, kind, during: Vec<NewEvent>| {
        let operation = OperationId::from_random(bits.rotate_left(17) ^ place);
        let started = OperationStarted { kind, subject: instance.clone(), idempotency: None };
        events.push(event(SubjectKind::Operation, &operation, started.into()));
        events.extend(during);
        events.push(event(SubjectKind::Operation, &operation, OperationSucceeded::default().into()));
    };
    let requested = InstanceRequested {
        instance: id.clone(),
        environment: EnvironmentName::default_environment(),
        contract: "postgresql/v1".parse().unwrap(),
        engine: engine(),
        plan: Plan::Shared,
        cluster: ClusterName::shared(&engine()),
        parameters: Parameters::default(),
    };
    let ready = InstanceReady { instance: id.clone() };
    work(0, OperationKind::CreateInstance, vec![on_instance(requested.into()), on_instance(ready.into())]);
    let requested = BindingRequested {
        instance: name.clone(),
        instance_id: id.clone(),
        consumer: "shop".parse().unwrap(),
        lease_seconds: 86_400,
        expires_at: until,
        statements: None,
    };
    let created =
        BindingCreated { instance: name.clone(), consumer: "shop".parse().unwrap(), generation: 1, valid_until: until };
    work(1, OperationKind::CreateBinding, vec![on_binding(requested.into()), on_binding(created.into())]);
    if !number.is_multiple_of(STAYS) {
        let asked = BindingRevocationRequested { cause: "the consumer asked for it".to_owned() };
        let revoked = vec![on_binding(asked.into()), on_binding(BindingRevoked {}.into())];
        work(2, OperationKind::DeleteBinding, revoked);
        let asked = InstanceDeletionRequested { instance: id.clone(), forced: false };
        let deleted = InstanceDeleted { instance: id.clone() };
        work(3, OperationKind::DeleteInstance, vec![on_instance(asked.into()), on_instance(deleted.into())]);
    }
    events
}

fn event(kind: SubjectKind, id: &impl ToString, body: Body) -> NewEvent {
    NewEvent { tenant: Some(TenantName::default_tenant()), actor: Actor::System, subject: Subject::new(kind, id), body }
}

fn engine() -> EngineName {
    "postgresql".parse().unwrap()
}
