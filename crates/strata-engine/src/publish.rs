//! Outputs of a run: each written below its table, then all of them committed. Never commits anything before everything is written.

use crate::error::{Error, Result};
use crate::outputs::{self, OutputTable, format_name};
use crate::progress::Event;
use crate::report::OutputReport;
use crate::run::Run;
use crate::{guard, panel};
use strata_operators::write::{Formulas, WriteFormat, WritePurpose, WriteSpec};
use strata_publish::{Base, Manifest, stored_schema};
use strata_spec::pipeline;

/// How often a commit is asked for whose outcome the store does not tell.
const COMMITS_MAX: u32 = 4;

impl Run<'_> {
    /// Writes an output below its table's folder of the run. Gives what to say of it.
    pub(crate) async fn write_output(&mut self, name: &str, table: OutputTable) -> Result<String> {
        let step = format!("write {name}");
        let Some(output) = self.compiled.pipeline().outputs.iter().find(|o| o.name.value == name).cloned() else {
            return Ok(String::new());
        };
        let base = table.table.begin().await.map_err(|e| Error::of_publish(&step, e))?;
        let run_id = self.report.run_id.clone();
        let (plan, guard) = guard::plan(self, &step, &output).await?;
        let schema = stored_schema(plan.schema().as_arrow()).map_err(|e| Error::of_step(&step, e))?;
        let below = format!("runs/{run_id}");
        let spec = WriteSpec {
            folder: table.place.url(&below),
            format: match output.format {
                pipeline::WriteFormat::Parquet | pipeline::WriteFormat::Delta => WriteFormat::Parquet,
                pipeline::WriteFormat::Csv => WriteFormat::Csv,
                pipeline::WriteFormat::Jsonl => WriteFormat::Jsonl,
                pipeline::WriteFormat::Xlsx => WriteFormat::Xlsx,
            },
            attempt: format!("a{}", self.report.attempt),
            purpose: WritePurpose::Publish,
            bounds: self.compiled.bounds(&output),
            formulas: if output.export.keeps_formulas { Formulas::Keep } else { Formulas::Escape },
        };
        let receipts = self.write(&step, plan, spec).await?;
        let manifest = Manifest::new(&self.report.pipeline, &run_id, &self.report.as_of, &schema, receipts)
            .map_err(|e| Error::of_publish(&step, e))?;
        let mut kept = outputs::as_kept(&self.compiled.cuts_to_keep(&self.solved))?;
        kept.extend(guard::earlier::kept(&output));
        kept.extend(panel::history::kept(self.compiled.pipeline(), &output, &self.report.panel)?);
        let manifest = Manifest { kept, ..manifest };
        self.report.outputs.push(OutputReport {
            name: name.to_owned(),
            table: table.place.to_string(),
            path: outputs::readers_path(&output, &table.place, &below),
            run_id: run_id.clone(),
            format: format_name(&output).to_owned(),
            rows: manifest.rows.max(0) as u64,
            bytes: manifest.bytes.max(0) as u64,
            committed: false,
            guard,
        });
        let detail = format!("{} rows", manifest.rows);
        self.written.push((table, base, manifest));
        Ok(detail)
    }

    /// Makes everything that is written visible. Gives what to say of it.
    pub(crate) async fn commit(&mut self) -> Result<String> {
        self.check_rows()?;
        self.report.segments = self.segments().await?;
        self.report.state = "committing".to_owned();
        // From here on a kill may leave some outputs new and some old: the report says which before it can happen.
        self.report.sources = self.source_rows();
        self.journal.report(&self.report).await?;
        for (table, base, manifest) in std::mem::take(&mut self.written) {
            let step = format!("commit {}", table.name);
            self.commit_one(&step, &table, &base, &manifest).await?;
            if let Some(output) = self.report.outputs.iter_mut().find(|o| o.name == table.name) {
                output.committed = true;
            }
            self.journal.report(&self.report).await?;
        }
        Ok(format!("{} tables", self.report.outputs.len()))
    }

    /// Commits one output, again where the store does not say what it did: a run is published once, however often it is asked for.
    async fn commit_one(&self, step: &str, table: &OutputTable, base: &Base, manifest: &Manifest) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.journal.may_commit().await?;
            match table.table.commit(base, manifest).await {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == strata_publish::Kind::Unavailable && tries < COMMITS_MAX => {
                    self.say(Event::Note(format!("{step}: the store did not answer, asking again")));
                }
                Err(e) => return Err(Error::of_publish(step, e)),
            }
        }
    }
}
