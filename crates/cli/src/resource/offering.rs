use serde::Deserialize;

use super::Resource;
use crate::output::Cell;

#[derive(Deserialize)]
pub(crate) struct Offering {
    contract: String,
    engine: String,
    version: Option<String>,
    available: bool,
    reason: Option<String>,
    remedy: Option<String>,
    #[serde(default)]
    plans: Vec<String>,
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
}

impl Resource for Offering {
    const PLURAL: &'static str = "offerings";
    const COLUMNS: &'static [&'static str] =
        &["CONTRACT", "ENGINE", "VERSION", "AVAILABLE", "PLANS", "PARAMETERS", "REMEDY"];

    fn cells(&self) -> Vec<Cell> {
        let parameters: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let missing = [&self.reason, &self.remedy].into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
        let unless_empty = |text: String| Cell::from(Some(text).filter(|text| !text.is_empty()));
        vec![
            self.contract.as_str().into(),
            self.engine.as_str().into(),
            self.version.as_deref().into(),
            Cell::State(if self.available { "yes" } else { "no" }.to_owned()),
            unless_empty(self.plans.join(",")),
            unless_empty(parameters.join(",")),
            unless_empty(missing),
        ]
    }
}
