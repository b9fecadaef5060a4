//! The PKI secrets engine: certificate authorities, as Vault's API knows them.
//!
//! What may be certified is decided by pure functions (`names`, `asked`, `validity`); what a certificate, a
//! request, a revocation list and an OCSP answer look like, by others (`template`, `csr`, `crl`, `ocsp`).
//! The rest is requests (`backend` says whose is which) and what they keep (`record`, `store`). Private keys
//! leave this crate in one answer only: the one that made them, where it was asked for.

mod asked;
mod authority;
mod backend;
mod certificate;
mod certify;
mod crl;
mod csr;
mod extension;
mod fetch;
mod glob;
mod issuers;
mod key;
mod lists;
mod names;
mod ocsp;
mod other_name;
mod pem;
mod record;
mod role;
mod roles;
mod signature;
mod store;
mod subject;
mod template;
mod tidy;
mod validity;

pub use backend::PkiKind;
