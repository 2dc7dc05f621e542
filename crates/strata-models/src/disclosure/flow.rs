//! Changes of a table's counts that keep its sums, as flows in a network: rows and columns are its nodes, counts and margins its edges. It
//! never changes a count of 0.
//!
//! A cell leads from its row to its column, a column's margin to the row below, the total from there to the column at the right, and a row's
//! margin from there to its row: a change keeps all sums exactly if as much leaves every node as enters it.
//!
//! Source: Ahuja, Magnanti & Orlin 1993, chapters 7 and 9 (shortest augmenting paths, with potentials where they cost).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How much an edge can rise where nothing bounds it.
const MANY: i128 = i128::MAX / 4;

/// The network of a table with its margins.
pub(super) struct Network {
    /// Counts of the places.
    counts: Vec<u64>,
    /// From which node each place leads to which; only places with counts above 0 are edges.
    ends: Vec<(usize, usize)>,
    /// Edges at each node.
    near: Vec<Vec<usize>>,
}

/// Places that leave one node, or enter one: they do so by a node of their own, through which all of what changes in them flows.
pub(super) struct Line {
    places: Vec<usize>,
    /// Whether a place is one of them.
    is_own: Vec<bool>,
    /// The node that they share.
    at: usize,
    is_leaving: bool,
}

/// A change of counts that keeps all sums but that of a line.
pub(super) struct Change {
    /// By how much the line can rise or fall with it.
    pub(super) by: u64,
    /// Places that it changes.
    pub(super) places: Vec<usize>,
}

