//! What PostgreSQL's errors mean (SQLSTATE codes: PostgreSQL documentation, appendix A).

use sqlx::postgres::PgDatabaseError;

use crate::error::{Fault, FaultKind};

impl From<sqlx::Error> for Fault {
    /// The cause is the innermost error, whose text sqlx would repeat.
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast::<PgDatabaseError>() {
                Ok(error) => Self::new(kind(error.code()), *error),
                Err(error) => Self::new(FaultKind::Other, sqlx::Error::Database(error)),
            },
            sqlx::Error::Io(error) => Self::new(FaultKind::Unavailable, error),
            sqlx::Error::Tls(error) => Self::new(FaultKind::Unavailable, error),
            error @ (sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed) => Self::new(FaultKind::Unavailable, error),
            error => Self::new(FaultKind::Other, error),
        }
    }
}

fn kind(code: &str) -> FaultKind {
    match code {
        // disk_full
        "53100" => FaultKind::Full,
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => FaultKind::Serialization,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => FaultKind::Corrupt,
        // query_canceled by the statement timeout, lock_not_available, io_error
        "57014" | "55P03" | "58030" => FaultKind::Unavailable,
        _ => match code.get(..2) {
            // integrity_constraint_violation
            Some("23") => FaultKind::Constraint,
            // connection_exception, invalid_authorization, insufficient_resources, operator_intervention
            Some("08" | "28" | "53" | "57") => FaultKind::Unavailable,
            _ => FaultKind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::kind;
    use crate::error::FaultKind;

    #[test]
    fn codes_are_sorted_by_what_can_be_done() {
        for (code, expected) in [
            ("53100", FaultKind::Full),
            ("53300", FaultKind::Unavailable),
            ("57P01", FaultKind::Unavailable),
            ("08006", FaultKind::Unavailable),
            ("40001", FaultKind::Serialization),
            ("23505", FaultKind::Constraint),
            ("XX001", FaultKind::Corrupt),
            ("42601", FaultKind::Other),
            ("", FaultKind::Other),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
