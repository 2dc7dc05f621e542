//! A zip archive that is written as it comes: its parts are compressed one after the other, and their sizes stand behind them. It never
//! holds more than what was not taken yet, and the same parts give the same bytes: no date, no name of a machine.
//! Source: PKWARE APPNOTE 6.3.10, 4.3 (data descriptors, bit 3 of the flags).

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// 1980-01-01 00:00, the least date that an archive can say.
const DATE: u16 = 0x21;
const VERSION: u16 = 20;
const FLAGS: u16 = 0x0808; // sizes behind the data; names in UTF-8
const DEFLATED: u16 = 8;
/// Bytes compressed at a time: what an encoder makes depends on how its input is cut.
const PIECE: usize = 64 << 10;

/// An archive being written.
pub(crate) struct Archive {
    out: Vec<u8>,
    taken: u64,
    open: Option<Part>,
    done: Vec<Entry>,
}

struct Part {
    name: &'static str,
    number: u32,
    offset: u64,
    data: DeflateEncoder<Vec<u8>>,
    waiting: Vec<u8>,
    crc: Crc,
    size: u64,
    packed: u64,
}

struct Entry {
    name: String,
    offset: u32,
    crc: u32,
    size: u32,
    packed: u32,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self { out: Vec::new(), taken: 0, open: None, done: Vec::new() }
    }

    /// Begins the part `name`, in which `{}` stands for `number`. Errors: as [`Archive::end`] of the part before.
    pub(crate) fn begin(&mut self, name: &'static str, number: u32) -> std::io::Result<()> {
        self.end()?;
        let offset = self.taken + self.out.len() as u64;
        let path = name.replace("{}", &number.to_string());
        self.put32s(&[0x0403_4b50]);
        self.put16s(&[VERSION, FLAGS, DEFLATED, 0, DATE]);
        self.put32s(&[0, 0, 0]);
        self.put16s(&[path.len() as u16]);
        self.put16s(&[0]);
        self.out.extend(path.as_bytes());
        let data = DeflateEncoder::new(Vec::new(), Compression::default());
        self.open = Some(Part { name, number, offset, data, waiting: Vec::new(), crc: Crc::new(), size: 0, packed: 0 });
        Ok(())
    }

    /// Adds to the open part. Errors: none of its own.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let Some(part) = &mut self.open else { return Ok(()) };
        part.crc.update(bytes);
        part.size += bytes.len() as u64;
        part.waiting.extend_from_slice(bytes);
        let whole = part.waiting.len() / PIECE * PIECE;
        part.waiting[..whole].chunks(PIECE).try_for_each(|piece| part.data.write_all(piece))?;
        part.waiting.drain(..whole);
        let packed = std::mem::take(part.data.get_mut());
        part.packed += packed.len() as u64;
        self.out.extend(packed);
        Ok(())
    }

    /// Ends the open part. Errors: `InvalidData` where a part, or the archive, is larger than 4 GiB.
    fn end(&mut self) -> std::io::Result<()> {
        let Some(mut part) = self.open.take() else { return Ok(()) };
        part.data.write_all(&part.waiting)?;
        let (name, crc, size) = (part.name.replace("{}", &part.number.to_string()), part.crc.sum(), part.size);
        let last = part.data.finish()?;
        let packed = part.packed + last.len() as u64;
        self.out.extend(last);
        let (Ok(size), Ok(packed), Ok(offset)) = (u32::try_from(size), u32::try_from(packed), u32::try_from(part.offset)) else {
            let message = format!("`{name}` of a workbook is larger than 4 GiB: choose Parquet or CSV");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        };
        self.put32s(&[0x0807_4b50, crc, packed, size]);
        self.done.push(Entry { name, offset, crc, size, packed });
        Ok(())
    }

    /// What was made since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Ends the archive; what is left to take. Errors: as [`Archive::end`].
    pub(crate) fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        self.end()?;
        let start = self.taken + self.out.len() as u64;
        let done = std::mem::take(&mut self.done);
        for entry in &done {
            self.put32s(&[0x0201_4b50]);
            self.put16s(&[VERSION, VERSION, FLAGS, DEFLATED, 0, DATE]);
            self.put32s(&[entry.crc, entry.packed, entry.size]);
            self.put16s(&[entry.name.len() as u16]);
            self.put16s(&[0, 0, 0, 0]);
            self.put32s(&[0, entry.offset]);
            self.out.extend(entry.name.as_bytes());
        }
        let size = self.taken + self.out.len() as u64 - start;
        let (Ok(start), Ok(size), Ok(parts)) = (u32::try_from(start), u32::try_from(size), u16::try_from(done.len())) else {
            let message = "a workbook is larger than 4 GiB: choose Parquet or CSV";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        };
        self.put32s(&[0x0605_4b50]);
        self.put16s(&[0, 0, parts, parts]);
        self.put32s(&[size, start]);
        self.put16s(&[0]);
        Ok(self.take())
    }

    fn put16s(&mut self, numbers: &[u16]) {
        numbers.iter().for_each(|n| self.out.extend(n.to_le_bytes()));
    }

    fn put32s(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|n| self.out.extend(n.to_le_bytes()));
    }
}

/// The parts of an archive that this module made, by name: for tests.
#[cfg(test)]
pub(crate) fn parts(bytes: &[u8]) -> Vec<(String, String)> {
    use std::io::Read;
    let at = |i: usize, n: usize| bytes[i..i + n].iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b));
    let end = bytes.len() - 22;
    assert_eq!(at(end, 4), 0x0605_4b50);
    let (count, mut place) = (at(end + 10, 2), at(end + 16, 4));
    let mut out = Vec::new();
    for _ in 0..count {
        assert_eq!(at(place, 4), 0x0201_4b50);
        let (crc, packed, size, length, offset) =
            (at(place + 16, 4), at(place + 20, 4), at(place + 24, 4), at(place + 28, 2), at(place + 42, 4));
        let name = String::from_utf8(bytes[place + 46..place + 46 + length].to_vec()).unwrap();
        assert_eq!((at(offset, 4), &bytes[offset + 30..offset + 30 + length]), (0x0403_4b50, name.as_bytes()));
        let start = offset + 30 + length;
        let mut text = String::new();
        flate2::read::DeflateDecoder::new(&bytes[start..start + packed]).read_to_string(&mut text).unwrap();
        let mut sum = Crc::new();
        sum.update(text.as_bytes());
        assert_eq!((text.len(), sum.sum() as usize), (size, crc), "{name}");
        out.push((name, text));
        place += 46 + length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_however_they_are_pushed_and_taken() {
        let text = "a line of many\n".repeat(9_000);
        let made = |cut: usize| {
            let (mut archive, mut bytes) = (Archive::new(), Vec::new());
            for (name, number) in [("one.xml", 0), ("two{}.xml", 2)] {
                archive.begin(name, number).unwrap();
                for piece in text.as_bytes().chunks(cut) {
                    archive.push(piece).unwrap();
                    bytes.extend(archive.take());
                }
            }
            bytes.extend(archive.finish().unwrap());
            bytes
        };
        let bytes = made(1_000);
        assert_eq!(bytes, made(77_777));
        let found = parts(&bytes);
        assert_eq!(found.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["one.xml", "two2.xml"]);
        assert!(found.iter().all(|(_, t)| *t == text) && bytes.len() < text.len());
    }
}
