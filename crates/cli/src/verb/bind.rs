use clap::Args;
use mainstay_types::{ConsumerName, InstanceName};
use serde::Serialize;

use crate::delivery::DeliveryFlags;
use crate::duration::Seconds;
use crate::failure::Failure;
use crate::output;
use crate::resource::Bound;
use crate::session::Session;

#[derive(Args)]
pub struct Bind {
    /// The instance
    name: InstanceName,

    /// The application that the credentials are for: a DNS label
    #[arg(long, value_name = "APP")]
    consumer: ConsumerName,

    /// How long they serve unless renewed, for example 24h or 7d [default: what the layer grants]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<Seconds>,

    #[command(flatten)]
    delivery: DeliveryFlags,
}

/// The body of a request for a binding.
#[derive(Serialize)]
pub(crate) struct NewBinding<'a> {
    pub consumer: &'a ConsumerName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Seconds>,
}

impl Bind {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let delivery = self.delivery.meaning(session.format)?;
        let body = NewBinding { consumer: &self.consumer, ttl: self.ttl };
        let answer = session.client.post_until_done(&format!("/instances/{}/bindings", self.name), &body)?;
        let delivered = delivery.deliver(&answer);
        if delivered.is_err() {
            // Credentials that reached nobody are not left behind. Where this fails too, their lease ends them.
            let bound: Bound = output::read(&answer)?;
            let _ = session.client.delete(&format!("/bindings/{}", bound.id), &[]);
        }
        delivered
    }
}
