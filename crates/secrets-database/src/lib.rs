//! The database secrets engine, on the layer's own instances.
