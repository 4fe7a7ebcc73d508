//! The record batch, version 2 ("magic 2"): Kafka's unit of producing, storing and fetching.
