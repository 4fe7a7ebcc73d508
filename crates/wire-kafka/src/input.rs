//! Reading: a cursor over a body that never runs past its end and never allocates more than a bound.
//!
//! Two encodings of lengths exist. The classic one is an integer of fixed width with -1 for null; the compact one, of flexible
//! versions, is an unsigned varint of the length plus one, with 0 for null. Source: KIP-482.

use std::borrow::Cow;

use thiserror::Error;

/// How much memory the arrays of one body may take once decoded, in bytes: many times what a real request needs, far below what a
/// frame full of the smallest elements would ask for.
pub const ARRAY_BYTES_MAX: usize = 64 << 20;

/// Why a body cannot be read. The connection that sent it cannot be trusted any more: its author does not speak the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It ends in the middle of a value.
    #[error("the body ends in the middle of a value")]
    Truncated,
    /// Something follows the last value.
    #[error("{0} bytes follow the body")]
    Trailing(usize),
    /// A length is below null's, or one that is not allowed here.
    #[error("a length of {0} makes no sense")]
    Length(i64),
    /// A value that may not be null is.
    #[error("null where the version allows none")]
    Null,
    /// Text that is no UTF-8.
    #[error("a string is not UTF-8")]
    Text,
    /// A varint that goes on after its last byte.
    #[error("a varint is too long")]
    Varint,
    /// Arrays that would take more than [`ARRAY_BYTES_MAX`].
    #[error("the arrays would take more than {ARRAY_BYTES_MAX} bytes")]
    Arrays,
    /// A tagged field that is longer or shorter than it says.
    #[error("a tagged field does not have the length that it says")]
    Tag,
    /// A version that the message does not have.
    #[error("version {0} does not exist")]
    Version(i16),
    /// An API key that Kafka does not have.
    #[error("API key {0} does not exist")]
    Key(i16),
}

/// Where a tagged field ends, as the number of bytes that are left there.
#[derive(Debug, Clone, Copy)]
pub struct TagEnd(usize);

/// A cursor over the bytes of a body.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    rest: &'a [u8],
    /// What arrays may still take.
    array_bytes: usize,
}

impl<'a> Input<'a> {
    /// A cursor at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, array_bytes: ARRAY_BYTES_MAX }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if not.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte; everything but zero is true.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.fixed().map(|[byte]| byte != 0)
    }

    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.fixed()
    }

    /// Seven bits a byte, least significant first; at most five bytes, and what does not fit 32 bits is refused.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Varint`].
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.fixed::<1>()?[0];
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// The length of text: two bytes, or compact. None is null.
    fn text_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        classic(self.i16()?.into())
    }

    /// The length of bytes or of an array: four bytes, or compact. None is null.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Length`], [`DecodeError::Varint`].
    pub fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        classic(self.i32()?.into())
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = self.uvarint()?;
        if length > 1 << 31 {
            return Err(DecodeError::Length(length.into()));
        }
        Ok(length.checked_sub(1).map(|length| length as usize))
    }

    /// Text, borrowed, that may be null.
    ///
    /// # Errors
    /// What a length may have, and [`DecodeError::Text`].
    pub fn nullable_str(&mut self, flexible: bool) -> Result<Option<&'a str>, DecodeError> {
        let Some(length) = self.text_length(flexible)? else { return Ok(None) };
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| DecodeError::Text)
    }

    /// Text, borrowed.
    ///
    /// # Errors
    /// What a length may have, [`DecodeError::Text`] and [`DecodeError::Null`].
    pub fn str(&mut self, flexible: bool) -> Result<&'a str, DecodeError> {
        self.nullable_str(flexible)?.ok_or(DecodeError::Null)
    }

    /// As [`Self::nullable_str`].
    ///
    /// # Errors
    /// As there.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.nullable_str(flexible)?.map(Cow::Borrowed))
    }

    /// As [`Self::str`].
    ///
    /// # Errors
    /// As there.
    pub fn string(&mut self, flexible: bool) -> Result<Cow<'a, str>, DecodeError> {
        self.str(flexible).map(Cow::Borrowed)
    }

    /// Bytes, borrowed, that may be null.
    ///
    /// # Errors
    /// What a length may have.
    pub fn nullable_slice(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(length) = self.length(flexible)? else { return Ok(None) };
        self.take(length).map(Some)
    }

    /// As [`Self::nullable_slice`].
    ///
    /// # Errors
    /// As there.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        Ok(self.nullable_slice(flexible)?.map(Cow::Borrowed))
    }

    /// Bytes, borrowed.
    ///
    /// # Errors
    /// What a length may have, and [`DecodeError::Null`].
    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    /// The number of elements of an array of `T` that take at least `bytes_min` each. None is null.
    ///
    /// # Errors
    /// What a length may have, [`DecodeError::Truncated`] for more elements than bytes, [`DecodeError::Arrays`].
    pub fn count<T>(&mut self, flexible: bool, bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        if count > self.rest.len() / bytes_min {
            return Err(DecodeError::Truncated);
        }
        let bytes = count.checked_mul(size_of::<T>()).ok_or(DecodeError::Arrays)?;
        self.array_bytes = self.array_bytes.checked_sub(bytes).ok_or(DecodeError::Arrays)?;
        Ok(Some(count))
    }

    /// An array that may be null.
    ///
    /// # Errors
    /// What [`Self::count`] and the elements may have.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count::<T>(flexible, bytes_min)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array.
    ///
    /// # Errors
    /// What [`Self::nullable_array`] may have, and [`DecodeError::Null`].
    pub fn array<T>(
        &mut self,
        flexible: bool,
        bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, bytes_min, element)?.ok_or(DecodeError::Null)
    }

    /// Whether a struct that may be null follows.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn present(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? >= 0)
    }

    /// The number of tagged fields that follow.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Varint`].
    pub fn tags(&mut self) -> Result<u32, DecodeError> {
        self.uvarint()
    }

    /// The next tag, and where its field ends.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Varint`].
    pub fn tag(&mut self) -> Result<(u32, TagEnd), DecodeError> {
        let (tag, length) = (self.uvarint()?, self.uvarint()? as usize);
        let left = self.rest.len().checked_sub(length).ok_or(DecodeError::Truncated)?;
        Ok((tag, TagEnd(left)))
    }

    /// Checks that a tagged field was read to its end, and no further.
    ///
    /// # Errors
    /// [`DecodeError::Tag`] if not.
    pub fn tag_end(&self, end: TagEnd) -> Result<(), DecodeError> {
        if self.rest.len() == end.0 { Ok(()) } else { Err(DecodeError::Tag) }
    }

    /// Passes over a tagged field of which nothing was read.
    pub fn skip_tag(&mut self, end: TagEnd) {
        self.rest = &self.rest[self.rest.len().saturating_sub(end.0)..];
    }

    /// Passes over all tagged fields.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Varint`].
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.tags()? {
            let (_, end) = self.tag()?;
            self.skip_tag(end);
        }
        Ok(())
    }
}

