//! The run API with Ballista's scheduler embedded. Never runs a task itself.
