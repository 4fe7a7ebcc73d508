//! How state keys and values are written: big endian, lengths before texts, a version first.
//! Every layout is written down in `docs/format/broker-state.md`.

use std::collections::BTreeMap;

use braid_store::StateKind;

/// Groups' configurations.
pub(crate) const GROUP: StateKind = StateKind(StateKind::FIRST_FREE.0);
/// Groups' cursors.
pub(crate) const CURSOR: StateKind = StateKind(StateKind::FIRST_FREE.0 + 1);
/// How far each delay level is delivered.
pub(crate) const DELAY_PROGRESS: StateKind = StateKind(StateKind::FIRST_FREE.0 + 2);
/// How many producer ids are reserved.
pub(crate) const PRODUCER_IDS: StateKind = StateKind(StateKind::FIRST_FREE.0 + 4);

/// Classic groups: their generation and members.
pub(crate) const CLASSIC_GROUP: StateKind = StateKind(StateKind::FIRST_FREE.0 + 3);

/// Most bytes of a state key, as the store allows.
pub(crate) const KEY_BYTES_MAX: usize = 512;

/// Puts fields behind one another.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A length of two bytes and the text. Longer texts are refused before they get here.
    pub(crate) fn text(self, text: &str) -> Self {
        assert!(text.len() <= usize::from(u16::MAX), "texts are bounded where they come in");
        self.u16(text.len() as u16).raw(text.as_bytes())
    }

    /// A length of four bytes and the bytes.
    pub(crate) fn blob(self, bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).expect("blobs are bounded where they come in");
        self.u32(len).raw(bytes)
    }

    /// A count of two bytes, then name and value of each.
    pub(crate) fn map(self, map: &BTreeMap<String, String>) -> Self {
        assert!(map.len() <= usize::from(u16::MAX), "maps are bounded where they come in");
        map.iter().fold(self.u16(map.len() as u16), |out, (name, value)| out.text(name).text(value))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes fields from the front. A short value or a wrong version is a sentence, never a panic.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(format!("{N} bytes are missing at its end"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, String> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    /// Takes the version and refuses any other than `known`.
    pub(crate) fn version(&mut self, known: u8) -> Result<(), String> {
        match self.u8()? {
            version if version == known => Ok(()),
            version => Err(format!("its version is {version}, this program knows version {known}")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, String> {
        let len = usize::from(self.u16()?);
        let (head, rest) =
            self.rest.split_at_checked(len).ok_or(format!("a text of {len} bytes is cut short"))?;
        self.rest = rest;
        String::from_utf8(head.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
    }

    pub(crate) fn blob(&mut self) -> Result<&'a [u8], String> {
        let len = self.u32()? as usize;
        let (head, rest) =
            self.rest.split_at_checked(len).ok_or(format!("a value of {len} bytes is cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn map(&mut self) -> Result<BTreeMap<String, String>, String> {
        (0..self.u16()?).map(|_| Ok((self.text()?, self.text()?))).collect()
    }

    /// All that is left, as text.
    pub(crate) fn rest_as_text(self) -> Result<String, String> {
        String::from_utf8(self.rest.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!("{} bytes follow behind its end", self.rest.len()))
        }
    }
}

/// Bytes of attributes that a topic or a group may have: they are kept in one state record with all else.
pub(crate) const ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;

/// True when attributes fit into [`ATTRIBUTES_BYTES_MAX`].
pub(crate) fn attributes_fit(attributes: &BTreeMap<String, String>) -> bool {
    attributes.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() <= ATTRIBUTES_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order_and_nothing_may_follow() {
        let map = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        let bytes = Writer::default().u8(7).u16(8).u32(9).u64(10).text("é").map(&map).raw(b"xy").finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.u8(), reader.u16(), reader.u32(), reader.u64()), (Ok(7), Ok(8), Ok(9), Ok(10)));
        assert_eq!(reader.text(), Ok("é".to_owned()));
        assert_eq!(reader.map(), Ok(map));
        assert_eq!(Reader { rest: reader.rest }.rest_as_text(), Ok("xy".to_owned()));
        assert_eq!(reader.end(), Err("2 bytes follow behind its end".to_owned()));
    }

    #[test]
    fn every_shorter_value_is_refused() {
        let bytes = Writer::default().u8(1).u32(2).text("abc").finish();
        for len in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..len]);
            let read = reader.version(1).and_then(|()| reader.u32()).and_then(|_| reader.text());
            assert!(read.is_err(), "{len} of {} bytes", bytes.len());
        }
        assert!(Reader::new(&[2]).version(1).unwrap_err().contains("version is 2"));
    }
}
