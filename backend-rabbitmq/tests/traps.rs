//! What the design builds on, checked on the broker: each test is one trap.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use common::amqp::{consume, table, text};
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

fn main() -> ExitCode {
    let trials = trials![
        a_stream_numbers_its_messages_from_nought_and_starts_where_it_is_asked,
        an_offset_beyond_the_end_is_waited_for,
        a_stream_has_no_deduplication_and_confirms_each_message,
        a_deleted_stream_cancels_its_consumers_and_returns_what_is_published,
        single_active_consumer_moves_on_with_the_channel,
        a_consumer_of_a_higher_priority_is_served_first_and_a_lost_channel_redelivers,
        a_queue_of_one_keeps_the_latest_message,
        retention_by_size_drops_segments_and_clamps_in_silence,
    ];
    common::run(trials, common::broker())
}

async fn broker() -> Connection {
    let url = std::env::var(common::URL).unwrap();
    let properties = ConnectionProperties::default();
    Connection::connect(&url, properties).await.unwrap()
}

fn name(what: &str) -> String {
    common::fresh(&format!("trap_{what}"))
}

async fn declare(channel: &Channel, name: &str, kind: &str, more: &[(&str, AMQPValue)]) {
    let mut arguments = vec![("x-queue-type", text(kind))];
    arguments.extend(more.iter().cloned());
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(name.into(), options, table(&arguments))
        .await
        .unwrap();
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let sent = channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            body,
            BasicProperties::default(),
        )
        .await
        .unwrap();
    assert!(matches!(sent.await.unwrap(), Confirmation::Ack(None)));
}

async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(Duration::from_secs(60), consumer.next())
        .await
        .expect("a delivery")
        .expect("the consumer goes on")
        .expect("no error")
}

/// Nothing is delivered in a while. A wait for what must not come has no event
/// to wait for; a slow broker can only make this pass.
async fn silent(consumer: &mut Consumer) {
    let waited = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(waited.is_err(), "{waited:?}");
}

fn offset(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref().unwrap();
    match headers.inner().get("x-stream-offset") {
        Some(AMQPValue::LongLongInt(offset)) => *offset,
        other => panic!("no offset: {other:?}"),
    }
}

async fn stream(channel: &Channel, what: &str) -> String {
    let name = name(what);
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    declare(channel, &name, "stream", &[]).await;
    name
}

async fn delete(channel: &Channel, queue: &str) {
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
}

async fn a_stream_numbers_its_messages_from_nought_and_starts_where_it_is_asked() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    let name = stream(&channel, "offsets").await;
    for n in 0..10_u8 {
        publish(&channel, &name, &[n]).await;
    }
    let reading = connection.create_channel().await.unwrap();
    for start in [0_i64, 4] {
        let from = AMQPValue::LongLongInt(start);
        let mut consumer = consume(&reading, &name, 100, &[("x-stream-offset", from)]).await;
        for n in start..10 {
            let delivery = next(&mut consumer).await;
            assert_eq!((offset(&delivery), delivery.data[0]), (n, n as u8));
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        silent(&mut consumer).await;
    }
    delete(&channel, &name).await;
}

async fn an_offset_beyond_the_end_is_waited_for() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    let name = stream(&channel, "clamp").await;
    for n in 0..3_u8 {
        publish(&channel, &name, &[n]).await;
    }
    let mut found = Vec::new();
    for start in [3_i64, 10] {
        let reading = connection.create_channel().await.unwrap();
        let from = AMQPValue::LongLongInt(start);
        let mut consumer = consume(&reading, &name, 100, &[("x-stream-offset", from)]).await;
        silent(&mut consumer).await;
        for _ in 0..5 {
            publish(&channel, &name, &[9]).await;
        }
        found.push(offset(&next(&mut consumer).await));
        reading.close(200, "".into()).await.unwrap();
    }
    // The next one is waited for, and so is one further on.
    delete(&channel, &name).await;
}

