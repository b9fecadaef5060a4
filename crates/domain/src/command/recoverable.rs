//! What has to be true of an instance that is backed up, brought back or drilled.

use mainstay_types::{InstanceName, TenantName};

use super::{Context, Rejection};
use crate::view::{Instance, InstanceState, View, VisibleState};

/// The instance, if the layer can back it up and nothing else is being done with it.
pub(super) fn instance<'a>(
    view: &'a View,
    context: &Context,
    tenant: &TenantName,
    name: &InstanceName,
) -> Result<&'a Instance, Rejection> {
    let instance = view.instance(tenant, name).ok_or_else(|| Rejection::InstanceNotFound { name: name.clone() })?;
    refuse_unkept(context, instance)?;
    let name = || name.clone();
    if instance.moving.is_some() {
        return Err(Rejection::InstanceMoving { name: name() });
    }
    if instance.recovery.restoring.is_some() {
        return Err(Rejection::InstanceRestoring { name: name() });
    }
    if instance.state == InstanceState::Deleting {
        return Err(Rejection::InstanceDeleting { name: name() });
    }
    Ok(instance)
}

/// Refuses an instance whose engine's data can not be backed up here.
pub(super) fn refuse_unkept(context: &Context, instance: &Instance) -> Result<(), Rejection> {
    match context.recovery.of(&instance.engine) {
        Some(_) => Ok(()),
        None if context.recovery.is_off() => Err(Rejection::NoRepository),
        None => Err(Rejection::NotRecoverable { name: instance.name.clone(), engine: instance.engine.clone() }),
    }
}

/// Refuses an instance that does not serve.
pub(super) fn refuse_not_serving(view: &View, instance: &Instance) -> Result<(), Rejection> {
    let name = instance.name.clone();
    let cluster = view.cluster(&instance.cluster).map(|cluster| &**cluster);
    match instance.visible_state(cluster) {
        (VisibleState::Ready | VisibleState::Degraded, _) => Ok(()),
        (VisibleState::Failed, reason) => {
            Err(Rejection::InstanceFailed { name, reason: reason.unwrap_or_default().to_owned() })
        }
        (state, _) => Err(Rejection::InstanceNotReady { name, state }),
    }
}
