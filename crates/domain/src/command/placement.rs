//! Where an instance is put: with which offering, on which plan, at which port.

use std::collections::BTreeSet;

use mainstay_types::{ASSERTIONS_PARAMETER, ContractRef, EngineName, Offering, Parameters, Plan};

use super::{Context, Rejection};
use crate::view::View;

/// The offering that is asked for: the first of the contract where no engine is named.
pub(super) fn offering<'a>(
    context: &'a Context,
    contract: &ContractRef,
    engine: Option<&EngineName>,
) -> Result<&'a Offering, Rejection> {
    let of_contract: Vec<_> = context.offerings.iter().filter(|offering| offering.contract == *contract).collect();
    if of_contract.is_empty() {
        let mut known: Vec<_> = context.offerings.iter().map(|offering| offering.contract.clone()).collect();
        known.dedup();
        return Err(Rejection::UnknownContract { contract: contract.clone(), known });
    }
    match engine {
        None => Ok(of_contract[0]),
        Some(engine) => of_contract.iter().copied().find(|offering| offering.engine == *engine).ok_or_else(|| {
            Rejection::UnknownEngine {
                engine: engine.clone(),
                contract: contract.clone(),
                known: of_contract.iter().map(|offering| offering.engine.clone()).collect(),
            }
        }),
    }
}

/// The plan that is asked for: the offering's first where none is named.
pub(super) fn plan(offering: &Offering, wanted: Option<Plan>) -> Result<Plan, Rejection> {
    match wanted {
        Some(plan) if !offering.plans.contains(&plan) => {
            Err(Rejection::UnknownPlan { plan, engine: offering.engine.clone(), known: offering.plans.clone() })
        }
        Some(plan) => Ok(plan),
        None => Ok(offering.plans.first().copied().unwrap_or(Plan::Shared)),
    }
}

/// Whether an offering takes these parameters on a plan.
pub(super) fn check_parameters(offering: &Offering, plan: Plan, parameters: &Parameters) -> Result<(), Rejection> {
    let of_plan = || offering.parameters.iter().filter(move |spec| spec.plans.contains(&plan));
    for (name, value) in parameters.iter() {
        let spec = of_plan().find(|spec| spec.name == name).ok_or_else(|| Rejection::UnknownParameter {
            name: name.to_owned(),
            engine: offering.engine.clone(),
            plan,
            known: of_plan().map(|spec| spec.name).chain([ASSERTIONS_PARAMETER]).collect(),
        })?;
        spec.kind.check(value).map_err(|expected| Rejection::InvalidParameter {
            name: name.to_owned(),
            value: value.to_owned(),
            expected,
        })?;
    }
    Ok(())
}

/// The lowest port that neither a cluster nor anything else on the machine has.
pub(super) fn free_port(view: &View, context: &Context, busy: &BTreeSet<u16>) -> Result<u16, Rejection> {
    let allocated: BTreeSet<u16> = view.clusters().map(|cluster| cluster.port).collect();
    let ports = context.dedicated_ports.clone();
    ports
        .clone()
        .find(|port| !allocated.contains(port) && !busy.contains(port))
        .ok_or(Rejection::PortsExhausted { first: *ports.start(), last: *ports.end() })
}
