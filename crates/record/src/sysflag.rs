//! Bits of a record's SYSFLAG field.

/// The body is compressed by the client.
pub const COMPRESSED: i32 = 0x1;
/// The transaction bits.
pub const TRANSACTION_MASK: i32 = 0xC;
/// A half message.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// A committed transactional message.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// A rolled back transactional message.
pub const TRANSACTION_ROLLBACK: i32 = 0xC;
/// BORNHOST is an IPv6 address.
pub const BORN_HOST_V6: i32 = 0x10;
/// STOREHOST is an IPv6 address.
pub const STORE_HOST_V6: i32 = 0x20;
/// The reader must unwrap an inner batch.
pub const NEED_UNWRAP: i32 = 0x40;
/// The body is a batch of messages.
pub const INNER_BATCH: i32 = 0x80;
