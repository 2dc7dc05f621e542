//! The columns an output will have, before anything is made: for what changes against the table that is published. Never plans a row.

use crate::solved::Solved;
use crate::{Compiled, outputs, profiles, segments};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use std::sync::Arc;
use strata_spec::Pipeline;
use strata_spec::pipeline::{Entity, History, Output, Rows, WriteFormat};

impl Compiled<'_> {
    /// The columns of an output; `None` for the parts of a wave, which are not known before it is drawn.
    pub fn output_schema(&self, output: &Output) -> Result<Option<SchemaRef>> {
        let Some(rows) = self.typed(output)? else { return Ok(None) };
        let rows = if output.format == WriteFormat::Delta { outputs::in_utc(rows)? } else { rows };
        let rows = if output.history.value == History::Snapshot { self.under_as_of(rows)? } else { rows };
        Ok(Some(Arc::new(rows.schema().as_arrow().clone())))
    }

    /// A plan with the columns of an output, over stand-ins for what is solved.
    fn typed(&self, output: &Output) -> Result<Option<LogicalPlan>> {
        let pipeline = self.pipeline;
        Ok(match &output.from {
            Rows::Entity(name) => {
                let Some((entity, view)) = self.typed_view(name.as_str()) else { return Ok(None) };
                let Some(pass) = self.passes.get(name.as_str()) else { return Ok(None) };
                outputs::entity_rows(&self.planner, pipeline, entity, pass, output, &view)
            }
            Rows::Profile(name) => {
                let Some(profile) = pipeline.profiles.iter().find(|p| p.name.value == name.value) else { return Ok(None) };
                let view = profiles::owner(pipeline, profile).and_then(|entity| self.typed_view(&entity));
                view.and_then(|(_, view)| profiles::plan(&self.planner, pipeline, profile, &view))
            }
            Rows::Table(name) => self.relations.plan(name.as_str()).cloned(),
            Rows::Wave(name) => {
                let panel = pipeline.panel.as_ref().zip(pipeline.wave(name.as_str()));
                let Some((panel, wave)) = panel else { return Ok(None) };
                let Some((entity, view)) = self.typed_view(&panel.entity.value) else { return Ok(None) };
                self.wave_rows(entity, self.passes.get(&entity.name.value), (output, wave), view)
            }
            Rows::WavePart(..) => None,
        })
    }

    fn typed_view(&self, entity: &str) -> Option<(&Entity, LogicalPlan)> {
        let (pipeline, pass): (&Pipeline, _) = (self.pipeline, self.passes.get(entity)?);
        let entity = pipeline.entity(entity)?;
        let solved = Solved::placeholder(pipeline);
        segments::view(&self.planner, pipeline, entity, pass.result.clone(), &solved).map(|view| (entity, view))
    }
}
