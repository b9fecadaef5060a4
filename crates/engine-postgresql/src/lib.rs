//! The PostgreSQL engine
