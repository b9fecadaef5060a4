//! What is refused, with which words, and what follows from what is not.

use mainstay_domain::command::{
    ClusterFailure, CreateToken, DEFAULT_LEASE_SECONDS, MAX_STATEMENTS, MAX_STATEMENTS_BYTES, ObjectChange,
    RecordObjects, RecordScrub, RenewBinding, RevokeToken, StartOutcome,
};
use mainstay_domain::command::{ClusterStart, CredentialApplied, CredentialRemoved, InstanceProvisioned};
use mainstay_domain::event::{ContentDamaged, Notification, ScrubCompleted};
use mainstay_domain::plan::{Step, plan};
use mainstay_domain::view::{InstanceState, OperationState, StepState, View};
use mainstay_types::{BindingId, Digest, Health, InstanceId, Observation, Plan, Role, TenantScope, Timestamp, TokenId};

use crate::harness::{Layer, tenant};

/// A layer with one ready instance, `shop`, on the shared cluster.
fn with_shop() -> Layer {
    let mut layer = Layer::new();
    let create = layer.create("shop");
    let id = create.id.clone();
    layer.submit(create).unwrap();
    layer.submit(started("postgresql-shared")).unwrap();
    layer.submit(InstanceProvisioned { instance: id, repaired: None }).unwrap();
    layer
}

fn started(cluster: &str) -> ClusterStart {
    ClusterStart {
        cluster: cluster.parse().unwrap(),
        identity: "7".to_owned(),
        version: "15.18".to_owned(),
        outcome: StartOutcome::Started,
    }
}

fn bound(layer: &mut Layer) -> BindingId {
    let bind = layer.bind("shop");
    let id = bind.id.clone();
    layer.submit(bind).unwrap();
    let binding = layer.view.binding(&id).unwrap();
    let valid_until = binding.valid_until(&binding.credentials[0]);
    layer.submit(CredentialApplied { binding: id.clone(), generation: 1, valid_until, repaired: None }).unwrap();
    id
}

#[test]
fn the_first_instance_brings_the_shared_cluster_and_the_second_does_not() {
    let mut layer = Layer::new();
    let create = layer.create("shop");
    layer.submit(create).unwrap();
    assert_eq!(layer.kinds_after(0), ["v1.operation.started", "v1.cluster.requested", "v1.instance.requested"]);
    let create = layer.create("blog");
    layer.submit(create).unwrap();
    assert_eq!(layer.kinds_after(3), ["v1.operation.started", "v1.instance.requested"]);
}

#[test]
fn dedicated_clusters_get_the_lowest_free_port_and_run_out() {
    let mut layer = Layer::new();
    let mut ports = Vec::new();
    for name in ["a", "b", "c"] {
        let mut create = layer.create(name);
        create.plan = Some(Plan::Dedicated);
        create.busy_ports = [7501].into();
        layer.submit(create).unwrap();
        ports = layer.view.clusters().map(|cluster| cluster.port).collect();
    }
    ports.sort_unstable();
    assert_eq!(ports, [7500, 7502, 7503]);
    let mut create = layer.create("d");
    create.plan = Some(Plan::Dedicated);
    create.busy_ports = [7501].into();
    let rejection = layer.submit(create).unwrap_err();
    assert_eq!(rejection.code(), "ports_exhausted");
}

#[test]
fn what_is_not_offered_is_refused_with_the_field_and_what_there_is() {
    let mut layer = with_shop();
    let mut check = |change: &dyn Fn(&mut mainstay_domain::command::CreateInstance), code, field, remedy| {
        let mut create = layer.create("other");
        change(&mut create);
        let rejection = layer.submit(create).unwrap_err();
        assert_eq!(rejection.code(), code);
        assert_eq!(rejection.field().as_deref(), field);
        assert_eq!(rejection.remedy(), remedy);
    };
    check(
        &|c| c.contract = "mysql/v1".parse().unwrap(),
        "contract_unknown",
        Some("contract"),
        "use one of: postgresql/v1",
    );
    check(
        &|c| c.engine = Some("oracle".parse().unwrap()),
        "engine_unknown",
        Some("engine"),
        "use one of: postgresql, successor",
    );
    let set = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into_iter().collect();
    check(
        &|c| c.parameters = set("colour", "red"),
        "parameter_unknown",
        Some("parameters.colour"),
        "use one of: connection_limit, drill.assertions",
    );
    check(
        &|c| c.parameters = set("connection_limit", "101"),
        "parameter_invalid",
        Some("parameters.connection_limit"),
        "it takes a whole number from 1 to 100",
    );
    check(
        &|c| c.name = "shop".parse().unwrap(),
        "instance_exists",
        Some("name"),
        "choose another name, or see what it is with: mainstay get shop",
    );
}

