//! Checksums of bytes that are only partly known yet.
//!
//! A CRC is the rest of a division of polynomials over GF(2). The CRC of `a` followed by `b` is therefore
//! `crc(a) · x^(8·len(b)) + crc(b)`: whoever knows `crc(b)` and that power ahead joins them with one multiplication,
//! however long `b` is. Polynomials lie in a word with the coefficient of x^0 in the top bit, as CRC-32 (zlib) has them.

/// x^32 + x^26 + x^23 + … + 1, less its highest term.
const POLYNOMIAL: u32 = 0xEDB8_8320;
/// x^0.
const ONE: u32 = 1 << 31;
/// `SQUARES[k]` is x^(2^k).
const SQUARES: [u32; 64] = squares();

/// The checksum of bytes whose predecessors are not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suffix {
    crc: u32,
    /// x^(8·length).
    shift: u32,
}

impl Suffix {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { crc: crc32fast::hash(bytes), shift: power(8 * bytes.len() as u64) }
    }

    /// The checksum of some bytes with `crc`, followed by these.
    pub(crate) fn behind(&self, crc: u32) -> u32 {
        times(self.shift, crc) ^ self.crc
    }
}

/// The checksum of some bytes with `crc`, followed by `bytes`.
pub(crate) fn go_on(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// The product of two polynomials, less multiples of [`POLYNOMIAL`].
const fn times(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut at = 0;
    while at < 32 {
        // All ones where the coefficient of x^at is set: no branch that depends on the data.
        product ^= b & (a << at >> 31).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
        at += 1;
    }
    product
}

const fn squares() -> [u32; 64] {
    let mut squares = [ONE >> 1; 64];
    let mut k = 1;
    while k < 64 {
        squares[k] = times(squares[k - 1], squares[k - 1]);
        k += 1;
    }
    squares
}

/// x^exponent.
fn power(exponent: u64) -> u32 {
    (0..64).filter(|k| exponent >> k & 1 == 1).fold(ONE, |product, k| times(SQUARES[k], product))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_checksums_are_those_of_the_whole() {
        let bytes: Vec<u8> = (0..70_000u32).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        for len in [0, 1, 7, 8, 9, 61, 255, 4096, 65_535, 65_536, 70_000] {
            for cut in [0, 1, 8, len / 3, len / 2, len].into_iter().filter(|&cut| cut <= len) {
                let whole = crc32fast::hash(&bytes[..len]);
                let (head, tail) = bytes[..len].split_at(cut);
                assert_eq!(Suffix::of(tail).behind(crc32fast::hash(head)), whole, "{cut} of {len}");
                assert_eq!(go_on(crc32fast::hash(head), tail), whole, "{cut} of {len}");
            }
        }
    }

    /// `check` of the catalogue of parametrised CRC algorithms, CRC-32/ISO-HDLC.
    #[test]
    fn the_published_check_value_comes_out_in_two_pieces() {
        assert_eq!(Suffix::of(b"6789").behind(crc32fast::hash(b"12345")), 0xCBF4_3926);
    }
}
