//! The files of the rows of a source that were put aside, below its table's folder of the run. Never makes them visible.

use crate::error::{Error, Result};
use crate::outputs::OutputTable;
use crate::report::OutputReport;
use crate::run::Run;
use strata_operators::write::{Formulas, WriteFormat, WritePurpose, WriteSpec};
use strata_publish::{Manifest, stored_schema};

impl Run<'_> {
    /// Writes the rows of a source that were put aside. Where there are none, and there never were, there is no table.
    pub(crate) async fn write_quarantine(&mut self, source: &str, table: OutputTable) -> Result<String> {
        let step = format!("quarantine {source}");
        let rows = self.source_rows().into_iter().find(|s| s.source == source && s.read).map_or(0, |s| s.quarantined);
        if rows == 0 && table.current.is_none() {
            return Ok("0 rows".to_owned());
        }
        let plan = match rows {
            0 => self.compiled.empty_quarantine_plan(source),
            _ => self.compiled.quarantine_plan(source),
        };
        let Some(plan) = self.planned(&step, plan)? else { return Ok(String::new()) };
        let base = table.table.begin().await.map_err(|e| Error::of_publish(&step, e))?;
        let run_id = self.report.run_id.clone();
        let schema = stored_schema(plan.schema().as_arrow()).map_err(|e| Error::of_step(&step, e))?;
        let below = format!("runs/{run_id}");
        let spec = WriteSpec {
            folder: table.place.url(&below),
            format: WriteFormat::Parquet,
            attempt: format!("a{}", self.report.attempt),
            purpose: WritePurpose::Publish,
            bounds: vec![],
            formulas: Formulas::Keep,
        };
        let receipts = self.write(&step, plan, spec).await?;
        let manifest = Manifest::new(&self.report.pipeline, &run_id, &self.report.as_of, &schema, receipts)
            .map_err(|e| Error::of_publish(&step, e))?;
        let written = manifest.rows.max(0) as u64;
        if written != rows {
            // INVARIANT: what is put aside is there, all of it.
            let message = format!("{rows} rows of `{source}` were put aside and {written} written");
            return Err(Error::Internal { step, message });
        }
        self.report.outputs.push(OutputReport {
            name: table.name.clone(),
            table: table.place.to_string(),
            path: table.place.join(&below).to_string(),
            run_id: run_id.clone(),
            format: "parquet".to_owned(),
            rows,
            bytes: manifest.bytes.max(0) as u64,
            committed: false,
            guard: None,
        });
        self.written.push((table, base, manifest));
        Ok(format!("{rows} rows"))
    }
}