#[test]
fn an_idempotency_key_finds_the_first_request_again() {
    let mut layer = Layer::new();
    let mut create = layer.create("shop");
    create.request = layer.request(Some("k"));
    let first = layer.submit(create.clone()).unwrap();
    let events = layer.events.len();
    create.request = layer.request(Some("k"));
    let second = layer.submit(create.clone()).unwrap();
    assert_eq!((second.operation, layer.events.len()), (first.operation, events));

    create.request = layer.request(Some("k"));
    create.request.idempotency.as_mut().unwrap().fingerprint = Digest::of(b"another");
    assert_eq!(layer.submit(create).unwrap_err().code(), "idempotency_key_reused");
}

#[test]
fn an_instance_with_live_bindings_is_deleted_by_force_only() {
    let mut layer = with_shop();
    let binding = bound(&mut layer);
    let delete = layer.delete("shop", false);
    assert_eq!(layer.submit(delete).unwrap_err().code(), "instance_has_bindings");

    let before = layer.view.sequence();
    let delete = layer.delete("shop", true);
    layer.submit(delete).unwrap();
    assert_eq!(
        layer.kinds_after(before),
        ["v1.operation.started", "v1.binding.revocation-requested", "v1.instance.deletion-requested"]
    );
    assert!(!layer.view.binding(&binding).unwrap().is_live());

    // Asked again, whoever asks watches the same work; and the name is not free yet.
    let first = layer.view.operations().find(|operation| !operation.is_finished()).unwrap().id.clone();
    let delete = layer.delete("shop", false);
    assert_eq!(layer.submit(delete).unwrap().operation, Some(first));
    let create = layer.create("shop");
    assert_eq!(layer.submit(create).unwrap_err().code(), "instance_deleting");
    let bind = layer.bind("shop");
    assert_eq!(layer.submit(bind).unwrap_err().code(), "instance_deleting");
}

#[test]
fn to_one_tenant_the_things_of_another_do_not_exist() {
    let mut layer = with_shop();
    let binding = bound(&mut layer);
    let other = "other".parse().unwrap();
    let mut delete = layer.delete("shop", true);
    delete.tenant = other;
    assert_eq!(layer.submit(delete).unwrap_err().code(), "instance_not_found");
    let mut unbind = layer.unbind(&binding);
    unbind.tenant = "other".parse().unwrap();
    assert_eq!(layer.submit(unbind).unwrap_err().code(), "binding_not_found");
    let mut rotate = layer.rotate(&binding);
    rotate.tenant = "other".parse().unwrap();
    assert_eq!(layer.submit(rotate).unwrap_err().code(), "binding_not_found");
    let renew = RenewBinding { tenant: "other".parse().unwrap(), id: binding, lease_seconds: None };
    assert_eq!(layer.submit(renew).unwrap_err().code(), "binding_not_found");
}

#[test]
fn rotation_overlaps_and_its_old_credential_ends_at_a_moment() {
    let mut layer = with_shop();
    let id = bound(&mut layer);
    let rotate = layer.rotate(&id);
    layer.submit(rotate).unwrap();
    let again = layer.rotate(&id);
    assert_eq!(layer.submit(again).unwrap_err().code(), "binding_not_ready");
    let binding = layer.view.binding(&id).unwrap();
    assert_eq!(binding.current().unwrap().generation, 1, "the old one is current until the new one works");

    let valid_until = binding.valid_until(binding.credential(2).unwrap());
    layer.submit(CredentialApplied { binding: id.clone(), generation: 2, valid_until, repaired: None }).unwrap();
    let binding = layer.view.binding(&id).unwrap();
    assert_eq!(binding.current().unwrap().generation, 2);
    assert_eq!(binding.credential(1).unwrap().retire_at, Some(layer.now.plus_seconds(60)));
    assert_eq!(binding.valid_until(binding.credential(1).unwrap()), layer.now.plus_seconds(60));
}

