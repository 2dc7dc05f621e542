//! CASE where every branch costs little: all branches are computed for all rows and picked from, in place of rows that are cut apart by branch and
//! put together again. Never changes what a CASE gives: where a branch fails on rows that are not its own, the CASE itself is asked.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, RecordBatch, UInt8Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Schema};
use arrow::downcast_primitive_array;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, IsNotNullExpr, IsNullExpr, Literal, NegativeExpr, NotExpr,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::fmt;
use std::sync::Arc;

/// A CASE with more branches looks at few rows in its last ones.
const BRANCHES_MAX: usize = 8;
/// Columns, literals and operations of one part of a CASE that costs little.
const PART_MAX: usize = 12;

/// Physical expression: a CASE without a value after the word, each of whose parts costs little for every row.
#[derive(Debug, Hash, PartialEq, Eq)]
pub(crate) struct Choice {
    case: Arc<CaseExpr>,
    kind: Kind,
}

/// How rows are picked.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
enum Kind {
    /// From arrays of numbers or of truth values.
    Arrays,
    /// From one literal a branch.
    Literals,
}

/// `expr` with each CASE of it that rows can be picked for, over rows of `schema`.
pub(crate) fn with_choices(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expr).transform_up(|expr| {
        Ok(match Choice::of(&expr, schema) {
            Some(choice) => Transformed::yes(Arc::new(choice) as Arc<dyn PhysicalExpr>),
            None => Transformed::no(expr),
        })
    })
}

/// The same projection with such expressions; `None` if it has none of them.
pub(crate) fn of_projection(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (input, mut found) = (projection.input(), false);
    let mut exprs = Vec::with_capacity(projection.expr().len());
    for projected in projection.expr() {
        let with = with_choices(&projected.expr, &input.schema())?;
        found |= with.transformed;
        exprs.push(ProjectionExpr::new(with.data, projected.alias.clone()));
    }
    match found {
        true => Ok(Some(Arc::new(ProjectionExec::try_new(exprs, Arc::clone(input))?))),
        false => Ok(None),
    }
}

/// How many columns, literals and operations `expr` is made of; `None` if one of them may cost more than such a thing does.
fn cost(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<usize> {
    let costs_little = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let quick = [Operator::Plus, Operator::Minus, Operator::Multiply, Operator::And, Operator::Or];
        let compares = [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
        // Texts are compared letter by letter.
        quick.contains(binary.op())
            || (compares.contains(binary.op()) && binary.left().data_type(schema).is_ok_and(|t| t.is_primitive()))
    } else if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        cast.cast_type().is_numeric() && cast.expr().data_type(schema).is_ok_and(|t| t.is_numeric())
    } else {
        expr.is::<Column>()
            || expr.is::<Literal>()
            || expr.is::<NotExpr>()
            || expr.is::<IsNullExpr>()
            || expr.is::<IsNotNullExpr>()
            || expr.is::<NegativeExpr>()
            || expr.is::<Choice>()
    };
    let below = expr.children().into_iter().map(|c| cost(c, schema)).sum::<Option<usize>>()?;
    (costs_little && below < PART_MAX).then_some(below + 1)
}

impl Choice {
    fn of(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let case = expr.downcast_ref::<CaseExpr>().filter(|c| c.expr().is_none())?;
        let branches = case.when_then_expr();
        let results = || branches.iter().map(|(_, then)| then).chain(case.else_expr());
        let (data_type, literal) = (case.data_type(schema).ok()?, |e: &Arc<dyn PhysicalExpr>| e.is::<Literal>());
        let is_cheap = |e: &Arc<dyn PhysicalExpr>| cost(e, schema).is_some();
        let is_null = |e: &Arc<dyn PhysicalExpr>| e.downcast_ref::<Literal>().is_some_and(|l| l.value().is_null());
        let is_one_type = |e: &Arc<dyn PhysicalExpr>| is_null(e) || e.data_type(schema).is_ok_and(|t| t == data_type);
        let kind = match results().all(literal) {
            true => Kind::Literals,
            false => Kind::Arrays,
        };
        // One branch of literals is quick as it is.
        let gains = branches.len() <= BRANCHES_MAX && (kind == Kind::Arrays || branches.len() > 1);
        let has_arrays = kind == Kind::Literals || data_type.is_primitive() || data_type == DataType::Boolean;
        let fits = gains && has_arrays && results().all(is_one_type) && results().all(is_cheap);
        // The first condition is asked of every row anyhow.
        if !fits || !branches.iter().skip(1).all(|(when, _)| is_cheap(when)) {
            return None;
        }
        let case = CaseExpr::try_new(None, branches.to_vec(), case.else_expr().cloned()).ok()?;
        Some(Self { case: Arc::new(case), kind })
    }

