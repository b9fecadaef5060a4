//! The certificate authority of the layer.
