//! What an engine can provide, said in a form that pure decisions can use.

use crate::{ContractRef, EngineName, Plan};

/// A contract as one engine of this installation can provide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offering {
    pub contract: ContractRef,
    pub engine: EngineName,
    /// The plans, the default one first.
    pub plans: Vec<Plan>,
    pub parameters: Vec<ParameterSpec>,
    /// The port of the cluster that instances of plan `shared` live on.
    pub shared_port: u16,
}

/// One parameter that an instance can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    pub name: &'static str,
    /// What it does, in one sentence, with its unit.
    pub description: &'static str,
    pub kind: ParameterKind,
    /// The plans that know it.
    pub plans: &'static [Plan],
}

/// The values that a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// A whole number in a closed range.
    Integer { min: i64, max: i64 },
}

impl ParameterKind {
    /// Whether a value is one of those, and if not, which are.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self {
            ParameterKind::Integer { min, max } => match value.parse::<i64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(()),
                _ => Err(format!("a whole number from {min} to {max}")),
            },
        }
    }
}
