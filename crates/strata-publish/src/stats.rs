//! Statistics of the columns of one file. They never hold a value of a column that the plan does not name.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;

use crate::csv;
use crate::receipt::ColumnStats;

/// Counts nulls of every column and the bounds of some.
#[derive(Debug)]
pub(crate) struct Stats {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    nulls: i64,
    bounds: Option<(MinAccumulator, MaxAccumulator)>,
}

impl Stats {
    /// Statistics of rows of `schema`, with bounds of the columns named in `bounds` that are numbers, dates or timestamps.
    ///
    /// Errors: `Plan` for a name that is no column.
    pub(crate) fn try_new(schema: &Schema, bounds: &[String]) -> Result<Self> {
        if let Some(name) = bounds.iter().find(|name| schema.column_with_name(name).is_none()) {
            return plan_err!("bounds are asked for of `{name}`, which is no column of the output: please report it");
        }
        let column = |name: &String, data_type: &DataType| -> Result<Column> {
            let bounded = bounds.contains(name) && has_bounds(data_type);
            let both = || {
                Ok::<_, datafusion::error::DataFusionError>((
                    MinAccumulator::try_new(data_type)?,
                    MaxAccumulator::try_new(data_type)?,
                ))
            };
            Ok(Column { name: name.clone(), nulls: 0, bounds: if bounded { Some(both()?) } else { None } })
        };
        let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.nulls += array.logical_null_count() as i64;
            if let Some((min, max)) = &mut column.bounds {
                min.update_batch(std::slice::from_ref(array))?;
                max.update_batch(std::slice::from_ref(array))?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<ColumnStats>> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}

impl Column {
    fn finish(self) -> Result<ColumnStats> {
        let (min, max) = match self.bounds {
            Some((mut min, mut max)) => (text(&min.evaluate()?)?, text(&max.evaluate()?)?),
            None => (None, None),
        };
        Ok(ColumnStats { name: self.name, nulls: self.nulls, min, max })
    }
}

/// Floats have none: a NaN has no place in an order that readers agree on.
fn has_bounds(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Date32 | DataType::Timestamp(_, _) | DataType::Decimal128(_, _) | DataType::Decimal256(_, _)
        )
}

fn text(value: &ScalarValue) -> Result<Option<String>> {
    Ok(csv::value(&value.to_array()?, 0)?)
}