#[test]
fn leases_have_bounds() {
    let mut layer = with_shop();
    for (seconds, fits) in [(0, false), (1, true), (366 * 86_400, true), (366 * 86_400 + 1, false)] {
        let mut bind = layer.bind("shop");
        bind.lease_seconds = Some(seconds);
        let answer = layer.submit(bind);
        assert_eq!(answer.as_ref().map_err(|rejection| rejection.code()).err(), (!fits).then_some("lease_invalid"));
    }
    let id = bound(&mut layer);
    assert_eq!(layer.view.binding(&id).unwrap().expires_at, layer.now.plus_seconds(DEFAULT_LEASE_SECONDS));
}

#[test]
fn a_failed_cluster_ends_what_waits_for_it() {
    let mut layer = Layer::new();
    let create = layer.create("shop");
    let operation = layer.submit(create).unwrap().operation.unwrap();
    let cluster = "postgresql-shared".parse().unwrap();
    layer.submit(ClusterFailure { cluster, reason: "port 7432 is taken".to_owned() }).unwrap();
    let operation = layer.view.operation(&operation).unwrap();
    assert!(matches!(&operation.state, OperationState::Failed { detail, .. } if detail == "port 7432 is taken"));
    assert_eq!(operation.steps(&layer.view)[0].state, StepState::Failed);
    // The instance is not lost: it becomes ready once its cluster serves.
    let instance = layer.view.instance(&tenant(), &"shop".parse().unwrap()).unwrap();
    assert_eq!(instance.state, InstanceState::Requested);
}

#[test]
fn a_new_token_clears_expired_ones_away() {
    let mut layer = Layer::new();
    let token = |layer: &mut Layer| {
        let id = TokenId::from_random(layer.draw());
        let (by, tenant) = (TenantScope::Any, TenantScope::Any);
        let digest = Digest::of(id.as_str().as_bytes());
        layer
            .submit(CreateToken { by, id: id.clone(), role: Role::Viewer, tenant, digest, ttl_seconds: Some(10) })
            .unwrap();
        id
    };
    let old = token(&mut layer);
    layer.now = layer.now.plus_seconds(5);
    let younger = token(&mut layer);
    layer.now = layer.now.plus_seconds(5);
    let new = token(&mut layer);
    let left: Vec<_> = layer.view.tokens().map(|token| token.id.clone()).collect();
    assert_eq!(left, [younger, new]);
    assert!(layer.view.token(&old).is_none());
}

#[test]
fn nobody_gives_away_more_than_they_have() {
    let mut layer = Layer::new();
    let mut token = |by: &str, tenant: &str| {
        let id = TokenId::from_random(layer.draw());
        let command = CreateToken {
            by: by.parse().unwrap(),
            id: id.clone(),
            role: Role::Viewer,
            tenant: tenant.parse().unwrap(),
            digest: Digest::of(id.as_str().as_bytes()),
            ttl_seconds: None,
        };
        layer.submit(command).map(|_| id).map_err(|rejection| rejection.code())
    };
    assert!(token("*", "*").is_ok());
    assert!(token("*", "a").is_ok());
    assert!(token("a", "a").is_ok());
    assert_eq!(token("a", "b"), Err("tenant_forbidden"));
    assert_eq!(token("a", "*"), Err("tenant_forbidden"));
    let of_b = token("*", "b").unwrap();
    let by: TenantScope = "a".parse().unwrap();
    let revoke = RevokeToken { by, id: of_b, cause: String::new() };
    assert_eq!(layer.submit(revoke).unwrap_err().code(), "token_not_found");
}

