//! What precedes a body, in requests and in responses.
//!
//! ```text
//!   request   api key (2) │ version (2) │ correlation id (4) │ client id (2 + n, may be null) │ tags, if flexible
//!   response  correlation id (4) │ tags, if flexible and not ApiVersions
//! ```
//!
//! The client id keeps its classic length in every version. ApiVersions answers without tags whatever its version, because who asks
//! does not know yet what the broker can read (KIP-511).

use crate::input::{DecodeError, Input};
use crate::keys;
use crate::output::{put_i16, put_i32, put_nullable_string};

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API's number, one of [`keys::KEYS`].
    pub api_key: i16,
    /// The version of the body. It may be one that the API does not have.
    pub api_version: i16,
    /// What the response repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

/// Reads a request's header; the second value is where the body begins.
///
/// # Errors
/// A key that Kafka does not have: what follows it has no known shape, so the connection is closed, as Kafka does. Else what
/// [`DecodeError`] says.
pub fn decode(frame: &[u8]) -> Result<(RequestHeader<'_>, usize), DecodeError> {
    let mut input = Input::new(frame);
    let (api_key, api_version, correlation_id) = (input.i16()?, input.i16()?, input.i32()?);
    let api = keys::find(api_key).ok_or(DecodeError::Key(api_key))?;
    let client_id = input.nullable_str(false)?;
    if api.is_flexible(api_version) {
        input.skip_tags()?;
    }
    let header = RequestHeader { api_key, api_version, correlation_id, client_id };
    Ok((header, frame.len() - input.rest().len()))
}

/// Appends a request's header.
///
/// # Panics
/// With a key that Kafka does not have.
pub fn encode(header: &RequestHeader<'_>, out: &mut Vec<u8>) {
    put_i16(out, header.api_key);
    put_i16(out, header.api_version);
    put_i32(out, header.correlation_id);
    put_nullable_string(out, header.client_id, false);
    if known(header.api_key).is_flexible(header.api_version) {
        out.push(0);
    }
}

/// Appends the header of the response to a request of this key and version.
///
/// # Panics
/// With a key that Kafka does not have.
pub fn encode_response(correlation_id: i32, api_key: i16, version: i16, out: &mut Vec<u8>) {
    put_i32(out, correlation_id);
    if response_has_tags(api_key, version) {
        out.push(0);
    }
}

/// Reads a response's header: the correlation id and where the body begins.
///
/// # Errors
/// What [`DecodeError`] says.
///
/// # Panics
/// With a key that Kafka does not have.
pub fn decode_response(frame: &[u8], api_key: i16, version: i16) -> Result<(i32, usize), DecodeError> {
    let mut input = Input::new(frame);
    let correlation_id = input.i32()?;
    if response_has_tags(api_key, version) {
        input.skip_tags()?;
    }
    Ok((correlation_id, frame.len() - input.rest().len()))
}

fn response_has_tags(api_key: i16, version: i16) -> bool {
    api_key != keys::API_VERSIONS && known(api_key).is_flexible(version)
}

fn known(api_key: i16) -> &'static keys::ApiKey {
    keys::find(api_key).unwrap_or_else(|| panic!("API key {api_key} does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(api_key: i16, api_version: i16, client_id: Option<&str>) -> RequestHeader<'_> {
        RequestHeader { api_key, api_version, correlation_id: 7, client_id }
    }

    fn check(expected: RequestHeader<'_>, wire: &[u8]) {
        let mut out = Vec::new();
        encode(&expected, &mut out);
        assert_eq!(out, wire);
        out.push(9);
        assert_eq!(decode(&out), Ok((expected, wire.len())));
        for end in 0..wire.len() {
            assert_eq!(decode(&wire[..end]), Err(DecodeError::Truncated), "{end} of {wire:?}");
        }
    }

    #[test]
    fn requests() {
        check(header(keys::METADATA, 8, Some("c")), &[0, 3, 0, 8, 0, 0, 0, 7, 0, 1, b'c']);
        check(header(keys::METADATA, 9, Some("")), &[0, 3, 0, 9, 0, 0, 0, 7, 0, 0, 0]);
        check(header(keys::SASL_HANDSHAKE, 1, None), &[0, 17, 0, 1, 0, 0, 0, 7, 0xff, 0xff]);
        // A version of the future: its header is flexible, whatever the body is.
        check(header(keys::API_VERSIONS, 99, None), &[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]);
    }

    #[test]
    fn tags_are_passed_over() {
        let wire = [0, 3, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 2, 0, 1, 42, 5, 0, 8];
        assert_eq!(decode(&wire), Ok((header(keys::METADATA, 9, None), 16)));
    }

    #[test]
    fn keys_of_no_broker_are_refused() {
        assert_eq!(decode(&[0, 4, 0, 0, 0, 0, 0, 7, 0xff, 0xff]), Err(DecodeError::Key(4)));
    }

    #[test]
    fn responses() {
        for (key, version, wire) in [
            (keys::METADATA, 8, &[0, 0, 0, 7][..]),
            (keys::METADATA, 9, &[0, 0, 0, 7, 0]),
            (keys::API_VERSIONS, 4, &[0, 0, 0, 7]),
        ] {
            let mut out = Vec::new();
            encode_response(7, key, version, &mut out);
            assert_eq!(out, wire);
            assert_eq!(decode_response(&out, key, version), Ok((7, wire.len())));
        }
    }
}
