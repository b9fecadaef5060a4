//! The journal as the witness of what happens to secret custody.

use async_trait::async_trait;
use mainstay_control::Control;
use mainstay_domain::command::{CustodyChange, RecordCustody};
use mainstay_domain::event::Actor;
use mainstay_secrets::{CustodyEvent, Witness};
use mainstay_secrets_engine::Fault;

pub(super) struct JournalWitness {
    control: Control,
}

impl JournalWitness {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[async_trait]
impl Witness for JournalWitness {
    fn position(&self) -> u64 {
        self.control.view().custody_position()
    }

    async fn record(&self, event: CustodyEvent, position: u64) -> Result<(), Fault> {
        let change = match event {
            CustodyEvent::Initialized => CustodyChange::Initialized,
            CustodyEvent::Unsealed => CustodyChange::Unsealed,
            CustodyEvent::Sealed => CustodyChange::Sealed,
            CustodyEvent::KeyRotated => CustodyChange::KeyRotated,
            CustodyEvent::Rekeyed => CustodyChange::Rekeyed,
            CustodyEvent::Restored => CustodyChange::Restored,
            CustodyEvent::Witnessed => CustodyChange::Witnessed,
        };
        self.control.submit(Actor::System, RecordCustody { change, position }).await?;
        Ok(())
    }
}
