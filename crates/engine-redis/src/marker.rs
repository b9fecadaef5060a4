//! What shows that a server's data is all there: a function library that tells the cluster's identity.
//!
//! Functions are part of the data: they are in the append-only file and go to replicas, and `FLUSHALL` leaves them alone. A server
//! that lost its data has lost the marker too. Tenants may not delete it; on a dedicated cluster its owner could replace it, and
//! harms nobody else with that.

use mainstay_engine::EngineError;

use crate::admin::{Admin, failed};

const LIBRARY: &str = "mainstay";
const FUNCTION: &str = "mainstay_identity";

/// The identity that the data tells; none where it has none.
pub(crate) async fn read(admin: &Admin) -> Result<Option<String>, EngineError> {
    match admin.query::<String>(redis::cmd("FCALL_RO").arg(FUNCTION).arg(0)).await {
        Ok(identity) => Ok(Some(identity)),
        Err(error) if error.code() == Some("ERR") && error.to_string().contains("not found") => Ok(None),
        Err(error) => Err(failed("the identity within the data could not be read")(error)),
    }
}

/// Writes it, and sees it on disk: `fsync` is what the server is set to otherwise.
pub(crate) async fn write(admin: &Admin, identity: &str, fsync: &str) -> Result<(), EngineError> {
    let set = |value: &str| redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg(value).clone();
    let commands = redis::pipe()
        .add_command(set("always"))
        .cmd("FUNCTION")
        .arg("LOAD")
        .arg("REPLACE")
        .arg(library(identity))
        .add_command(set(fsync))
        .clone();
    admin.query_all::<()>(&commands).await.map_err(failed("the identity could not be written into the data"))
}

/// Removes what a copy has of its source.
pub(crate) async fn remove(admin: &Admin) -> Result<(), EngineError> {
    match admin.query::<()>(redis::cmd("FUNCTION").arg("DELETE").arg(LIBRARY)).await {
        Err(error) if error.code() != Some("ERR") => {
            Err(failed("the identity within the data could not be removed")(error))
        }
        // There is none.
        _ => Ok(()),
    }
}

/// An identity consists of hexadecimal digits.
fn library(identity: &str) -> String {
    format!(
        "#!lua name={LIBRARY}\nredis.register_function{{function_name='{FUNCTION}', flags={{'no-writes'}}, \
         callback=function() return '{identity}' end}}\n"
    )
}
