//! Secret material at rest: keyring and encrypted store
