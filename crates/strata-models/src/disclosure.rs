//! Disclosure control of what leaves: groups of people too small to show, generalised or left out, and tables of counts with
//! their margins whose small cells nobody can work out. It never calls a table safe without solving for its small cells as
//! an attacker would.

mod flow;
mod generalise;
mod groups;
mod suppress;

pub use generalise::{Class, Generalised, Ladder, generalise};
pub use groups::{Anonymity, anonymity, small_differences};
pub use suppress::{Interval, Status, Suppressed, Table, Untold, suppress, suppress_also};
