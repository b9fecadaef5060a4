//! `amqp/v1`, with pika and lapin.

use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::lifecycle::{Promise, Session, holds};
use super::{Asked, suite, text};
use crate::harness::{Layer, Options, runtime};
use crate::objects::python;

/// What a node that answers takes at most.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const QUEUE: &str = "kept";
const PERSISTENT: u8 = 2;
const ASKED: Asked = Asked { name: "queues", contract: "amqp/v1", plan: "shared", engine: "rabbitmq", parameters: &[] };
const ENCRYPTED: Asked = Asked { name: "encrypted", parameters: &[("tls", "true")], ..ASKED };
const PROMISE: Promise = Promise { heals_within: Duration::from_secs(30), durable: true };

#[test]
fn amqp_v1() {
    let Some(python) = python() else { return };
    let mut layer = Layer::start(Options::default());
    suite::run(&layer, python, "amqp_v1", &[ASKED], &[ENCRYPTED]);
    a_client_verifies_the_node(&ENCRYPTED.bind(&layer.api(), "lapin")["credentials"]);
    let [kept, neighbour] = ["kept", "neighbour"].map(|name| Asked { name, ..ASKED });
    holds::<Lapin>(&mut layer, kept, neighbour, PROMISE);
}

fn a_client_verifies_the_node(given: &Value) {
    let connect = |known: Option<&str>| {
        runtime().block_on(async {
            let config = OwnedTLSConfig { identity: None, cert_chain: known.map(str::to_owned) };
            let runtime = lapin::runtime::default_runtime().unwrap();
            let properties = ConnectionProperties::default();
            let connected = Connection::connect_with_config(text(given, "uri"), properties, config, runtime).await;
            connected.map(drop).map_err(|error| error.to_string())
        })
    };
    assert_eq!(connect(Some(text(given, "certificates"))), Ok(()));
    let refused = connect(None).unwrap_err();
    assert!(refused.to_lowercase().contains("certificate"), "{refused}");
}

/// lapin, with a channel whose publications are confirmed.
struct Lapin {
    connection: Connection,
    channel: Channel,
    runtime: Runtime,
}

impl Lapin {
    async fn connect(uri: &str) -> Result<(Connection, Channel), lapin::Error> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    async fn declare(channel: &Channel) -> Result<(), lapin::Error> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(QUEUE.into(), options, arguments).await.map(drop)
    }
}

impl Session for Lapin {
    fn open(given: &Value) -> Result<Self, String> {
        let runtime = runtime();
        let connect = async { tokio::time::timeout(ANSWER_PATIENCE, Self::connect(text(given, "uri"))).await };
        let connected = runtime.block_on(connect).map_err(|error| error.to_string())?;
        let (connection, channel) = connected.map_err(|error| error.to_string())?;
        Ok(Self { connection, channel, runtime })
    }

    fn keep(&mut self, number: u64) -> Result<(), String> {
        let publish = async {
            Self::declare(&self.channel).await?;
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let body = number.to_string();
            let options = BasicPublishOptions::default();
            let sent =
                self.channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), properties).await?;
            sent.await
        };
        match self.runtime.block_on(publish) {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(refused) => Err(format!("{refused:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn kept(&mut self) -> Result<Vec<u64>, String> {
        // What is taken and not acknowledged is back, in its place, when the channel is closed.
        let take = async {
            let channel = self.connection.create_channel().await?;
            Self::declare(&channel).await?;
            let mut numbers = Vec::new();
            while let Some(taken) = channel.basic_get(QUEUE.into(), BasicGetOptions::default()).await? {
                numbers.push(String::from_utf8_lossy(&taken.delivery.data).parse().unwrap());
            }
            channel.close(200, "seen".into()).await?;
            Ok::<_, lapin::Error>(numbers)
        };
        self.runtime.block_on(take).map_err(|error| error.to_string())
    }

    fn is_open(&mut self) -> bool {
        let answered = async { tokio::time::timeout(ANSWER_PATIENCE, self.connection.create_channel()).await };
        self.channel.status().connected() && matches!(self.runtime.block_on(answered), Ok(Ok(_)))
    }
}
