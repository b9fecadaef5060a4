//! The RabbitMQ engine.
