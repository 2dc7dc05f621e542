//! Makes or extends a generated retailer: `generate DIR [CUSTOMERS [MONTHS [SEED]]]`, `generate DIR --append-day YYYY-MM-DD [SEED]`.
//! Never chooses anything that the library does not; the seed is 7 unless given.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use strata_demo::{Size, append_day, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |n: usize| words.get(n).map(String::as_str);
    let dir = Path::new(word(0).ok_or("name the folder to write")?);
    let summary = if word(1) == Some("--append-day") {
        append_day(dir, word(2).ok_or("name the day, as YYYY-MM-DD")?.parse()?, word(3).unwrap_or("7").parse()?)?
    } else {
        let size =
            Size { customers: word(1).unwrap_or("2000").parse()?, months: word(2).unwrap_or("24").parse()?, ..Size::default() };
        generate(dir, &size, word(3).unwrap_or("7").parse()?)?
    };
    writeln!(std::io::stdout(), "{summary:#?}")?;
    Ok(())
}
