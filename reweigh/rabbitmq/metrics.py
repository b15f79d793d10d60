"""Every metric of the bridge and the sender, in one table."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from reccore.metric_names import MetricName

PROCESSED: Final = MetricName(
    "messages_processed_total",
    "counter",
    ("outcome", "action"),
    "messages that the bridge has settled, by outcome (forwarded, rejected, requeued) and event type; "
    "`unknown` where the message is not an event",
)
LAG: Final = MetricName(
    "reweigh_bridge_lag_messages",
    "gauge",
    ("queue",),
    "messages ready in the queue, which no bridge has in hand; NaN while RabbitMQ is away",
)
CONNECTED: Final = MetricName(
    "reweigh_bridge_connected", "gauge", (), "1 while the bridge consumes from RabbitMQ, else 0"
)
SENT: Final = MetricName(
    "events_sent_total", "counter", ("action",), "events that RabbitMQ has confirmed to the sender, by event type"
)
BATCH_SIZE: Final = MetricName(
    "events_sent_batch_size", "histogram", (), "events in a batch that the sender has had confirmed"
)

METRICS: Final = (PROCESSED, LAG, CONNECTED, SENT, BATCH_SIZE)
UNKNOWN: Final = "unknown"

processed = Counter(PROCESSED.name, PROCESSED.meaning, PROCESSED.labels)
lag = Gauge(LAG.name, LAG.meaning, LAG.labels)
connected = Gauge(CONNECTED.name, CONNECTED.meaning)
sent = Counter(SENT.name, SENT.meaning, SENT.labels)
batch_size = Histogram(BATCH_SIZE.name, BATCH_SIZE.meaning, buckets=(1, 5, 10, 50, 100, 250, 500, 1_000))
