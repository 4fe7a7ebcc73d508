//! JSON as fastjson 1.2 speaks it: a tolerant reader into [`Value`] and a compact [`Writer`].
//!
//! Java's bodies are not always JSON. Maps with number keys come unquoted (`{0:"a"}`), maps with a bean as key come with the bean as it
//! is (`{{"queueId":0}:1}`), strings may be in single quotes, and an object that occurs twice is written once and then referred to
//! (`{"$ref":"$.a[0]"}`). The reader takes all of these; the writer emits what every client reads (compact, number keys in quotes,
//! beans as keys literally) and never a reference.

use crate::command::DecodeError;
use crate::scan::unescape;

/// How deep values may be nested; RocketMQ's own bodies stay below ten.
pub const DEPTH_MAX: usize = 64;
/// The most values (keys included) in one body, references expanded: a name server's registration of 20,000 topics has 400,000.
pub const VALUES_MAX: usize = 1 << 20;

/// Any JSON value, and any key of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number without fraction or exponent that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map in the order of the text. Keys are texts, numbers or maps.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The member of a map called `name`, the last one if there are several; `None` if absent, null or no map.
    pub fn member(&self, name: &str) -> Option<&Value> {
        let Value::Map(members) = self else { return None };
        let (_, value) =
            members.iter().rev().find(|(key, _)| matches!(key, Value::Text(text) if text == name))?;
        (*value != Value::Null).then_some(value)
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, also one written as a string.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// Why a text can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Nothing that fastjson would read either.
    #[error("the body is not JSON at byte {at}")]
    Syntax {
        /// Where reading stopped.
        at: usize,
    },
    /// More than [`DEPTH_MAX`] levels.
    #[error("the body is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    #[error("the body holds more than {VALUES_MAX} values")]
    TooLarge,
    /// A `$ref` that leads nowhere or into itself.
    #[error("the body's reference '{path}' can't be followed")]
    Reference {
        /// The reference.
        path: String,
    },
}

/// Reads one value; blanks around it are passed over.
///
/// # Errors
/// See [`JsonError`].
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let text = str::from_utf8(text).map_err(|_| JsonError::NotUtf8)?;
    let mut parser =
        Parser { text, bytes: text.as_bytes(), at: 0, values: 0, path: Vec::new(), references: Vec::new() };
    parser.blanks();
    let mut value = parser.value()?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.syntax());
    }
    resolve(&mut value, &parser.references, parser.values)?;
    Ok(value)
}

