//! What is there once it was asked for.

use mainstay_types::{ClusterName, InstanceName, TenantName};

use super::{
    Binding, BindingState, Cluster, ClusterState, Credential, Instance, InstanceState, Operation, OperationState,
    Recovery, Token,
};
use crate::event::{BindingRequested, ClusterRequested, Event, InstanceRequested, OperationStarted, TokenCreated};

/// The identifier of what an event is about.
pub(super) fn id<T: std::str::FromStr>(event: &Event) -> Option<T> {
    event.subject.id.parse().ok()
}

pub(super) fn requested_instance(
    event: &Event,
    tenant: TenantName,
    name: InstanceName,
    body: InstanceRequested,
) -> Instance {
    Instance {
        id: body.instance,
        tenant,
        name,
        environment: body.environment,
        contract: body.contract,
        engine: body.engine,
        plan: body.plan,
        cluster: body.cluster,
        parameters: body.parameters,
        state: InstanceState::Requested,
        reason: None,
        created_at: event.time,
        moving: None,
        recovery: Recovery::default(),
        unwanted_since: None,
        former: Vec::new(),
    }
}

pub(super) fn requested_cluster(event: &Event, name: ClusterName, body: ClusterRequested) -> Cluster {
    Cluster {
        name,
        tenant: event.tenant.clone(),
        engine: body.engine,
        plan: body.plan,
        node: body.node,
        port: body.port,
        parameters: body.parameters,
        state: ClusterState::Requested,
        reason: None,
        identity: None,
        version: None,
        created_at: event.time,
    }
}

pub(super) fn requested_binding(event: &Event, body: BindingRequested) -> Option<Binding> {
    Some(Binding {
        id: id(event)?,
        tenant: event.tenant.clone()?,
        instance: body.instance,
        instance_id: body.instance_id,
        consumer: body.consumer,
        state: BindingState::Requested,
        reason: None,
        lease_seconds: body.lease_seconds,
        expires_at: body.expires_at,
        created_at: event.time,
        credentials: vec![Credential {
            generation: 1,
            applied: None,
            retire_at: None,
            overlap_seconds: 0,
            login: None,
        }],
        statements: body.statements,
    })
}

pub(super) fn started_operation(event: &Event, body: OperationStarted) -> Option<Operation> {
    Some(Operation {
        id: id(event)?,
        tenant: event.tenant.clone()?,
        kind: body.kind,
        subject: body.subject,
        idempotency: body.idempotency,
        state: OperationState::InProgress,
        created_at: event.time,
        finished_at: None,
        detail: None,
    })
}

pub(super) fn created_token(event: &Event, body: TokenCreated) -> Option<Token> {
    Some(Token {
        id: id(event)?,
        role: body.role,
        tenant: body.tenant,
        digest: body.digest,
        created_at: event.time,
        expires_at: body.expires_at,
    })
}