    fn picked(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let (rows, case) = (batch.num_rows(), self.case.as_ref());
        let branches = case.when_then_expr();
        let mut masks = Vec::with_capacity(branches.len());
        for (when, _) in branches {
            masks.push(mask(when.evaluate(batch)?.into_array(rows)?)?);
        }
        if self.kind == Kind::Literals {
            return picked_literals(case, &masks, batch);
        }
        let data_type = self.data_type(batch.schema_ref())?;
        let result = |e: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef> {
            match e.evaluate(batch)? {
                ColumnarValue::Scalar(value) if value.is_null() => Ok(new_null_array(&data_type, rows)),
                value => value.into_array(rows),
            }
        };
        let mut picked = match case.else_expr() {
            Some(other) => result(other)?,
            None => new_null_array(&data_type, rows),
        };
        for ((_, then), mask) in branches.iter().zip(&masks).rev() {
            picked = either(mask, &result(then)?, &picked)?;
        }
        Ok(picked)
    }
}

/// Where it is true: neither false nor null.
fn mask(condition: ArrayRef) -> Result<BooleanBuffer> {
    let Some(condition) = condition.as_boolean_opt() else {
        return exec_err!("a condition must be true or false, and one is {}", condition.data_type());
    };
    Ok(match condition.null_count() {
        0 => condition.values().clone(),
        _ => prep_null_mask_filter(condition).values().clone(),
    })
}

fn picked_literals(case: &CaseExpr, masks: &[BooleanBuffer], batch: &RecordBatch) -> Result<ArrayRef> {
    let branches = case.when_then_expr();
    let data_type = case.data_type(batch.schema_ref())?;
    let value = |e: Option<&Arc<dyn PhysicalExpr>>| match e.and_then(|e| e.downcast_ref::<Literal>()) {
        Some(literal) if !literal.value().is_null() => Ok(literal.value().clone()),
        _ => ScalarValue::try_new_null(&data_type),
    };
    let values = branches.iter().map(|(_, then)| value(Some(then))).chain([value(case.else_expr())]);
    let values = ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)?;
    let mut places = vec![branches.len() as u8; batch.num_rows()];
    for (branch, mask) in masks.iter().enumerate().rev() {
        for (place, holds) in places.iter_mut().zip(mask) {
            *place = if holds { branch as u8 } else { *place };
        }
    }
    Ok(take(&values, &UInt8Array::from(places), None)?)
}

/// Of `then` where `mask` is set, else of `other`; both of one type.
fn either(mask: &BooleanBuffer, then: &ArrayRef, other: &ArrayRef) -> Result<ArrayRef> {
    let nulls = match (then.logical_nulls(), other.logical_nulls()) {
        (None, None) => None,
        (a, b) => {
            let all =
                |nulls: Option<NullBuffer>| nulls.map_or_else(|| BooleanBuffer::new_set(mask.len()), NullBuffer::into_inner);
            Some(NullBuffer::new(bits(mask, &all(a), &all(b))))
        }
    };
    if let (Some(then), Some(other)) = (then.as_boolean_opt(), other.as_boolean_opt()) {
        return Ok(Arc::new(BooleanArray::new(bits(mask, then.values(), other.values()), nulls)));
    }
    let array: &dyn Array = then.as_ref();
    downcast_primitive_array!(
        array => numbers(mask, array, other.as_ref(), nulls),
        other => internal_err!("nothing is picked from {other}"),
    )
}

fn bits(mask: &BooleanBuffer, then: &BooleanBuffer, other: &BooleanBuffer) -> BooleanBuffer {
    &(mask & then) | &(&!mask & other)
}

fn numbers<T: ArrowPrimitiveType>(
    mask: &BooleanBuffer,
    then: &PrimitiveArray<T>,
    other: &dyn Array,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let Some(other) = other.as_primitive_opt::<T>() else { return internal_err!("branches of a CASE are of one type") };
    let pairs = then.values().iter().zip(other.values());
    let values: Vec<T::Native> = mask.iter().zip(pairs).map(|(holds, (a, b))| if holds { *a } else { *b }).collect();
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(then.data_type().clone())))
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.case.fmt(f)
    }
}

