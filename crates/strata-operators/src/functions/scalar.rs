//! The one shape of our scalar functions: a name, a coercion and a vectorised body. Never holds state of a call.

use std::hash::{BuildHasher, Hash, Hasher};

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::values::HASHER;

/// A scalar function of ours. Two are equal when their names are: there is one of each.
#[derive(Debug)]
pub(super) struct Scalar {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
    invoke: fn(&ScalarFunctionArgs) -> Result<ColumnarValue>,
}

impl Scalar {
    /// An immutable function: `coerce` names the argument types `invoke` will see, or says what to write instead.
    pub(super) fn new(
        name: &'static str,
        returns: DataType,
        coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
        invoke: fn(&ScalarFunctionArgs) -> Result<ColumnarValue>,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { name, signature, returns, coerce, invoke }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    /// Long literals are named by their hash: names are made again and again while a plan is optimised.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let named = |arg: &Expr| match arg {
            Expr::Literal(value @ (ScalarValue::Binary(_) | ScalarValue::List(_)), _) => {
                format!("#{:016x}", HASHER.hash_one(value))
            }
            other => other.schema_name().to_string(),
        };
        Ok(format!("{}({})", self.name, args.iter().map(named).collect::<Vec<_>>().join(",")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        (self.coerce)(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.invoke)(&args)
    }
}
