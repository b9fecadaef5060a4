//! What a file wants that is not so yet. Pure: the file and what exists go in, the changes come out.

use std::collections::BTreeMap;

use mainstay_types::{ASSERTIONS_PARAMETER, ContractRef, EngineName, EnvironmentName, InstanceName, Parameters, Plan};
use serde::Deserialize;

use super::file::Wanted;

/// An instance as the API lists it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Existing {
    pub name: InstanceName,
    pub contract: ContractRef,
    pub plan: Plan,
    pub engine: EngineName,
    pub environment: EnvironmentName,
    #[serde(default)]
    pub parameters: Parameters,
    pub state: String,
}

/// One difference between a file and what exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// It is missing: `apply` creates it.
    Create(&'a Wanted),
    /// Its drills ask something else than wanted, which is all that differs: `apply` changes that.
    Asserts { wanted: &'a Wanted, difference: Difference },
    /// It is there and other than wanted; an instance does not change in place.
    Differs { name: &'a InstanceName, fields: Vec<Difference> },
}

/// One field that is other than wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    field: String,
    is: String,
    wanted: String,
}

/// The changes that make what exists as the file wants it, in the order of the file.
///
/// What the file leaves out is the layer's choice and so never differs. Parameters are compared as a whole: one that
/// the file does not name should not be set.
pub(crate) fn changes<'a>(wanted: &'a [Wanted], existing: &[Existing]) -> Vec<Change<'a>> {
    let existing: BTreeMap<&InstanceName, &Existing> =
        existing.iter().filter(|instance| !instance.is_going()).map(|instance| (&instance.name, instance)).collect();
    let mut changes = Vec::new();
    for instance in wanted {
        match existing.get(&instance.name) {
            None => changes.push(Change::Create(instance)),
            Some(is) => {
                let mut fields = differences(instance, is);
                match fields.pop() {
                    None => {}
                    Some(difference) if fields.is_empty() && difference.is_of_assertions() => {
                        changes.push(Change::Asserts { wanted: instance, difference });
                    }
                    Some(last) => {
                        fields.push(last);
                        changes.push(Change::Differs { name: &instance.name, fields });
                    }
                }
            }
        }
    }
    changes
}

fn differences(wanted: &Wanted, is: &Existing) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut compare = |field: &str, is: Option<&str>, wanted: Option<&str>| {
        if is != wanted {
            let text = |value: Option<&str>| value.unwrap_or("(not set)").to_owned();
            differences.push(Difference { field: field.to_owned(), is: text(is), wanted: text(wanted) });
        }
    };
    let mut compare_if_named = |field: &str, is: &str, wanted: Option<&str>| {
        if wanted.is_some() {
            compare(field, Some(is), wanted);
        }
    };
    compare_if_named("contract", is.contract.as_str(), Some(wanted.contract.as_str()));
    compare_if_named("plan", is.plan.as_str(), wanted.plan.map(Plan::as_str));
    compare_if_named("engine", is.engine.as_str(), wanted.engine.as_ref().map(EngineName::as_str));
    compare_if_named("environment", is.environment.as_str(), wanted.environment.as_ref().map(EnvironmentName::as_str));
    let mut names: Vec<&str> = is.parameters.iter().chain(wanted.parameters.iter()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        compare(&format!("parameters.{name}"), is.parameters.get(name), wanted.parameters.get(name));
    }
    differences
}

// === impl Difference ===

impl Difference {
    fn is_of_assertions(&self) -> bool {
        self.field.strip_prefix("parameters.") == Some(ASSERTIONS_PARAMETER)
    }

    fn line(&self, name: &InstanceName) -> String {
        let flat = |text: &str| text.replace('\n', "; ");
        format!("~ {name} {}: {} -> {}\n", self.field, flat(&self.is), flat(&self.wanted))
    }
}

// === impl Existing ===

impl Existing {
    /// Whether it is being deleted: its name is not free yet, and it is not what anybody wants.
    pub fn is_going(&self) -> bool {
        self.state == "deleting"
    }
}

impl From<Existing> for Wanted {
    fn from(existing: Existing) -> Self {
        let Existing { name, contract, plan, engine, environment, parameters, .. } = existing;
        Wanted { name, contract, plan: Some(plan), engine: Some(engine), environment: Some(environment), parameters }
    }
}

