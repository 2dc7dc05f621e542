//! Every preset: its parameters, their defaults and what it stands for, for `strata show`. Never reads a pipeline.

use crate::language::{Shape, attributes, segments};

/// A preset and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// With its version.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// In the order in which people write them.
    pub params: Vec<Param>,
    /// What it computes, in full. Plain text.
    pub stands_for: &'static str,
}

/// A parameter of a preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// As written.
    pub name: &'static str,
    /// What holds where it is not written; `None`: it must be.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
}

/// Every preset of this version, in the order of their names.
pub fn presets() -> Vec<Preset> {
    PRESETS.iter().map(Entry::preset).collect()
}

/// A preset before its parameters' meanings are looked up in the table of the language.
struct Entry {
    name: &'static str,
    shape: &'static Shape,
    /// Defaults of parameters that may be left out.
    defaults: &'static [(&'static str, &'static str)],
    stands_for: &'static str,
}

impl Entry {
    fn preset(&self) -> Preset {
        let needed = |name: &str| self.shape.needs.iter().any(|group| group.contains(&name));
        let default = |name: &'static str| match self.defaults.iter().find(|(n, _)| *n == name) {
            Some((_, default)) => Some(*default),
            None if needed(name) => None,
            None => Some("none"),
        };
        let keys = self.shape.keys.iter().filter(|k| !matches!(k.name, "method" | "preset"));
        Preset {
            name: self.name,
            summary: self.shape.doc,
            params: keys.map(|k| Param { name: k.name, default: default(k.name), meaning: k.doc }).collect(),
            stands_for: self.stands_for,
        }
    }
}

const PRESETS: &[Entry] = &[
    Entry {
        name: "lifecycle@1",
        shape: &segments::LIFECYCLE_1,
        defaults: &[
            ("entity", "the first"),
            ("where", "everybody"),
            ("others", "null"),
            ("new", "60"),
            ("active", "120"),
            ("lapsing", "365"),
        ],
        stands_for: include_str!("presets/lifecycle@1.txt"),
    },
    Entry {
        name: "loyalty_core@1",
        shape: &attributes::LOYALTY,
        defaults: &[("windows", "[365d]")],
        stands_for: include_str!("presets/loyalty_core@1.txt"),
    },
    Entry {
        name: "preferred_time@1",
        shape: &attributes::TIME,
        defaults: &[
            ("where", "every row"),
            ("by", "[daypart, weekday]"),
            ("min_events", "5"),
            ("smoothing", "10"),
            ("confidence", "0.95"),
            ("window", "life"),
        ],
        stands_for: include_str!("presets/preferred_time@1.txt"),
    },
    Entry {
        name: "rfm@1",
        shape: &segments::RFM,
        defaults: &[
            ("entity", "the first"),
            ("where", "everybody"),
            ("bins", "5"),
            ("mode", "ntile"),
            ("ties", "key"),
            ("r_order", "descending"),
            ("columns", "{r: r_score, f: f_score, m: m_score, cell: rfm_cell}"),
            ("others", "null"),
        ],
        stands_for: include_str!("presets/rfm@1.txt"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Form;
    use crate::sections::{attribute, segment};

    #[test]
    fn every_preset_that_can_be_written_is_here_and_no_other() {
        let methods = segment::METHODS.iter().filter(|m| m.contains('@'));
        let mut known: Vec<&str> = methods.chain(&attribute::PRESETS).copied().collect();
        known.sort_unstable();
        let here: Vec<&str> = presets().iter().map(|p| p.name).collect();
        assert_eq!(here, known);
        for entry in PRESETS {
            let word = entry.shape.keys.iter().find(|k| matches!(k.name, "method" | "preset")).unwrap();
            let Form::Word(words) = word.form else { panic!("a word") };
            assert_eq!((words.now, words.later.len()), ([entry.name].as_slice(), 0), "{}", entry.name);
        }
    }

    #[test]
    fn defaults_are_of_parameters_and_every_parameter_is_explained() {
        for entry in PRESETS {
            for (name, _) in entry.defaults {
                assert!(entry.shape.key(name).is_some(), "{}: {name}", entry.name);
            }
            let preset = entry.preset();
            assert!(preset.params.iter().any(|p| p.default.is_none()), "{}", preset.name);
            for param in &preset.params {
                // Docs that name a default name this one.
                let told = param.meaning.rsplit_once(" (").and_then(|(_, d)| d.strip_suffix(")."));
                if let Some(told) = told.filter(|t| t.parse::<f64>().is_ok()) {
                    assert_eq!(param.default, Some(told), "{}: {}", preset.name, param.name);
                }
                assert!(!param.meaning.is_empty());
            }
            assert!(preset.stands_for.lines().count() >= 5, "{}", preset.name);
            assert!(preset.stands_for.lines().all(|l| l.len() <= 120), "{}", preset.name);
        }
    }
}
