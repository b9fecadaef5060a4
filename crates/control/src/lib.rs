//! The control plane: what is asked becomes a command, a command becomes events, and the reconcile loop makes the
//! engines match the view that the events fold into.
//!
//! There is one write path, [`Control::submit`], for consumers and for the loop alike. Secrets do not take it: a
//! command carries ids, and the passwords that belong to them stay in custody.

mod control;
mod credentials;
mod draw;
mod evidence;
mod outside;
mod reconcile;
mod recovery;
mod tokens;

pub use control::{Accepted, Config, Control, SubmitError, WaitError};
pub use credentials::{Delivery, DeliveryError};
pub use draw::{draw_id, draw_secret};
pub use evidence::{EvidenceAsked, EvidenceError, EvidencePage};
pub use mainstay_engine::supervise::busy_ports;
pub use reconcile::{Reconciler, Tempo};
pub use recovery::{
    Depot, DepotError, Document, Doing, LayerDocument, LayerPart, PointDocument, PointInstance, REFERRING_KINDS,
    Reachable, Reached, RecoverError, Recovered, RecoveredLayer, RecoveryLoop, recover_clusters, referred_contents,
};
pub use tokens::{Bearer, NewToken, TokenRefused};
