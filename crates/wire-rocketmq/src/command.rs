//! Commands: the header of a request or an answer, in both forms, and the writers of both.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::{FRAME_BYTES_MAX, Frame, HEADER_BYTES_MAX, LENGTH_BYTES, PREFIX_BYTES, Serialization};
use crate::scan::{self, Fields, Raw};

/// Bit 0 of `flag`: the command is an answer.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit 1 of `flag`: nobody waits for an answer, and none may be sent.
pub const FLAG_ONEWAY: i32 = 2;
/// The version in our answers and registrations: the ordinal of V5_4_0 in Java's `MQVersion`.
pub const VERSION: i32 = 493;
/// The language in our answers. A client that does not know a name may fail on it, and every client knows the one that Apache's
/// broker sends.
pub const LANGUAGE: Language = Language::Java;
/// The most ext fields that a header may carry.
pub const EXT_FIELDS_MAX: usize = scan::FIELDS_MAX;

/// Declares the languages with names and codes (`LanguageCode.java`).
macro_rules! languages {
    ($($variant:ident $name:literal $code:literal),* $(,)?) => {
        /// The language of a client, as it introduces itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Language {
            $(#[doc = concat!("`", $name, "`, ", stringify!($code), ".")] $variant,)*
        }

        impl Language {
            /// Java's enum name, which is what a JSON header carries.
            pub fn name(self) -> &'static str {
                match self { $(Language::$variant => $name,)* }
            }

            /// The byte of the binary header.
            pub fn code(self) -> u8 {
                match self { $(Language::$variant => $code,)* }
            }

            /// The language of a binary header's byte.
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Language::$variant),)* _ => None }
            }

            /// The language called `name`, [`Language::Other`] if nobody is.
            pub fn from_name(name: &str) -> Self {
                match name { $($name => Language::$variant,)* _ => Language::Other }
            }
        }
    };
}

languages! {
    Java "JAVA" 0,
    Cpp "CPP" 1,
    Dotnet "DOTNET" 2,
    Python "PYTHON" 3,
    Delphi "DELPHI" 4,
    Erlang "ERLANG" 5,
    Ruby "RUBY" 6,
    Other "OTHER" 7,
    Http "HTTP" 8,
    Go "GO" 9,
    Php "PHP" 10,
    Oms "OMS" 11,
    Rust "RUST" 12,
    NodeJs "NODE_JS" 13,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a header can't be read. The connection has to be closed, as Apache's server does: the opaque that an answer needs is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Text that is not UTF-8.
    #[error("header is not UTF-8")]
    NotUtf8,
    /// Not the JSON that fastjson would read.
    #[error("header is not JSON at byte {at}")]
    Json {
        /// Where reading stopped.
        at: usize,
    },
    /// A backslash with nothing sensible behind it.
    #[error("header has an unknown escape")]
    BadEscape,
    /// `extFields` is a list, a string or a number.
    #[error("extFields is not a map")]
    FieldsNotAMap,
    /// More than [`EXT_FIELDS_MAX`] ext fields.
    #[error("header has more than {EXT_FIELDS_MAX} ext fields")]
    TooManyFields,
    /// A number was needed.
    #[error("header member {field} is not a number")]
    NotANumber {
        /// The member's name.
        field: &'static str,
    },
    /// A language given by a number that no language has; fastjson throws on it.
    #[error("header names language {code}, which does not exist")]
    UnknownLanguage {
        /// The number found.
        code: i32,
    },
    /// The binary form ends inside a field.
    #[error("binary header ends inside a field")]
    Truncated,
}

/// Why a command can't be put into a frame. Nothing has been written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The binary form has 16 bits for code and version. (Java truncates, and the peer then sees another code.)
    #[error("{what} {value} does not fit into the 16 bits of the binary header")]
    Beyond16Bits {
        /// What does not fit.
        what: &'static str,
        /// Its value.
        value: i32,
    },
    /// A field name longer than the binary form's 16-bit length.
    #[error("ext field name of {bytes} bytes is too long for the binary header")]
    NameTooLong {
        /// The name's length.
        bytes: usize,
    },
    /// The header outgrew its 24-bit length.
    #[error("header of {bytes} bytes is longer than {HEADER_BYTES_MAX}")]
    HeaderTooLong {
        /// The header's length.
        bytes: usize,
    },
    /// The whole frame is longer than peers accept.
    #[error("frame of {bytes} bytes is longer than {FRAME_BYTES_MAX}")]
    FrameTooLong {
        /// The frame's length, prefix included, as Java's decoder counts.
        bytes: usize,
    },
}