async fn a_stream_has_no_deduplication_and_confirms_each_message() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    let name = stream(&channel, "dedup").await;
    for _ in 0..2 {
        let properties = BasicProperties::default().with_message_id("same".into());
        let sent = channel
            .basic_publish(
                "".into(),
                name.as_str().into(),
                BasicPublishOptions::default(),
                b"x",
                properties,
            )
            .await
            .unwrap();
        assert!(matches!(sent.await.unwrap(), Confirmation::Ack(None)));
    }
    let first = ("x-stream-offset", text("first"));
    let mut consumer = consume(&channel, &name, 10, &[first]).await;
    assert_eq!(offset(&next(&mut consumer).await), 0);
    assert_eq!(offset(&next(&mut consumer).await), 1);
    delete(&channel, &name).await;
}

async fn a_deleted_stream_cancels_its_consumers_and_returns_what_is_published() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    let name = stream(&channel, "deleted").await;
    let reading = connection.create_channel().await.unwrap();
    let first = ("x-stream-offset", text("first"));
    let mut consumer = consume(&reading, &name, 10, &[first]).await;
    delete(&channel, &name).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
    assert!(!matches!(ended, Ok(Some(Ok(_)))));
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let sent = channel
        .basic_publish(
            "".into(),
            name.as_str().into(),
            options,
            b"x",
            BasicProperties::default(),
        )
        .await
        .unwrap();
    let sent = sent.await.unwrap();
    assert!(matches!(sent, Confirmation::Ack(Some(_))), "{sent:?}");
}

async fn single_active_consumer_moves_on_with_the_channel() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let name = name("sac");
    let sac = ("x-single-active-consumer", AMQPValue::Boolean(true));
    declare(&channel, &name, "quorum", &[sac]).await;
    publish(&channel, &name, b"x").await;
    let one = connection.create_channel().await.unwrap();
    let two = connection.create_channel().await.unwrap();
    let mut first = consume(&one, &name, 1, &[]).await;
    let held = next(&mut first).await;
    assert!(!held.redelivered);
    let mut second = consume(&two, &name, 1, &[]).await;
    silent(&mut second).await;
    drop(first);
    one.close(200, "".into()).await.unwrap();
    let moved = next(&mut second).await;
    assert!(moved.redelivered);
    delete(&channel, &name).await;
}

async fn a_consumer_of_a_higher_priority_is_served_first_and_a_lost_channel_redelivers() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let name = name("priority");
    declare(&channel, &name, "quorum", &[]).await;
    let (one, two) = (
        connection.create_channel().await.unwrap(),
        connection.create_channel().await.unwrap(),
    );
    let mut low = consume(&one, &name, 100, &[]).await;
    let mut high = consume(&two, &name, 100, &[("x-priority", AMQPValue::LongInt(1))]).await;
    for n in 0..5_u8 {
        publish(&channel, &name, &[n]).await;
    }
    for n in 0..5_u8 {
        let delivery = next(&mut high).await;
        assert_eq!((delivery.data[0], delivery.redelivered), (n, false));
    }
    drop(high);
    two.close(200, "".into()).await.unwrap();
    for _ in 0..5_u8 {
        assert!(next(&mut low).await.redelivered);
    }
    delete(&channel, &name).await;
}

async fn a_queue_of_one_keeps_the_latest_message() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let name = name("one");
    declare(
        &channel,
        &name,
        "quorum",
        &[("x-max-length", AMQPValue::LongLongInt(1))],
    )
    .await;
    for n in 0..5_u8 {
        publish(&channel, &name, &[n]).await;
    }
    let mut consumer = consume(&channel, &name, 100, &[]).await;
    assert_eq!(next(&mut consumer).await.data, [4]);
    silent(&mut consumer).await;
    delete(&channel, &name).await;
}

async fn retention_by_size_drops_segments_and_clamps_in_silence() {
    let connection = broker().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let name = name("retention");
    let limits = [
        ("x-max-length-bytes", AMQPValue::LongLongInt(100_000)),
        (
            "x-stream-max-segment-size-bytes",
            AMQPValue::LongLongInt(50_000),
        ),
    ];
    declare(&channel, &name, "stream", &limits).await;
    for _ in 0..100 {
        publish(&channel, &name, &[0; 10_000]).await;
    }
    // Asked for the very first one, it gives the first that is left: silently.
    let from = AMQPValue::LongLongInt(0);
    let mut consumer = consume(&channel, &name, 100, &[("x-stream-offset", from)]).await;
    let found = offset(&next(&mut consumer).await);
    assert!(found > 0);
    delete(&channel, &name).await;
}
