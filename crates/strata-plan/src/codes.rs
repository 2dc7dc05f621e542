//! Stable codes of what the compiler finds wrong; their pages are with those of the language. Never reused for another meaning.

use strata_spec::Code;

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: Code = Code($code);)*
        /// Every code here.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    SQL_SYNTAX = "S0301", "The text is not an SQL expression (or SELECT) that can be read. Example: `sum(x` has no closing bracket. Mend the text where the mark is; a slot under `columns:` or `row:` takes one expression, `sql:` of a table takes one SELECT.";
    UNKNOWN_COLUMN = "S0302", "No attribute, column or segment of that name can be seen from here. A bare name is an attribute or a column of the table the block is `from`; `customers.gender` is a column of the source. Check the spelling against the list in the help line.";
    UNKNOWN_FUNCTION = "S0303", "Strata does not know or does not allow this function. Functions that depend on the clock, on chance or on the engine's state are not allowed, so that the same data always give the same tables. Use `as_of` for now, `prn` for draws.";
    SELF_REFERENCE = "S0304", "An attribute's bare name means the attribute itself, so it cannot be used in its own definition. Write `customers.gender` for the source's column: `gender: coalesce(customers.gender, 'U')`.";
    CYCLE = "S0305", "Attributes, segments or tables depend on one another in a circle; the message names the loop. Break it by computing one of them from columns of a source.";
    AGGREGATE_MISPLACED = "S0306", "A block `from:` a table needs aggregates (`count(*)`, `total(x)`, `max(ts)`), because many rows become one; a `row:` expression must not have any, because it sees one row.";
    NO_TOTAL_ORDER = "S0307", "`first(x order by …)` must name a total order, or another run could pick another row. Add the remaining columns of the table's key at the end of the order.";
    TYPE = "S0308", "The expression's types do not fit. The message says which operation met which types; `cast(x as double)` converts.";
    NO_ENTITY_KEY = "S0310", "A block aggregates rows by the entity's key, so the table it is `from` needs a column of that name. Select it in the table's SQL, or derive it in the source: `derive: {customer_id: cust_no}`.";
    LEARNED_LATER = "S0311", "An append source with a second time stamp leaks the future if rows written before `as_of` already hold what was learnt after it. Declare it: `learned_later: {responded_at: [responded_at]}`; those columns then read as null while that time is at or after `as_of`.";
    CLASS = "S0312", "A personal column reaches an output that is not cleared for its class. Add the class under the output's `classes:`, or leave the column out.";
    TOO_LARGE = "S0314", "The expression is too large: at most 500 operators, 40 brackets in one another, 100 relations in a SELECT and 64 KiB of text. Put parts of it into attributes or tables of their own.";
    NOT_ALLOWED = "S0315", "This SQL construct is not allowed in a pipeline. One SELECT (with joins, subqueries and WITH) or one expression is; statements that write, table functions, file paths and recursive queries are not.";
    TIMEZONE = "S0316", "The function would count in UTC while the pipeline's time zone is another. Use `hour(ts)`, `isodow(ts)`, `daypart(ts)` or `cast(ts as date)`, which are local; parts of a date are the same everywhere: `date_part('month', cast(ts as date))`.";
    FILE_COLUMNS = "S0317", "The files of a source do not hold a column that the pipeline declares or uses. Compare the column list in the message with the pipeline.";
    DRIFT = "S0318", "Files of a source hold other columns than the source declares, or other types. `drift:` says what that means.";
    OUTSIDE = "S0319", "An output would be published outside of where outputs may be here.";
    TELLS = "S0320", "An output with a `pseudonym` holds something that tells who its people are: the entity key, contact data beside other columns, or a column of class `quasi_id` that `anonymity` does not look over.";
    NOT_YET = "S0390", "The language has this, this version of Strata does not. The help line says what to use instead.";
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_code_has_a_page() {
        for code in super::ALL {
            assert!(strata_spec::codes::explain(code.0).is_some(), "{code} has no page in strata-spec");
        }
    }
}
