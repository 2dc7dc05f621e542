//! The steps of a pipeline in the order they run, for `plan` and for progress. Never runs one.

use strata_plan::Compiled;
use strata_spec::pipeline::{Method, RfmMode, Rows, WavePart};
use strata_spec::{Pipeline, Span};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedStep {
    /// Questions about the whole of a source.
    Check(String),
    /// The table of the rows of a source that were put aside.
    Quarantine(String),
    /// A table whose rows mix entities.
    Table(String),
    /// All attributes of an entity.
    Attributes(String),
    /// A model that is solved from summaries.
    Solve(String),
    /// A wave is allocated, drawn and weighted.
    Wave(String),
    /// An output's files are written.
    Write(String),
    /// Outputs become visible.
    Commit,
}

impl PlannedStep {
    /// What it does, for people.
    pub fn label(&self) -> String {
        match self {
            Self::Check(n) => format!("check {n}"),
            Self::Quarantine(n) => format!("quarantine {n}"),
            Self::Table(n) => format!("table {n}"),
            Self::Attributes(n) => format!("attributes of {n}"),
            Self::Solve(n) => format!("segments {n}"),
            Self::Wave(n) => format!("panel {n}"),
            Self::Write(n) => format!("write {n}"),
            Self::Commit => "commit outputs".to_owned(),
        }
    }
}

impl PlannedStep {
    /// Where the pipeline file declares what the step makes.
    pub fn span(&self, pipeline: &Pipeline) -> Option<Span> {
        match self {
            Self::Check(n) | Self::Quarantine(n) => pipeline.source(n).map(|s| s.name.span),
            Self::Table(n) => pipeline.table(n).map(|t| t.name.span),
            Self::Attributes(n) => pipeline.entity(n).map(|e| e.name.span),
            Self::Solve(n) => pipeline.segmentation(n).map(|s| s.name.span),
            Self::Wave(n) => pipeline.wave(n).map(|w| w.name.span),
            Self::Write(n) => pipeline.outputs.iter().find(|o| o.name.value == *n).map(|o| o.name.span),
            Self::Commit => None,
        }
    }
}

/// The steps of a compiled pipeline.
pub fn planned_steps(compiled: &Compiled) -> Vec<PlannedStep> {
    let pipeline = compiled.pipeline();
    let sources = || pipeline.sources.iter().map(|s| s.name.value.clone());
    let mut steps: Vec<PlannedStep> =
        sources().filter(|s| !compiled.table_checks(s).is_empty()).map(PlannedStep::Check).collect();
    steps.extend(compiled.global_tables().iter().cloned().map(PlannedStep::Table));
    steps.extend(pipeline.entities.iter().map(|e| PlannedStep::Attributes(e.name.value.clone())));
    for segmentation in compiled.segmentation_order() {
        if is_solved(&segmentation.method) {
            steps.push(PlannedStep::Solve(segmentation.name.value.clone()));
        }
    }
    // A wave nobody writes is not drawn.
    for output in &pipeline.outputs {
        if let Rows::Wave(name) | Rows::WavePart(name, WavePart::Allocation) = &output.from {
            let step = PlannedStep::Wave(name.value.clone());
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    steps.extend(sources().filter(|s| pipeline.quarantine_folder(s).is_some()).map(PlannedStep::Quarantine));
    steps.extend(pipeline.outputs.iter().map(|o| PlannedStep::Write(o.name.value.clone())));
    steps.push(PlannedStep::Commit);
    steps
}

/// Whether a segmentation needs numbers from the data before it can be computed.
fn is_solved(method: &Method) -> bool {
    match method {
        Method::Rfm(rfm) => !matches!(*rfm.mode, RfmMode::Fixed(_)),
        Method::KMeans(_) | Method::Quantile { .. } | Method::Lifecycle(_) => true,
        Method::Rules { .. } | Method::Flag | Method::By { .. } => false,
    }
}