/// A place in a value: the index of a list's element or of a map's member, level by level.
type Path = Vec<usize>;

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// How many values were made.
    values: usize,
    /// Where the value that is being read belongs.
    path: Path,
    /// Places of `{"$ref":...}`, in the order of the text, with what they say.
    references: Vec<(Path, String)>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte <= b' ') {
            self.at += 1;
        }
    }

    /// Blanks and commas: fastjson takes any number of commas between elements.
    fn separators(&mut self) {
        while self.peek().is_some_and(|byte| byte <= b' ' || byte == b',') {
            self.at += 1;
        }
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }

    /// A value that begins at the current byte.
    fn value(&mut self) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(JsonError::TooLarge);
        }
        match self.peek() {
            Some(b'{') => self.map(),
            Some(b'[') => self.list(),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::Text),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// Descends into element `index` for as long as `read` runs.
    fn inside<T>(
        &mut self,
        index: usize,
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        if self.path.len() >= DEPTH_MAX {
            return Err(JsonError::TooDeep);
        }
        self.path.push(index);
        let result = read(self);
        self.path.pop();
        result
    }

    fn list(&mut self) -> Result<Value, JsonError> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.separators();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Value::List(elements));
            }
            elements.push(self.inside(elements.len(), Self::value)?);
        }
    }

    fn map(&mut self) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.separators();
            if self.peek() == Some(b'}') {
                self.at += 1;
                break;
            }
            let key = self.inside(members.len(), Self::key)?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.syntax());
            }
            self.at += 1;
            self.blanks();
            let value = self.inside(members.len(), Self::value)?;
            members.push((key, value));
        }
        if let [(Value::Text(name), Value::Text(path))] = members.as_slice()
            && name == "$ref"
        {
            self.references.push((self.path.clone(), path.clone()));
        }
        Ok(Value::Map(members))
    }

    /// A key: a value, or a word without quotes.
    fn key(&mut self) -> Result<Value, JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$')) {
            // A reference inside a key would have to be resolved where nothing can be replaced; fastjson writes none.
            let known = self.references.len();
            let key = self.value()?;
            self.references.truncate(known);
            return Ok(key);
        }
        self.values += 1;
        Ok(Value::Text(self.bare().to_owned()))
    }

    fn bare(&mut self) -> &str {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        let at = self.at;
        match self.bare() {
            "null" | "undefined" | "NaN" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(JsonError::Syntax { at }),
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
        {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        // Java's type suffixes, as fastjson writes them with class names on.
        if matches!(self.peek(), Some(b'L' | b'S' | b'B' | b'F' | b'D')) {
            self.at += 1;
        }
        if let Ok(number) = text.parse() {
            return Ok(Value::Int(number));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(JsonError::Syntax { at: start }),
        }
    }

    fn string(&mut self, quote: u8) -> Result<String, JsonError> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            match self.peek().ok_or_else(|| self.syntax())? {
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                byte => {
                    self.at += 1;
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        let raw = self.text.get(start..self.at - 1).ok_or(JsonError::Syntax { at: start })?;
        if !escaped {
            return Ok(raw.to_owned());
        }
        let mut text = String::with_capacity(raw.len());
        unescape(raw, &mut text).map_err(|_: DecodeError| JsonError::Syntax { at: start })?;
        Ok(text)
    }
}

/// Puts copies in the places of references, in the order of the text, so that a copy's own references are resolved before it is taken.
fn resolve(root: &mut Value, references: &[(Path, String)], mut values: usize) -> Result<(), JsonError> {
    for (place, reference) in references {
        let unfollowable = || JsonError::Reference { path: reference.clone() };
        let target = target(root, place, reference).ok_or_else(unfollowable)?;
        if place.starts_with(&target) {
            return Err(unfollowable());
        }
        let copy = at(root, &target).ok_or_else(unfollowable)?;
        values += count(copy);
        if values > VALUES_MAX {
            return Err(JsonError::TooLarge);
        }
        let copy = copy.clone();
        if place.len() + depth(&copy) > DEPTH_MAX {
            return Err(JsonError::TooDeep);
        }
        *at_mut(root, place).ok_or_else(unfollowable)? = copy;
    }
    Ok(())
}

/// Where a reference leads: `$` the root, `.name` a member, `[n]` an element, `@` and `..` the value itself and its parent.
fn target(root: &Value, place: &[usize], reference: &str) -> Option<Path> {
    let mut path = match reference {
        "@" => return Some(place.to_vec()),
        ".." => return Some(place.split_last()?.1.to_vec()),
        _ => Path::new(),
    };
    let mut rest = reference.strip_prefix('$')?;
    while !rest.is_empty() {
        let current = at(root, &path)?;
        let index;
        if let Some(behind) = rest.strip_prefix('[') {
            let (number, behind) = behind.split_once(']')?;
            rest = behind;
            let number = number.trim_matches(['"', '\'']);
            index = match current {
                Value::List(elements) => number.parse().ok().filter(|index| *index < elements.len())?,
                _ => member_index(current, number)?,
            };
        } else {
            let behind = rest.strip_prefix('.')?;
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            index = member_index(current, &behind[..end])?;
            rest = &behind[end..];
        }
        path.push(index);
    }
    Some(path)
}

fn member_index(value: &Value, name: &str) -> Option<usize> {
    let Value::Map(members) = value else { return None };
    members.iter().position(|(key, _)| match key {
        Value::Text(text) => text == name,
        Value::Int(number) => name.parse() == Ok(*number),
        _ => false,
    })
}

fn at<'a>(root: &'a Value, path: &[usize]) -> Option<&'a Value> {
    path.iter().try_fold(root, |value, &index| match value {
        Value::List(elements) => elements.get(index),
        Value::Map(members) => members.get(index).map(|(_, value)| value),
        _ => None,
    })
}

