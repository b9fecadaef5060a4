use clap::Args;
use mainstay_types::{ContractRef, EngineName, EnvironmentName, InstanceName, Plan};

use crate::failure::Failure;
use crate::manifest::Wanted;
use crate::operation;
use crate::resource;
use crate::session::Session;

/// What was typed.
#[derive(Args)]
pub struct Create {
    /// What it is to speak, for example postgresql/v1 (see `mainstay offerings`)
    contract: ContractRef,

    /// What to call it: a DNS label
    name: InstanceName,

    /// What it is promised: shared or dedicated [default: the contract's first plan]
    #[arg(long)]
    plan: Option<Plan>,

    /// The engine to provide it with [default: the contract's first one]
    #[arg(long)]
    engine: Option<EngineName>,

    /// The environment that it belongs to [default: default]
    #[arg(long)]
    environment: Option<EnvironmentName>,

    /// A parameter (see `mainstay offerings -o json`); may be given more than once
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

impl Create {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let no_wait = self.no_wait;
        let instance = self.meaning()?;
        let query: &[(&str, &str)] = if no_wait { &[] } else { &[("wait", operation::WAIT)] };
        let answer = session.client.post("/instances", query, &instance)?;
        if no_wait {
            return session.print_one::<resource::Operation>(&answer);
        }
        operation::follow(&session.client, &format!("creating {}", instance.name), &answer)?;
        session.print_one::<resource::Instance>(&session.client.get(&format!("/instances/{}", instance.name), &[])?)
    }

    /// What it means: the body of the request.
    fn meaning(self) -> Result<Wanted, Failure> {
        let Self { contract, name, plan, engine, environment, parameters, .. } = self;
        for (index, (parameter, _)) in parameters.iter().enumerate() {
            if parameters[..index].iter().any(|(earlier, _)| earlier == parameter) {
                return Err(Failure::usage(format!("--set {parameter} is given more than once; give it once")));
            }
        }
        let parameters = parameters.into_iter().collect();
        Ok(Wanted { name, contract, plan, engine, environment, parameters })
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Create;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn body(arguments: &[&str]) -> Result<String, String> {
        let line = Line::try_parse_from([&["create"], arguments].concat()).map_err(|error| error.to_string())?;
        let meaning = line.create.meaning().map_err(|failure| failure.to_string())?;
        Ok(serde_json::to_string(&meaning).unwrap())
    }

    #[test]
    fn what_was_typed_becomes_the_request() {
        assert_eq!(body(&["postgresql/v1", "shop"]).unwrap(), r#"{"name":"shop","contract":"postgresql/v1"}"#);
        let all = "postgresql/v1 shop --plan dedicated --engine postgresql --environment dev --set a=1 --set b=x=y";
        assert_eq!(
            body(&all.split(' ').collect::<Vec<_>>()).unwrap(),
            r#"{"name":"shop","contract":"postgresql/v1","plan":"dedicated","engine":"postgresql","environment":"dev","parameters":{"a":"1","b":"x=y"}}"#
        );
    }

    #[test]
    fn mistakes_name_the_rule() {
        let cases: [(&[&str], &str); 5] = [
            (&["postgresql/v1", "Shop"], "use 1 to 63 lowercase letters"),
            (&["postgres", "shop"], "write it as PROTOCOL/vN"),
            (&["postgresql/v1", "shop", "--plan", "big"], "the plans are shared and dedicated"),
            (&["postgresql/v1", "shop", "--set", "a"], "write it as NAME=VALUE"),
            (&["postgresql/v1", "shop", "--set", "a=1", "--set", "a=2"], "--set a is given more than once"),
        ];
        for (arguments, expected) in cases {
            let error = body(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
