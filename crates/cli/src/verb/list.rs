use clap::Args;
use mainstay_types::{ContractRef, EnvironmentName};

use crate::failure::Failure;
use crate::resource::Instance;
use crate::session::Session;

#[derive(Args)]
pub struct List {
    /// Only instances of this contract, for example postgresql/v1
    #[arg(long)]
    contract: Option<ContractRef>,

    /// Only instances of this environment
    #[arg(long)]
    environment: Option<EnvironmentName>,
}

impl List {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let contract = self.contract.as_ref().map(|contract| ("contract", contract.as_str()));
        let environment = self.environment.as_ref().map(|environment| ("environment", environment.as_str()));
        let query: Vec<(&str, &str)> = contract.into_iter().chain(environment).collect();
        session.print_list::<Instance>("/instances", &query)
    }
}
