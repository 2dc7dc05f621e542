//! Columns of our tables as a Delta table's columns. Never names a type that every reader of Delta does not know.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::table::Column;

/// Bytes that a column's name may not hold, because the name stands in the files as it is.
const NOT_IN_NAMES: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// A Delta schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeltaSchema {
    #[serde(rename = "type")]
    kind: String,
    fields: Vec<DeltaField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DeltaField {
    name: String,
    #[serde(rename = "type")]
    data_type: Value,
    nullable: bool,
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
}

impl DeltaSchema {
    /// The schema of files with `columns`. Errors: `Invalid` for a name or a type that a Delta table cannot have.
    pub(crate) fn of(table: &str, columns: &[Column]) -> Result<Self, Error> {
        let refused = |column: &str, why: String| Error::Column { table: table.to_owned(), column: column.to_owned(), why };
        let mut fields = vec![];
        let mut names = BTreeSet::new();
        for column in columns {
            let name = column.name.as_str();
            if !names.insert(name.to_lowercase()) {
                return Err(refused(name, "another column has that name, and Delta does not tell upper case from lower".into()));
            }
            if let Some(bad) = name.chars().find(|c| NOT_IN_NAMES.contains(c)) {
                return Err(refused(name, format!("a Delta column's name may not hold `{bad}`: give it another name")));
            }
            let data_type = column.data_type.parse::<DataType>().ok().and_then(|t| delta_type(&t));
            let Some(data_type) = data_type else {
                let why = format!("Delta has no type for {}: cast it to a text, or use `format: parquet`", column.data_type);
                return Err(refused(name, why));
            };
            fields.push(field(name, data_type));
        }
        Ok(Self { kind: "struct".into(), fields })
    }

    /// What stands in the log. Errors: `Internal`, never for a schema of ours.
    pub(crate) fn text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|e| Error::receipt(e.to_string()))
    }

    /// The schema of a table that has the rows of `self` and gets rows of `new`: columns are added, and none goes.
    /// Errors: `Invalid` where a column changed its type.
    pub(crate) fn with(mut self, table: &str, new: Self) -> Result<Self, Error> {
        for field in new.fields {
            match self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(&field.name)) {
                None => self.fields.push(field),
                Some(known) if known.data_type == field.data_type && known.name == field.name => {}
                Some(known) => {
                    let why = format!(
                        "it is `{}` of type {} in the table and `{}` of type {} now, and earlier rows stay: give it another name, or the \
                         output another folder",
                        known.name, known.data_type, field.name, field.data_type
                    );
                    return Err(Error::Column { table: table.to_owned(), column: field.name, why });
                }
            }
        }
        Ok(self)
    }

    /// Whether a column has a rule of another writer's, which this one does not check.
    pub(crate) fn has_invariants(&self) -> bool {
        self.fields.iter().any(|f| f.metadata.contains_key("delta.invariants"))
    }
}

/// Every column may be null: what files hold is checked before, and a column that comes later is null in earlier rows.
fn field(name: &str, data_type: Value) -> DeltaField {
    DeltaField { name: name.to_owned(), data_type, nullable: true, metadata: serde_json::Map::new() }
}

/// None where the basic protocol has no such type.
fn delta_type(data_type: &DataType) -> Option<Value> {
    Some(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 => json!("byte"),
        DataType::Int16 => json!("short"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("binary"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Decimal128(precision, scale) if *scale >= 0 && *scale as u8 <= *precision => {
            json!(format!("decimal({precision},{scale})"))
        }
        DataType::List(item) => json!({"type": "array", "elementType": delta_type(item.data_type())?, "containsNull": true}),
        DataType::Struct(fields) => {
            let of = |f: &std::sync::Arc<Field>| Some(field(f.name(), delta_type(f.data_type())?));
            let fields = fields.iter().map(of).collect::<Option<Vec<_>>>()?;
            json!({"type": "struct", "fields": fields})
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: &str) -> Column {
        Column { name: name.into(), data_type: data_type.into(), nullable: true }
    }

    #[test]
    fn types_are_those_of_the_protocol_and_others_are_refused_by_name() {
        let all = ["Int64", "Utf8", "Float64", "Boolean", "Date32", "Timestamp(µs, \"UTC\")", "Decimal128(12, 2)"];
        let columns: Vec<Column> = all.iter().enumerate().map(|(i, t)| column(&format!("c{i}"), t)).collect();
        let schema = DeltaSchema::of("t", &columns).unwrap();
        let types: Vec<&Value> = schema.fields.iter().map(|f| &f.data_type).collect();
        assert_eq!(json!(types), json!(["long", "string", "double", "boolean", "date", "timestamp", "decimal(12,2)"]));
        for (name, data_type, says) in [
            ("t", "Time64(µs)", "no type for Time64"),
            ("t", "Timestamp(µs)", "no type for Timestamp"),
            ("a b", "Int64", "may not hold ` `"),
        ] {
            let error = DeltaSchema::of("t", &[column(name, data_type)]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let twice = DeltaSchema::of("t", &[column("a", "Int64"), column("A", "Int64")]).unwrap_err().to_string();
        assert!(twice.contains("upper case"), "{twice}");
    }

    #[test]
    fn a_table_with_history_gets_columns_and_keeps_types() {
        let of = |columns: &[Column]| DeltaSchema::of("t", columns).unwrap();
        let (first, second) =
            (of(&[column("id", "Int64"), column("old", "Utf8")]), of(&[column("new", "Date32"), column("id", "Int64")]));
        let merged = first.clone().with("t", second).unwrap();
        let names: Vec<&str> = merged.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["id", "old", "new"]);
        let refused = first.with("t", of(&[column("id", "Utf8")])).unwrap_err().to_string();
        assert!(refused.contains("`id` of type \"long\" in the table and `id` of type \"string\" now"), "{refused}");
    }
}
