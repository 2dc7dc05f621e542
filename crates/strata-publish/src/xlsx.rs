//! Rows as an Excel workbook (ISO 29500, transitional), written as they come. It never makes a formula of a value and never rounds a number
//! in silence: whole numbers and decimals of more than 15 digits are text.
//!
//! The first row of a sheet is the header and stays in view. Rows beyond what a sheet holds go to a further sheet with the same header.
//! Text cells hold their text as it is (ids keep their zeros) and are marked as text, so that a spreadsheet does not take what starts with
//! `=`, `+`, `-` or `@` for a formula when the cell is edited. Dates and timestamps (UTC, to the millisecond) are dates of Excel from
//! 1900-03-01 on, text before. A null is an empty cell. Nothing else is in the file: no author, no date of making.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::ArrayFormatter;
use datafusion::error::Result;

use crate::csv::TEXT;
use crate::zipped::Archive;

/// Columns of a sheet.
pub(crate) const COLUMNS_MAX: usize = 16_384;
/// Rows of a sheet, the header among them.
const ROWS_MAX: u32 = 1_048_576;
/// Characters of a cell (UTF-16).
const CELL_MAX: usize = 32_767;
/// Memory that a workbook takes while it is written, whatever its rows: the compressor's.
pub(crate) const MEMORY_BYTES: usize = 1 << 20;
/// Digits of a number that a spreadsheet keeps.
const DIGITS_MAX: usize = 15;
/// Excel's day 1970-01-01.
const EPOCH: f64 = 25_569.0;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const TYPES: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";

/// Formats of cells, by their place in [`STYLES`].
const PLAIN: u8 = 0;
const HEADER: u8 = 1;
const AS_TEXT: u8 = 2;
const DATE: u8 = 3;
const MOMENT: u8 = 4;
const STYLES: &str = "<numFmts count=\"1\"><numFmt numFmtId=\"164\" formatCode=\"yyyy\\-mm\\-dd\\ hh:mm:ss\"/></numFmts>\
<fonts count=\"2\"><font><sz val=\"11\"/><name val=\"Calibri\"/></font><font><b/><sz val=\"11\"/><name val=\"Calibri\"/></font></fonts>\
<fills count=\"2\"><fill><patternFill patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill></fills>\
<borders count=\"1\"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
<cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs><cellXfs count=\"5\">\
<xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\"/>\
<xf numFmtId=\"49\" fontId=\"1\" fillId=\"0\" borderId=\"0\" xfId=\"0\" quotePrefix=\"1\" applyNumberFormat=\"1\" applyFont=\"1\"/>\
<xf numFmtId=\"49\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" quotePrefix=\"1\" applyNumberFormat=\"1\"/>\
<xf numFmtId=\"14\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/>\
<xf numFmtId=\"164\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/></cellXfs>\
<cellStyles count=\"1\"><cellStyle name=\"Normal\" xfId=\"0\" builtinId=\"0\"/></cellStyles>";

/// A workbook being written.
pub(crate) struct Workbook {
    archive: Archive,
    names: Vec<String>,
    letters: Vec<String>,
    sheets: u32,
    /// Rows of the open sheet, the header among them.
    rows: u32,
    rows_max: u32,
}

impl Workbook {
    /// A workbook of rows of `schema` with one empty sheet.
    pub(crate) fn try_new(schema: &Schema) -> Result<Self> {
        let names = schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let letters = (0..names.len()).map(letters).collect();
        let mut book = Self { archive: Archive::new(), names, letters, sheets: 0, rows: 0, rows_max: ROWS_MAX };
        book.sheet()?;
        Ok(book)
    }

