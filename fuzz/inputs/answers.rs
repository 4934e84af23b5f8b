//! A kernel that answers every request with the same datagrams.

use std::collections::VecDeque;
use std::io;

use sockdiag_exporter::kernel::netlink::transport::Transport;

/// Parts of the input, split where it says so: each datagram is as long as the two bytes
/// before it tell, the last one as long as there is input.
pub fn split(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (datagram, behind) = rest.split_at(length);
        datagrams.push(datagram.to_vec());
        input = behind;
    }
    datagrams
}

/// What [`split`] takes apart.
#[allow(dead_code, reason = "the test that records seeds joins")]
pub fn join(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    for datagram in datagrams {
        let length = u16::try_from(datagram.len()).expect("at most 32 KiB");
        input.extend(length.to_le_bytes());
        input.extend(datagram);
    }
    input
}

/// Datagrams as they are, or as the answer to the request that was sent.
pub struct Answers {
    datagrams: Vec<Vec<u8>>,
    /// Numbered as the request, and DONE behind them: else the first check would end
    /// every dump.
    are_numbered: bool,
    queued: VecDeque<Vec<u8>>,
}

impl Answers {
    pub fn numbered(datagrams: Vec<Vec<u8>>) -> Self {
        Self {
            are_numbered: true,
            ..Self::raw(datagrams)
        }
    }

    pub fn raw(datagrams: Vec<Vec<u8>>) -> Self {
        Self {
            datagrams,
            are_numbered: false,
            queued: VecDeque::new(),
        }
    }
}

/// The messages of a datagram given this sequence number, as far as they go.
fn number(mut datagram: Vec<u8>, sequence: [u8; 4]) -> Vec<u8> {
    let mut at = 0;
    while let Some(header) = datagram.get_mut(at..at + 16) {
        header[8..12].copy_from_slice(&sequence);
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        at += length.max(16).next_multiple_of(4);
    }
    datagram
}

impl Transport for Answers {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.queued = self.datagrams.iter().cloned().collect();
        if self.are_numbered {
            let sequence = [request[8], request[9], request[10], request[11]];
            let numbered = self.queued.drain(..).map(|one| number(one, sequence));
            let mut queued: VecDeque<_> = numbered.collect();
            let mut done = vec![20, 0, 0, 0, 3, 0, 2, 0];
            done.extend(sequence);
            done.extend([0; 8]);
            queued.push_back(done);
            self.queued = queued;
        }
        Ok(())
    }

    /// An error at the end, as of a kernel that has no more to say.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let datagram = self.queued.pop_front();
        let datagram = datagram.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.extend(&datagram[..datagram.len().min(buffer.capacity())]);
        Ok(datagram.len())
    }
}
