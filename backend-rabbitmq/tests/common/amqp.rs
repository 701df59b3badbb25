//! Short calls on a channel.

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Consumer};

/// Arguments of a queue or a consumer.
pub(crate) fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in pairs {
        table.insert((*key).into(), value.clone());
    }
    table
}

/// One of them that is a text.
pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// What a queue or a stream gives, so much of it ahead of acknowledgements.
pub(crate) async fn consume(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
    arguments: &[(&str, AMQPValue)],
) -> Consumer {
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await
        .unwrap();
    channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            table(arguments),
        )
        .await
        .unwrap()
}
