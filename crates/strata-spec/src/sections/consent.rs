//! `consent:` by current flags or by a log. Never decides who may be used; it only says what was declared.

use crate::fields::Fields;
use crate::language::people;
use crate::pipeline::{Consent, ConsentLog, OnMerge, Purpose};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::window;
use crate::text::Name;
use crate::tree::Node;

/// `consent:`
pub(crate) fn consent(node: &Node, problems: &mut Problems) -> Option<Consent> {
    let mut f = Fields::item(node, &people::CONSENT, problems)?;
    let from = f.need_name("from", "write `from: source`, the source with the flags");
    let purposes =
        f.need("purposes", "write `purposes: {research: research_opt_in}`").map(|n| purposes(n, f.p)).unwrap_or_default();
    let log = f.take("log").and_then(|n| log(n, f.p));
    let expires = f.take("expires").and_then(|n| window::distance(n, "`expires`", f.p));
    let merges = [("most_restrictive", OnMerge::MostRestrictive), ("latest", OnMerge::Latest)];
    let on_merge = f.word("on_merge", &merges);
    f.finish();
    Some(Consent { from, purposes, log, expires, on_merge })
}

fn log(node: &Node, problems: &mut Problems) -> Option<ConsentLog> {
    let mut f = Fields::item(node, &people::CONSENT_LOG, problems)?;
    let help = "write `log: {person: customer_id, purpose: purpose, state: state}`, the columns of the log";
    let log = ConsentLog {
        person: f.need_name("person", help),
        purpose: f.need_name("purpose", help),
        state: f.need_name("state", help),
        channel: f.name("channel"),
    };
    f.finish();
    Some(log)
}

fn purposes(node: &Node, problems: &mut Problems) -> Vec<(Name, Purpose)> {
    let mut all = Vec::new();
    for (name, node) in read::named(node, "`purposes`", problems) {
        let always = node.text().is_some_and(|t| t.text.trim() == "always");
        let what = format!("purpose `{}`", shown(&name.value));
        let purpose = match always {
            true => Purpose::Always,
            false => Purpose::Flag(read::sql(node, &what, problems).unwrap_or_else(|| read::blank_sql(node.span))),
        };
        all.push((name.clone(), purpose));
    }
    all
}