fn at_mut<'a>(root: &'a mut Value, path: &[usize]) -> Option<&'a mut Value> {
    path.iter().try_fold(root, |value, &index| match value {
        Value::List(elements) => elements.get_mut(index),
        Value::Map(members) => members.get_mut(index).map(|(_, value)| value),
        _ => None,
    })
}

/// How many values `value` consists of.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::List(elements) => elements.iter().map(count).sum(),
        Value::Map(members) => members.iter().map(|(key, value)| count(key) + count(value)).sum(),
        _ => 0,
    }
}

/// How many levels `value` has below itself.
fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::List(elements) => elements.iter().map(depth).max(),
        Value::Map(members) => members.iter().map(|(key, value)| depth(key).max(depth(value))).max(),
        _ => None,
    };
    deepest.map_or(0, |below| below + 1)
}

/// How a writer treats the keys of maps from numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NumberKeys {
    /// `{"0":...}`: valid JSON, read by every client.
    #[default]
    Quoted,
    /// `{0:...}`: what Apache's servers send to clients before 4.9.4.
    Bare,
}

/// Writes compact JSON. The caller keeps the calls balanced; commas are put by the writer.
#[derive(Debug, Default)]
pub struct Writer {
    out: String,
    number_keys: NumberKeys,
}

impl Writer {
    /// An empty writer.
    pub fn new(number_keys: NumberKeys) -> Self {
        Writer { out: String::new(), number_keys }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }

