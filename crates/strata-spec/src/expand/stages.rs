//! What the `state` of `lifecycle@2` stands for: a source over the published table, and helper attributes of who was what. Never reports
//! anything: what is wrong with the table is found where it is pinned.

use super::quoted;
use crate::pipeline::preset::Lifecycle;
use crate::pipeline::{
    AggregateAttribute, Block, EntityAttributes, FromBlock, Method, Pipeline, ReadFormat, Segmentation, Source, Terms,
};
use crate::text::{Located, Sql};

/// Before the names of sources over published stages.
const STAGES: &str = "__stages_";
/// The column of such a source with the `as_of` of its version.
pub const PUBLISHED_AS_OF: &str = "_published_as_of";

/// The segmentation whose published stages a source stands for.
pub fn published_stages(source: &str) -> Option<&str> {
    source.strip_prefix(STAGES)
}

/// Helper attributes of a segmentation: the stage of the earlier run, and the days since its `as_of`.
pub fn stage_helpers(segmentation: &str) -> [String; 2] {
    [format!("_stages_{segmentation}_was"), format!("_stages_{segmentation}_since")]
}

/// Puts in place what every `state` stands for.
pub(crate) fn expand(pipeline: &mut Pipeline) {
    let states: Vec<(Segmentation, Lifecycle)> = pipeline
        .segments
        .iter()
        .filter_map(|s| match &s.method {
            Method::Lifecycle(l) if l.state.is_some() => Some((s.clone(), l.as_ref().clone())),
            _ => None,
        })
        .collect();
    for (segmentation, lifecycle) in states {
        let Some(state) = lifecycle.state else { continue };
        let name = Located::new(format!("{STAGES}{}", segmentation.name.value), segmentation.name.span);
        let [was, since] = stage_helpers(&segmentation.name.value);
        let column = |helper: String, text: String| {
            let sql = Sql { text, span: segmentation.name.span, line_starts: vec![Sql::NOWHERE] };
            AggregateAttribute { name: Located::new(helper, segmentation.name.span), sql, window: None, terms: Terms::default() }
        };
        let columns = vec![
            column(was, format!("max({})", quoted(&segmentation.name.value))),
            column(since, format!("days_since(max(cast({} as timestamp)))", quoted(PUBLISHED_AS_OF))),
        ];
        let block = Block::From(FromBlock { from: name.clone(), filter: None, columns });
        pipeline.sources.push(Source::undeclared(name, ReadFormat::Parquet, state));
        match pipeline.attributes.iter_mut().find(|a| a.entity.value == segmentation.entity.value) {
            Some(of) => of.blocks.push(block),
            None => pipeline.attributes.push(EntityAttributes {
                entity: segmentation.entity.clone(),
                blocks: vec![block],
                presets: vec![],
                models: vec![],
            }),
        }
    }
}
