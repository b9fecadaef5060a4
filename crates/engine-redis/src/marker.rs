//! What shows that a server's data is all there: a function library that tells the cluster's identity.
//!
//! Functions are part of the data: they are in the append-only file and go to replicas, and `FLUSHALL` leaves them alone. A server
//! that lost its data has lost the marker too. Tenants may not delete it; on a dedicated cluster its owner could replace it, and
//! harms nobody else with that.

use std::collections::HashMap;

use mainstay_engine::EngineError;
use redis::{Cmd, Value, from_redis_value_ref};

use crate::admin::{Admin, failed};

const LIBRARY: &str = "mainstay";
const FUNCTION: &str = "mainstay_identity";

/// The identity that the data tells; none where it has none.
///
/// The library is read and not called: what its owner replaced it with would be carried out with our rights.
pub(crate) async fn read(admin: &Admin) -> Result<Option<String>, EngineError> {
    let list = redis::cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(LIBRARY).arg("WITHCODE").clone();
    let libraries = admin.query::<Vec<HashMap<String, Value>>>(&list).await;
    let libraries = libraries.map_err(failed("the identity within the data could not be read"))?;
    let code = libraries.first().and_then(|library| from_redis_value_ref::<String>(library.get("library_code")?).ok());
    Ok(code.as_deref().and_then(identity).map(str::to_owned))
}

/// Writes it, and sees it on disk: `fsync` is what the server is set to otherwise.
pub(crate) async fn write(admin: &Admin, identity: &str, fsync: &str) -> Result<(), EngineError> {
    let set = |value: &str| redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg(value).clone();
    let commands = redis::pipe().add_command(set("always")).add_command(load(identity)).add_command(set(fsync)).clone();
    admin.query_all::<()>(&commands).await.map_err(failed("the identity could not be written into the data"))
}

/// The command that writes it.
pub(crate) fn load(identity: &str) -> Cmd {
    redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(library(identity)).clone()
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

/// The identity that a library of ours tells; none of another library.
fn identity(code: &str) -> Option<&str> {
    let (_, rest) = code.split_once("return '")?;
    let (identity, _) = rest.split_once('\'')?;
    (code == library(identity)).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::{identity, library};

    #[test]
    fn a_library_of_ours_tells_its_identity_and_no_other_does() {
        assert_eq!(identity(&library("00ff")), Some("00ff"));
        assert_eq!(identity(&library("00ff").replace("return", "while true do end return")), None);
        assert_eq!(identity(&library("00ff").replace("00ff", "0' .. '0")), None);
        assert_eq!(identity(""), None);
    }
}