    /// A comma, unless what comes next is the first of its kind.
    fn separate(&mut self) {
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b':' | b',')) {
            self.out.push(',');
        }
    }

    /// Begins a map.
    pub fn begin_map(&mut self) {
        self.separate();
        self.out.push('{');
    }

    /// Ends a map.
    pub fn end_map(&mut self) {
        self.out.push('}');
    }

    /// Begins a list.
    pub fn begin_list(&mut self) {
        self.separate();
        self.out.push('[');
    }

    /// Ends a list.
    pub fn end_list(&mut self) {
        self.out.push(']');
    }

    /// A member's name; its value is the next call.
    pub fn key(&mut self, name: &str) {
        self.separate();
        self.push_quoted(name);
        self.out.push(':');
    }

    /// A number as a member's name, quoted or not as the writer was told.
    pub fn number_key(&mut self, number: i64) {
        self.separate();
        match self.number_keys {
            NumberKeys::Quoted => self.push(format_args!("\"{number}\":")),
            NumberKeys::Bare => self.push(format_args!("{number}:")),
        }
    }

    /// A whole value as a member's name: `write` writes it, and the member's value is the next call.
    pub fn value_key(&mut self, write: impl FnOnce(&mut Self)) {
        write(self);
        self.out.push(':');
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.separate();
        self.push_quoted(text);
    }

    /// A whole number.
    pub fn int(&mut self, number: i64) {
        self.separate();
        self.push(format_args!("{number}"));
    }

    /// A number with a fraction; one that JSON has no digits for becomes null, as in fastjson.
    pub fn float(&mut self, number: f64) {
        self.separate();
        if number.is_finite() {
            // Debug keeps ".0", as Java does.
            self.push(format_args!("{number:?}"));
        } else {
            self.out.push_str("null");
        }
    }

    /// A truth value.
    pub fn bool(&mut self, truth: bool) {
        self.separate();
        self.out.push_str(if truth { "true" } else { "false" });
    }

    /// Nothing.
    pub fn null(&mut self) {
        self.separate();
        self.out.push_str("null");
    }

    /// Any value as it was read.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(truth) => self.bool(*truth),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => self.float(*number),
            Value::Text(text) => self.text(text),
            Value::List(elements) => {
                self.begin_list();
                elements.iter().for_each(|element| self.value(element));
                self.end_list();
            }
            Value::Map(members) => {
                self.begin_map();
                for (key, value) in members {
                    match key {
                        Value::Int(number) => self.number_key(*number),
                        _ => self.value_key(|writer| writer.value(key)),
                    }
                    self.value(value);
                }
                self.end_map();
            }
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = std::fmt::Write::write_fmt(&mut self.out, text);
    }

    fn push_quoted(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                control if control < ' ' => self.push(format_args!("\\u{:04x}", u32::from(control))),
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> Result<String, JsonError> {
        let value = parse(text.as_bytes())?;
        let mut writer = Writer::default();
        writer.value(&value);
        Ok(writer.finish())
    }

    #[test]
    fn the_dialect_is_read_and_written_back_clean() {
        let cases = [
            (r#"{"a":1,"b":[true,null,-2.5]}"#, r#"{"a":1,"b":[true,null,-2.5]}"#),
            ("{0:\"a\",-1:'b'}  \n", r#"{"0":"a","-1":"b"}"#),
            (
                r#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"T"}:{"maxOffset":3}}}"#,
                r#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"T"}:{"maxOffset":3}}}"#,
            ),
            (r#"{ name : 'it\'s' , , $x:1L,}"#, r#"{"name":"it's","$x":1}"#),
            (r#"{"a":{"x":[1,{"y":2}]},"b":{"$ref":"$.a.x[1]"}}"#, r#"{"a":{"x":[1,{"y":2}]},"b":{"y":2}}"#),
            (r#"[{"k":1},{"$ref":"$[0]"},{"$ref":"$[1]"}]"#, r#"[{"k":1},{"k":1},{"k":1}]"#),
            (r#"{"m":{3:[7]},"r":{"$ref":"$.m[3]"}}"#, r#"{"m":{"3":[7]},"r":[7]}"#),
            ("\"\\u4e2d\\u0001\"", "\"中\\u0001\""),
            ("12345678901234567890", "1.2345678901234567e19"),
            ("[]", "[]"),
            ("{}", "{}"),
            ("undefined", "null"),
        ];
        for (input, expected) in cases {
            assert_eq!(again(input).as_deref(), Ok(expected), "{input}");
        }
    }

    #[test]
    fn what_fastjson_refuses_is_refused() {
        let syntax = |at| JsonError::Syntax { at };
        let reference = |path: &str| JsonError::Reference { path: path.into() };
        let cases = [
            ("", syntax(0)),
            ("{", syntax(1)),
            ("[1", syntax(2)),
            ("{\"a\"}", syntax(4)),
            ("{\"a\":}", syntax(5)),
            ("\"abc", syntax(4)),
            ("\"abc\\", syntax(6)),
            ("\"\\q\"", syntax(1)),
            ("1-2", syntax(0)),
            ("1e999", syntax(0)),
            ("{} x", syntax(3)),
            ("hello", syntax(0)),
            (r#"{"a":{"$ref":"$.b"}}"#, reference("$.b")),
            (r#"{"a":{"$ref":"$"}}"#, reference("$")),
            (r#"{"a":{"$ref":".."}}"#, reference("..")),
            (r#"{"a":{"$ref":"@"}}"#, reference("@")),
            (r#"{"a":{"$ref":"nowhere"}}"#, reference("nowhere")),
        ];
        for (input, expected) in cases {
            assert_eq!(parse(input.as_bytes()), Err(expected), "{input}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(JsonError::NotUtf8));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(DEPTH_MAX + 1)).is_ok(), "the root has no depth of its own");
        assert_eq!(parse(&nested(DEPTH_MAX + 2)), Err(JsonError::TooDeep));
        assert_eq!(parse(&nested(1 << 20)), Err(JsonError::TooDeep));
        let long = |elements: usize| format!("[{}]", "1,".repeat(elements)).into_bytes();
        assert!(parse(&long(VALUES_MAX - 1)).is_ok());
        assert_eq!(parse(&long(VALUES_MAX)), Err(JsonError::TooLarge));
    }

    #[test]
    fn references_can_t_explode() {
        // Each level refers to the one before twice: 2^30 values if nobody counted.
        let mut text = "[[1,1]".to_owned();
        for level in 0..30 {
            text.push_str(&format!(",[{{\"$ref\":\"$[{level}]\"}},{{\"$ref\":\"$[{level}]\"}}]"));
        }
        text.push(']');
        assert_eq!(parse(text.as_bytes()), Err(JsonError::TooLarge));
    }
}
