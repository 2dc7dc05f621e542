//! Numbers of cells against looking each value up, and weights of cells against adding up their rows. Never trusts one type or one partition.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use strata_models::rake::{CellWeights, TableWeights};
use strata_operators::functions::{CELL, CELL_FACTOR};

use super::session::{PLAIN, Shape, batch, query, with_table};

fn list(values: &[ScalarValue], data_type: &DataType) -> Expr {
    lit(ScalarValue::List(ScalarValue::new_list_nullable(values, data_type)))
}

fn column(context: &SessionContext, call: Expr) -> Result<ArrayRef, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = runtime.block_on(async { context.table("t").await?.select(vec![call.alias("x")])?.collect().await });
    let rows = rows.map_err(|e| e.to_string())?;
    let all: Vec<&dyn Array> = rows.iter().map(|b| b.column(0).as_ref()).collect();
    Ok(datafusion::arrow::compute::concat(&all).unwrap())
}

proptest! {
    #[test]
    fn rows_have_the_number_of_their_cell(
        rows in prop::collection::vec((prop::option::weighted(0.95, 0_i32..7), prop::option::weighted(0.95, 0_u8..20), prop::option::weighted(0.95, any::<bool>())), 1..300),
        far in any::<bool>(),
        others in 1_u8..20,
    ) {
        // Levels stand in no order, and some values are none.
        let numbers: Vec<i32> = [3, 1, 0, 5].iter().map(|n| if far { n * 300_000_000 } else { *n - 2 }).collect();
        let number = |n: i32| if far { n * 300_000_000 } else { n - 2 };
        let word = |n: u8| 1_000_000_007 * i64::from(n) - i64::MAX / 2;
        let words: Vec<i64> = (0..others).rev().map(word).collect();
        let flags = [true, false];
        let table = batch(vec![
            ("n", Arc::new(rows.iter().map(|r| r.0.map(number)).collect::<Int32Array>())),
            ("w", Arc::new(rows.iter().map(|r| r.1.map(word)).collect::<Int64Array>())),
            ("b", Arc::new(rows.iter().map(|r| r.2).collect::<BooleanArray>())),
        ]);
        let context = with_table(PLAIN, &table);
        let scalars = |all: &[i32]| all.iter().map(|n| ScalarValue::from(*n)).collect::<Vec<_>>();
        let levels = vec![
            list(&scalars(&numbers), &DataType::Int32), ident("n"),
            list(&words.iter().map(|w| ScalarValue::from(*w)).collect::<Vec<_>>(), &DataType::Int64), ident("w"),
            list(&flags.map(ScalarValue::from), &DataType::Boolean), ident("b"),
        ];
        let expected: Vec<Option<usize>> = rows.iter().map(|(n, w, b)| {
            let n = numbers.iter().position(|x| Some(*x) == n.map(number))?;
            let w = words.iter().position(|x| w.map(word) == Some(*x))?;
            let b = flags.iter().position(|x| Some(*x) == *b)?;
            Some((n * words.len() + w) * 2 + b)
        }).collect();
        let found = column(&context, context.udf(CELL).unwrap().call(levels.clone())).unwrap();
        let found: Vec<Option<usize>> = found.as_primitive::<Int32Type>().iter().map(|c| c.map(|c| c as usize)).collect();
        prop_assert_eq!(&found, &expected);
        // Every third cell has no factor.
        let of = |cell: usize| (!cell.is_multiple_of(3)).then_some(cell as f64 / 8.0);
        let factors: Vec<ScalarValue> = (0..numbers.len() * words.len() * 2).map(|cell| ScalarValue::Float64(of(cell))).collect();
        let call = |factors: &[ScalarValue]| {
            let arguments = [list(factors, &DataType::Float64)].into_iter().chain(levels.clone()).collect();
            column(&context, context.udf(CELL_FACTOR).unwrap().call(arguments))
        };
        let found: Vec<Option<f64>> = call(&factors).unwrap().as_primitive::<Float64Type>().iter().collect();
        prop_assert_eq!(found, expected.iter().map(|cell| cell.and_then(of)).collect::<Vec<_>>());
        let message = call(&factors[1..]).unwrap_err();
        prop_assert!(message.contains("factors for"), "{message}");
    }
}