    /// Adds rows; the bytes that are made of them so far. Errors: a text that no cell can hold; as the archive's.
    pub(crate) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut text = String::with_capacity(batch.num_rows() * batch.num_columns() * 40);
        for row in 0..batch.num_rows() {
            if self.rows == self.rows_max {
                self.archive.push(text.as_bytes())?;
                text.clear();
                self.sheet()?;
            }
            self.rows += 1;
            text.push_str(&format!("<row r=\"{}\">", self.rows));
            for (at, column) in batch.columns().iter().enumerate().filter(|(_, column)| !column.is_null(row)) {
                let place = format!("{}{}", self.letters[at], self.rows);
                push(&mut text, &place, column, row)
                    .map_err(|e| datafusion::error::DataFusionError::from(e).context(format!("column `{}`", self.names[at])))?;
            }
            text.push_str("</row>");
        }
        self.archive.push(text.as_bytes())?;
        Ok(self.archive.take())
    }

    /// Ends the workbook; the last bytes. Errors: as the archive's.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>> {
        self.archive.push(b"</sheetData></worksheet>")?;
        let each = |f: &dyn Fn(u32) -> String| (1..=self.sheets).map(f).collect::<String>();
        let override_of = |part: &str, kind: &str| format!("<Override PartName=\"/{part}\" ContentType=\"{TYPES}.{kind}+xml\"/>");
        let types = format!(
            "<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
             <Default Extension=\"xml\" ContentType=\"application/xml\"/>{}{}{}</Types>",
            override_of("xl/workbook.xml", "sheet.main"),
            override_of("xl/styles.xml", "styles"),
            each(&|n| override_of(&format!("xl/worksheets/sheet{n}.xml"), "worksheet")),
        );
        let sheets = each(&|n| {
            let name = if n == 1 { "rows".to_owned() } else { format!("rows {n}") };
            format!("<sheet name=\"{name}\" sheetId=\"{n}\" r:id=\"rId{n}\"/>")
        });
        let related = |id: u32, kind: &str, target: &str| {
            format!("<Relationship Id=\"rId{id}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\"/>")
        };
        let within = each(&|n| related(n, "worksheet", &format!("worksheets/sheet{n}.xml")));
        let styles = related(self.sheets + 1, "styles", "styles.xml");
        let parts: [(&'static str, String); 5] = [
            ("[Content_Types].xml", types),
            ("_rels/.rels", relationships(&related(1, "officeDocument", "xl/workbook.xml"))),
            ("xl/workbook.xml", format!("<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets>{sheets}</sheets></workbook>")),
            ("xl/_rels/workbook.xml.rels", relationships(&(within + &styles))),
            ("xl/styles.xml", format!("<styleSheet xmlns=\"{MAIN}\">{STYLES}</styleSheet>")),
        ];
        for (name, text) in parts {
            self.archive.begin(name, 0)?;
            self.archive.push(HEAD.as_bytes())?;
            self.archive.push(text.as_bytes())?;
        }
        Ok(self.archive.finish()?)
    }

    /// Ends the open sheet, if there is one, and begins the next with its header.
    fn sheet(&mut self) -> Result<()> {
        if self.sheets > 0 {
            self.archive.push(b"</sheetData></worksheet>")?;
        }
        self.sheets += 1;
        self.rows = 1;
        self.archive.begin("xl/worksheets/sheet{}.xml", self.sheets)?;
        let mut text = format!(
            "{HEAD}<worksheet xmlns=\"{MAIN}\"><sheetViews><sheetView workbookViewId=\"0\"><pane ySplit=\"1\" topLeftCell=\"A2\" \
             activePane=\"bottomLeft\" state=\"frozen\"/></sheetView></sheetViews><sheetData><row r=\"1\">"
        );
        for (name, letters) in self.names.iter().zip(&self.letters) {
            push_text(&mut text, &format!("{letters}1"), name, HEADER)?;
        }
        text.push_str("</row>");
        self.archive.push(text.as_bytes())?;
        Ok(())
    }
}

fn relationships(all: &str) -> String {
    format!("<Relationships xmlns=\"{PACKAGE}/relationships\">{all}</Relationships>")
}

/// `A`, …, `Z`, `AA`, … of a column, from 0.
fn letters(column: usize) -> String {
    let last = char::from(b'A' + (column % 26) as u8);
    if column < 26 { last.to_string() } else { format!("{}{last}", letters(column / 26 - 1)) }
}

/// A value that is not null.
fn push(out: &mut String, place: &str, array: &ArrayRef, row: usize) -> std::result::Result<(), ArrowError> {
    let text = || ArrayFormatter::try_new(array.as_ref(), &TEXT)?.value(row).try_to_string();
    let number =
        |out: &mut String, value: &str, style: u8| out.push_str(&format!("<c r=\"{place}\" s=\"{style}\"><v>{value}</v></c>"));
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    match array.data_type() {
        DataType::Utf8 => push_text(out, place, array.as_string::<i32>().value(row), AS_TEXT)?,
        DataType::Boolean => {
            let value = u8::from(array.as_boolean().value(row));
            out.push_str(&format!("<c r=\"{place}\" t=\"b\"><v>{value}</v></c>"));
        }
        DataType::Float64 if array.as_primitive::<Float64Type>().value(row).is_finite() => number(out, &text()?, PLAIN),
        DataType::Float32 if array.as_primitive::<Float32Type>().value(row).is_finite() => number(out, &text()?, PLAIN),
        DataType::Date32 => match f64::from(array.as_primitive::<Date32Type>().value(row)) + EPOCH {
            serial if is_date(serial) => number(out, &serial.to_string(), DATE),
            _ => push_text(out, place, &text()?, AS_TEXT)?,
        },
        DataType::Timestamp(..) => match array.as_primitive::<TimestampMicrosecondType>().value(row) as f64 / 86_400e6 + EPOCH {
            serial if is_date(serial) => number(out, &serial.to_string(), MOMENT),
            _ => push_text(out, place, &text()?, AS_TEXT)?,
        },
        kind if kind.is_integer() || kind.is_decimal() => match text()? {
            value if digits(&value) <= DIGITS_MAX => number(out, &value, PLAIN),
            value => push_text(out, place, &value, AS_TEXT)?,
        },
        _ => push_text(out, place, &text()?, AS_TEXT)?,
    }
    Ok(())
}

/// From 1900-03-01, where all spreadsheets agree, to 9999-12-31.
fn is_date(serial: f64) -> bool {
    (61.0..2_958_466.0).contains(&serial)
}