/// The custom header: names to texts, in wire order, each name once.
#[derive(Debug, Clone, Default)]
pub struct ExtFields {
    entries: Vec<(Cow<'static, str>, String)>,
}

impl ExtFields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets `name`, replacing a value it had.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.entries.iter().position(|(key, _)| key == name)?;
        Some(self.entries.remove(at).1)
    }

    /// All fields in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Two sets of fields are equal if they hold the same values, in whatever order.
impl PartialEq for ExtFields {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl Eq for ExtFields {}

impl<N: Into<Cow<'static, str>>, V: Into<String>> FromIterator<(N, V)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut all = ExtFields::new();
        for (name, value) in fields {
            all.insert(name, value);
        }
        all
    }
}

/// A header's fixed members: what is needed to answer a request, without its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// Request or response code.
    pub code: i32,
    /// Who sent it.
    pub language: Language,
    /// The sender's version, an ordinal of Java's `MQVersion`.
    pub version: i32,
    /// Correlates answer and request; chosen by who asks.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`] and [`FLAG_ONEWAY`].
    pub flag: i32,
    /// The form it came in, and the form of its answer.
    pub serialization: Serialization,
}

impl RequestHead {
    /// Whether this is an answer.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether an answer is forbidden.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

/// One request or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Request or response code.
    pub code: i32,
    /// Who sent it.
    pub language: Language,
    /// The sender's version, an ordinal of Java's `MQVersion`.
    pub version: i32,
    /// Correlates answer and request; chosen by who asks.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`] and [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Text for people, mostly of errors.
    pub remark: Option<String>,
    /// The custom header.
    pub ext_fields: ExtFields,
    /// The body; shares the buffer it was read into.
    pub body: Bytes,
    /// The form of the header.
    pub serialization: Serialization,
}

impl Command {
    /// A request with our language and version, opaque 0, in JSON.
    pub fn request(code: i32) -> Self {
        Command {
            code,
            language: LANGUAGE,
            version: VERSION,
            opaque: 0,
            flag: 0,
            remark: None,
            ext_fields: ExtFields::new(),
            body: Bytes::new(),
            serialization: Serialization::Json,
        }
    }

    /// The answer to `request`: its opaque, its header form, our language and version.
    pub fn response_to(request: &Command, code: i32, remark: Option<String>) -> Self {
        Self::response_to_head(&request.head(), code, remark)
    }

    /// The answer to a request of which only the head is known.
    pub fn response_to_head(request: &RequestHead, code: i32, remark: Option<String>) -> Self {
        Command {
            opaque: request.opaque,
            flag: FLAG_RESPONSE,
            remark,
            serialization: request.serialization,
            ..Command::request(code)
        }
    }

    /// The fixed members.
    pub fn head(&self) -> RequestHead {
        RequestHead {
            code: self.code,
            language: self.language,
            version: self.version,
            opaque: self.opaque,
            flag: self.flag,
            serialization: self.serialization,
        }
    }

    /// Whether this is an answer.
    pub fn is_response(&self) -> bool {
        self.head().is_response()
    }

    /// Whether an answer is forbidden.
    pub fn is_oneway(&self) -> bool {
        self.head().is_oneway()
    }

    /// Reads the header of `frame`; the body is shared, not copied.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        let mut collected = Collected::default();
        let scanned = scan::header(frame.serialization, &frame.header, &mut collected)?;
        if let Some(error) = collected.error {
            return Err(error);
        }
        let head = scanned.head;
        Ok(Command {
            code: head.code,
            language: head.language,
            version: head.version,
            opaque: head.opaque,
            flag: head.flag,
            remark: scanned.remark.map(Raw::to_text).transpose()?,
            ext_fields: collected.fields,
            body: frame.body.clone(),
            serialization: frame.serialization,
        })
    }

    /// Appends the whole frame to `out`.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is then as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_head(self.body.len(), out)?;
        out.extend_from_slice(&self.body);
        Ok(())
    }

    /// Appends prefix and header of a frame whose `body_bytes` of body the caller appends itself; `self.body` is not looked at.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is then as it was.
    pub fn encode_head(&self, body_bytes: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut writer = FrameWriter::begin(out, &self.head(), self.remark.as_deref());
        for (name, value) in self.ext_fields.iter() {
            writer.text(name, value);
        }
        writer.finish(body_bytes)
    }
}

#[derive(Default)]
struct Collected {
    fields: ExtFields,
    error: Option<DecodeError>,
}