/// Whether the sum of a line is to rise or to fall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Network {
    /// Of a table of `rows` by `columns`, whose counts stand row by row, margins last.
    pub(super) fn new(rows: usize, columns: usize, counts: &[u64]) -> Self {
        let (below, right) = (rows, rows + 1 + columns);
        let ends = |place: usize| {
            let (row, column) = (place / (columns + 1), place % (columns + 1));
            match (row == rows, column == columns) {
                (false, false) => (row, rows + 1 + column),
                (false, true) => (right, row),
                (true, false) => (rows + 1 + column, below),
                (true, true) => (below, right),
            }
        };
        let ends: Vec<(usize, usize)> = (0..counts.len()).map(ends).collect();
        let mut near = vec![vec![]; rows + columns + 2];
        for (place, &(from, to)) in ends.iter().enumerate().filter(|(place, _)| counts[*place] > 0) {
            near[from].push(place);
            near[to].push(place);
        }
        Network { counts: counts.to_vec(), ends, near }
    }

    /// None if the places neither leave one node nor enter one.
    pub(super) fn line(&self, places: &[usize]) -> Option<Line> {
        let (from, to) = self.ends[*places.first()?];
        let is_leaving = places.iter().all(|p| self.ends[*p].0 == from);
        if !is_leaving && places.iter().any(|p| self.ends[*p].1 != to) {
            return None;
        }
        let mut is_own = vec![false; self.ends.len()];
        places.iter().for_each(|p| is_own[*p] = true);
        Some(Line { places: places.to_vec(), is_own, at: if is_leaving { from } else { to }, is_leaving })
    }

    /// The ends of a place, where those of the line have a node of their own.
    fn ends_of(&self, place: usize, line: &Line) -> (usize, usize) {
        let (from, to) = self.ends[place];
        match (line.is_own[place], line.is_leaving) {
            (false, _) => (from, to),
            (true, true) => (self.near.len(), to),
            (true, false) => (from, self.near.len()),
        }
    }

    /// The edges at a node, each with the node at its other end, and whether it leads there.
    fn edges<'a>(&'a self, node: usize, line: &'a Line) -> impl Iterator<Item = (usize, usize, bool)> + 'a {
        let all = self.near.get(node).unwrap_or(&line.places);
        all.iter().filter_map(move |&place| match self.ends_of(place, line) {
            (from, to) if from == node => Some((place, to, true)),
            (from, to) if to == node => Some((place, from, false)),
            _ => None,
        })
    }

    /// Where what the line rises by comes out, and where it goes in again.
    fn between(&self, line: &Line) -> (usize, usize) {
        if line.is_leaving { (self.near.len(), line.at) } else { (line.at, self.near.len()) }
    }

    /// The places that change where the line rises by `by` at the least cost, a cost for each person more or fewer in a place; none if it
    /// cannot rise so far.
    pub(super) fn cheapest(&self, line: &Line, cost: &[i128], by: u64) -> Option<Vec<usize>> {
        let (source, sink) = self.between(line);
        let mut change = vec![0i128; self.counts.len()];
        let mut price = vec![0i128; self.near.len() + 1];
        let mut left = i128::from(by);
        while left > 0 {
            let room = |place: usize, leads: bool| match (change[place], leads) {
                (x, true) if x < 0 => (-x, -cost[place]),
                (_, true) => (MANY, cost[place]),
                (x, false) if x > 0 => (x, -cost[place]),
                (x, false) => (i128::from(self.counts[place]) + x, cost[place]),
            };
            let path = self.shortest(line, (source, sink), &mut price, &room)?;
            let most = path.iter().map(|&(place, leads)| room(place, leads).0).min().unwrap_or(left).min(left);
            path.iter().for_each(|&(place, leads)| change[place] += if leads { most } else { -most });
            left -= most;
        }
        Some((0..change.len()).filter(|p| change[*p] != 0).collect())
    }

    /// The cheapest path (Dijkstra, by costs less the difference of `price`, which it brings up to date).
    fn shortest(
        &self,
        line: &Line,
        (source, sink): (usize, usize),
        price: &mut [i128],
        room: &dyn Fn(usize, bool) -> (i128, i128),
    ) -> Option<Vec<(usize, bool)>> {
        let mut far: Vec<Option<i128>> = vec![None; price.len()];
        let mut via: Vec<Option<(usize, usize, bool)>> = vec![None; price.len()];
        let mut is_done = vec![false; price.len()];
        let mut queue = BinaryHeap::from([Reverse((0i128, source))]);
        far[source] = Some(0);
        while let Some(Reverse((so_far, node))) = queue.pop() {
            if std::mem::replace(&mut is_done[node], true) {
                continue;
            }
            if node == sink {
                break;
            }
            for (place, other, leads) in self.edges(node, line) {
                let (most, cost) = room(place, leads);
                let reached = so_far + cost + price[node] - price[other];
                if most > 0 && !is_done[other] && far[other].is_none_or(|known| reached < known) {
                    far[other] = Some(reached);
                    via[other] = Some((node, place, leads));
                    queue.push(Reverse((reached, other)));
                }
            }
        }
        let all = far[sink].filter(|_| is_done[sink])?;
        price.iter_mut().zip(&far).zip(&is_done).for_each(|((p, far), done)| *p += far.filter(|_| *done).unwrap_or(all));
        Some(back(&via, sink))
    }

    /// How far the sum of the line can rise or fall, up to `most`, where only places that `is_free` change, and none rises above `bound`.
    pub(super) fn reach(&self, line: &Line, is_free: &dyn Fn(usize) -> bool, bound: u128, (way, most): (Way, u64)) -> Change {
        let (source, sink) = match (self.between(line), way) {
            (ends, Way::Up) => ends,
            ((source, sink), Way::Down) => (sink, source),
        };
        let bound = i128::try_from(bound).unwrap_or(MANY);
        let mut change = vec![0i128; self.counts.len()];
        let mut left = i128::from(most);
        while left > 0 {
            let room = |place: usize, leads: bool| match leads {
                true => bound - i128::from(self.counts[place]) - change[place],
                false => i128::from(self.counts[place]) + change[place],
            };
            let Some(path) = self.fewest(line, (source, sink), &|place, leads| is_free(place) && room(place, leads) > 0) else {
                break;
            };
            let step = path.iter().map(|&(place, leads)| room(place, leads)).min().unwrap_or(left).min(left);
            path.iter().for_each(|&(place, leads)| change[place] += if leads { step } else { -step });
            left -= step;
        }
        let by = most - u64::try_from(left).unwrap_or(most);
        Change { by, places: (0..change.len()).filter(|p| change[*p] != 0).collect() }
    }

    /// The path of the fewest edges.
    fn fewest(
        &self,
        line: &Line,
        (source, sink): (usize, usize),
        is_open: &dyn Fn(usize, bool) -> bool,
    ) -> Option<Vec<(usize, bool)>> {
        let mut via: Vec<Option<(usize, usize, bool)>> = vec![None; self.near.len() + 1];
        let mut queue = VecDeque::from([source]);
        while let Some(node) = queue.pop_front() {
            for (place, other, leads) in self.edges(node, line) {
                if other == source || via[other].is_some() || !is_open(place, leads) {
                    continue;
                }
                via[other] = Some((node, place, leads));
                if other == sink {
                    return Some(back(&via, sink));
                }
                queue.push_back(other);
            }
        }
        None
    }
}

/// The edges that lead to a node, the last first.
fn back(via: &[Option<(usize, usize, bool)>], sink: usize) -> Vec<(usize, bool)> {
    let mut out = vec![];
    let mut node = sink;
    while let Some((before, place, leads)) = via[node] {
        out.push((place, leads));
        node = before;
    }
    out
}
