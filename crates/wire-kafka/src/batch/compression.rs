//! The five codecs of a batch, in every framing that clients write, never past a limit of the caller's.
//!
//! | codec | Java | librdkafka |
//! | --- | --- | --- |
//! | gzip | one member | one member; members may follow one another |
//! | snappy | xerial framing: magic, two versions, blocks of (length, raw snappy) | raw snappy |
//! | lz4 | LZ4 frame, independent blocks | LZ4 frame, linked blocks possible |
//! | zstd | one frame, no content size | one frame |

use std::io::{self, Cursor, Read, Write};

/// The most that a batch may decompress to unless the caller has a reason to say otherwise. A batch has at most a
/// few MiB on the wire; more than this is a bomb.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// First bytes of snappy in xerial's framing; no raw snappy stream of that length begins so.
const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic, version, lowest compatible version.
const XERIAL_HEAD_BYTES: usize = 16;
/// Plain bytes per block of the xerial framing that we write, as Java's writer does.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No element of raw snappy gives more bytes than this for each byte that it takes (64 from 3).
const SNAPPY_RATIO_MAX: usize = 22;
/// The largest zstd window that is accepted, as a power of two: the decoder's own default, which level 22 uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// The level that Kafka's clients use unless told otherwise.
const ZSTD_LEVEL: i32 = 3;

/// How the records of a batch are compressed: bits 0 to 2 of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Snappy, raw or in xerial's framing.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a batch's attributes; `None` for 5 to 7, which no one has defined.
    pub fn of_attributes(attributes: i16) -> Option<Self> {
        Self::ALL.get(usize::from(attributes as u16 & 7)).copied()
    }

    /// The codec's number in the attributes.
    pub fn bits(self) -> i16 {
        self as i16
    }

    /// The codec's name in Kafka's configurations (`compression.type`).
    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }
}

/// Why compressed bytes gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The plain bytes are more than the limit: a bomb, or a limit that is too small.
    #[error("the batch decompresses to more than {limit} bytes")]
    TooLong {
        /// The caller's limit.
        limit: usize,
    },
    /// The bytes are not what the codec says.
    #[error("the batch is no valid {}: {reason}", codec.name())]
    Corrupt {
        /// The batch's codec.
        codec: Compression,
        /// What the decoder says.
        reason: String,
    },
}

/// The plain bytes of `compressed`, at most `limit` of them.
///
/// Memory is bounded by the limit (a buffer that grows by doubling, so at most twice as much) and the codec's window;
/// a length that the input merely claims is checked against both limit and input before anything is allocated.
///
/// # Errors
/// When the bytes are not the codec's, or would be too many.
pub fn decompress(codec: Compression, compressed: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let corrupt = |error: std::io::Error| DecompressError::Corrupt { codec, reason: error.to_string() };
    let mut plain = Vec::new();
    let read = match codec {
        Compression::None if compressed.len() > limit => return Err(DecompressError::TooLong { limit }),
        Compression::None => return Ok(compressed.to_vec()),
        Compression::Gzip => {
            let mut members = flate2::bufread::MultiGzDecoder::new(compressed);
            read_limited(&mut members, limit, &mut plain).map_err(corrupt)
        }
        Compression::Snappy => return unsnap(compressed, limit),
        Compression::Lz4 => unlz4(compressed, limit, &mut plain).map_err(corrupt),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(compressed)
            .and_then(|mut frames| {
                frames.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                read_limited(&mut frames, limit, &mut plain)
            })
            .map_err(corrupt),
    };
    match read {
        _ if plain.len() > limit => Err(DecompressError::TooLong { limit }),
        Ok(()) => Ok(plain),
        Err(error) => Err(error),
    }
}

/// Reads until the end, or one byte past the limit, which tells a full batch from one that goes on.
fn read_limited(reader: &mut dyn Read, limit: usize, plain: &mut Vec<u8>) -> io::Result<()> {
    let room = (limit - plain.len()) as u64 + 1;
    reader.take(room).read_to_end(plain).map(drop)
}

/// The decoder stops after each frame.
fn unlz4(mut compressed: &[u8], limit: usize, plain: &mut Vec<u8>) -> io::Result<()> {
    while !compressed.is_empty() && plain.len() <= limit {
        read_limited(&mut lz4_flex::frame::FrameDecoder::new(&mut compressed), limit, plain)?;
    }
    Ok(())
}

fn unsnap(compressed: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut plain = Vec::new();
    if !compressed.starts_with(&XERIAL_MAGIC) {
        unsnap_block(compressed, limit, &mut plain)?;
        return Ok(plain);
    }
    let mut rest = compressed;
    while !rest.is_empty() {
        // Streams may follow one another, each with a head of its own.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEAD_BYTES..).ok_or_else(|| bad_snappy("the head is cut short"))?;
            continue;
        }
        let (len, blocks) = rest.split_first_chunk().ok_or_else(|| bad_snappy("a length is cut short"))?;
        let (block, behind) = blocks
            .split_at_checked(u32::from_be_bytes(*len) as usize)
            .ok_or_else(|| bad_snappy("a block is cut short"))?;
        unsnap_block(block, limit, &mut plain)?;
        rest = behind;
    }
    Ok(plain)
}

