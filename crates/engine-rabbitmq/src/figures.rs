//! Figures of a node, named as in the OpenTelemetry collector's RabbitMQ receiver.

use serde_json::Value;

use crate::api::{Api, ApiError};
use crate::names::NODE;

/// Figures of all virtual hosts together, and where the node's overview has them.
const OVERVIEW: [(&str, &str); 8] = [
    ("rabbitmq.consumer.count", "/object_totals/consumers"),
    ("rabbitmq.connection.count", "/object_totals/connections"),
    ("rabbitmq.queue.count", "/object_totals/queues"),
    ("rabbitmq.message.current", "/queue_totals/messages"),
    ("rabbitmq.message.published", "/message_stats/publish"),
    ("rabbitmq.message.delivered", "/message_stats/deliver_get"),
    ("rabbitmq.message.acknowledged", "/message_stats/ack"),
    ("rabbitmq.message.dropped", "/message_stats/drop_unroutable"),
];
/// Figures of the node itself.
const RESOURCES: [(&str, &str); 7] = [
    ("rabbitmq.node.mem_used", "/mem_used"),
    ("rabbitmq.node.mem_limit", "/mem_limit"),
    ("rabbitmq.node.mem_alarm", "/mem_alarm"),
    ("rabbitmq.node.disk_free", "/disk_free"),
    ("rabbitmq.node.disk_free_alarm", "/disk_free_alarm"),
    ("rabbitmq.node.fd_used", "/fd_used"),
    ("rabbitmq.node.proc_used", "/proc_used"),
];

/// All of them.
pub(crate) async fn read(api: &Api) -> Result<Vec<(&'static str, f64)>, ApiError> {
    let node = format!("nodes/{NODE}?columns=mem_used,mem_limit,mem_alarm,disk_free,disk_free_alarm,fd_used,proc_used");
    let (overview, node): (Value, Value) =
        tokio::try_join!(api.get("overview?columns=object_totals,queue_totals,message_stats"), api.get(&node))?;
    let overview = OVERVIEW.iter().map(|(name, path)| (*name, number(overview.pointer(path))));
    Ok(overview.chain(RESOURCES.iter().map(|(name, path)| (*name, number(node.pointer(path))))).collect())
}

/// A figure that is not there counts nothing yet.
fn number(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Bool(is)) => f64::from(u8::from(*is)),
        Some(value) => value.as_f64().unwrap_or(0.0),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::number;

    #[test]
    fn numbers() {
        assert_eq!(number(Some(&json!(3))), 3.0);
        assert_eq!(number(Some(&json!(true))), 1.0);
        assert_eq!((number(None), number(Some(&json!("x")))), (0.0, 0.0));
    }
}
