//! Small symmetric systems: cross products summed exactly, and their Cholesky factors. It never goes on with a column that
//! depends on those before it: it says which.

use crate::exact::Sum;

/// Σ weight·x·xᵀ, exact, so that the order of the rows changes no bit.
#[derive(Debug, Clone)]
pub(crate) struct Gram {
    size: usize,
    /// The lower triangle, row by row.
    sums: Vec<Sum>,
}

impl Gram {
    /// Of no rows, for vectors of `size`.
    pub(crate) fn new(size: usize) -> Self {
        Gram { size, sums: vec![Sum::new(); size * (size + 1) / 2] }
    }

    /// Adds weight·x·xᵀ.
    pub(crate) fn add(&mut self, weight: f64, x: &[f64]) {
        let mut at = 0;
        for i in 0..self.size {
            let left = weight * x[i];
            if left == 0.0 {
                at += i + 1;
                continue;
            }
            for &right in &x[..=i] {
                if right != 0.0 {
                    self.sums[at].add_product(left, right);
                }
                at += 1;
            }
        }
    }

    /// The whole matrix, row-major.
    pub(crate) fn values(&self) -> Vec<f64> {
        let mut matrix = vec![0.0; self.size * self.size];
        let mut sums = self.sums.iter();
        for i in 0..self.size {
            for (j, sum) in (0..=i).zip(&mut sums) {
                let value = sum.value();
                matrix[i * self.size + j] = value;
                matrix[j * self.size + i] = value;
            }
        }
        matrix
    }
}

/// A column that is a combination of columns before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dependent {
    /// The column.
    pub(crate) column: usize,
    /// Those it is a combination of; none if it is 0.
    pub(crate) on: Vec<usize>,
}

/// The Cholesky factor of a symmetric positive definite matrix whose diagonal was scaled to 1.
#[derive(Debug, Clone)]
pub(crate) struct Factor {
    size: usize,
    lower: Vec<f64>,
    scale: Vec<f64>,
}

impl Factor {
    /// Factors `matrix`, row-major. Fails at the first column of which less than `tolerance` (of its own square) is not a
    /// combination of those before.
    pub(crate) fn new(matrix: &[f64], size: usize, tolerance: f64) -> Result<Factor, Dependent> {
        let scale: Vec<f64> = (0..size).map(|i| matrix[i * size + i].sqrt()).collect();
        let mut factor = Factor { size, lower: vec![0.0; size * size], scale };
        for i in 0..size {
            let own = factor.scale[i];
            if !(own > 0.0 && own.is_finite()) {
                return Err(Dependent { column: i, on: Vec::new() });
            }
            for j in 0..=i {
                let mut rest = matrix[i * size + j] / own / factor.scale[j];
                for k in 0..j {
                    rest -= factor.lower[i * size + k] * factor.lower[j * size + k];
                }
                if j < i {
                    factor.lower[i * size + j] = rest / factor.lower[j * size + j];
                } else if rest > tolerance {
                    factor.lower[i * size + i] = rest.sqrt();
                } else {
                    return Err(Dependent { column: i, on: factor.combination(i) });
                }
            }
        }
        Ok(factor)
    }

    /// The columns before `column` that make it up: Lᵀc = the row of the factor, as far as it was computed.
    fn combination(&self, column: usize) -> Vec<usize> {
        let mut rest = self.lower[column * self.size..column * self.size + column].to_vec();
        for i in (0..column).rev() {
            rest[i] /= self.lower[i * self.size + i];
            for k in 0..i {
                rest[k] -= self.lower[i * self.size + k] * rest[i];
            }
        }
        (0..column).filter(|&i| rest[i].abs() > 1e-6).collect()
    }

    /// The x of matrix·x = rhs.
    pub(crate) fn solve(&self, rhs: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = rhs.iter().zip(&self.scale).map(|(b, scale)| b / scale).collect();
        for i in 0..self.size {
            for k in 0..i {
                x[i] -= self.lower[i * self.size + k] * x[k];
            }
            x[i] /= self.lower[i * self.size + i];
        }
        for i in (0..self.size).rev() {
            x[i] /= self.lower[i * self.size + i];
            for k in 0..i {
                x[k] -= self.lower[i * self.size + k] * x[i];
            }
        }
        x.iter_mut().zip(&self.scale).for_each(|(x, scale)| *x /= scale);
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(rows: &[[f64; 3]]) -> Vec<f64> {
        let mut gram = Gram::new(3);
        rows.iter().for_each(|row| gram.add(2.0, row));
        gram.values()
    }

    #[test]
    fn systems_are_solved() {
        let matrix = gram(&[[1.0, 0.0, 2.0], [1.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0]]);
        // Σ 2·x·xᵀ by hand.
        assert_eq!(matrix, [6.0, 4.0, 6.0, 4.0, 22.0, 8.0, 6.0, 8.0, 12.0]);
        let factor = Factor::new(&matrix, 3, 1e-12).unwrap();
        // matrix·(1, −2, 3) = (16, −16, 26).
        let x = factor.solve(&[16.0, -16.0, 26.0]);
        assert!(x.iter().zip([1.0, -2.0, 3.0]).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{x:?}");
    }

    #[test]
    fn dependent_columns_are_named() {
        // The third is the first less twice the second.
        let dependent = gram(&[[1.0, 0.0, 1.0], [1.0, 1.0, -1.0], [0.0, 3.0, -6.0], [1.0, 1.0, -1.0]]);
        assert_eq!(Factor::new(&dependent, 3, 1e-10).err(), Some(Dependent { column: 2, on: vec![0, 1] }));
        let twice = gram(&[[1.0, 0.5, 1.0], [3.0, 0.0, 3.0]]);
        assert_eq!(Factor::new(&twice, 3, 1e-10).err(), Some(Dependent { column: 2, on: vec![0] }));
        let empty = gram(&[[1.0, 0.0, 1.0], [3.0, 0.0, 2.0]]);
        assert_eq!(Factor::new(&empty, 3, 1e-10).err(), Some(Dependent { column: 1, on: vec![] }));
    }
}
