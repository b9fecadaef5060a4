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
    /// The engines whose clusters a cluster of this one can take over from while they are used, itself among them where
    /// it can follow its own; empty where instances can not be moved to it.
    pub follows: Vec<EngineName>,
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
    /// One of some words, the default one first.
    Choice(&'static [&'static str]),
}

impl ParameterKind {
    /// Whether a value is one of those, and if not, which are.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self {
            ParameterKind::Integer { min, max } => match value.parse::<i64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(()),
                _ => Err(format!("a whole number from {min} to {max}")),
            },
            ParameterKind::Choice(choices) if choices.contains(&value) => Ok(()),
            ParameterKind::Choice(choices) => Err(format!("one of {}", choices.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ParameterKind;

    #[test]
    fn a_value_is_one_of_its_kind() {
        let number = ParameterKind::Integer { min: 1, max: 9 };
        assert_eq!(number.check("9"), Ok(()));
        assert_eq!(number.check("10"), Err("a whole number from 1 to 9".to_owned()));
        let choice = ParameterKind::Choice(&["off", "on"]);
        assert_eq!(choice.check("on"), Ok(()));
        assert_eq!(choice.check("On"), Err("one of off, on".to_owned()));
    }
}