#[test]
fn levels_must_be_lists_of_values_that_can_be_levels() {
    let context = with_table(PLAIN, &batch(vec![("n", Arc::new(Int32Array::from(vec![1, 2])))]));
    let cell = context.udf(CELL).unwrap();
    let some = list(&[ScalarValue::from(1_i32)], &DataType::Int32);
    for (arguments, help) in [
        (vec![some.clone()], "write `strata_cell(levels, column, ..)`"),
        (vec![some.clone(), lit(1.5)], "integers or booleans, not Float64"),
        (vec![list(&[ScalarValue::Int32(None)], &DataType::Int32), ident("n")], "not null"),
        (
            vec![
                list(&vec![ScalarValue::from(1_i32); 300], &DataType::Int32),
                ident("n"),
                list(&vec![ScalarValue::from(1_i32); 300], &DataType::Int32),
                ident("n"),
            ],
            "at most",
        ),
    ] {
        let message = column(&context, cell.call(arguments)).unwrap_err();
        assert!(message.contains(help), "{message}");
    }
}

/// The bytes of a column's only row.
fn only(batches: &[RecordBatch]) -> Option<Vec<u8>> {
    let all: Vec<Option<&[u8]>> = batches.iter().flat_map(|b| b.column(0).as_binary::<i32>().iter()).collect();
    assert_eq!(all.len(), 1);
    all[0].map(<[u8]>::to_vec)
}

proptest! {
    #[test]
    fn weights_of_cells_are_those_of_their_rows(
        rows in prop::collection::vec(
            (prop::option::weighted(0.95, 0_i32..5), prop::option::weighted(0.95, prop_oneof![Just(0.5), 0.1..9.0, Just(1e300), Just(1e-300)]), any::<bool>()),
            0..300,
        ),
        partitions in 1_usize..4,
    ) {
        let table = batch(vec![
            ("cell", Arc::new(rows.iter().map(|r| r.0.map(|c| c * 1000)).collect::<Int32Array>())),
            ("w", Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>())),
            ("kept", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<BooleanArray>())),
        ]);
        let context = with_table(Shape { partitions, batch_size: 7, ..PLAIN }, &table);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ask = |sql: &str| runtime.block_on(query(&context, sql)).unwrap();
        let of = |cell: Option<i32>, kept: bool| {
            let mut weights = CellWeights::new();
            rows.iter().filter(|r| r.0 == cell && (r.2 || !kept)).filter_map(|r| r.1).for_each(|w| weights.add(w));
            weights
        };
        let bytes = |weights: &CellWeights| { let mut bytes = vec![]; weights.to_bytes(&mut bytes); bytes };
        let table = |found: Vec<u8>| TableWeights::from_bytes(&found).unwrap();
        for (kept, filter) in [(false, ""), (true, "filter (where kept)")] {
            let found = only(&ask(&format!("select strata_table_weights(cell, w) {filter} from t")));
            prop_assert_eq!(found.is_none(), rows.iter().all(|r| r.1.is_none() || (kept && !r.2)));
            let found = found.map(table).unwrap_or_default();
            prop_assert_eq!(found.outside() as i64, of(None, kept).rows());
            for (number, weights) in found.cells() {
                prop_assert!(number.is_multiple_of(1000), "cell {}", number);
                let expected = of(Some((number / 1000) as i32), kept);
                prop_assert_eq!(bytes(&weights), bytes(&expected), "cell {}", number);
            }
            prop_assert_eq!(found.cells().map(|(_, w)| w.rows()).sum::<i64>(), (0..5).map(|c| of(Some(c), kept).rows()).sum::<i64>());
        }
        // Group by group, and as the weights of one cell, it is the same.
        for cell in 0..5 {
            let expected = of(Some(cell), false);
            let (number, some) = (cell * 1000, expected.rows() > 0);
            let grouped = format!("select w from (select cell, strata_cell_weights(w) as w from t group by cell) where cell = {number}");
            if rows.iter().any(|r| r.0 == Some(cell)) {
                prop_assert_eq!(only(&ask(&grouped)), some.then(|| bytes(&expected)));
                let alone = ask(&format!("select w from (select cell, strata_table_weights(cell, w) as w from t group by cell) where cell = {number}"));
                let alone = only(&alone).map(table).unwrap_or_default();
                let one = alone.cells().last().map_or_else(|| bytes(&CellWeights::new()), |(_, w)| bytes(&w));
                prop_assert_eq!(one, bytes(&expected));
            }
        }
    }
}

#[test]
fn bytes_that_are_no_table_are_refused() {
    let table = |bytes: &[u8]| TableWeights::from_bytes(bytes).map(|t| t.outside()).map_err(|e| e.to_string());
    assert_eq!(table(&[3, 0, 0, 0, 0, 0, 0, 0]), Ok(3));
    for (bytes, help) in [
        (&[0_u8; 5][..], "ends too early"),
        (&[0_u8; 10], "ends too early"),
        (&[0_u8; 14], "ends too early"),
        (&[[0_u8; 8].as_slice(), &[0, 0, 1, 0], &[0; 26]].concat(), "a cell behind the last"),
    ] {
        let message = table(bytes).unwrap_err();
        assert!(message.contains(help), "{message}");
    }
}