impl PhysicalExpr for Choice {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.case.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.case.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        // A branch that fails where it is not asked for is no error; one that fails where it is will fail again.
        self.picked(batch).map(ColumnarValue::Array).or_else(|_| self.case.evaluate(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.case.children()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        // INVARIANT: what becomes of the children is not known to cost little.
        Arc::<CaseExpr>::clone(&self.case).with_new_children(children)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int64Array};
    use datafusion::physical_expr::expressions::{binary, case, cast, col, lit, not};
    use proptest::prelude::*;

    type Row = (Option<i64>, Option<i64>, Option<bool>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let a: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.0)));
        let b: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1)));
        let is: ArrayRef = Arc::new(BooleanArray::from_iter(rows.iter().map(|r| r.2)));
        let money = Decimal128Array::from_iter(rows.iter().map(|r| r.0.map(i128::from)));
        let money: ArrayRef = Arc::new(money.with_precision_and_scale(20, 2).unwrap());
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true), ("is", is, true), ("money", money, true)])
            .unwrap()
    }

    fn cases(schema: &Schema) -> Vec<Arc<dyn PhysicalExpr>> {
        let column = |name: &str| col(name, schema).unwrap();
        let of = |l, op, r| binary(l, op, r, schema).unwrap();
        let (a, b, is, money) = (|| column("a"), || column("b"), || column("is"), || column("money"));
        let small = || of(a(), Operator::Lt, lit(3_i64));
        let middling = || of(a(), Operator::Lt, lit(6_i64));
        let tight = |e| cast(e, schema, DataType::Int8).unwrap();
        vec![
            case(None, vec![(is(), of(a(), Operator::Minus, b()))], Some(of(b(), Operator::Minus, a()))).unwrap(),
            case(None, vec![(is(), a())], None).unwrap(),
            case(None, vec![(is(), lit(ScalarValue::Int64(None))), (small(), lit(1_i64))], Some(b())).unwrap(),
            case(None, vec![(is(), money()), (small(), lit(ScalarValue::Decimal128(Some(7), 20, 2)))], Some(money())).unwrap(),
            case(None, vec![(is(), small())], Some(not(middling()).unwrap())).unwrap(),
            case(None, vec![(small(), lit("low")), (middling(), lit("middle"))], Some(lit("high"))).unwrap(),
            case(None, vec![(small(), lit("low")), (middling(), lit(ScalarValue::Utf8(None)))], None).unwrap(),
            // Fails on rows that the condition keeps from it.
            case(None, vec![(middling(), tight(a()))], Some(lit(0_i8))).unwrap(),
        ]
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_case(rows in prop::collection::vec(
            (prop::option::weighted(0.8, prop::sample::select(vec![-5_i64, 0, 2, 3, 5, 6, 9, 4000])), prop::option::of(-9_i64..9), any::<Option<bool>>()),
            0..150,
        )) {
            let batch = batch(&rows);
            let schema = batch.schema();
            for case in cases(&schema) {
                let choice = with_choices(&case, &schema).unwrap();
                prop_assert!(choice.transformed && choice.data.is::<Choice>(), "{case}");
                let found = |e: &Arc<dyn PhysicalExpr>| e.evaluate(&batch).unwrap().into_array(rows.len()).unwrap();
                prop_assert_eq!(&found(&choice.data), &found(&case), "{}", case);
            }
        }
    }

    #[test]
    fn a_branch_that_fails_on_its_own_rows_is_an_error() {
        let batch = batch(&[(Some(4000), None, None), (Some(1), None, None)]);
        let schema = batch.schema();
        let tight = cast(col("a", &schema).unwrap(), &schema, DataType::Int8).unwrap();
        let large = binary(col("a", &schema).unwrap(), Operator::Gt, lit(6_i64), &schema).unwrap();
        let choice = with_choices(&case(None, vec![(large, tight)], Some(lit(0_i8))).unwrap(), &schema).unwrap();
        assert!(choice.transformed);
        assert!(choice.data.evaluate(&batch).is_err());
    }

    #[test]
    fn what_costs_much_stays() {
        let schema = batch(&[]).schema();
        let column = |name: &str| col(name, &schema).unwrap();
        let of = |l, op, r| binary(l, op, r, &schema).unwrap();
        let divided = of(column("a"), Operator::Divide, column("b"));
        let words = cast(column("a"), &schema, DataType::Utf8).unwrap();
        let by_value = case(Some(column("a")), vec![(lit(1_i64), column("b"))], None).unwrap();
        let many = (0..9).map(|i| (of(column("a"), Operator::Lt, lit(i as i64)), column("b"))).collect();
        let stays = [
            case(None, vec![(column("is"), divided)], Some(column("a"))).unwrap(),
            case(None, vec![(column("is"), words)], None).unwrap(),
            case(None, vec![(column("is"), lit("yes"))], Some(lit("no"))).unwrap(),
            case(None, many, None).unwrap(),
            by_value,
        ];
        for case in stays {
            assert!(!with_choices(&case, &schema).unwrap().transformed, "{case}");
        }
    }
}
