//! Presets of attributes as the tables and blocks they stand for. Never reports anything: what is wrong with them is found where
//! the same is found of tables and blocks that people write.

mod loyalty;
pub(crate) mod panel;
mod preferred_time;
pub(crate) mod stages;

use crate::pipeline::{
    AggregateAttribute, AttributePreset, Block, FromBlock, Pipeline, RowAttribute, RowValue, Table, Terms, Window,
};
use crate::text::{Located, Name, Span, Sql};

/// Puts what every preset of attributes makes in its place; false if one cannot be, because its `from` is unknown or has no time.
pub(crate) fn expand(pipeline: &mut Pipeline) -> bool {
    let mut whole = true;
    let mut all = std::mem::take(&mut pipeline.attributes);
    for (of, attributes) in all.iter_mut().enumerate() {
        let Some(key) = pipeline.entity(&attributes.entity.value).map(|e| e.key.value.clone()) else { continue };
        // From the last: places before it stay what they are.
        for (index, preset) in attributes.presets.iter().enumerate().rev() {
            let (from, place, span, prefix, name) = match preset {
                AttributePreset::LoyaltyCore(p) => (&p.from, p.place, p.span, &p.prefix, "loyalty_core"),
                AttributePreset::PreferredTime(p) => (&p.from, p.place, p.span, &p.prefix, "preferred_time"),
            };
            if time(pipeline, from).is_none() {
                whole = false;
                continue;
            }
            let around = Surroundings {
                pipeline,
                key: quoted(&key),
                entity_key: &key,
                span,
                prefix: prefix.as_ref().map_or("", Name::as_str),
                tables: format!("__{name}_{of}_{index}_"),
            };
            let made = match preset {
                AttributePreset::LoyaltyCore(p) => loyalty::made(p, around),
                AttributePreset::PreferredTime(p) => preferred_time::made(p, around),
            };
            let place = place.min(attributes.blocks.len());
            attributes.blocks.splice(place..place, made.blocks);
            pipeline.tables.extend(made.tables);
        }
    }
    pipeline.attributes = all;
    whole
}

/// The time column of a source or table.
fn time<'a>(pipeline: &'a Pipeline, from: &Name) -> Option<&'a Name> {
    let source = pipeline.source(&from.value).and_then(|s| s.time.as_ref());
    source.or_else(|| pipeline.table(&from.value).and_then(|t| t.time.as_ref()))
}

/// Tables and blocks.
#[derive(Default)]
struct Made {
    tables: Vec<Table>,
    blocks: Vec<Block>,
}

/// Where a preset stands.
struct Surroundings<'a> {
    pipeline: &'a Pipeline,
    /// The entity key, quoted.
    key: String,
    entity_key: &'a str,
    span: Span,
    prefix: &'a str,
    /// Before the names of its tables.
    tables: String,
}

