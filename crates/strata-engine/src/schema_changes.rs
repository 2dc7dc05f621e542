//! What changes in the columns of published tables if a pipeline is run: each output beside the version that readers see now. Never opens a
//! file of rows.

use crate::error::{Error, Result};
use crate::outputs;
use serde::Serialize;
use strata_plan::Compiled;
use strata_publish::{Manifest, stored_schema};

/// A column and its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypedColumn {
    /// Name.
    pub name: String,
    /// Type, as manifests write it.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A column whose type changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retyped {
    /// Name.
    pub name: String,
    /// Type as it is published.
    pub from: String,
    /// Type as it will be.
    pub to: String,
}

/// What becomes of the columns of one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaChange {
    /// Output.
    pub output: String,
    /// Run of the version that readers see; `None`: nothing is published.
    pub run_id: Option<String>,
    /// Columns that are new.
    pub added: Vec<TypedColumn>,
    /// Columns that go.
    pub dropped: Vec<TypedColumn>,
    /// Columns of another type.
    pub retyped: Vec<Retyped>,
}

impl SchemaChange {
    /// Whether readers see other columns than before.
    pub fn is_change(&self) -> bool {
        !(self.added.is_empty() && self.dropped.is_empty() && self.retyped.is_empty())
    }
}

/// The changes of every output whose columns are known before it is made. Errors: as the stores say; a damaged manifest.
pub async fn schema_changes(compiled: &Compiled<'_>) -> Result<Vec<SchemaChange>> {
    let mut out = vec![];
    for (output, table) in compiled.pipeline().outputs.iter().zip(outputs::tables(compiled.pipeline()).await?) {
        let step = format!("output {}", table.name);
        let Some(schema) = compiled.output_schema(output).map_err(|e| Error::of_step(&step, e))? else { continue };
        let schema = stored_schema(&schema).map_err(|e| Error::of_step(&step, e))?;
        let typed = |name: &str, kind: String| TypedColumn { name: name.to_owned(), kind };
        let new: Vec<TypedColumn> = schema.fields().iter().map(|f| typed(f.name(), f.data_type().to_string())).collect();
        let old = match &table.current {
            None => None,
            Some(version) => {
                let manifest: Manifest = table.table.manifest(version).await.map_err(|e| Error::of_publish(&step, e))?;
                Some(manifest.schema.iter().map(|c| typed(&c.name, c.data_type.clone())).collect::<Vec<_>>())
            }
        };
        out.push(change(&table.name, table.current.map(|v| v.run_id), old.as_deref(), &new));
    }
    Ok(out)
}

fn change(output: &str, run_id: Option<String>, old: Option<&[TypedColumn]>, new: &[TypedColumn]) -> SchemaChange {
    let mut out = SchemaChange { output: output.to_owned(), run_id, added: vec![], dropped: vec![], retyped: vec![] };
    let Some(old) = old else { return out };
    let find = |all: &[TypedColumn], name: &str| all.iter().find(|c| c.name == name).cloned();
    out.dropped = old.iter().filter(|c| find(new, &c.name).is_none()).cloned().collect();
    for column in new {
        match find(old, &column.name) {
            None => out.added.push(column.clone()),
            Some(before) if before.kind != column.kind => {
                out.retyped.push(Retyped { name: column.name.clone(), from: before.kind, to: column.kind.clone() });
            }
            Some(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_compared_by_name() {
        let columns = |all: &[(&str, &str)]| {
            all.iter().map(|(n, k)| TypedColumn { name: (*n).to_owned(), kind: (*k).to_owned() }).collect::<Vec<_>>()
        };
        let old = columns(&[("id", "Int32"), ("age", "Int32"), ("gone", "Utf8")]);
        let new = columns(&[("age", "Int64"), ("id", "Int32"), ("tier", "Utf8")]);
        let found = change("p", Some("r".into()), Some(&old), &new);
        assert_eq!((&found.added, &found.dropped), (&columns(&[("tier", "Utf8")]), &columns(&[("gone", "Utf8")])));
        assert_eq!(found.retyped, [Retyped { name: "age".into(), from: "Int32".into(), to: "Int64".into() }]);
        assert!(found.is_change() && !change("p", None, None, &new).is_change());
        assert!(!change("p", None, Some(&old), &old).is_change());
    }
}
