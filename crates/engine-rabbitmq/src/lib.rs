//! The RabbitMQ engine: contract `amqp/v1` (AMQP 0-9-1), plan `shared`.
//!
//! A cluster is one RabbitMQ node of our own, never the machine's. An instance is a virtual host `i_X`; a credential is a
//! user `b_Y_N` who may do everything in that virtual host and nothing anywhere else.

mod config;
mod engine;
mod offering;

pub use config::RabbitmqConfig;
pub use engine::RabbitmqEngine;
