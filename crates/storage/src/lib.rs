//! The Storage:Driver contract: one SQL store, three drivers
