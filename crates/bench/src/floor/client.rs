//! How the generator talks to the floor.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{ANSWER_BYTES, Mode, RECORD_BYTES, RECORDS, STRIDE};
use crate::error::{BenchError, Doing, Result};
use crate::protocol::{Answer, Protocol, Sampler};

/// Appends of one payload.
pub struct Append {
    mode: Mode,
    template: Vec<u8>,
    messages: u32,
    log: File,
    log_bytes: u64,
    /// Where the log ends, as far as answers tell.
    end: u64,
    acknowledged: Sampler<(u32, u64)>,
}

impl Append {
    /// Requests that hold `messages` messages of `message_bytes` each; the server's log lies in `dir`.
    ///
    /// # Errors
    /// When there is no log.
    pub fn new(mode: Mode, messages: u32, message_bytes: usize, dir: &Path, log_bytes: u64) -> Result<Self> {
        let payload = messages as usize * message_bytes;
        let mut template = (payload as u32).to_be_bytes().to_vec();
        template.resize(4 + payload, b'f');
        let log = File::open(dir.join("floor.log")).doing("open the floor's log")?;
        Ok(Append { mode, template, messages, log, log_bytes, end: 0, acknowledged: Sampler::default() })
    }
}

impl Protocol for Append {
    fn create_topic(&mut self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    fn handshake(&mut self, _: usize, _: &mut TcpStream) -> Result<()> {
        Ok(())
    }

    fn encode(&mut self, connection: usize, tag: u32, out: &mut Vec<u8>) {
        request(&self.template, connection, tag, out);
    }

    fn decode(&mut self, _: usize, input: &[u8]) -> Result<Option<Answer>> {
        let Some((position, tag)) = head(input) else { return Ok(None) };
        self.end = self.end.max(position + self.template.len() as u64 - 4);
        if self.acknowledged.is_wanted() {
            self.acknowledged.keep((tag, position));
        }
        Ok(Some(Answer { bytes: ANSWER_BYTES, tag, messages: self.messages }))
    }

    fn verify(&mut self, _: SocketAddr) -> Result<u64> {
        let acknowledged = self.acknowledged.take();
        if self.mode == Mode::Nothing {
            return Ok(0);
        }
        let mut verified = 0;
        for (tag, position) in acknowledged {
            // What the log has come round to since is gone, and so is what would lie across its end.
            if position + self.log_bytes < self.end || position % self.log_bytes + 4 > self.log_bytes {
                continue;
            }
            let mut found = [0; 4];
            self.log.read_exact_at(&mut found, position % self.log_bytes).doing("read the floor's log")?;
            if u32::from_be_bytes(found) != tag {
                return Err(BenchError::Lost(format!("request {tag} at {position} of the floor's log")));
            }
            verified += 1;
        }
        Ok(verified)
    }
}

/// Fetches.
pub struct Fetch {
    template: Vec<u8>,
    delivered: u64,
}

impl Default for Fetch {
    fn default() -> Self {
        let mut template = 8u32.to_be_bytes().to_vec();
        template.resize(12, 0);
        Fetch { template, delivered: 0 }
    }
}

impl Protocol for Fetch {
    fn create_topic(&mut self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    fn handshake(&mut self, _: usize, _: &mut TcpStream) -> Result<()> {
        Ok(())
    }

    fn encode(&mut self, connection: usize, tag: u32, out: &mut Vec<u8>) {
        request(&self.template, connection % STRIDE, tag, out);
    }

    fn decode(&mut self, _: usize, input: &[u8]) -> Result<Option<Answer>> {
        let Some((length, tag)) = head(input) else { return Ok(None) };
        if length != (RECORDS * RECORD_BYTES) as u64 {
            return Err(BenchError::Answer(format!("the floor announces {length} bytes")));
        }
        let bytes = ANSWER_BYTES + RECORDS * RECORD_BYTES;
        if input.len() < bytes {
            return Ok(None);
        }
        self.delivered += RECORDS as u64;
        Ok(Some(Answer { bytes, tag, messages: RECORDS as u32 }))
    }

    fn verify(&mut self, _: SocketAddr) -> Result<u64> {
        Ok(std::mem::take(&mut self.delivered))
    }
}

fn request(template: &[u8], connection: usize, tag: u32, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(template);
    out[at + 4..at + 8].copy_from_slice(&tag.to_be_bytes());
    out[at + 8..at + 12].copy_from_slice(&(connection as u32).to_be_bytes());
}

/// The number and the tag of the answer at the front.
fn head(input: &[u8]) -> Option<(u64, u32)> {
    let (number, rest) = input.split_first_chunk()?;
    let (echo, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u32::from_be_bytes([echo[0], echo[1], echo[2], echo[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_a_length_a_tag_and_a_payload() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("floor.log"), [0, 0, 0, 7, 0, 0, 0, 8]).unwrap();
        let mut append = Append::new(Mode::Write, 2, 6, dir.path(), 8).unwrap();
        let mut out = Vec::new();
        append.encode(3, 7, &mut out);
        assert_eq!(out, *b"\0\0\0\x0c\0\0\0\x07\0\0\0\x03ffff");
        let answer =
            |position: u64, tag: u32| [&position.to_be_bytes()[..], &tag.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(append.decode(0, &answer(0, 7)[..15]).unwrap(), None);
        let expected = Answer { bytes: 16, tag: 7, messages: 2 };
        assert_eq!(append.decode(0, &answer(0, 7)).unwrap(), Some(expected));
        append.end = 8;
        let nobody = "127.0.0.1:9".parse().unwrap();
        assert_eq!(append.verify(nobody).unwrap(), 1);
        append.decode(0, &answer(4, 9)).unwrap();
        append.end = 8;
        assert!(matches!(append.verify(nobody), Err(BenchError::Lost(_))));
    }

    #[test]
    fn a_fetch_waits_for_all_of_its_data() {
        let mut fetch = Fetch::default();
        let mut answer = ((RECORDS * RECORD_BYTES) as u64).to_be_bytes().to_vec();
        answer.extend_from_slice(&[0, 0, 0, 5, 0, 0, 0, 0]);
        answer.resize(ANSWER_BYTES + RECORDS * RECORD_BYTES, 1);
        assert_eq!(fetch.decode(0, &answer[..answer.len() - 1]).unwrap(), None);
        let whole = fetch.decode(0, &answer).unwrap().unwrap();
        assert_eq!((whole.bytes, whole.tag, whole.messages), (answer.len(), 5, 64));
        answer[7] = 1;
        assert!(fetch.decode(0, &answer).is_err());
    }
}
