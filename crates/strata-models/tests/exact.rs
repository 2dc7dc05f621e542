//! Exact sums against an oracle of big integers, in random orders and merge trees. Never compares with a tolerance.

use num_bigint::{BigInt, BigUint, Sign};
use proptest::prelude::*;
use strata_models::exact::{Moments, Sum};

/// Units of 2^−1074 of a finite float.
fn units(x: f64) -> BigInt {
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
    let magnitude = BigInt::from(mantissa) << shift;
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

/// `total` / 2^`scale` units of 2^−1074, rounded to the nearest float, ties to even: found by comparing with the floats on
/// either side of a midpoint, not by looking at bits.
fn nearest(total: &BigInt, scale: u64) -> f64 {
    let (sign, magnitude) = (total.sign(), total.magnitude());
    // Binary search over the bit patterns of floats, which are in the order of their values.
    let (mut low, mut high) = (0u64, f64::INFINITY.to_bits());
    let below = |bits: u64| -> BigUint { units(f64::from_bits(bits)).magnitude() << scale };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if below(middle) <= *magnitude { low = middle } else { high = middle }
    }
    // The step above the largest float is as if exponents went on.
    let above = if high == f64::INFINITY.to_bits() { BigUint::from(1u8) << (2098 + scale) } else { below(high) };
    let nearest = match (magnitude + magnitude).cmp(&(below(low) + above)) {
        std::cmp::Ordering::Less => low,
        std::cmp::Ordering::Greater => high,
        std::cmp::Ordering::Equal => low + (low & 1),
    };
    let value = f64::from_bits(nearest);
    if sign == Sign::Minus && value != 0.0 { -value } else { value }
}

fn oracle(values: &[f64]) -> f64 {
    nearest(&values.iter().copied().map(units).sum(), 0)
}

fn sum(values: &[f64]) -> Sum {
    let mut sum = Sum::new();
    values.iter().for_each(|&value| sum.add(value));
    sum
}

fn bytes(sum: &Sum) -> Vec<u8> {
    let mut bytes = Vec::new();
    sum.to_bytes(&mut bytes);
    bytes
}

/// Merges pieces of the values as a random tree says, each piece through its bytes.
fn merged(values: &[f64], cuts: &[usize]) -> Sum {
    let mut pieces: Vec<Sum> = values.chunks(cuts[0] % 7 + 1).map(sum).collect();
    for (i, cut) in cuts.iter().cycle().enumerate() {
        if pieces.len() < 2 {
            break;
        }
        let piece = pieces.swap_remove(cut % pieces.len());
        let read = Sum::from_bytes(&bytes(&piece)).unwrap_or_default();
        let at = (cut / 3 + i) % pieces.len();
        if i % 2 == 0 {
            pieces[at].merge(&read);
        } else {
            let old = std::mem::replace(&mut pieces[at], read);
            pieces[at].merge(&old);
        }
    }
    pieces.pop().unwrap_or_default()
}

