//! Damaged Parquet files, each read by a real run: the right rows, or an error that names the file. Never lets a crash, a hang
//! or a wrong row pass for an answer.

use crate::faults::{Draw, long};
use crate::hostile::{Ended, RESIDENT_MAX_KB, RUN_MAX, found_below, measured};

/// Reads `in.parquet` and writes what it holds as CSV.
const READS: &str = "version: 1
name: reads
as_of: 2026-02-01T00:00:00Z
sources:
  orders: {parquet: in.parquet, mode: mutable, key: oid}
entities: {o: {from: orders, key: oid}}
attributes:
  o: [{row: {amount: orders.amount, name: orders.name, w: orders.w, ts: orders.ts}}]
outputs: {orders: {to: out, format: csv, select: o.attributes}}
";

/// A Parquet file of 60 rows, as Strata writes it.
fn parquet() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let made = READS
        .replace("parquet: in.parquet", "csv: in.csv, columns: {oid: int!, amount: int, name: string, w: double, ts: timestamp}")
        .replace("format: csv", "format: parquet");
    let rows: String =
        (0..60).map(|i| format!("{i},{},name{},{i}.5,2026-01-0{}T00:00:00Z\n", i * 7 % 13, i % 5, 1 + i % 9)).collect();
    std::fs::write(dir.path().join("in.csv"), format!("oid,amount,name,w,ts\n{rows}")).unwrap();
    std::fs::write(dir.path().join("pipeline.yaml"), made).unwrap();
    let done = measured(dir.path(), &["run", "pipeline.yaml"], RUN_MAX);
    assert_eq!(done.code, Some(0), "{}", done.said);
    let files = found_below(&dir.path().join("out"), "part-");
    assert_eq!(files.len(), 1);
    std::fs::read(&files[0]).unwrap()
}

/// What a run makes of a file, and its table if it made one.
fn read(bytes: &[u8]) -> (Ended, Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in.parquet"), bytes).unwrap();
    std::fs::write(dir.path().join("pipeline.yaml"), READS).unwrap();
    let done = measured(dir.path(), &["run", "pipeline.yaml"], RUN_MAX);
    let table = found_below(&dir.path().join("out"), "part-").first().map(|p| std::fs::read_to_string(p).unwrap());
    (done, table)
}

/// A damaged copy, what was done to it, and whether that is in the pages. Pages carry no checksum, so a flipped bit of a value is
/// another value; everything else must not change a row.
fn mutant(good: &[u8], footer: usize, seed: u64) -> (Vec<u8>, String, bool) {
    let mut draw = Draw(seed);
    let mut below = |n: usize| ((draw.next() * n as f64) as usize).min(n - 1);
    let mut bytes = good.to_vec();
    match seed % 5 {
        0 => {
            let (at, bit) = (4 + below(footer - 4), below(8));
            bytes[at] ^= 1 << bit;
            (bytes, format!("bit {bit} of byte {at}, in a page"), true)
        }
        1 => {
            let (at, bit) = (footer + below(good.len() - footer), below(8));
            bytes[at] ^= 1 << bit;
            (bytes, format!("bit {bit} of byte {at}, in the footer"), false)
        }
        2 => {
            let at = below(good.len());
            bytes.truncate(at);
            (bytes, format!("cut at {at}"), false)
        }
        3 => {
            let (at, length, with) = (footer + below(good.len() - 16 - footer), 1 + below(8), [0, 0x7f, 0x80, 0xff][below(4)]);
            bytes[at..at + length].fill(with);
            (bytes, format!("{length} bytes of the footer from {at} are {with}"), false)
        }
        _ => {
            let lies = [0, 1, good.len() as u32, i32::MAX as u32, u32::MAX, (good.len() - footer) as u32, 7];
            let lie = lies[below(lies.len())];
            let at = good.len() - 8;
            bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            (bytes, format!("the footer says it has {lie} bytes"), false)
        }
    }
}

#[test]
fn a_damaged_parquet_file_is_named_or_read_right() {
    let good = parquet();
    let length = u32::from_le_bytes(good[good.len() - 8..good.len() - 4].try_into().unwrap()) as usize;
    let footer = good.len() - 8 - length;
    let (done, table) = read(&good);
    let want = table.unwrap_or_else(|| panic!("{}", done.said));
    assert_eq!(want.lines().count(), 61);
    let (mut refused, mut same) = (0, 0);
    for seed in 0..if long() { 500 } else { 60 } {
        let (bytes, what, pages) = mutant(&good, footer, seed);
        let (done, table) = read(&bytes);
        let head: String = done.said.chars().take(600).collect();
        assert!(done.resident_kb < RESIDENT_MAX_KB, "{seed}: {what}: {} kB", done.resident_kb);
        match (done.code, table) {
            (Some(0), Some(got)) if got == want => same += 1,
            (Some(0), Some(got)) if pages => assert_eq!(got.lines().count(), 61, "{seed}: {what}"),
            (Some(2 | 3), None) => {
                // A flipped key may equal another; then the source is named, whose key it breaks.
                assert!(done.said.contains("in.parquet") || done.said.contains("`orders`"), "{seed}: {what}: {head}");
                refused += 1;
            }
            (code, table) => panic!("{seed}: {what}: {code:?}, a table: {}, after {:?}: {head}", table.is_some(), done.took),
        }
    }
    assert!(refused >= 20 && same >= 3, "{refused} refused, {same} unharmed");
}
