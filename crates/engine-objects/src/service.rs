//! Whether requests are let in.

use tokio::sync::watch;

/// Whether the object store serves, which whoever listens for its clients follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// Requests are let in.
    Open,
    /// Nobody is, and why.
    Closed { cause: String },
}

/// The one switch that says so.
#[derive(Debug)]
pub(crate) struct Switch(watch::Sender<Service>);

impl Switch {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Service::closed("it was not started yet")))
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Service> {
        self.0.subscribe()
    }

    /// Lets requests in, and says whether they were before.
    pub(crate) fn open(&self) -> bool {
        self.0.send_replace(Service::Open) == Service::Open
    }

    /// Shuts requests out; the first cause stays.
    pub(crate) fn close(&self, cause: &str) {
        self.0.send_if_modified(|service| {
            let open = *service == Service::Open;
            if open {
                *service = Service::closed(cause);
            }
            open
        });
    }

    /// Why it does not serve, where it does not.
    pub(crate) fn closed_because(&self) -> Option<String> {
        match &*self.0.borrow() {
            Service::Open => None,
            Service::Closed { cause } => Some(cause.clone()),
        }
    }
}

impl Service {
    fn closed(cause: &str) -> Self {
        Self::Closed { cause: cause.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Service, Switch};

    #[test]
    fn the_first_cause_stays() {
        let switch = Switch::new();
        let follower = switch.follow();
        assert!(!switch.open() && switch.open());
        assert_eq!((&*follower.borrow(), switch.closed_because()), (&Service::Open, None));
        switch.close("the disk is gone");
        switch.close("it was stopped");
        assert_eq!(switch.closed_because().as_deref(), Some("the disk is gone"));
    }
}
