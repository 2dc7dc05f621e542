//! Which names an expression can see, and what each stands for. Never guesses between two candidates.

use datafusion::common::{DFSchema, TableReference};
use datafusion::sql::sqlparser::ast::{Expr, Ident};
use strata_spec::diagnostic::did_you_mean;

/// Marks a computed column while an entity's row is put together, so that an attribute and a source's column may have one name.
pub(crate) const COMPUTED: char = '@';

/// Names in the order in which they win: computed names first, then the columns of the home relation; the others only by their qualifier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// Attributes and segments: the name, and the column it stands in.
    computed: Vec<(String, String)>,
    /// The relation whose columns may be named bare.
    home: Option<String>,
    /// Columns by relation.
    relations: Vec<(String, Vec<String>)>,
    /// Names that stand for something here and are made later: only to be told of.
    later: Vec<String>,
}

/// An unknown name, what to say about it and how to help.
pub(crate) type Unknown = (Ident, String, String);

impl Scope {
    /// The columns of a schema whose qualifiers are relations, `home` being nameable bare.
    pub(crate) fn of(schema: &DFSchema, home: Option<&str>) -> Self {
        let mut scope = Scope { home: home.map(str::to_owned), ..Default::default() };
        for (qualifier, field) in schema.iter() {
            match qualifier {
                Some(TableReference::Bare { table }) => scope.add(table, field.name()),
                _ => {
                    let column = field.name();
                    scope.computed.push((column.trim_start_matches(COMPUTED).to_owned(), column.clone()));
                }
            }
        }
        scope
    }

    /// The same, telling of `names` as well where a name is not known.
    pub(crate) fn telling_of(mut self, names: impl Iterator<Item = String>) -> Self {
        self.later = names.collect();
        self
    }

    fn add(&mut self, relation: &str, column: &str) {
        match self.relations.iter_mut().find(|(r, _)| r == relation) {
            Some((_, columns)) => columns.push(column.to_owned()),
            None => self.relations.push((relation.to_owned(), vec![column.to_owned()])),
        }
    }

    fn columns(&self, relation: &str) -> Option<&Vec<String>> {
        self.relations.iter().find(|(r, _)| r == relation).map(|(_, c)| c)
    }

    fn home_columns(&self) -> impl Iterator<Item = &String> {
        self.home.iter().filter_map(|h| self.columns(h)).flatten()
    }

    /// What a bare name stands for.
    pub(crate) fn bare(&self, ident: &Ident) -> Result<Expr, Unknown> {
        let name = &ident.value;
        if let Some((_, column)) = self.computed.iter().find(|(n, _)| n == name) {
            return Ok(Expr::Identifier(quoted(ident, column)));
        }
        if let Some(home) = &self.home
            && self.home_columns().any(|c| c == name)
        {
            return Ok(Expr::CompoundIdentifier(vec![quoted(ident, home), quoted(ident, name)]));
        }
        let elsewhere = self.relations.iter().find(|(_, columns)| columns.contains(name));
        let computed = self.computed.iter().map(|(n, _)| n);
        let names = || computed.clone().chain(&self.later).chain(self.home_columns()).map(String::as_str);
        let help = match (elsewhere, did_you_mean(name, names())) {
            // `"30"`: what other languages write for a text is a name in SQL.
            _ if ident.quote_style == Some('"') && !is_a_name(name) => {
                let number = if name.parse::<f64>().is_ok() { format!(", or {name} for the number") } else { String::new() };
                format!("double quotes name a column: write '{name}' for a text{number}")
            }
            (Some((relation, _)), _) => format!("write `{relation}.{name}`: columns of another table need its name"),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => {
                let mut all: Vec<&str> = vec![];
                for name in names().filter(|n| !n.contains(['#', ':', '.'])) {
                    if !all.contains(&name) {
                        all.push(name);
                    }
                }
                let quoted = ident.quote_style == Some('"');
                let text = if quoted { format!("; a text is written '{name}'") } else { String::new() };
                format!("known here are: {}{text}", all.join(", "))
            }
        };
        Err((ident.clone(), format!("nothing named `{name}` can be seen from here"), help))
    }

    /// What `table.column` stands for.
    pub(crate) fn qualified(&self, table: &Ident, column: &Ident) -> Result<Expr, Unknown> {
        let Some(columns) = self.columns(&table.value) else {
            let known = self.relations.iter().map(|(r, _)| r.as_str());
            let help = match did_you_mean(&table.value, known.clone()) {
                Some(near) => format!("did you mean `{near}.{}`?", column.value),
                None if self.computed.iter().any(|(n, _)| *n == column.value) => {
                    format!("attributes and segments are seen here, by their names alone: `{}`", column.value)
                }
                None if self.relations.is_empty() => format!(
                    "attributes and segments are seen here: make one of it, `- row: {{{0}: {1}.{0}}}`, and name that",
                    column.value, table.value
                ),
                None => format!("tables that can be named here: {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err((table.clone(), format!("no table `{}` can be seen from here", table.value), help));
        };
        if !columns.contains(&column.value) {
            let help = match did_you_mean(&column.value, columns.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{}.{near}`?", table.value),
                None => format!("its columns are: {}", columns.join(", ")),
            };
            return Err((column.clone(), format!("`{}` has no column `{}`", table.value, column.value), help));
        }
        Ok(Expr::CompoundIdentifier(vec![quoted(table, &table.value), quoted(column, &column.value)]))
    }

    /// The columns of the home relation from `from` to `to`.
    pub(crate) fn range(&self, from: &str, to: &str) -> Option<Vec<Expr>> {
        let home = self.home.as_ref()?;
        let columns = self.columns(home)?;
        let (a, b) = (columns.iter().position(|c| c == from)?, columns.iter().position(|c| c == to)?);
        let name =
            |c: &String| Expr::CompoundIdentifier(vec![Ident::with_quote('"', home.clone()), Ident::with_quote('"', c.clone())]);
        (a <= b).then(|| columns[a..=b].iter().map(name).collect())
    }
}

fn is_a_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.is_empty()
}

/// The same place, quoted, so that SQL takes the name as it is written.
fn quoted(at: &Ident, name: &str) -> Ident {
    Ident { value: name.to_owned(), quote_style: Some('"'), span: at.span }
}
