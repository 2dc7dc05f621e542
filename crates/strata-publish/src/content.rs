//! The order-free content hash of a set of rows. It never depends on partitions, batch sizes, file names or the order of rows.
//!
//! Definition `rowsum128-1`: each row is the arrow row encoding of its stored columns (ascending, nulls first) in table order; its hash
//! is MurmurHash3 x64 128 of those bytes with seed 0x53545241, read as the number `h1 * 2^64 + h2`; the content hash is the sum of all
//! row hashes modulo 2^128, written as 32 hex digits. Equal multisets of rows have equal sums, and sums of parts add up. Values
//! compare by their bits: `-0.0` is not `0.0`. The column names and types are not part of it: compare them beside it. It tells
//! accidents apart, not forgeries.
//! Source: Appleby, MurmurHash3 (2011); Clarke et al., Incremental multiset hash functions (2003), the additive form.

use std::fmt;
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of the definition above; manifests carry it, so that sums of different definitions are never compared.
pub const CONTENT_DEFINITION: &str = "rowsum128-1";

const SEED: u64 = 0x5354_5241;

/// The content hash of a multiset of rows: a sum modulo 2^128. Its default is the hash of no rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(u128);

/// Hashes batches of one schema. Memory: the encoded rows of the largest batch seen.
pub struct ContentHasher {
    converter: RowConverter,
    rows: Rows,
    sum: ContentHash,
}

impl ContentHash {
    /// The hash of both multisets together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl ContentHasher {
    /// A hasher of batches of `schema`. Errors: a column type that arrow cannot encode as rows.
    pub fn try_new(schema: &Schema) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let rows = converter.empty_rows(0, 0);
        Ok(Self { converter, rows, sum: ContentHash::default() })
    }

    /// Adds the rows of `batch`, which must have the hasher's schema.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.rows.clear();
        self.converter.append(&mut self.rows, batch.columns())?;
        for row in &self.rows {
            self.sum = self.sum.plus(ContentHash(murmur3_128(row.as_ref(), SEED)));
        }
        Ok(())
    }

    /// The hash of everything added so far.
    pub fn sum(&self) -> ContentHash {
        self.sum
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher").field("sum", &self.sum).finish_non_exhaustive()
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ContentHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(sum) if digits => Ok(Self(sum)),
            _ => Err(format!("`{text}` is not a content hash: 32 lowercase hex digits are expected")),
        }
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// MurmurHash3 x64 128 of `bytes`, as `h1 * 2^64 + h2`. Source: Appleby 2011.
fn murmur3_128(bytes: &[u8], seed: u64) -> u128 {
    let (mut h1, mut h2) = (seed, seed);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = lanes(block);
        h1 = (h1 ^ mix_k1(k1)).rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix_k2(k2)).rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let (k1, k2) = lanes(&last);
    h1 ^= mix_k1(k1) ^ bytes.len() as u64;
    h2 ^= mix_k2(k2) ^ bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    u128::from(h1) << 64 | u128::from(h2)
}

/// The two little-endian halves of a block.
fn lanes(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    (both as u64, (both >> 64) as u64)
}

fn mix_k1(k: u64) -> u64 {
    k.wrapping_mul(0x87c3_7b91_1142_53d5).rotate_left(31).wrapping_mul(0x4cf5_ad43_2745_937f)
}

fn mix_k2(k: u64) -> u64 {
    k.wrapping_mul(0x4cf5_ad43_2745_937f).rotate_left(33).wrapping_mul(0x87c3_7b91_1142_53d5)
}

fn finish(mut k: u64) -> u64 {
    k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ k >> 33
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch(ids: Vec<Option<i64>>, names: Vec<Option<&str>>) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        let names: ArrayRef = Arc::new(StringArray::from(names));
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
    }

    fn hash(batches: &[RecordBatch]) -> ContentHash {
        let mut hasher = ContentHasher::try_new(&batches[0].schema()).unwrap();
        for batch in batches {
            hasher.update(batch).unwrap();
        }
        hasher.sum()
    }

    #[test]
    fn murmur3_agrees_with_published_vectors() {
        assert_eq!(murmur3_128(b"", 0), 0);
        assert_eq!(murmur3_128(b"The quick brown fox jumps over the lazy dog", 0), 0xe34b_bc7b_bc07_1b6c_7a43_3ca9_c49a_9347);
    }

    #[test]
    fn the_order_and_the_cut_into_batches_do_not_matter_and_the_number_of_copies_does() {
        let whole = batch(vec![Some(1), Some(2), None, Some(2)], vec![Some("a"), None, Some(""), None]);
        let turned = batch(vec![None, Some(2), Some(2), Some(1)], vec![Some(""), None, None, Some("a")]);
        assert_eq!(hash(std::slice::from_ref(&whole)), hash(std::slice::from_ref(&turned)));
        assert_eq!(hash(std::slice::from_ref(&whole)), hash(&[turned.slice(0, 1), turned.slice(1, 3)]));
        assert_eq!(hash(std::slice::from_ref(&whole)), hash(&[whole.slice(0, 2)]).plus(hash(&[whole.slice(2, 2)])));
        assert_ne!(hash(std::slice::from_ref(&whole)), hash(&[whole.slice(0, 3)]));
        let copies = |count: usize| hash(&vec![whole.slice(0, 1); count]);
        assert_ne!(copies(1), copies(3));
        let null_for_empty = batch(vec![Some(1), Some(2), None, Some(2)], vec![Some("a"), None, None, None]);
        assert_ne!(hash(&[whole]), hash(&[null_for_empty]));
    }

    /// Fails when an upgrade of arrow changes its row encoding: then the definition's name has to change too.
    #[test]
    fn the_definition_has_not_changed() {
        let rows = batch(vec![Some(1), None, Some(-7)], vec![Some("a"), Some("höher"), None]);
        assert_eq!(hash(&[rows]).to_string(), "58d26619ee4de5f667e231fdc8e7744d");
        let prices: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(-1.5), None]));
        assert_eq!(
            hash(&[RecordBatch::try_from_iter([("price", prices)]).unwrap()]).to_string(),
            "cb3e3948aacef92a221449b0f88e3adf"
        );
    }

    #[test]
    fn text_reads_back_and_nothing_else_does() {
        let sum = hash(&[batch(vec![Some(1)], vec![Some("a")])]);
        assert_eq!(sum.to_string().parse::<ContentHash>().unwrap(), sum);
        for text in
            ["", "1", "+0000000000000000000000000000000", "0000000000000000000000000000000G", "0000000000000000000000000000000A"]
        {
            assert!(text.parse::<ContentHash>().is_err(), "{text}");
        }
    }
}
