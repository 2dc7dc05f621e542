//! Changes to a loaded panel to ask what would follow: `rest=20d`, `invites=3/30d`, `adult=age >= 21`. Never touches the file.

use crate::diagnostic::did_you_mean;
use crate::expand;
use crate::pipeline::people::Rate;
use crate::pipeline::{Pipeline, Sample};
use crate::sections::panel::parts_per_million;
use crate::sections::window::micros;
use crate::text::{Located, Sql};

/// What can be changed besides the rules of `members`.
const SETTINGS: [&str; 5] = ["rest", "rest_after_complete", "invites", "burden", "sample"];

/// Changes the panel of a checked pipeline; each change is a setting of `fatigue`, `sample`, or a rule of `members` by its name, and
/// its new value. Errors, for people: a name that is none, with the nearest that is; a value that does not fit.
pub fn what_if(pipeline: &mut Pipeline, changes: &[(String, String)]) -> Result<(), String> {
    for (name, value) in changes {
        change(pipeline, name, value.trim())?;
    }
    // The panel was whole before, and stays so: only its numbers and conditions changed.
    expand::panel::expand(pipeline);
    Ok(())
}

fn change(pipeline: &mut Pipeline, name: &str, value: &str) -> Result<(), String> {
    let Some(panel) = &mut pipeline.panel else {
        return Err("the pipeline has no panel\n  help: add a `panel:` section".to_owned());
    };
    if let Some((_, rule)) = panel.rules.iter_mut().find(|(label, _)| label.value == name) {
        *rule = Sql { text: value.to_owned(), span: rule.span, line_starts: vec![Sql::NOWHERE; value.matches('\n').count() + 1] };
        return Ok(());
    }
    if !SETTINGS.contains(&name) {
        let rules = panel.rules.iter().map(|(label, _)| label.value.as_str()).filter(|l| crate::read::is_identifier(l));
        let known: Vec<&str> = SETTINGS.into_iter().chain(rules).collect();
        let near = did_you_mean(name, known.iter().copied()).map(|n| format!("did you mean `{n}`?"));
        let help = near.unwrap_or_else(|| format!("change one of `{}`", known.join("`, `")));
        return Err(format!("the panel has no rule or setting `{name}`\n  help: {help}"));
    }
    if name == "sample" {
        let percent = value.strip_suffix('%').map(|p| parts_per_million(p.trim()).map(Sample::PartsPerMillion));
        let sample = percent.unwrap_or_else(|| value.parse().ok().filter(|n| *n > 0).map(Sample::Count));
        let sample = sample.ok_or_else(|| wrong(name, value, "2% or 4000"))?;
        panel.waves.iter_mut().for_each(|w| w.sample.value = sample);
        return Ok(());
    }
    let Some(fatigue) = &mut panel.fatigue else {
        return Err(format!(
            "the panel has no `fatigue`, so `{name}` changes nothing\n  help: add `fatigue: {{counts: source}}`"
        ));
    };
    let rate = || rate(value).ok_or_else(|| wrong(name, value, "2/30d"));
    let time = || micros(value).ok_or_else(|| wrong(name, value, "20d"));
    match name {
        "rest" => fatigue.rest_us = Some(time()?),
        "rest_after_complete" if fatigue.complete.is_none() => {
            return Err("`rest_after_complete` needs `complete` in `fatigue`\n  help: say which contacts are answers".to_owned());
        }
        "rest_after_complete" => fatigue.rest_after_complete_us = Some(time()?),
        "invites" => {
            let span = fatigue.counts.first().map_or_else(Default::default, |c| c.span);
            fatigue.invites = Some(Located::new(rate()?, span));
        }
        _ => match &mut fatigue.burden {
            Some(burden) => burden.most = rate()?,
            None => return Err("the panel has no `burden`\n  help: add `burden: {minutes: column, most: 60/90d}`".to_owned()),
        },
    }
    Ok(())
}

fn rate(value: &str) -> Option<Rate> {
    let (count, within) = value.split_once('/')?;
    let count = count.trim().parse::<u64>().ok().filter(|n| *n > 0)?;
    Some(Rate { count, within_us: micros(within)? })
}

fn wrong(name: &str, value: &str, example: &str) -> String {
    format!("`{name}` cannot be `{value}`\n  help: write `{name}={example}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: &str = "version: 1\nname: p\nsources:\n  s: {parquet: x, key: id}\n  i: {parquet: y, time: at}\n\
        entities: {e: {from: s, key: id}}\npanel:\n  members: {rules: {adult: age >= 18}}\n\
        \x20 fatigue: {counts: i, rest: 10d}\n  waves: {w: {sample: 10}}\n";

    fn changed(name: &str, value: &str) -> Result<Pipeline, String> {
        let loaded = crate::load(&crate::SourceText { path: "p.yaml".to_owned(), text: PANEL.to_owned() }, &[]);
        let mut pipeline = loaded.pipeline.unwrap();
        what_if(&mut pipeline, &[(name.to_owned(), value.to_owned())])?;
        Ok(pipeline)
    }

    #[test]
    fn a_change_reaches_the_rules_that_are_made_of_it() {
        let labels = |p: &Pipeline| p.panel.as_ref().unwrap().made.iter().map(|r| r.label.clone()).collect::<Vec<_>>();
        let rested = changed("rest", "20d").unwrap();
        assert_eq!(labels(&rested), ["fatigue: 20d of rest after a contact"]);
        assert!(rested.panel.as_ref().unwrap().made[0].sql.text.contains("480 hours"));
        let capped = changed("invites", "3/30d").unwrap();
        assert_eq!(labels(&capped).len(), 2);
        assert_eq!(capped.attributes.iter().flat_map(|a| &a.blocks).count(), 1);
        let older = changed("adult", "age >= 21").unwrap();
        assert_eq!(older.panel.as_ref().unwrap().rules[0].1.text, "age >= 21");
    }

    #[test]
    fn what_is_no_setting_is_told_with_the_nearest() {
        assert!(changed("adlut", "age > 1").unwrap_err().contains("did you mean `adult`?"));
        assert!(changed("rest", "soon").unwrap_err().contains("rest=20d"));
        assert!(changed("burden", "60/90d").unwrap_err().contains("no `burden`"));
    }
}
