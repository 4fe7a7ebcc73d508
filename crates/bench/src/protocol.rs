//! What a protocol has to offer to be driven.

use std::net::{SocketAddr, TcpStream};

use crate::error::Result;

/// One whole answer at the front of what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How many bytes it takes.
    pub bytes: usize,
    /// The tag of its request.
    pub tag: u32,
    /// How many messages it acknowledges or delivers.
    pub messages: u32,
}

/// A protocol together with one kind of work: what requests look like, and what their answers say.
///
/// A *tag* numbers the requests of a run. It travels in the request, comes back in the answer, and for sends it is part of the message,
/// so that a message that is read back can be told from every other.
pub trait Protocol {
    /// Makes what the requests need (topics, messages to read) and encodes the templates. Called once for each server.
    ///
    /// # Errors
    /// When the server refuses.
    fn create_topic(&mut self, address: SocketAddr) -> Result<()>;

    /// Talks on a new, blocking connection until requests may be sent.
    ///
    /// # Errors
    /// When the server refuses.
    fn handshake(&mut self, connection: usize, stream: &mut TcpStream) -> Result<()>;

    /// Appends the next request of `connection` to `out`.
    fn encode(&mut self, connection: usize, tag: u32, out: &mut Vec<u8>);

    /// Reads the answer at the front of `input`; `None` when it is not whole yet.
    ///
    /// # Errors
    /// When it is none, refuses the request, or delivers what is wrong.
    fn decode(&mut self, connection: usize, input: &[u8]) -> Result<Option<Answer>>;

    /// Reads back what was acknowledged, and gives how many messages were looked at. Called when nothing is in flight.
    ///
    /// # Errors
    /// When an acknowledged message is missing or differs.
    fn verify(&mut self, address: SocketAddr) -> Result<u64>;
}

/// How many samples are kept at most.
const SAMPLES_MAX: usize = 512;

/// A spread of at most 512 things out of however many are offered, at even distances.
#[derive(Debug)]
pub struct Sampler<T> {
    samples: Vec<T>,
    offered: u64,
    stride: u64,
}

impl<T> Default for Sampler<T> {
    fn default() -> Self {
        Sampler { samples: Vec::new(), offered: 0, stride: 1 }
    }
}

impl<T> Sampler<T> {
    /// Counts one more thing; says whether it is one to keep.
    pub fn is_wanted(&mut self) -> bool {
        let wanted = self.offered.is_multiple_of(self.stride);
        self.offered += 1;
        wanted
    }

    /// Keeps one. When there are too many, every other one goes and the distance doubles.
    pub fn keep(&mut self, sample: T) {
        self.samples.push(sample);
        if self.samples.len() == SAMPLES_MAX {
            let mut at = 0;
            self.samples.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// What was kept; none of it is kept any longer.
    pub fn take(&mut self) -> Vec<T> {
        self.offered = 0;
        self.stride = 1;
        std::mem::take(&mut self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_and_bounded() {
        let mut sampler = Sampler::default();
        for number in 0..100_000u32 {
            if sampler.is_wanted() {
                sampler.keep(number);
            }
        }
        let samples = sampler.take();
        assert!((SAMPLES_MAX / 4..SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        let distance = samples[1] - samples[0];
        assert!(samples.windows(2).all(|pair| pair[1] - pair[0] == distance), "{samples:?}");
        assert!(100_000 - samples[samples.len() - 1] <= distance);
        assert!(sampler.take().is_empty());
    }
}
