//! Ballista's executor with our session. Never sees a pipeline.
