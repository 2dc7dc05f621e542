//! What the author lined up in columns stays so: values of neighbouring keys, and comments. Never lines up what was not.

use super::lines::Line;

/// Blanks between code and a comment, at least; where comments are lined up, one will do.
const COMMENT_GAP: usize = 2;

/// Sets the gaps of all lines.
pub(super) fn align(lines: &mut [Line]) {
    let same =
        |a: &Line, b: &Line| a.key.is_some() && b.key.is_some() && a.indent == b.indent && a.value_was_at == b.value_was_at;
    for run in runs(lines, same) {
        let widest = run.iter().filter_map(|l| l.key).max().unwrap_or_default();
        let lined_up = run.len() > 1 && run.iter().any(|l| l.key.is_some_and(|k| l.value_was_at > k + 1));
        for line in run.iter_mut().filter(|_| lined_up) {
            line.gap = widest + 1 - line.key.unwrap_or(widest);
        }
    }
    let column = |l: &Line| l.comment.as_ref().filter(|_| !l.is_comment).map(|(_, at)| *at);
    for run in runs(lines, |a, b| column(a).is_some() && column(a) == column(b)) {
        let gap = if run.len() > 1 { 1 } else { COMMENT_GAP };
        let reaches = run.iter().filter(|l| !l.code.is_empty()).map(|l| l.width() + gap).max().unwrap_or_default();
        for line in run {
            if let Some(at) = column(line) {
                line.comment_gap = at.max(reaches).saturating_sub(line.width());
            }
        }
    }
}

/// Neighbouring lines that belong together, each line in one run.
fn runs(lines: &mut [Line], same: impl Fn(&Line, &Line) -> bool) -> Vec<&mut [Line]> {
    lines.chunk_by_mut(same).collect()
}
