//! Walking the records of a batch: borrowed, in order, trusting no length.

use super::DecompressError;
use super::varint::{take_varint, take_varlong};

/// A record has at least so many bytes: its length, attributes, two deltas, two null lengths and a header count.
const RECORD_BYTES_MIN: usize = 7;
/// A header has at least so many bytes: two lengths.
const HEADER_BYTES_MIN: usize = 2;

/// Why the records of a batch can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A codec that no one has defined.
    #[error("codec {0} is not defined")]
    UnknownCodec(i16),
    /// The batch does not decompress.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The batch says that it has more records than its bytes can hold, or a negative number.
    #[error("{count} records do not fit into {bytes} bytes")]
    Count {
        /// What the batch says.
        count: i32,
        /// Plain bytes of the batch.
        bytes: usize,
    },
    /// A length that is negative where none may be, or more than there is.
    #[error("record {index}: the {part} is not valid")]
    Malformed {
        /// Which record, from 0.
        index: u32,
        /// Which part of it.
        part: &'static str,
    },
    /// Bytes behind the last record.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'p> {
    /// Milliseconds: the producer's, or the broker's in a batch with append times.
    pub timestamp: i64,
    /// The record's offset less the batch's base offset.
    pub offset_delta: i32,
    /// The key; `None` is null, which is not the same as empty.
    pub key: Option<&'p [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'p [u8]>,
    /// The headers, as they came.
    pub headers: Headers<'p>,
}

/// The headers of a record: ordered, names may repeat. Iterating is free of allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'p> {
    /// Already walked once, so all lengths in it hold.
    bytes: &'p [u8],
    count: u32,
}

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'p> {
    /// The name: UTF-8 from every known client, but nobody checks it.
    pub key: &'p [u8],
    /// The value; `None` is null.
    pub value: Option<&'p [u8]>,
}

impl Headers<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'p> IntoIterator for Headers<'p> {
    type Item = Header<'p>;
    type IntoIter = HeaderIter<'p>;

    fn into_iter(self) -> HeaderIter<'p> {
        HeaderIter { bytes: self.bytes }
    }
}

/// See [`Headers`].
#[derive(Debug, Clone)]
pub struct HeaderIter<'p> {
    bytes: &'p [u8],
}

impl<'p> Iterator for HeaderIter<'p> {
    type Item = Header<'p>;

    fn next(&mut self) -> Option<Header<'p>> {
        take_header(&mut self.bytes)
    }
}

/// The records of a batch, in order. The iteration ends after the first error.
#[derive(Debug, Clone)]
pub struct Records<'p> {
    rest: &'p [u8],
    index: u32,
    count: Result<u32, i32>,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl<'p> Records<'p> {
    pub(super) fn new(payload: &'p [u8], count: i32, base_timestamp: i64, append_time: Option<i64>) -> Self {
        let fits = |&count: &u32| count as usize <= payload.len() / RECORD_BYTES_MIN;
        let count = u32::try_from(count).ok().filter(fits).ok_or(count);
        Self { rest: payload, index: 0, count, base_timestamp, append_time }
    }

    /// The most that the iterator will give, for a reservation: never more than the payload's bytes have room for.
    pub fn count_max(&self) -> usize {
        self.count.map_or(0, |count| (count - self.index) as usize)
    }

    /// Bytes of the payload from the next record on: where that begins is the payload's length less this.
    pub fn rest_len(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self) -> Result<Option<Record<'p>>, RecordError> {
        let count = self.count.map_err(|count| RecordError::Count { count, bytes: self.rest.len() })?;
        if self.index == count {
            return match self.rest.len() {
                0 => Ok(None),
                more => Err(RecordError::Trailing(more)),
            };
        }
        let record = self.take_record().map_err(|part| RecordError::Malformed { index: self.index, part })?;
        self.index += 1;
        Ok(Some(record))
    }

    /// The next record, or the name of the part that is wrong.
    fn take_record(&mut self) -> Result<Record<'p>, &'static str> {
        let len = take_varint(&mut self.rest).and_then(|len| usize::try_from(len).ok()).ok_or("length")?;
        let (mut body, behind) = self.rest.split_at_checked(len).ok_or("length")?;
        self.rest = behind;
        let (_attributes, rest) = body.split_first().ok_or("attributes byte")?;
        body = rest;
        let timestamp = take_varlong(&mut body).ok_or("timestamp")?;
        let offset_delta = take_varint(&mut body).ok_or("offset")?;
        let key = take_nullable(&mut body).ok_or("key")?;
        let value = take_nullable(&mut body).ok_or("value")?;
        let headers = take_headers(&mut body).ok_or("header list")?;
        if !body.is_empty() {
            return Err("length");
        }
        // A record from a producer that has nothing to say has base -1 and delta 0; sums that leave 64 bits are the
        // producer's own nonsense and are handed on as such.
        let timestamp = self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp));
        Ok(Record { timestamp, offset_delta, key, value, headers })
    }
}

impl<'p> Iterator for Records<'p> {
    type Item = Result<Record<'p>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.take().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.rest = &[];
            self.count = Ok(self.index);
        }
        next
    }
}

fn take_headers<'p>(body: &mut &'p [u8]) -> Option<Headers<'p>> {
    let count = take_varint(body).and_then(|count| u32::try_from(count).ok())?;
    if count as usize > body.len() / HEADER_BYTES_MIN {
        return None;
    }
    let start = *body;
    for _ in 0..count {
        take_header(body)?;
    }
    Some(Headers { bytes: &start[..start.len() - body.len()], count })
}

fn take_header<'p>(bytes: &mut &'p [u8]) -> Option<Header<'p>> {
    // A header's name can not be null.
    let key = take_nullable(bytes)??;
    let value = take_nullable(bytes)?;
    Some(Header { key, value })
}

/// Length and bytes; -1 is null, less than that is an error, as is more than there is.
fn take_nullable<'p>(bytes: &mut &'p [u8]) -> Option<Option<&'p [u8]>> {
    let len = take_varint(bytes)?;
    if len == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}