impl<'a> Fields<'a> for Collected {
    fn field(&mut self, name: Raw<'a>, value: Raw<'a>) {
        match (name.to_text(), value.to_text()) {
            (Ok(name), Ok(value)) => self.fields.insert(name, value),
            (Err(error), _) | (_, Err(error)) => self.error = Some(error),
        }
    }
}

/// The code of `frame` without reading more than needed: what to do with the rest is decided by it.
///
/// # Errors
/// See [`DecodeError`].
pub fn peek_code(frame: &Frame) -> Result<i32, DecodeError> {
    // Almost every client writes the code first.
    const FIRST: &[u8] = b"{\"code\":";
    if let (Serialization::Json, Some(rest)) = (frame.serialization, frame.header.strip_prefix(FIRST)) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let (1..=9, Some(b',' | b'}')) = (digits, rest.get(digits)) {
            return Ok(rest[..digits].iter().fold(0, |code, digit| code * 10 + i32::from(digit - b'0')));
        }
    }
    Ok(peek_head(frame)?.code)
}

/// The fixed members of `frame`'s header, its fields passed over.
///
/// # Errors
/// See [`DecodeError`].
pub fn peek_head(frame: &Frame) -> Result<RequestHead, DecodeError> {
    struct Ignored;
    impl<'a> Fields<'a> for Ignored {
        fn field(&mut self, _: Raw<'a>, _: Raw<'a>) {}
    }
    Ok(scan::header(frame.serialization, &frame.header, &mut Ignored)?.head)
}

/// Writes one frame's prefix and header straight into an output buffer, in either form, without building a [`Command`].
///
/// Errors are kept until [`FrameWriter::finish`], which then takes back what was written.
#[must_use = "a frame is only complete after finish"]
#[derive(Debug)]
pub struct FrameWriter<'a> {
    out: &'a mut BytesMut,
    /// Where the frame begins in `out`.
    start: usize,
    serialization: Serialization,
    /// Binary: where the length of the ext fields goes.
    ext_length_at: usize,
    fields: usize,
    error: Option<EncodeError>,
}

impl<'a> FrameWriter<'a> {
    /// Begins the answer to `request`.
    pub fn response(out: &'a mut BytesMut, request: &RequestHead, code: i32, remark: Option<&str>) -> Self {
        let head = RequestHead {
            code,
            language: LANGUAGE,
            version: VERSION,
            opaque: request.opaque,
            flag: FLAG_RESPONSE,
            serialization: request.serialization,
        };
        Self::begin(out, &head, remark)
    }

    /// Begins a frame with exactly this head.
    pub fn begin(out: &'a mut BytesMut, head: &RequestHead, remark: Option<&str>) -> Self {
        /// Enough for every answer of the message path, so that its small pieces never grow the buffer one by one.
        const HEADER_BYTES_USUAL: usize = 512;
        out.reserve(HEADER_BYTES_USUAL);
        let start = out.len();
        out.put_bytes(0, PREFIX_BYTES);
        let mut writer = FrameWriter {
            out,
            start,
            serialization: head.serialization,
            ext_length_at: 0,
            fields: 0,
            error: None,
        };
        match head.serialization {
            Serialization::Json => writer.begin_json(head, remark),
            Serialization::Rocketmq => writer.begin_binary(head, remark),
        }
        writer
    }

    fn begin_json(&mut self, head: &RequestHead, remark: Option<&str>) {
        self.out.put_slice(b"{\"code\":");
        put_decimal(self.out, head.code.into());
        self.out.put_slice(b",\"flag\":");
        put_decimal(self.out, head.flag.into());
        self.out.put_slice(b",\"language\":\"");
        self.out.put_slice(head.language.name().as_bytes());
        self.out.put_slice(b"\",\"opaque\":");
        put_decimal(self.out, head.opaque.into());
        if let Some(remark) = remark {
            self.out.put_slice(b",\"remark\":");
            put_json_string(self.out, remark);
        }
        self.out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
        put_decimal(self.out, head.version.into());
    }

    fn begin_binary(&mut self, head: &RequestHead, remark: Option<&str>) {
        let code = self.sixteen_bits("code", head.code);
        self.out.put_i16(code);
        self.out.put_u8(head.language.code());
        let version = self.sixteen_bits("version", head.version);
        self.out.put_i16(version);
        self.out.put_i32(head.opaque);
        self.out.put_i32(head.flag);
        self.long_text(remark.unwrap_or_default());
        self.ext_length_at = self.out.len();
        self.out.put_u32(0);
    }

