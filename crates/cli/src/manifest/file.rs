//! The file: YAML, read strictly, with every mistake and its line at once.
//!
//! ```yaml
//! apiVersion: mainstay/v1
//! instances:
//!   - name: shop
//!     contract: postgresql/v1
//!     plan: shared              # and engine, environment, parameters: what is left out is the layer's choice
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mainstay_types::{
    ASSERTIONS_PARAMETER, Assertions, ContractRef, EngineName, EnvironmentName, InstanceName, Parameters, Plan,
};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::{Location, Spanned};

const API_VERSION: &str = "mainstay/v1";

/// The longest file in bytes: some ten thousand instances.
pub(crate) const LONGEST: usize = 2 << 20;

/// An instance that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wanted {
    pub name: InstanceName,
    pub contract: ContractRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

/// What is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    line: u64,
    what: String,
}

/// Any YAML, with the line of every value, so that what does not belong is found with everything else that is wrong.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Node(Spanned<Value>);

#[derive(Debug)]
enum Value {
    Nothing,
    Scalar(String),
    List(Vec<Node>),
    Members(Vec<(Spanned<String>, Node)>),
}

/// Reads a file; either it is good as a whole or every mistake of it is named.
pub(crate) fn parse(text: &str) -> Result<Vec<Wanted>, Vec<Mistake>> {
    let root: Node = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        vec![Mistake { line, what: error.without_snippet().to_string() }]
    })?;
    let mut mistakes = Vec::new();
    let mut fields = Fields::of(&root, "the file", &mut mistakes);
    let version = fields.text("apiVersion", &mut mistakes);
    if version.as_ref().is_none_or(|(text, _)| text != API_VERSION) {
        let line = version.map_or(1, |(_, line)| line);
        mistakes.push(Mistake { line, what: format!("apiVersion must be {API_VERSION}") });
    }
    let instances = match fields.take("instances") {
        Some(Node(Spanned { value: Value::List(nodes), .. })) => nodes.as_slice(),
        Some(Node(Spanned { value: Value::Nothing, .. })) => &[],
        Some(node) => {
            mistakes.push(Mistake::at(node, "instances must be a list"));
            &[]
        }
        None => {
            mistakes.push(Mistake { line: 1, what: "instances is missing".to_owned() });
            &[]
        }
    };
    fields.refuse_rest(&["apiVersion", "instances"], &mut mistakes);

    let mut wanted: Vec<Wanted> = Vec::with_capacity(instances.len());
    let mut lines: BTreeMap<InstanceName, u64> = BTreeMap::new();
    for node in instances {
        let Some(instance) = instance(node, &mut mistakes) else { continue };
        let line = node.line();
        match lines.get(&instance.name) {
            Some(first) => {
                let what = format!("instance {} is in the file already, on line {first}", instance.name);
                mistakes.push(Mistake { line, what });
            }
            None => {
                lines.insert(instance.name.clone(), line);
                wanted.push(instance);
            }
        }
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() { Ok(wanted) } else { Err(mistakes) }
}

/// Writes a file that [`parse`] reads back as the same instances.
pub(crate) fn print(instances: &[Wanted]) -> Result<String, serde_saphyr::SerializeError> {
    #[derive(Serialize)]
    struct File<'a> {
        #[serde(rename = "apiVersion")]
        api_version: &'a str,
        instances: &'a [Wanted],
    }
    serde_saphyr::to_string(&File { api_version: API_VERSION, instances })
}

fn instance(node: &Node, mistakes: &mut Vec<Mistake>) -> Option<Wanted> {
    let before = mistakes.len();
    let mut fields = Fields::of(node, "an instance", mistakes);
    let name = fields.required("name", mistakes);
    let contract = fields.required("contract", mistakes);
    let plan = fields.optional("plan", mistakes);
    let engine = fields.optional("engine", mistakes);
    let environment = fields.optional("environment", mistakes);
    let parameters = fields.take("parameters").map(|node| parameters(node, mistakes)).unwrap_or_default();
    fields.refuse_rest(&["name", "contract", "plan", "engine", "environment", "parameters"], mistakes);
    if mistakes.len() > before {
        return None;
    }
    Some(Wanted { name: name?, contract: contract?, plan, engine, environment, parameters })
}

fn parameters(node: &Node, mistakes: &mut Vec<Mistake>) -> Parameters {
    let mut fields = Fields::of(node, "parameters", mistakes);
    let names: Vec<String> = fields.rest.iter().map(|(name, _)| name.value.clone()).collect();
    let mut read = |name: String| {
        let (value, line) = fields.text(&name, mistakes)?;
        if name != ASSERTIONS_PARAMETER {
            return Some((name, value));
        }
        // As the layer shows them, so that spaces make no difference.
        match value.parse::<Assertions>() {
            Ok(assertions) => Some((name, assertions.to_string())),
            Err(error) => {
                mistakes.push(Mistake { line, what: format!("{name} takes {error}") });
                None
            }
        }
    };
    // None at all is how it is without the parameter.
    names
        .into_iter()
        .filter_map(&mut read)
        .filter(|(name, value)| name != ASSERTIONS_PARAMETER || !value.is_empty())
        .collect()
}

