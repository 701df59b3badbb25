//! RabbitMQ: one durable quorum queue, confirms awaited per batch, deliveries
//! acknowledged by the batch.

use std::time::Instant;

use anyqueue::async_trait;
use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::{BATCH, Bare, Failure, Round, Spans, at_rate, payload, spans};
use crate::servers::{delete_vhost, fresh_vhost};

struct Queue {
    name: String,
    channel: Channel,
    // Closes when it is dropped.
    connection: Connection,
}

/// A virtual host of the round's own. A store's ledgers have names that only the
/// store knows: with the host all are gone, and so are their connections.
struct Place {
    vhost: String,
}

pub(super) async fn open() -> Result<Round, Failure> {
    let base = std::env::var("ANYQUEUE_TEST_RABBITMQ_URL")
        .map_err(|_| "ANYQUEUE_TEST_RABBITMQ_URL is not set; see scripts/servers")?;
    // A URL of a virtual host that someone else clears away is used as it is.
    let place = match base.strip_suffix("/%2f") {
        None => None,
        Some(_) => {
            let vhost = format!("bench-{}", uuid::Uuid::now_v7().simple());
            fresh_vhost(&vhost)?;
            Some(Place { vhost })
        }
    };
    let base = match (&place, base.strip_suffix("/%2f")) {
        (Some(place), Some(server)) => format!("{server}/{}", place.vhost),
        _ => base,
    };
    let queue = "bare".to_owned();
    let connection = Connection::connect(&base, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString(LongString::from("quorum"));
    arguments.insert("x-queue-type".into(), quorum);
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.as_str().into(), durable, arguments)
        .await?;
    Ok(Round {
        url: base,
        bare: Box::new(Queue {
            name: queue,
            channel,
            connection,
        }),
        _place: Box::new(place),
    })
}

#[async_trait]
impl Bare for Queue {
    /// Confirmed publishes to a consumer on a channel of its own.
    async fn pick_up(&mut self, jobs: usize, per_second: u32) -> Option<Spans> {
        Some(pick_up(self, jobs, per_second).await)
    }

    async fn insert(&mut self, jobs: usize) -> Result<(), Failure> {
        for _ in 0..jobs / BATCH {
            let mut confirms = Vec::with_capacity(BATCH);
            let payload = payload();
            for _ in 0..BATCH {
                let confirm = self.channel.basic_publish(
                    "".into(),
                    self.name.as_str().into(),
                    BasicPublishOptions::default(),
                    payload.as_bytes(),
                    BasicProperties::default().with_delivery_mode(2),
                );
                confirms.push(confirm.await?);
            }
            for confirm in confirms {
                confirm.await?;
            }
        }
        Ok(())
    }

    async fn drain(&mut self, jobs: usize) -> Result<(), Failure> {
        let channel = self.connection.create_channel().await?;
        let prefetch = u16::try_from(2 * BATCH)?;
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await?;
        let mut consumer = channel
            .basic_consume(
                self.name.as_str().into(),
                "bare".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        for done in 1..=jobs {
            let delivery = consumer.next().await.ok_or("the consumer has ended")??;
            if done % BATCH == 0 {
                delivery.ack(BasicAckOptions { multiple: true }).await?;
            }
        }
        channel
            .basic_cancel("bare".into(), BasicCancelOptions::default())
            .await?;
        Ok(())
    }
}

async fn pick_up(queue: &Queue, jobs: usize, per_second: u32) -> Spans {
    let channel = queue.connection.create_channel().await?;
    channel.basic_qos(100, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            queue.name.as_str().into(),
            "pick-up".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let receiver = tokio::spawn(async move {
        let mut received = vec![None; jobs];
        for _ in 0..jobs {
            let delivery = consumer.next().await.ok_or("the consumer has ended")??;
            let number: usize = std::str::from_utf8(&delivery.data)?.parse()?;
            received[number] = Some(Instant::now());
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok::<_, Failure>(received)
    });
    let called = at_rate(jobs, per_second, |number| {
        let (channel, name) = (queue.channel.clone(), queue.name.clone());
        async move {
            let text = number.to_string();
            let confirm = channel.basic_publish(
                "".into(),
                name.as_str().into(),
                BasicPublishOptions::default(),
                text.as_bytes(),
                BasicProperties::default().with_delivery_mode(2),
            );
            confirm.await?.await?;
            Ok(())
        }
    })
    .await?;
    let received = receiver.await??;
    channel
        .basic_cancel("pick-up".into(), BasicCancelOptions::default())
        .await?;
    spans(&called, &received)
}

impl Drop for Place {
    fn drop(&mut self) {
        delete_vhost(&self.vhost).expect("the round's virtual host is deleted");
    }
}