/// Any finite float; floats near one another; halves of steps; subnormals; the largest.
fn finite() -> impl Strategy<Value = f64> {
    let whole = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite());
    let near = (-60i32..60, any::<i16>()).prop_map(|(power, m)| f64::from(m) * 2f64.powi(power));
    let halves = (prop::sample::select(vec![0, 52, 53, 54, 105, 106, 107, 160]), any::<bool>())
        .prop_map(|(power, minus)| if minus { -(2f64.powi(-power)) } else { 2f64.powi(-power) });
    let tiny = (any::<u16>(), any::<bool>()).prop_map(
        |(m, minus)| {
            if minus { -f64::from_bits(m.into()) } else { f64::from_bits(m.into()) }
        },
    );
    let huge = prop::sample::select(vec![f64::MAX, -f64::MAX, f64::MAX / 2.0, 2f64.powi(970), -(2f64.powi(970))]);
    let money = (-1_000_000i32..1_000_000).prop_map(|cents| f64::from(cents) / 100.0);
    prop_oneof![whole, near, halves, tiny, huge, money]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_exact_in_any_order_and_grouping(
        values in prop::collection::vec(finite(), 0..60), shuffle in any::<u64>(), cuts in prop::collection::vec(0usize..1000, 1..20),
    ) {
        let expected = oracle(&values);
        let forward = sum(&values);
        prop_assert_eq!(forward.value().to_bits(), expected.to_bits());
        let mut shuffled = values.clone();
        shuffled.sort_by_key(|x| (x.to_bits() ^ shuffle).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let shuffled = sum(&shuffled);
        prop_assert_eq!(shuffled.value().to_bits(), expected.to_bits());
        let tree = merged(&values, &cuts);
        prop_assert_eq!(tree.value().to_bits(), expected.to_bits());
        // Equal sums have equal bytes, whatever form they are held in.
        prop_assert_eq!(bytes(&forward), bytes(&shuffled));
        prop_assert_eq!(bytes(&forward), bytes(&tree));
        let read = Sum::from_bytes(&bytes(&forward)).map(|sum| sum.value().to_bits());
        prop_assert_eq!(read, Ok(expected.to_bits()));
        let (high, low) = forward.double_double();
        if high.is_finite() {
            let rest: BigInt = values.iter().copied().map(units).sum::<BigInt>() - units(high);
            prop_assert_eq!(low, nearest(&rest, 0));
        }
    }

    #[test]
    fn what_is_added_can_be_taken_away(values in prop::collection::vec(finite(), 0..40), rest in finite()) {
        let mut total = sum(&values);
        total.add(rest);
        values.iter().rev().for_each(|&value| total.add(-value));
        prop_assert_eq!(total.value(), rest);
        prop_assert_eq!(bytes(&total), bytes(&sum(&[rest])));
    }

    #[test]
    fn what_is_not_finite_does_not_depend_on_order(
        finite in prop::collection::vec(finite(), 0..8),
        special in prop::collection::vec(prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN]), 1..4),
        cuts in prop::collection::vec(0usize..1000, 1..9),
    ) {
        let both = special.contains(&f64::INFINITY) && special.contains(&f64::NEG_INFINITY);
        let expected = if both || special.iter().any(|x| x.is_nan()) { f64::NAN } else { special[0] };
        let mut values: Vec<f64> = finite.into_iter().chain(special).collect();
        for _ in 0..values.len() {
            values.rotate_left(1);
            prop_assert_eq!(sum(&values).value().to_bits(), expected.to_bits());
            prop_assert_eq!(bytes(&merged(&values, &cuts)), bytes(&sum(&[expected])));
        }
    }

    #[test]
    fn products_are_exact(
        pairs in prop::collection::vec((any::<i64>(), any::<i64>(), -300i32..300, -300i32..300), 0..20),
    ) {
        // |a·b| is 0 or between 2^−726 and 2^600: see `add_product` for what is outside.
        let float = |m: i64, power: i32| (m as f64) * 2f64.powi(power - 63);
        let mut total = Sum::new();
        let mut expected = BigInt::from(0);
        for (a, b, p, q) in pairs {
            let (a, b) = (float(a, p), float(b, q));
            total.add_product(a, b);
            expected += units(a) * units(b);
        }
        prop_assert_eq!(total.value().to_bits(), nearest(&expected, 1074).to_bits());
    }

    #[test]
    fn variance_and_mean_are_those_of_the_exact_numbers(
        centre in -1e12f64..1e12, values in prop::collection::vec((-1000i32..1000, -40i32..10), 2..40),
    ) {
        let values: Vec<f64> = values.iter().map(|&(m, power)| centre + f64::from(m) * 2f64.powi(power)).collect();
        let mut moments = Moments::new();
        values.iter().for_each(|&value| moments.add(value));
        let n = values.len() as i64;
        let total: BigInt = values.iter().copied().map(units).sum();
        let squares: BigInt = values.iter().map(|&x| units(x) * units(x)).sum();
        // n·Σx² − (Σx)² in units of 2^−2148; one more division each.
        let numerator = nearest(&(squares * n - &total * &total), 1074);
        let variance = numerator / (n * n) as f64;
        let close = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found - wanted).abs() <= 4e-16 * wanted.abs());
        prop_assert!(close(moments.variance_population(), variance), "{:?} {variance}", moments.variance_population());
        prop_assert!(close(moments.variance_sample(), numerator / (n * (n - 1)) as f64));
        let mean = nearest(&((total << 200) / n), 200);
        prop_assert_eq!(moments.mean(), Some(mean));
        let mut parts = Moments::new();
        for chunk in values.chunks(3).rev() {
            let mut part = Moments::new();
            chunk.iter().for_each(|&value| part.add(value));
            let mut bytes = Vec::new();
            part.to_bytes(&mut bytes);
            parts.merge(&Moments::from_bytes(&bytes).unwrap_or_default());
        }
        prop_assert_eq!(parts.variance_sample(), moments.variance_sample());
        prop_assert_eq!((parts.n, parts.mean()), (n, moments.mean()));
    }
}

/// Enough additions that carries have to move, with signs that cancel.
#[test]
fn millions_of_additions_stay_exact() {
    let mut total = Sum::new();
    for value in [1e300, 1e200, 1e100, 1.0, 1e-100, 1e-200] {
        total.add(value);
    }
    for i in 0..2_000_000u64 {
        let x = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 * 1e280;
        total.add(x);
        total.add(-x);
        total.add(f64::MAX);
    }
    let others = total.clone();
    total.merge(&others);
    assert_eq!(total.value(), f64::INFINITY);
    for _ in 0..4_000_000 {
        total.add(-f64::MAX);
    }
    assert_eq!(total.value(), 2e300);
    for value in [1e300, 1e200, 1e100, 1.0, 1e-100] {
        total.add(-value);
        total.add(-value);
    }
    assert_eq!(total.value(), 2e-200);
    assert_eq!(bytes(&total), bytes(&sum(&[2e-200])));
}