/// The members of a mapping that nobody has asked for yet.
struct Fields<'a> {
    /// Where the mapping begins.
    line: u64,
    rest: Vec<(&'a Spanned<String>, &'a Node)>,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn of(node: &'a Node, what: &str, mistakes: &mut Vec<Mistake>) -> Self {
        let rest = match &node.0.value {
            Value::Members(members) => members.iter().map(|(name, value)| (name, value)).collect(),
            Value::Nothing => Vec::new(),
            _ => {
                mistakes.push(Mistake::at(node, &format!("{what} must be a mapping of names to values")));
                Vec::new()
            }
        };
        Self { line: node.line(), rest }
    }

    fn take(&mut self, name: &str) -> Option<&'a Node> {
        let index = self.rest.iter().position(|(field, _)| field.value == name)?;
        Some(self.rest.remove(index).1)
    }

    fn text(&mut self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<(String, u64)> {
        let node = self.take(name)?;
        match &node.0.value {
            Value::Scalar(text) => Some((text.clone(), node.line())),
            _ => {
                mistakes.push(Mistake::at(node, &format!("{name} must be text or a number")));
                None
            }
        }
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<T> {
        let (text, line) = self.text(name, mistakes)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                mistakes.push(Mistake { line, what: error.to_string() });
                None
            }
        }
    }

    fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<T> {
        if self.rest.iter().all(|(field, _)| field.value != name) {
            mistakes.push(Mistake { line: self.line, what: format!("{name} is missing") });
        }
        self.optional(name, mistakes)
    }

    fn refuse_rest(&self, known: &[&str], mistakes: &mut Vec<Mistake>) {
        for (name, _) in &self.rest {
            let what = format!("{} is not known here; known are {}", name.value, known.join(", "));
            mistakes.push(Mistake { line: line_of(&name.referenced), what });
        }
    }
}

// === impl Mistake ===

impl Mistake {
    fn at(node: &Node, what: &str) -> Self {
        Self { line: node.line(), what: what.to_owned() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

// === impl Node ===

impl Node {
    fn line(&self) -> u64 {
        line_of(&self.0.referenced)
    }
}

fn line_of(location: &Location) -> u64 {
    location.line()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Nothing)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Scalar(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Scalar(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = list.next_element()? {
                    nodes.push(node);
                }
                Ok(Value::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Value::Members(members))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, print};

    const GOOD: &str = "\
apiVersion: mainstay/v1
instances:
  - name: shop
    contract: postgresql/v1
    plan: dedicated
    engine: postgresql
    environment: prod
    parameters:
      max_connections: 200
      note: 'yes'
  - {name: '12', contract: redis/v1}
";

    #[test]
    fn what_is_printed_is_read_back() {
        let wanted = parse(GOOD).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(wanted.len(), 2);
        assert_eq!(wanted[0].parameters.get("max_connections"), Some("200"));
        assert_eq!(wanted[1].name.as_str(), "12");
        let printed = print(&wanted).unwrap();
        assert!(printed.starts_with("apiVersion: mainstay/v1\ninstances:\n"), "{printed}");
        assert_eq!(parse(&printed).unwrap(), wanted, "{printed}");
        assert_eq!(parse("apiVersion: mainstay/v1\ninstances: []\n").unwrap(), []);
        assert_eq!(parse(&print(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn assertions_are_read_as_the_layer_shows_them() {
        let text = "\
apiVersion: mainstay/v1
instances:
  - name: shop
    contract: postgresql/v1
    parameters:
      drill.assertions: |
        SELECT count(*) > 0 FROM orders=>t

        SELECT 1   =>   1
  - {name: blog, contract: postgresql/v1, parameters: {drill.assertions: ''}}
";
        let wanted = parse(text).unwrap();
        let asserted = wanted[0].parameters.get("drill.assertions");
        assert_eq!(asserted, Some("SELECT count(*) > 0 FROM orders => t\nSELECT 1 => 1"));
        assert!(wanted[1].parameters.is_empty());
        assert_eq!(parse(&print(&wanted).unwrap()).unwrap(), wanted);
        let mistakes = parse(&text.replace("SELECT 1   =>   1", "SELECT 1")).unwrap_err();
        assert!(
            mistakes[0].to_string().contains("drill.assertions takes lines of the form QUERY=>ANSWER"),
            "{mistakes:?}"
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = "\
apiVersion: mainstay/v2
color: blue
instances:
  - name: Shop
    contract: postgresql/v1
    plan: big
    sise: 3
  - contract: postgres
  - name: [a]
    contract: redis/v1
  - nonsense
  - {name: a, contract: redis/v1}
  - {name: a, contract: redis/v1, parameters: {x: {}}}
";
        let mistakes = parse(text).unwrap_err();
        let shown: Vec<String> = mistakes.iter().map(|mistake| mistake.to_string()).collect();
        let expected = [
            "line 1: apiVersion must be mainstay/v1",
            "line 2: color is not known here; known are apiVersion, instances",
            "line 4: instance name \"Shop\" is not valid: use 1 to 63 lowercase",
            "line 6: plan \"big\" is not valid: the plans are shared and dedicated",
            "line 7: sise is not known here",
            "line 8: name is missing",
            "line 8: contract \"postgres\" is not valid",
            "line 9: name must be text or a number",
            "line 11: an instance must be a mapping",
            "line 13: x must be text or a number",
        ];
        for expected in expected {
            assert!(shown.iter().any(|line| line.starts_with(expected)), "{expected}\nnot in\n{}", shown.join("\n"));
        }
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        for text in ["a: [", "a: 1\na: 2", "\t- x", "", "[]", "just text", "a: &x 1\nb: *y"] {
            assert!(!parse(text).unwrap_err().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn one_instance_stands_in_a_file_once() {
        let text =
            "apiVersion: mainstay/v1\ninstances:\n- {name: a, contract: redis/v1}\n- {name: a, contract: redis/v1}\n";
        let mistakes = parse(text).unwrap_err();
        assert_eq!(mistakes[0].to_string(), "line 4: instance a is in the file already, on line 3");
    }
}
