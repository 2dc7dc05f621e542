//! The JSON Schema (draft-07) of pipeline files, made from the table of the language. Editors complete and validate with it;
//! never stricter than the readers, which see more than a schema can say.

use crate::language::root::PIPELINE;
use crate::language::{Form, Key, Shape};
use crate::problems::Reach;
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// Where the first line of a pipeline file points editors.
pub const MODELINE: &str = "# yaml-language-server: $schema=";

const IDENTIFIER: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const VARIABLE: &str = "\\$\\{vars\\.";
const WINDOW: &str = "^(life|[0-9]+(d|h|mo)(\\.\\.[0-9]+(d|h|mo))?)$";

/// The schema of what `reach` lets pass.
pub fn schema(reach: Reach) -> Value {
    let mut maker = Maker { all: reach == Reach::Language, shapes: Vec::new(), definitions: Map::new() };
    let root = maker.object(&PIPELINE);
    let mut out = json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Strata pipeline"});
    if let (Value::Object(out), Some(Value::Object(root))) = (&mut out, root) {
        out.extend(root);
        out.insert("definitions".to_owned(), Value::Object(std::mem::take(&mut maker.definitions)));
    }
    out
}

struct Maker {
    all: bool,
    shapes: Vec<(&'static Shape, String)>,
    definitions: Map<String, Value>,
}

impl Maker {
    /// The schema of a mapping; `None` if this version has none of the kind.
    fn object(&mut self, shape: &'static Shape) -> Option<Value> {
        let mut properties = Map::new();
        for key in shape.keys {
            if let Some(value) = self.property(key) {
                properties.insert(key.name.to_owned(), value);
            }
        }
        let mut required = Vec::new();
        let mut groups = Vec::new();
        for group in shape.needs {
            let there: Vec<&str> = group.iter().copied().filter(|k| properties.contains_key(*k)).collect();
            match there.as_slice() {
                [] => return None,
                [one] => required.push(json!(one)),
                several => groups.push(json!({"anyOf": several.iter().map(|k| json!({"required": [k]})).collect::<Vec<_>>()})),
            }
        }
        let rest = shape.rest.and_then(|form| self.form(form)).unwrap_or(json!(false));
        let mut out = json!({
            "description": shape.doc, "type": "object", "properties": properties, "additionalProperties": rest,
            "required": required,
        });
        if !groups.is_empty() {
            out["allOf"] = Value::Array(groups);
        }
        Some(out)
    }

    fn property(&mut self, key: &'static Key) -> Option<Value> {
        if key.later.is_some() && !self.all {
            return None;
        }
        let mut value = self.form(&key.form)?;
        match value.get("$ref") {
            // In draft-07, nothing beside `$ref` is read.
            Some(_) => value = json!({"description": key.doc, "allOf": [value]}),
            None => value["description"] = json!(key.doc),
        }
        Some(value)
    }

    /// The schema of a value; `None` if this version has none of the kind.
    fn form(&mut self, form: &'static Form) -> Option<Value> {
        let scalar = || json!({"type": ["string", "number", "boolean"]});
        Some(match form {
            Form::Text | Form::Sql => scalar(),
            Form::Names => json!({"anyOf": [scalar(), {"type": "array", "items": scalar(), "minItems": 1}]}),
            Form::Word(words) => {
                let later = words.later.iter().filter(|_| self.all);
                let known: Vec<&str> = words.now.iter().chain(later).copied().collect();
                let numbers = known.iter().filter_map(|w| w.parse::<u64>().ok()).map(|n| json!(n));
                let all: Vec<Value> = known.iter().map(|w| json!(w)).chain(numbers).collect();
                return (!all.is_empty()).then(|| or_variable(json!({"enum": all})));
            }
            Form::Whole(least, most) => {
                let mut out = json!({"type": "integer", "minimum": least});
                if *most < u64::MAX {
                    out["maximum"] = json!(most);
                }
                or_variable(out)
            }
            Form::Real(least) if *least > f64::MIN => or_variable(json!({"type": "number", "minimum": least})),
            Form::Real(_) => or_variable(json!({"type": "number"})),
            Form::Flag => or_variable(json!({"type": "boolean"})),
            Form::Duration(months) => {
                let pattern = if *months { "^[0-9]+(d|h|mo)$" } else { "^[0-9]+(d|h)$" };
                or_variable(json!({"type": "string", "pattern": pattern}))
            }
            Form::Window => or_variable(json!({"type": "string", "pattern": WINDOW})),
            Form::Instant => json!({"type": "string"}),
            Form::Share => or_variable(json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *%$"})),
            Form::Null => json!({"type": "null"}),
            Form::Cell => json!({"type": ["string", "number", "boolean", "null"]}),
            Form::Map(shape) => return self.reference(shape),
            Form::Named(value) => json!({
                "type": "object", "minProperties": 1, "propertyNames": {"pattern": IDENTIFIER},
                "additionalProperties": self.form(value)?,
            }),
            Form::Labelled(value) => json!({"type": "object", "minProperties": 1, "additionalProperties": self.form(value)?}),
            Form::List(item) => json!({"type": "array", "minItems": 1, "items": self.form(item)?}),
            Form::Either(forms) => {
                let mut all: Vec<Value> = forms.iter().filter_map(|f| self.form(f)).collect();
                match (all.pop(), all.is_empty()) {
                    (last, true) => return last,
                    (last, false) => json!({"anyOf": all.into_iter().chain(last).collect::<Vec<_>>()}),
                }
            }
        })
    }

    /// A reference to the definition of a mapping, which is made once.
    fn reference(&mut self, shape: &'static Shape) -> Option<Value> {
        if let Some((_, name)) = self.shapes.iter().find(|(s, _)| std::ptr::eq(*s, shape)) {
            return Some(json!({"$ref": format!("#/definitions/{name}")}));
        }
        let object = self.object(shape)?;
        let name = self.name_of(shape);
        self.definitions.insert(name.clone(), object);
        self.shapes.push((shape, name.clone()));
        Some(json!({"$ref": format!("#/definitions/{name}")}))
    }

    /// The noun of the mapping; several of one noun are numbered.
    fn name_of(&self, shape: &Shape) -> String {
        let words: Vec<String> = shape
            .what
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty() && !matches!(*w, "a" | "an"))
            .map(str::to_owned)
            .collect();
        let name = words.join("_");
        let same = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}_{n}") });
        same.into_iter().find(|n| !self.definitions.contains_key(n)).unwrap_or(name)
    }
}

/// Any text may hold a variable in place of a value.
fn or_variable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "pattern": VARIABLE}]})
}
