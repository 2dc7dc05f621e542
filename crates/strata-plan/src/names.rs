//! What SQL in a pipeline can name: relations by their declared columns, and functions by an allow-list. Never looks at data.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use strata_operators::bucket::BucketTable;
use strata_operators::functions;

/// Functions of DataFusion that depend only on their arguments and mean the same everywhere.
const SCALARS: &[&str] = &[
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "ascii",
    "bit_length",
    "btrim",
    "cbrt",
    "ceil",
    "char_length",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "cos",
    "date_bin",
    "date_part",
    "date_trunc",
    "datepart",
    "datetrunc",
    "degrees",
    "ends_with",
    "exp",
    "factorial",
    "floor",
    "gcd",
    "greatest",
    "initcap",
    "isnan",
    "iszero",
    "lcm",
    "least",
    "left",
    "length",
    "levenshtein",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "md5",
    "nanvl",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "position",
    "pow",
    "power",
    "radians",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "sha256",
    "sign",
    "signum",
    "sin",
    "split_part",
    "sqrt",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "tan",
    "to_char",
    "to_date",
    "to_hex",
    "to_timestamp",
    "translate",
    "trim",
    "trunc",
    "upper",
];

/// Aggregates of DataFusion whose result does not depend on the order of rows (float sums and means are replaced by exact ones).
const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "var",
    "var_samp",
    "var_sample",
    "var_pop",
    "var_population",
];

/// Window functions; each needs an order.
const WINDOWS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Names that the compiler itself replaces before planning.
pub(crate) const MACROS: &[&str] =
    &["total", "first", "mode", "days_since", "hour", "isodow", "row_sum", "row_count", "age_years", "daypart", "cents"];

/// Relations and functions that SQL may name.
pub(crate) struct Names {
    relations: BTreeMap<String, SchemaRef>,
    /// Columns in which no two rows of a relation agree.
    keys: BTreeMap<String, Vec<String>>,
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut scalars = HashMap::new();
        let defaults = SessionStateDefaults::default_scalar_functions();
        for f in defaults.iter().filter(|f| is_listed(SCALARS, f.name(), f.aliases())) {
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                scalars.insert(name.to_owned(), Arc::clone(f));
            }
        }
        // What pipelines cannot call.
        let hidden = [functions::HASH64, functions::PSEUDONYM];
        let own = functions::scalar_functions().into_iter().filter(|f| !hidden.contains(&f.name()));
        scalars.extend(own.map(|f| (f.name().to_owned(), f)));
        let mut aggregates = HashMap::new();
        let defaults = SessionStateDefaults::default_aggregate_functions();
        for f in defaults.iter().filter(|f| is_listed(AGGREGATES, f.name(), f.aliases())) {
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                aggregates.insert(name.to_owned(), Arc::clone(f));
            }
        }
        aggregates.extend(functions::aggregate_functions().into_iter().map(|f| (f.name().to_owned(), f)));
        let windows = SessionStateDefaults::default_window_functions()
            .into_iter()
            .filter(|f| WINDOWS.contains(&f.name()))
            .map(|f| (f.name().to_owned(), f))
            .collect();
        let planners = SessionStateDefaults::default_expr_planners();
        Self {
            relations: BTreeMap::new(),
            keys: BTreeMap::new(),
            scalars,
            aggregates,
            windows,
            planners,
            options: ConfigOptions::default(),
        }
    }

    /// Lets SQL name a relation.
    pub(crate) fn add(&mut self, name: &str, schema: SchemaRef) {
        self.relations.insert(name.to_owned(), schema);
    }

    /// Lets plans build on it that no two rows of a relation agree in these columns; what fills the relation has to check it.
    pub(crate) fn add_key(&mut self, name: &str, key: Vec<String>) {
        self.keys.insert(name.to_owned(), key);
    }

    /// Columns of a relation.
    pub(crate) fn schema(&self, name: &str) -> Option<&SchemaRef> {
        self.relations.get(name)
    }

    /// A scan source that stands for the relation until it is known where its rows are.
    pub(crate) fn source(&self, name: &str) -> Result<Arc<dyn TableSource>> {
        match self.relations.get(name) {
            Some(schema) => {
                let key = self.keys.get(name).map_or(&[][..], Vec::as_slice);
                Ok(provider_as_source(Arc::new(BucketTable::new(name.to_owned(), Arc::clone(schema), key))))
            }
            None => plan_err!("there is no source or table `{name}`"),
        }
    }

    /// Whether the function exists for users.
    pub(crate) fn knows_function(&self, name: &str) -> bool {
        MACROS.contains(&name)
            || self.scalars.contains_key(name)
            || self.aggregates.contains_key(name)
            || self.windows.contains_key(name)
    }

    /// Every function name, for "did you mean".
    pub(crate) fn function_names(&self) -> Vec<&str> {
        let all = self.scalars.keys().chain(self.aggregates.keys()).chain(self.windows.keys());
        all.map(String::as_str).chain(MACROS.iter().copied()).collect()
    }

    /// A scalar function by name.
    pub(crate) fn scalar(&self, name: &str) -> Result<Arc<ScalarUDF>> {
        match self.scalars.get(name) {
            Some(f) => Ok(Arc::clone(f)),
            None => plan_err!("there is no function `{name}`"),
        }
    }

    /// An aggregate function by name.
    pub(crate) fn aggregate(&self, name: &str) -> Result<Arc<AggregateUDF>> {
        match self.aggregates.get(name) {
            Some(f) => Ok(Arc::clone(f)),
            None => plan_err!("there is no aggregate `{name}`"),
        }
    }
}

fn is_listed(list: &[&str], name: &str, aliases: &[String]) -> bool {
    list.contains(&name) || aliases.iter().any(|a| list.contains(&a.as_str()))
}

impl ContextProvider for Names {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.source(name.table())
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }
}

impl Names {
    /// Every relation that people declare, for "did you mean": none of those that stand behind a source or that a preset makes.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &str> {
        self.relations.keys().map(String::as_str).filter(|name| !name.starts_with("raw:") && !name.starts_with("__"))
    }
}