fn unsnap_block(block: &[u8], limit: usize, plain: &mut Vec<u8>) -> Result<(), DecompressError> {
    let len = snap::raw::decompress_len(block).map_err(|error| bad_snappy(&error.to_string()))?;
    if len > limit.saturating_sub(plain.len()) {
        return Err(DecompressError::TooLong { limit });
    }
    if len > block.len() * SNAPPY_RATIO_MAX {
        return Err(bad_snappy("the claimed length is more than the bytes can give"));
    }
    let at = plain.len();
    plain.resize(at + len, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut plain[at..])
        .map_err(|error| bad_snappy(&error.to_string()))?;
    plain.truncate(at + written);
    Ok(())
}

fn bad_snappy(reason: &str) -> DecompressError {
    DecompressError::Corrupt { codec: Compression::Snappy, reason: reason.to_owned() }
}

/// Compresses as a client would (snappy in Java's framing): for tests and tools, the broker stores what it got.
///
/// # Panics
/// Never: the encoders write to memory.
pub fn compress(codec: Compression, plain: &[u8]) -> Vec<u8> {
    const TO_MEMORY: &str = "writing to memory does not fail";
    match codec {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect(TO_MEMORY)
        }
        Compression::Snappy => {
            let mut out = [&XERIAL_MAGIC[..], &1u32.to_be_bytes(), &1u32.to_be_bytes()].concat();
            for block in plain.chunks(XERIAL_BLOCK_BYTES) {
                let block = compress_raw_snappy(block);
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
            }
            out
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).expect(TO_MEMORY);
            encoder.finish().expect(TO_MEMORY)
        }
        Compression::Zstd => zstd::stream::encode_all(Cursor::new(plain), ZSTD_LEVEL).expect(TO_MEMORY),
    }
}

/// Raw snappy, as librdkafka writes it: for tests and tools.
///
/// # Panics
/// When `plain` is 4 GiB or more.
pub fn compress_raw_snappy(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).expect("less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100_000;

    fn plain() -> Vec<u8> {
        (0..LIMIT).map(|i| (i / 7 % 251) as u8).collect()
    }

    #[test]
    fn every_codec_gives_back_exactly_the_limit_and_not_one_byte_more() {
        let plain = plain();
        for codec in Compression::ALL {
            let compressed = compress(codec, &plain);
            assert_eq!(decompress(codec, &compressed, LIMIT).as_deref(), Ok(&plain[..]), "{codec:?}");
            let error = decompress(codec, &compressed, LIMIT - 1).unwrap_err();
            assert_eq!(error, DecompressError::TooLong { limit: LIMIT - 1 }, "{codec:?}");
        }
    }

    #[test]
    fn both_framings_of_snappy_and_streams_that_follow_one_another_are_read() {
        let plain = plain();
        let raw = compress_raw_snappy(&plain);
        assert_eq!(decompress(Compression::Snappy, &raw, LIMIT).as_deref(), Ok(&plain[..]));
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Zstd, Compression::Lz4] {
            let twice = [compress(codec, &plain[..10]), compress(codec, &plain[10..])].concat();
            let read = decompress(codec, &twice, LIMIT).unwrap();
            assert!(read == plain, "{codec:?} gave {} bytes", read.len());
        }
    }

    #[test]
    fn lz4_with_linked_blocks_and_a_content_checksum_is_read() {
        let plain = plain().repeat(3);
        let info = lz4_flex::frame::FrameInfo::new()
            .block_mode(lz4_flex::frame::BlockMode::Linked)
            .block_size(lz4_flex::frame::BlockSize::Max64KB)
            .content_checksum(true);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&plain).unwrap();
        let compressed = encoder.finish().unwrap();
        assert_eq!(decompress(Compression::Lz4, &compressed, plain.len()).as_deref(), Ok(&plain[..]));
    }

    #[test]
    fn bombs_are_refused_at_the_limit() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let bomb = compress(codec, &vec![0; 8 << 20]);
            assert!(bomb.len() < 600_000, "{codec:?} takes {}", bomb.len());
            let error = decompress(codec, &bomb, LIMIT).unwrap_err();
            assert_eq!(error, DecompressError::TooLong { limit: LIMIT }, "{codec:?}");
        }
    }

    #[test]
    fn a_length_that_snappy_only_claims_is_not_allocated() {
        let claim = [0xFF, 0xFF, 0x03, 0, 0];
        assert!(matches!(
            decompress(Compression::Snappy, &claim, LIMIT),
            Err(DecompressError::Corrupt { codec: Compression::Snappy, .. })
        ));
    }

    #[test]
    fn cut_bytes_are_corrupt() {
        let plain = plain();
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let compressed = compress(codec, &plain);
            let cut = decompress(codec, &compressed[..compressed.len() / 2], LIMIT);
            assert!(matches!(cut, Err(DecompressError::Corrupt { .. })), "{codec:?}: {cut:?}");
        }
    }

    #[test]
    fn numbers_and_names() {
        for (number, codec) in Compression::ALL.into_iter().enumerate() {
            assert_eq!(Compression::of_attributes(number as i16 | 0x18), Some(codec));
            assert_eq!(codec.bits(), number as i16);
        }
        for number in 5..8 {
            assert_eq!(Compression::of_attributes(number), None);
        }
        assert_eq!(Compression::Zstd.name(), "zstd");
    }
}
