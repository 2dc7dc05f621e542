//! Rows as a table of plain text. Never cuts a value without a mark.

/// A cell is cut after so many characters.
const WIDTH_MAX: usize = 48;

/// Columns in line, numbers to the right, a rule below the head. `rows` are of one length, the first is the head.
pub(crate) fn text(rows: &[Vec<String>], numeric: &[bool]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = vec![];
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().enumerate().map(|(c, cell)| {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            if numeric.get(c).copied().unwrap_or(false) { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        });
        out.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
        if i == 0 {
            out.push(widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().join("  "));
        }
    }
    out.join("\n")
}

fn one_line(cell: &str) -> String {
    let flat: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match flat.char_indices().nth(WIDTH_MAX) {
        Some((at, _)) => format!("{}…", &flat[..at]),
        None => flat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_long_texts_are_marked() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let rows = [row("name", "n"), row("a\nb", "10"), row(&"x".repeat(60), "7")];
        let got = text(&rows, &[false, true]);
        let lines: Vec<&str> = got.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("a b ") && lines[2].ends_with("10") && lines[3].contains("x…   7"), "{got}");
    }
}