fn push_text(out: &mut String, place: &str, text: &str, style: u8) -> std::result::Result<(), ArrowError> {
    let length = text.encode_utf16().count();
    if length > CELL_MAX {
        let message =
            format!("a text of {length} characters, and a cell of a workbook holds {CELL_MAX}: shorten it, or choose CSV");
        return Err(ArrowError::InvalidArgumentError(message));
    }
    out.push_str(&format!("<c r=\"{place}\" s=\"{style}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">"));
    for (at, c) in text.char_indices() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // What XML cannot hold, and what reads as such an escape.
            '_' if is_escape(&text[at..]) => out.push_str("_x005F_"),
            '\t' | '\n' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push_str(&format!("_x{:04X}_", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push_str("</t></is></c>");
    Ok(())
}

/// Whether a text begins like `_x000D_`.
fn is_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 7 && bytes[1] == b'x' && bytes[2..6].iter().all(u8::is_ascii_hexdigit) && bytes[6] == b'_'
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };

    use super::*;
    use crate::zipped::parts;

    fn book(batch: &RecordBatch, rows_max: u32) -> Vec<(String, String)> {
        let mut book = Workbook::try_new(&batch.schema()).unwrap();
        book.rows_max = rows_max;
        let mut bytes = book.rows(batch).unwrap();
        bytes.extend(book.finish().unwrap());
        parts(&bytes)
    }

    fn sheet(found: &[(String, String)], number: u32) -> String {
        let name = format!("xl/worksheets/sheet{number}.xml");
        found.iter().find(|(n, _)| *n == name).map(|(_, text)| text.clone()).unwrap()
    }

    #[test]
    fn values_are_numbers_text_and_dates_and_never_formulas() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from(vec![Some("007"), Some("=1+1"), Some("a<b>&\r_x0041_"), None]))),
            ("n", Arc::new(Int64Array::from(vec![Some(-12), Some(1_234_567_890_123_456), None, None]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None]))),
            ("p", Arc::new(Decimal128Array::from(vec![Some(-5), None, None, None]).with_precision_and_scale(10, 2).unwrap())),
            ("f", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None, None]))),
            ("d", Arc::new(Date32Array::from(vec![Some(20_119), Some(-30_000), None, None]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(43_200_000_000), None, None, None]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let found = book(&batch, ROWS_MAX);
        let text = sheet(&found, 1);
        let cell = |place: &str| {
            let from = text.find(&format!("<c r=\"{place}\"")).unwrap();
            text[from..from + text[from..].find("</c>").unwrap()].to_owned()
        };
        assert!(
            cell("A2").ends_with("t=\"inlineStr\"><is><t xml:space=\"preserve\">007</t></is>") && cell("A2").contains("s=\"2\"")
        );
        assert!(cell("A3").ends_with(">=1+1</t></is>") && !text.contains("<f>"));
        assert!(cell("A4").ends_with(">a&lt;b&gt;&amp;_x000D__x005F_x0041_</t></is>"), "{}", cell("A4"));
        assert!(cell("B2").ends_with("<v>-12</v>") && cell("B3").contains("inlineStr"));
        assert!(cell("C3").ends_with("t=\"b\"><v>0</v>") && cell("D2").ends_with("<v>-0.05</v>"));
        assert!(cell("E2").ends_with("<v>0.1</v>") && cell("E3").ends_with(">NaN</t></is>"));
        assert!(cell("F2").ends_with("s=\"3\"><v>45688</v>") && cell("F3").ends_with(">1887-11-12</t></is>"), "{}", cell("F3"));
        assert!(cell("G2").ends_with("s=\"4\"><v>25569.5</v>"));
        assert!(text.contains("<row r=\"5\"></row>") && text.contains("state=\"frozen\""));
    }

    #[test]
    fn what_a_sheet_cannot_hold_goes_to_the_next_with_the_same_header() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=7));
        let found = book(&RecordBatch::try_from_iter([("id", ids)]).unwrap(), 4);
        for (number, rows) in [(1, 4), (2, 4), (3, 2)] {
            let text = sheet(&found, number);
            assert_eq!(text.matches("<row ").count(), rows);
            assert!(text.contains(">id</t>") && text.ends_with("</sheetData></worksheet>"));
        }
        let named = |name: &str| found.iter().find(|(n, _)| n == name).map(|(_, t)| t.clone()).unwrap();
        assert!(named("xl/workbook.xml").contains("name=\"rows 3\" sheetId=\"3\" r:id=\"rId3\""));
        assert!(named("[Content_Types].xml").contains("/xl/worksheets/sheet3.xml"));
        assert!(
            named("xl/_rels/workbook.xml.rels")
                .contains("Id=\"rId4\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles\"")
        );
    }

    #[test]
    fn columns_have_letters_and_cells_an_end() {
        assert_eq!([0, 25, 26, 701, 702, 16_383].map(letters), ["A", "Z", "AA", "ZZ", "AAA", "XFD"]);
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(CELL_MAX + 1)]));
        let batch = RecordBatch::try_from_iter([("note", long)]).unwrap();
        let said = Workbook::try_new(&batch.schema()).unwrap().rows(&batch).unwrap_err().to_string();
        assert!(said.contains("`note`") && said.contains("32767"), "{said}");
    }
}