#[test]
fn a_new_password_keeps_the_name_and_takes_the_place_of_the_old_one() {
    let mut layer = with_shop();
    let id = bound(&mut layer);
    let replace = layer.replace(&id);
    layer.submit(replace).unwrap();
    let cluster = layer.view.cluster(&"postgresql-shared".parse().unwrap()).unwrap().name.clone();
    let serving = Observation::without_service(Health::Serving);
    let steps = |layer: &Layer| plan(&layer.view, &cluster, Some(&serving), layer.now).steps;
    let generations = |steps: Vec<Step>| -> Vec<_> {
        let of_step = |step| match step {
            Step::Bind { generation, .. } => ("bind", generation),
            Step::Unbind { generation, .. } => ("unbind", generation),
            step => panic!("{step:?}"),
        };
        steps.into_iter().map(of_step).collect()
    };
    let binding = layer.view.binding(&id).unwrap();
    assert_eq!(binding.current().unwrap().generation, 1, "the old one is current until the new one works");
    assert_eq!(binding.credential(2).unwrap().login(), 1);
    assert_eq!(generations(steps(&layer)), [("bind", 2)]);

    let valid_until = binding.valid_until(binding.credential(2).unwrap());
    layer.submit(CredentialApplied { binding: id.clone(), generation: 2, valid_until, repaired: None }).unwrap();
    assert_eq!(layer.view.binding(&id).unwrap().current().unwrap().generation, 2);
    assert_eq!(generations(steps(&layer)), [("unbind", 1)], "of the old one the password is left");
    layer.submit(CredentialRemoved { binding: id.clone(), generation: 1 }).unwrap();
    assert_eq!(generations(steps(&layer)), []);

    // A rotation makes the next name; a new password under that one leaves the overlap as it is.
    let rotate = layer.rotate(&id);
    layer.submit(rotate).unwrap();
    layer.submit(CredentialApplied { binding: id.clone(), generation: 3, valid_until, repaired: None }).unwrap();
    let retire_at = layer.view.binding(&id).unwrap().credential(2).unwrap().retire_at;
    layer.now = layer.now.plus_seconds(1);
    let replace = layer.replace(&id);
    layer.submit(replace).unwrap();
    layer.submit(CredentialApplied { binding: id.clone(), generation: 4, valid_until, repaired: None }).unwrap();
    let binding = layer.view.binding(&id).unwrap();
    assert_eq!((binding.credential(4).unwrap().login(), binding.credential(2).unwrap().retire_at), (3, retire_at));
}

#[test]
fn statements_are_bounded_and_stay_with_the_binding() {
    let mut layer = with_shop();
    let mut bind = layer.bind("shop");
    for (statements, fits) in [
        (vec!["x".repeat(MAX_STATEMENTS_BYTES + 1)], false),
        (vec![String::new(); MAX_STATEMENTS + 1], false),
        (vec!["GRANT SELECT ON t TO \"{{name}}\"".to_owned()], true),
    ] {
        bind.statements = Some(statements);
        let code = layer.submit(bind.clone()).map(drop).map_err(|rejection| rejection.code());
        assert_eq!(code, if fits { Ok(()) } else { Err("statements_too_long") });
    }
    assert_eq!(layer.view.binding(&bind.id).unwrap().statements, bind.statements);
}

#[test]
fn what_happened_to_objects_is_told_to_the_tenant_of_their_instance_alone() {
    let mut layer = with_shop();
    let shop = layer.view.instance(&tenant(), &"shop".parse().unwrap()).unwrap().id.clone();
    let notification = |instance: &InstanceId| Notification {
        instance: instance.clone(),
        event: "s3:ObjectCreated:Put".to_owned(),
        configuration: "new-pictures".to_owned(),
        bucket: "shop-1".to_owned(),
        key: "a/b.png".to_owned(),
        version: None,
        size: Some(3),
        etag: Some("0".to_owned()),
        occurred_at: Timestamp::EPOCH,
        sequencer: 1,
    };
    let before = layer.view.sequence();
    let gone = InstanceId::from_random(7);
    let notifications =
        vec![(ObjectChange::Created, notification(&gone)), (ObjectChange::Removed, notification(&shop))];
    layer.submit(RecordObjects { notifications }).unwrap();
    assert_eq!(layer.kinds_after(before), ["v1.object.removed"]);
    let event = layer.events.last().unwrap();
    assert_eq!((event.tenant.clone(), event.subject.id.as_str()), (Some(tenant()), "shop-1/a/b.png"));
}

#[test]
fn a_scrub_is_recorded_with_each_damage_it_found() {
    let mut layer = Layer::new();
    let damage = ContentDamaged { reason: "a bit".to_owned(), instances: Vec::new(), objects: Vec::new() };
    let completed = ScrubCompleted { contents: 2, bytes: 10, damaged: 1 };
    layer.submit(RecordScrub { completed, damaged: vec![("blake3:00".to_owned(), damage)] }).unwrap();
    assert_eq!(layer.kinds_after(0), ["v1.content.damaged", "v1.scrub.completed"]);
    assert_eq!(layer.view.scrubbed_at(), Some(layer.now));
    let snapshot: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(snapshot, layer.view);
}
