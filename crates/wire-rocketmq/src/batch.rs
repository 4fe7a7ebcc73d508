//! The entries in the body of a batch send.
//!
//! ```text
//!  ┌───────┬───────┬───────┬──────┬──────────┬──────┬───────────┬────────────┐
//!  │ total │ magic │  crc  │ flag │ body len │ body │ props len │ properties │
//!  │   4   │ 4, =0 │ 4, =0 │  4   │    4     │      │     2     │            │
//!  └───────┴───────┴───────┴──────┴──────────┴──────┴───────────┴────────────┘
//! ```
//!
//! Magic and CRC are zero and not looked at: the broker writes records of its own from these entries.

/// The most bytes of properties that the 16-bit length (a Java short) can name.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize;
/// Everything in an entry but body and properties.
pub const ENTRY_OVERHEAD_BYTES: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The application's own flag.
    pub flag: i32,
    /// The message's body.
    pub body: &'a [u8],
    /// `name 0x01 value 0x02 ...`, as sent.
    pub properties: &'a [u8],
}

/// Why a batch can't be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body ends inside an entry.
    #[error("batch ends inside the entry at byte {at}")]
    Truncated {
        /// Where the entry begins.
        at: usize,
    },
    /// An entry's total size is not the sum of its parts.
    #[error("batch entry at byte {at} says {total} bytes and has {actual}")]
    WrongTotal {
        /// Where the entry begins.
        at: usize,
        /// The size it claims.
        total: u32,
        /// The size of its parts.
        actual: usize,
    },
}

/// Splits the body of a batch send. The iteration ends after the first error.
pub fn entries(body: &[u8]) -> Entries<'_> {
    Entries { body, at: 0 }
}

/// See [`entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.body.get(at..).filter(|rest| !rest.is_empty())?;
        // After an error there is no telling where the next entry begins.
        self.at = self.body.len();
        let Some((total, entry, bytes)) = split(rest) else {
            return Some(Err(BatchError::Truncated { at }));
        };
        if total as usize != bytes {
            return Some(Err(BatchError::WrongTotal { at, total, actual: bytes }));
        }
        self.at = at + bytes;
        Some(Ok(entry))
    }
}

/// The first entry of `bytes`, the total that it claims and the bytes that it takes.
fn split(bytes: &[u8]) -> Option<(u32, Entry<'_>, usize)> {
    let (total, rest) = bytes.split_first_chunk()?;
    let (_magic_and_crc, rest) = rest.split_first_chunk::<8>()?;
    let (flag, rest) = rest.split_first_chunk()?;
    let (body_bytes, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*body_bytes) as usize)?;
    let (properties_bytes, rest) = rest.split_first_chunk()?;
    let (properties, _) = rest.split_at_checked(u16::from_be_bytes(*properties_bytes) as usize)?;
    let entry = Entry { flag: i32::from_be_bytes(*flag), body, properties };
    Some((u32::from_be_bytes(*total), entry, ENTRY_OVERHEAD_BYTES + body.len() + properties.len()))
}

/// Appends `entry` to a batch's body.
///
/// # Panics
/// If the properties are longer than [`PROPERTIES_BYTES_MAX`] or the entry than 4 GiB: the caller chose them.
pub fn push_entry(out: &mut Vec<u8>, entry: &Entry<'_>) {
    assert!(entry.properties.len() <= PROPERTIES_BYTES_MAX, "properties of {} bytes", entry.properties.len());
    let total = ENTRY_OVERHEAD_BYTES + entry.body.len() + entry.properties.len();
    let total = u32::try_from(total).expect("an entry that a caller holds in memory twice is below 4 GiB");
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&entry.flag.to_be_bytes());
    out.extend_from_slice(&(entry.body.len() as u32).to_be_bytes());
    out.extend_from_slice(entry.body);
    out.extend_from_slice(&(entry.properties.len() as u16).to_be_bytes());
    out.extend_from_slice(entry.properties);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        let entries_in = [
            Entry { flag: 0, body: b"b1", properties: b"" },
            Entry { flag: -7, body: b"", properties: b"TAGS\x01A\x02" },
            Entry { flag: 1, body: &[0xff; 300], properties: &[b'p'; PROPERTIES_BYTES_MAX] },
        ];
        let mut body = Vec::new();
        for entry in &entries_in {
            push_entry(&mut body, entry);
        }
        let out: Vec<_> = entries(&body).collect::<Result<_, _>>().unwrap();
        assert_eq!(out, entries_in);
    }

    #[test]
    fn a_go_client_s_batch_is_read() {
        let body = b"\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02b1\0\0\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02b2\0\0";
        let bodies: Vec<_> = entries(body).map(|entry| entry.unwrap().body).collect();
        assert_eq!(bodies, [b"b1", b"b2"]);
    }

    #[test]
    fn damaged_batches_end_with_an_error() {
        let mut body = Vec::new();
        push_entry(&mut body, &Entry { flag: 0, body: b"first", properties: b"" });
        let first = body.len();
        push_entry(&mut body, &Entry { flag: 0, body: b"second", properties: b"k\x01v" });
        for end in 1..body.len() {
            let out: Vec<_> = entries(&body[..end]).collect();
            let expected = match end {
                _ if end == first => Ok(1),
                _ if end < first => Err(BatchError::Truncated { at: 0 }),
                _ => Err(BatchError::Truncated { at: first }),
            };
            match expected {
                Ok(count) => assert_eq!((out.len(), out[0].is_ok()), (count, true)),
                Err(error) => assert_eq!(out.last(), Some(&Err(error)), "cut at {end}"),
            }
        }
        body[3] += 1;
        let out: Vec<_> = entries(&body).collect();
        assert_eq!(out, [Err(BatchError::WrongTotal { at: 0, total: first as u32 + 1, actual: first })]);
    }
}
