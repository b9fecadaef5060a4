//! The data plane's daemon and its client, over a Unix socket.
