use clap::Args;
use mainstay_types::{Assertion, InstanceName};
use serde::{Deserialize, Serialize};

use crate::duration::Seconds;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource;
use crate::session::Session;

/// What was typed.
#[derive(Args)]
pub struct Protect {
    /// The instance
    name: InstanceName,

    /// How often it is backed up, for example 6h [default: 24h]
    #[arg(long, value_name = "DURATION")]
    backup_every: Option<Seconds>,

    /// How often its newest recovery point is tried, for example 30d [default: 7d]
    #[arg(long, value_name = "DURATION")]
    drill_every: Option<Seconds>,

    /// Keep so many of the newest backups [default: 3]
    #[arg(long, value_name = "COUNT")]
    keep_last: Option<u32>,

    /// Keep the newest backup of so many days [default: 7]
    #[arg(long, value_name = "COUNT")]
    keep_daily: Option<u32>,

    /// Keep the newest backup of so many weeks [default: 4]
    #[arg(long, value_name = "COUNT")]
    keep_weekly: Option<u32>,

    /// Keep the newest backup of so many months of thirty days [default: 6]
    #[arg(long, value_name = "COUNT")]
    keep_monthly: Option<u32>,

    /// What each drill asks of the data that came back, and what it has to answer; may be given more than once
    ///
    /// For example: --assert 'SELECT count(*) > 0 FROM orders=>t'
    #[arg(long = "assert", value_name = "QUERY=>ANSWER")]
    assertions: Vec<Assertion>,
}

/// What it means: the body of the request, and a part of what the API answers.
#[derive(Serialize, Deserialize)]
pub(super) struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_every_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drill_every_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_daily: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_weekly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_monthly: Option<u32>,
    pub(super) assertions: Vec<Assertion>,
}

impl Protect {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let path = format!("/instances/{}/recovery", self.name);
        let policy = Policy {
            backup_every_seconds: self.backup_every.map(Seconds::get),
            drill_every_seconds: self.drill_every.map(Seconds::get),
            keep_last: self.keep_last,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            assertions: self.assertions,
        };
        let answer = session.client.put(&path, &policy)?;
        match session.format() {
            Format::Table => {
                output::message(&format!("{} is protected so from now on; its next drill is due.", self.name));
                session.print_one::<resource::Instance>(&session.client.get(&format!("/instances/{}", self.name), &[])?)
            }
            format => output::write(&output::document(&answer, format)?),
        }
    }
}
