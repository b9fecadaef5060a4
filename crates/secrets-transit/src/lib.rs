//! The transit secrets engine: cryptography as a service.