impl Surroundings<'_> {
    /// The time column of a source or table, quoted.
    fn time(&self, from: &Name) -> String {
        time(self.pipeline, from).map_or_else(|| "time".to_owned(), |t| quoted(&t.value))
    }

    fn name(&self, text: &str) -> Name {
        Located::new(text.to_owned(), self.span)
    }

    /// An attribute's name: helpers begin with `_`, also before a prefix.
    fn attribute(&self, name: &str) -> Name {
        match name.strip_prefix('_') {
            Some(helper) => self.name(&format!("_{}{helper}", self.prefix)),
            None => self.name(&format!("{}{name}", self.prefix)),
        }
    }

    /// SQL in which `{key}` and the `others` stand for what they are given as, and `{@name}` for an attribute of this preset.
    fn sql(&self, template: &str, others: &[(&str, Part)]) -> Sql {
        let mut made = Text { text: String::new(), line_starts: vec![Sql::NOWHERE] };
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            made.ours(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            match (name.strip_prefix('@'), others.iter().find(|(n, _)| *n == name)) {
                (Some(attribute), _) => made.ours(&quoted(&self.attribute(attribute).value)),
                (None, Some((_, Part::Text(text)))) => made.ours(text),
                (None, Some((_, Part::Users(sql)))) => made.users(sql),
                (None, None) => made.ours(&self.key),
            }
            rest = after;
        }
        made.ours(rest);
        Sql { text: made.text, span: self.span, line_starts: made.line_starts }
    }

    /// A table of this preset.
    fn table(&self, name: &str, key: &[&str], sql: Sql) -> Table {
        let name = self.name(&self.table_name(name));
        Table { name, key: key.iter().map(|k| self.name(k)).collect(), time: None, sql, checks: vec![] }
    }

    fn table_name(&self, name: &str) -> String {
        format!("{}{name}", self.tables)
    }

    /// Aggregates of a source or table.
    fn from(&self, from: Name, columns: Vec<(&str, Sql)>) -> Block {
        let one = |(name, sql)| self.aggregate(name, sql, None);
        Block::From(FromBlock { from, filter: None, columns: columns.into_iter().map(one).collect() })
    }

    fn aggregate(&self, name: &str, sql: Sql, window: Option<Located<Window>>) -> AggregateAttribute {
        AggregateAttribute { name: self.attribute(name), sql, window, terms: Terms::default() }
    }

    /// Expressions over the entity's attributes.
    fn row(&self, columns: Vec<(&str, Sql)>) -> Block {
        let one = |(name, sql)| RowAttribute { name: self.attribute(name), value: RowValue::Sql(sql), terms: Terms::default() };
        Block::Row(columns.into_iter().map(one).collect())
    }
}

/// What a name in a template stands for.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Text of ours.
    Text(&'a str),
    /// The user's expression, which keeps its place.
    Users(&'a Sql),
}

struct Text {
    text: String,
    line_starts: Vec<usize>,
}

impl Text {
    fn ours(&mut self, text: &str) {
        self.text.push_str(text);
        self.line_starts.extend(text.matches('\n').map(|_| Sql::NOWHERE));
    }

    /// In brackets and on lines of its own: a comment in it cannot swallow what follows.
    fn users(&mut self, sql: &Sql) {
        self.text.push_str("(\n");
        self.text.push_str(&sql.text);
        self.text.push_str("\n)");
        let lines = sql.text.matches('\n').count() + 1;
        self.line_starts.extend((0..lines).map(|line| sql.line_starts.get(line).copied().unwrap_or(Sql::NOWHERE)));
        self.line_starts.push(Sql::NOWHERE);
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_the_users_part_points_at_it_and_any_other_at_the_preset() {
        let loaded = crate::load(&crate::SourceText { path: "p.yaml".to_owned(), text: TINY.to_owned() }, &[]);
        let pipeline = loaded.pipeline.unwrap();
        let (span, tables) = (Span::new(3, 9), String::new());
        let around = Surroundings { pipeline: &pipeline, key: quoted("id"), entity_key: "id", span, prefix: "", tables };
        let users = Sql { text: "a -- b\n+ c".to_owned(), span: Span::new(20, 40), line_starts: vec![20, 30] };
        let sql = around.sql("select {key},\n {x} as {y} from t", &[("x", Part::Users(&users)), ("y", Part::Text("z"))]);
        assert_eq!(sql.text, "select \"id\",\n (\na -- b\n+ c\n) as z from t");
        assert_eq!(sql.line_starts, [Sql::NOWHERE, Sql::NOWHERE, 20, 30, Sql::NOWHERE]);
        assert_eq!((sql.span_at(3, 1, 1), sql.span_at(4, 3, 1)), (Span::new(20, 21), Span::new(32, 33)));
        assert_eq!((sql.span_at(1, 3, 1), sql.span_at(5, 1, 1)), (Span::new(3, 9), Span::new(3, 9)));
        assert_eq!(around.sql("{@_n}", &[]).text, "\"_n\"");
    }

    const TINY: &str = "version: 1\nname: p\nsources: {s: {parquet: x, key: id}}\nentities: {e: {from: s, key: id}}\n";
}