fn classic(length: i64) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| DecodeError::Length(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{put_uvarint, uvarint_length};

    #[test]
    fn varints() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 1 << 21, 1 << 28, u32::MAX] {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            assert_eq!(out.len(), uvarint_length(value));
            assert_eq!(Input::new(&out).uvarint(), Ok(value));
            assert_eq!(Input::new(&out[..out.len() - 1]).uvarint(), Err(DecodeError::Truncated));
        }
        let refused = Err(DecodeError::Varint);
        assert_eq!(Input::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).uvarint(), refused, "33 bits");
        assert_eq!(Input::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).uvarint(), refused, "six bytes");
    }

    #[test]
    fn lengths_at_their_ends() {
        let length = |bytes: &[u8], flexible| Input::new(bytes).length(flexible);
        assert_eq!(length(&[0xff, 0xff, 0xff, 0xff], false), Ok(None));
        assert_eq!(length(&[0xff, 0xff, 0xff, 0xfe], false), Err(DecodeError::Length(-2)));
        assert_eq!(length(&[0x7f, 0xff, 0xff, 0xff], false), Ok(Some(i32::MAX as usize)));
        assert_eq!(length(&[0], true), Ok(None));
        assert_eq!(length(&[1], true), Ok(Some(0)));
        assert_eq!(length(&[0x80, 0x80, 0x80, 0x80, 0x08], true), Ok(Some(i32::MAX as usize)));
        assert_eq!(length(&[0x81, 0x80, 0x80, 0x80, 0x08], true), Err(DecodeError::Length((1 << 31) + 1)));
    }

    #[test]
    fn text() {
        assert_eq!(Input::new(b"\0\x02ab").str(false), Ok("ab"));
        assert_eq!(Input::new(b"\x03ab").str(true), Ok("ab"));
        assert_eq!(Input::new(b"\xff\xff").str(false), Err(DecodeError::Null));
        assert_eq!(Input::new(b"\xff\xff").nullable_str(false), Ok(None));
        assert_eq!(Input::new(b"\0\x01\xff").str(false), Err(DecodeError::Text));
        assert_eq!(Input::new(b"\0\x03ab").str(false), Err(DecodeError::Truncated));
    }

    #[test]
    fn counts_that_nothing_backs_are_refused_before_they_take_memory() {
        let mut input = Input::new(b"\x7f\xff\xff\xff1234567");
        assert_eq!(input.clone().count::<u64>(false, 1), Err(DecodeError::Truncated));
        assert_eq!(input.array(false, 1, Input::bool), Err(DecodeError::Truncated));
        let mut input = Input::new(b"\0\0\0\x02\0\0\0\x01");
        assert_eq!(input.count::<i32>(false, 4), Err(DecodeError::Truncated));
    }

    #[test]
    fn arrays_have_a_bound_together() {
        let strings = ARRAY_BYTES_MAX / size_of::<Cow<'_, str>>();
        let half = |count: usize| {
            let mut body = (count as i32).to_be_bytes().to_vec();
            body.resize(4 + 2 * count, 0);
            body
        };
        let whole = [half(strings / 2), half(strings / 2)].concat();
        let mut input = Input::new(&whole);
        for _ in 0..2 {
            assert_eq!(
                input.array(false, 2, |input| input.string(false)).map(|all| all.len()),
                Ok(strings / 2)
            );
        }
        let more = [half(strings / 2), half(strings / 2 + 2)].concat();
        let mut input = Input::new(&more);
        input.array(false, 2, |input| input.string(false)).expect("the first half");
        assert_eq!(input.array(false, 2, |input| input.string(false)), Err(DecodeError::Arrays));
    }

    #[test]
    fn tags_that_lie_about_their_length_are_refused() {
        let tagged = |bytes: &'static [u8]| {
            let mut input = Input::new(bytes);
            assert_eq!(input.tags(), Ok(1));
            let (tag, end) = input.tag()?;
            assert_eq!((tag, input.i16()), (5, Ok(1)));
            input.tag_end(end)
        };
        assert_eq!(tagged(b"\x01\x05\x02\0\x01"), Ok(()));
        assert_eq!(tagged(b"\x01\x05\x01\0\x01"), Err(DecodeError::Tag));
        assert_eq!(tagged(b"\x01\x05\x03\0\x01\0"), Err(DecodeError::Tag));
        assert_eq!(tagged(b"\x01\x05\x03\0\x01"), Err(DecodeError::Truncated));
    }
}
