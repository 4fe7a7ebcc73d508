//! Message bodies that can be told from any other: the value, and bytes that follow from it.

use crate::random::Random;

/// A number that is sent once in the life of the rig.
pub(crate) type Value = u64;

const VALUE_BYTES: usize = 8;
/// Most bodies are small; one in sixteen is large enough to fill log files.
const SMALL_BYTES_MAX: u64 = 400;
const LARGE_BYTES_MAX: u64 = 16 * 1024;

/// The body that carries `value`.
pub(crate) fn of(value: Value) -> Vec<u8> {
    let mut random = Random::new(value);
    let bound = if random.below(16) == 0 { LARGE_BYTES_MAX } else { SMALL_BYTES_MAX };
    let length = VALUE_BYTES + random.below(bound) as usize;
    let mut body = value.to_be_bytes().to_vec();
    while body.len() < length {
        body.extend_from_slice(&random.next().to_be_bytes());
    }
    body.truncate(length);
    body
}

/// The value of a body that came back, `None` if a single byte of it is not as it was sent.
pub(crate) fn value(body: &[u8]) -> Option<Value> {
    let value = Value::from_be_bytes(*body.first_chunk::<VALUE_BYTES>()?);
    (of(value) == body).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_its_value_and_any_other_byte_is_noticed() {
        for sent in 0..200 {
            let mut body = of(sent);
            assert_eq!(value(&body), Some(sent));
            let middle = body.len() / 2;
            body[middle] ^= 1;
            assert_eq!(value(&body), None);
            body[middle] ^= 1;
            body.pop();
            assert_eq!(value(&body), None);
        }
    }
}