    /// Adds a field.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        match self.serialization {
            Serialization::Json => put_json_string(self.out, value),
            Serialization::Rocketmq => self.long_text(value),
        }
    }

    /// Adds a field that is a number; on the wire it is text like every other.
    pub fn int(&mut self, name: &str, value: i64) {
        self.name(name);
        let mut digits = [0; DECIMAL_BYTES_MAX];
        let digits = decimal(value, &mut digits);
        match self.serialization {
            Serialization::Json => {
                self.out.put_u8(b'"');
                self.out.put_slice(digits);
                self.out.put_u8(b'"');
            }
            Serialization::Rocketmq => {
                self.out.put_u32(digits.len() as u32);
                self.out.put_slice(digits);
            }
        }
    }

    /// Adds a field that is a truth value.
    pub fn bool(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// Closes the header of a frame whose `body_bytes` of body the caller appends next.
    ///
    /// # Errors
    /// See [`EncodeError`]; the buffer is then as it was before the frame was begun.
    pub fn finish(mut self, body_bytes: usize) -> Result<(), EncodeError> {
        match self.serialization {
            Serialization::Json if self.fields > 0 => self.out.put_slice(b"}}"),
            Serialization::Json => self.out.put_u8(b'}'),
            Serialization::Rocketmq => {
                let ext_bytes = (self.out.len() - self.ext_length_at - LENGTH_BYTES) as u32;
                self.out[self.ext_length_at..][..LENGTH_BYTES].copy_from_slice(&ext_bytes.to_be_bytes());
            }
        }
        let header_bytes = self.out.len() - self.start - PREFIX_BYTES;
        let frame_bytes = PREFIX_BYTES.saturating_add(header_bytes).saturating_add(body_bytes);
        if header_bytes > HEADER_BYTES_MAX {
            self.error.get_or_insert(EncodeError::HeaderTooLong { bytes: header_bytes });
        } else if frame_bytes > FRAME_BYTES_MAX {
            self.error.get_or_insert(EncodeError::FrameTooLong { bytes: frame_bytes });
        }
        if let Some(error) = self.error {
            self.out.truncate(self.start);
            return Err(error);
        }
        let prefix = &mut self.out[self.start..][..PREFIX_BYTES];
        let (length, header_word) = prefix.split_at_mut(LENGTH_BYTES);
        length.copy_from_slice(&((frame_bytes - LENGTH_BYTES) as u32).to_be_bytes());
        header_word.copy_from_slice(
            &(u32::from(self.serialization.byte()) << 24 | header_bytes as u32).to_be_bytes(),
        );
        Ok(())
    }

    fn name(&mut self, name: &str) {
        match self.serialization {
            Serialization::Json => {
                self.out.put_slice(if self.fields == 0 { b",\"extFields\":{" } else { b"," });
                put_json_string(self.out, name);
                self.out.put_u8(b':');
            }
            Serialization::Rocketmq => {
                let bytes = i16::try_from(name.len()).unwrap_or_else(|_| {
                    self.error.get_or_insert(EncodeError::NameTooLong { bytes: name.len() });
                    0
                });
                self.out.put_i16(bytes);
                self.out.put_slice(name.as_bytes());
            }
        }
        self.fields += 1;
    }

    fn long_text(&mut self, text: &str) {
        self.out.put_u32(text.len() as u32);
        self.out.put_slice(text.as_bytes());
    }

    fn sixteen_bits(&mut self, what: &'static str, value: i32) -> i16 {
        i16::try_from(value).unwrap_or_else(|_| {
            self.error.get_or_insert(EncodeError::Beyond16Bits { what, value });
            0
        })
    }
}

/// The length of `i64::MIN` in decimal.
const DECIMAL_BYTES_MAX: usize = 20;

fn decimal(value: i64, digits: &mut [u8; DECIMAL_BYTES_MAX]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = DECIMAL_BYTES_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

/// Appends `value` in decimal.
pub(crate) fn put_decimal(out: &mut BytesMut, value: i64) {
    let mut digits = [0; DECIMAL_BYTES_MAX];
    out.put_slice(decimal(value, &mut digits));
}

/// Appends `text` as a JSON string: quotes, backslashes and control characters escaped, everything else as it is.
pub(crate) fn put_json_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.put_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            _ => {
                let escape =
                    [b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.put_slice(&escape);
            }
        }
    }
    out.put_slice(&bytes[done..]);
    out.put_u8(b'"');
}
