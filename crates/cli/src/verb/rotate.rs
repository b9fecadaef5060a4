use clap::Args;
use mainstay_types::BindingId;
use serde::Serialize;

use crate::delivery::DeliveryFlags;
use crate::duration::Seconds;
use crate::failure::Failure;
use crate::session::Session;

#[derive(Args)]
pub struct Rotate {
    /// The binding (see `mainstay bindings NAME`)
    binding: BindingId,

    /// How long the old credentials serve on, for example 1h [default: what the layer grants]
    #[arg(long, value_name = "DURATION")]
    overlap: Option<Seconds>,

    #[command(flatten)]
    delivery: DeliveryFlags,
}

#[derive(Serialize)]
struct Rotation {
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Seconds>,
}

impl Rotate {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let delivery = self.delivery.meaning(session.format)?;
        let body = Rotation { overlap: self.overlap };
        delivery.deliver(&session.client.post_until_done(&format!("/bindings/{}/rotate", self.binding), &body)?)
    }
}
