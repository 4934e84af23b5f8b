//! Attributes behind the fixed part of a message (`struct nlattr`).

/// Netlink attributes; ends at the first that does not fit.
pub struct Attributes<'b> {
    pub rest: &'b [u8],
}

impl<'b> Iterator for Attributes<'b> {
    /// Type without its flag bits, and value.
    type Item = (u16, &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        const FLAGS: u16 = 0xc000;
        let (&length, rest) = self.rest.split_first_chunk()?;
        let &kind = rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(length));
        let value = self.rest.get(4..length)?;
        let next = length.next_multiple_of(4).min(self.rest.len());
        self.rest = &self.rest[next..];
        Some((u16::from_ne_bytes(kind) & !FLAGS, value))
    }
}