// === impl Change ===

impl Change<'_> {
    /// As `diff` shows it: a line for what is added, or one for each field that differs.
    pub fn lines(&self) -> String {
        match self {
            Self::Create(wanted) => {
                let plan = wanted.plan.map(|plan| format!(" {plan}")).unwrap_or_default();
                format!("+ {} {}{plan}\n", wanted.name, wanted.contract)
            }
            Self::Asserts { wanted, difference } => difference.line(&wanted.name),
            Self::Differs { name, fields } => fields.iter().map(|field| field.line(name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Existing, changes};
    use crate::manifest::file::{Wanted, parse, print};

    fn existing(json: &str) -> Vec<Existing> {
        serde_json::from_str(json).unwrap()
    }

    fn check(instances: &str, json: &str, expected: &str) {
        let wanted = parse(&format!("apiVersion: mainstay/v1\ninstances:\n{instances}")).unwrap();
        let shown: String = changes(&wanted, &existing(json)).iter().map(|change| change.lines()).collect();
        assert_eq!(shown, expected);
    }

    const SHOP: &str = r#"[{"name":"shop","contract":"postgresql/v1","plan":"shared","engine":"postgresql",
        "environment":"default","parameters":{"a":"1"},"state":"ready","unknown":1}]"#;

    #[test]
    fn what_is_missing_is_created() {
        check("- {name: shop, contract: postgresql/v1, plan: shared}", "[]", "+ shop postgresql/v1 shared\n");
        let going = SHOP.replace("ready", "deleting");
        check("- {name: shop, contract: postgresql/v1}", &going, "+ shop postgresql/v1\n");
    }

    #[test]
    fn what_is_left_out_does_not_differ() {
        check("- {name: shop, contract: postgresql/v1, parameters: {a: 1}}", SHOP, "");
    }

    #[test]
    fn every_field_that_differs_is_named() {
        check(
            "- {name: shop, contract: redis/v1, plan: dedicated, engine: valkey, environment: prod, parameters: {b: 2}}",
            SHOP,
            "~ shop contract: postgresql/v1 -> redis/v1\n\
             ~ shop plan: shared -> dedicated\n\
             ~ shop engine: postgresql -> valkey\n\
             ~ shop environment: default -> prod\n\
             ~ shop parameters.a: 1 -> (not set)\n\
             ~ shop parameters.b: (not set) -> 2\n",
        );
    }

    #[test]
    fn what_drills_ask_can_be_changed() {
        let asserted = |text: &str| SHOP.replace(r#""a":"1""#, &format!(r#""a":"1","drill.assertions":"{text}""#));
        let wanted = "- {name: shop, contract: postgresql/v1, parameters: {a: 1, drill.assertions: 'SELECT 1=>1'}}";
        check(wanted, &asserted("SELECT 1 => 1"), "");
        check(
            wanted,
            &asserted("a => b\\nc => d"),
            "~ shop parameters.drill.assertions: a => b; c => d -> SELECT 1 => 1\n",
        );
        check(wanted, SHOP, "~ shop parameters.drill.assertions: (not set) -> SELECT 1 => 1\n");
        let file = format!("apiVersion: mainstay/v1\ninstances:\n{wanted}");
        let read = parse(&file).unwrap();
        assert!(matches!(&changes(&read, &existing(SHOP))[..], [Change::Asserts { .. }]));
        let other = SHOP.replace(r#""a":"1""#, r#""a":"2""#);
        assert!(
            matches!(&changes(&read, &existing(&other))[..], [Change::Differs { fields, .. }] if fields.len() == 2)
        );
        let exported: Vec<Wanted> = existing(&asserted("x => y\\nz => ")).into_iter().map(Wanted::from).collect();
        let read = parse(&print(&exported).unwrap()).unwrap();
        assert_eq!(changes(&read, &existing(&asserted("x => y\\nz => "))), []);
    }

    #[test]
    fn an_export_equals_what_exists() {
        let exported: Vec<Wanted> = existing(SHOP).into_iter().map(Wanted::from).collect();
        let read = parse(&print(&exported).unwrap()).unwrap();
        assert_eq!(changes(&read, &existing(SHOP)), []);
    }
}
