//! The PKI secrets engine: certificate authorities.
