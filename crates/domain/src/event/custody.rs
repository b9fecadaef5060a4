//! What happens to secret custody as a whole. The subject is custody itself.
//!
//! Each event tells the position of custody's store at that moment: it only rises, so that a store with a lower one is an
//! old copy that somebody put back.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// Defines events that tell nothing but the store's position.
macro_rules! positions {
    ($($(#[$documentation:meta])* $event:ident,)*) => {
        $($(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
        pub struct $event {
            #[n(0)]
            pub position: u64,
        })*
    };
}

positions! {
    /// Its key was split among operators for the first time.
    CustodyInitialized,
    /// Its secrets can be read from now on.
    CustodyUnsealed,
    /// Nothing of it can be read from now on.
    CustodySealed,
    /// What is written from now on is sealed with a new data key.
    CustodyKeyRotated,
    /// Operators hold new shares; the ones before open nothing any more.
    CustodyRekeyed,
    /// A snapshot took the place of all that it held. The position begins anew.
    CustodyRestored,
    /// It was seen to have come this far.
    CustodyWitnessed,
}
