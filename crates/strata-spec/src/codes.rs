//! Every code of this crate, with a title and a page for `strata explain`. Never renumbered: codes are stable.

use crate::diagnostic::Code;

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $page:literal;)+) => {
        $(#[doc = $title]
        pub const $name: Code = Code($code);)+

        /// Every code with its title and page, in order.
        const PAGES: &[(Code, &str, &str)] = &[$(($name, $title, concat!($code, ": ", $title, "\n", $page))),+];
    };
}

/// The page of a code: what it means, an example, what to write instead. `None` if this crate has no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(c, _, _)| c.0.eq_ignore_ascii_case(code)).map(|(_, _, page)| *page)
}

/// The one-line title of a code.
pub fn title(code: Code) -> Option<&'static str> {
    PAGES.iter().find(|(c, _, _)| *c == code).map(|(_, title, _)| *title)
}

/// Every code of this crate, in order.
pub fn all() -> impl Iterator<Item = Code> {
    PAGES.iter().map(|(code, _, _)| *code)
}

codes! {
    NOT_YAML = "S0101", "the file is not YAML",
        "cause: The scanner stopped at a character that YAML does not allow there; nothing behind it was read.\n\
        example:\n\
        \x20 share: 'a' || b\n\
        fix:\n\
        \x20 quote the whole expression, or put it after `|` on a line of its own:\n\
        \x20 share: |\n\
        \x20   'a' || b";
    DUPLICATE_KEY = "S0102", "a key is written twice",
        "cause: YAML would keep one of the two in silence.\n\
        example:\n\
        \x20 key: id\n\
        \x20 key: email\n\
        fix:\n\
        \x20 keep one of them, or rename one.";
    UNKNOWN_KEY = "S0103", "a key is not known here",
        "cause: A slip of the hand, or a key of another section. The help line lists what is allowed.\n\
        example:\n\
        \x20 orders: {parquet: o.parquet, tiem: ts}\n\
        fix:\n\
        \x20 write `time: ts`.";
    WRONG_KIND = "S0104", "a value has the wrong shape",
        "cause: A list, a mapping or a text stands where another of the three is expected.\n\
        example:\n\
        \x20 entities: [customer]\n\
        fix:\n\
        \x20 entities: {customer: {from: customers, key: customer_id}}";
    EMPTY = "S0105", "a value is empty",
        "cause: A key without a value says nothing; YAML reads it as null.\n\
        example:\n\
        \x20 where:\n\
        fix:\n\
        \x20 write the value, or remove the key.";
    MISSING_KEY = "S0106", "a key is missing",
        "cause: The mapping cannot be understood without it.\n\
        example:\n\
        \x20 orders: {key: order_id}     # a table without `sql`\n\
        fix:\n\
        \x20 add the key that the message names.";
    NOT_A_NAME = "S0107", "a name is not an identifier",
        "cause: Names of sources, columns, attributes and the like are used in SQL: letters, digits and `_`, no digit first.\n\
        example:\n\
        \x20 2nd_order: count(*)\n\
        fix:\n\
        \x20 second_order: count(*)";
    COMMA_SPLIT = "S0108", "YAML split an expression at its comma",
        "cause: Inside `{…}` and `[…]` a comma ends the value, brackets of SQL or not.\n\
        example:\n\
        \x20 {a: x < coalesce(y, 1)}\n\
        fix:\n\
        \x20 {a: \"x < coalesce(y, 1)\"}, or one key a line without braces.";
    YAML_FEATURE = "S0109", "anchors, aliases, tags and merge keys are not used",
        "cause: `&`, `*`, `!` and `<<` at the start of a value mean something in YAML, and pipelines have none of it.\n\
        example:\n\
        \x20 web: !is_test\n\
        fix:\n\
        \x20 web: not is_test, or quote the expression.";
    TOO_DEEP = "S0110", "the file is nested too deeply",
        "cause: Lists and mappings may be 64 deep; no section needs a tenth of that.\n\
        example:\n\
        \x20 [[[[[[…]]]]]]\n\
        fix:\n\
        \x20 look for brackets that were meant as text, and quote them.";
    TOO_LARGE = "S0111", "the file is too large",
        "cause: A pipeline file may have 1 MiB.\n\
        example:\n\
        \x20 a list of a million ids in a `where`\n\
        fix:\n\
        \x20 make a source of the data, and join it.";
    SEVERAL_DOCUMENTS = "S0112", "the file holds several YAML documents",
        "cause: `---` starts another document, and one file holds one pipeline.\n\
        example:\n\
        \x20 name: a\n\
        \x20 ---\n\
        \x20 name: b\n\
        fix:\n\
        \x20 two files.";
    UNKNOWN_VARIABLE = "S0113", "a variable is not known",
        "cause: `${vars.x}` is declared under `vars:`; `${run.as_of}` stands only in `as_of:`. There are no others.\n\
        example:\n\
        \x20 parquet: ${vars.dta}/orders.parquet\n\
        fix:\n\
        \x20 vars: {data: ./data}, and `${vars.data}`.";
    UNDECLARED_PARAMETER = "S0114", "`-p` sets a variable that is not declared",
        "cause: Only what stands under `vars:` can be set from outside.\n\
        example:\n\
        \x20 strata run -p dta=./data\n\
        fix:\n\
        \x20 declare `vars: {data: ./data}`, or mend the name.";
    BAD_VALUE = "S0115", "a value is not one of those allowed",
        "cause: The help line lists them.\n\
        example:\n\
        \x20 mode: apend\n\
        fix:\n\
        \x20 mode: append";
    BAD_NUMBER = "S0116", "a number is wrong",
        "cause: Not a number, out of range, or with leading zeros, which some read as octal.\n\
        example:\n\
        \x20 k: 08\n\
        fix:\n\
        \x20 k: 8";
    BAD_DURATION = "S0117", "a duration or window is wrong",
        "cause: Durations are `90d`, `26h` or `12mo`; windows also `730d..365d` (older end first) or `life`.\n\
        example:\n\
        \x20 window: 365d..730d\n\
        fix:\n\
        \x20 window: 730d..365d";
    BAD_INSTANT = "S0118", "`as_of` is not an instant",
        "cause: `${run.as_of}`, a day, or a moment; without an offset it is in the pipeline's time zone.\n\
        example:\n\
        \x20 as_of: yesterday\n\
        fix:\n\
        \x20 as_of: 2026-01-15, or as_of: 2026-01-15T00:00:00Z";
    UNKNOWN_TIMEZONE = "S0119", "a time zone is not known",
        "cause: Names are those of the IANA database.\n\
        example:\n\
        \x20 timezone: Sydney\n\
        fix:\n\
        \x20 timezone: Australia/Sydney";
    CHOOSE_ONE = "S0120", "exactly one of several keys is needed",
        "cause: The keys exclude each other, and one of them decides what the mapping means.\n\
        example:\n\
        \x20 vip: {rules: {…}, by: region}\n\
        fix:\n\
        \x20 keep one of the keys that the message lists.";
    UNKNOWN_METHOD = "S0121", "a method is not known",
        "cause: Presets carry a version, so that their meaning never changes: `rfm@1`, `lifecycle@1`; also `kmeans`.\n\
        example:\n\
        \x20 method: rfm\n\
        fix:\n\
        \x20 method: rfm@1";
    ELSE_PLACE = "S0122", "`else` is not the last rule",
        "cause: The first rule that holds gives the label: nothing behind `else` could.\n\
        example:\n\
        \x20 rules: {low: else, high: spend > 100}\n\
        fix:\n\
        \x20 rules: {high: spend > 100, low: else}";
    NEEDS_TIME = "S0123", "a `time` is missing",
        "cause: Append sources, `late` and windows count from an event time.\n\
        example:\n\
        \x20 web: {parquet: web/, mode: append}\n\
        fix:\n\
        \x20 web: {parquet: web/, mode: append, time: ts}";
    CSV_COLUMNS = "S0124", "a CSV source declares no columns",
        "cause: CSV carries no types, and types are never guessed.\n\
        example:\n\
        \x20 stores: {csv: stores.csv}\n\
        fix:\n\
        \x20 stores: {csv: stores.csv, columns: {store_id: string!, region: string}}";
    BAD_TYPE = "S0125", "a column type is not known",
        "cause: string, int, bigint, double, boolean, date, timestamp, decimal(p,s), enum(a,b); `!` behind it: never null.\n\
        example:\n\
        \x20 amount: money\n\
        fix:\n\
        \x20 amount: \"decimal(12,2)!\"";
    BAD_PLACEHOLDER = "S0126", "a placeholder is not known",
        "cause: In `to`, `{name}` stands for the output's name; nothing else stands in braces.\n\
        example:\n\
        \x20 to: \"out/{date}\"\n\
        fix:\n\
        \x20 to: \"out/{name}\"";
    BAD_SELECT = "S0127", "a selection cannot be read",
        "cause: A bare name, `source.column`, `customer.attributes`, `customer.segments`, or `profile.*`.\n\
        example:\n\
        \x20 select: panel.main\n\
        fix:\n\
        \x20 from: panel.main with select: [customer_id, weight]";
    WRONG_COUNT = "S0128", "a list has the wrong length",
        "cause: Names, centroids and groups must be as many as they describe.\n\
        example:\n\
        \x20 k: 3 with names: [a, b]\n\
        fix:\n\
        \x20 names: [a, b, c]";
    WRONG_VERSION = "S0129", "the language version is not known",
        "cause: `version: 1` says which meaning the file has.\n\
        example:\n\
        \x20 version: 2\n\
        fix:\n\
        \x20 version: 1";
    NOT_YET = "S0190", "not in this version of Strata",
        "cause: The language has a place for it, but this version cannot hold it, and nothing is ever ignored in silence.\n\
        example:\n\
        \x20 history: scd2\n\
        fix:\n\
        \x20 do what the help line says instead, or remove the key.";
    TOO_MANY = "S0199", "more problems than are shown",
        "cause: Reading goes on after each problem, but not all of very many are kept.\n\
        example:\n\
        \x20 a file that is not a pipeline\n\
        fix:\n\
        \x20 mend the first ones and check again.";
    DUPLICATE_NAME = "S0201", "a name is used twice",
        "cause: Sources, tables, entities and profiles share one set of names; attributes and segment columns of an entity another.\n\
        example:\n\
        \x20 sources: {orders: …} and tables: {orders: …}\n\
        fix:\n\
        \x20 rename one of them.";
    UNKNOWN_SOURCE = "S0202", "a source or table is not declared",
        "cause: The name is neither under `sources:` nor, where tables may stand, under `tables:`.\n\
        example:\n\
        \x20 - from: ordres\n\
        fix:\n\
        \x20 - from: orders";
    UNKNOWN_ENTITY = "S0203", "an entity is not declared",
        "cause: Attributes, segments, panels and outputs belong to an entity under `entities:`.\n\
        example:\n\
        \x20 attributes: {custmer: [...]}\n\
        fix:\n\
        \x20 attributes: {customer: [...]}";
    UNKNOWN_SEGMENTATION = "S0204", "a segmentation is not declared",
        "cause: The name is no segmentation, segment column or attribute.\n\
        example:\n\
        \x20 of: [lifecyle]\n\
        fix:\n\
        \x20 of: [lifecycle]";
    UNKNOWN_ROWS = "S0205", "a profile, table or entity is not declared",
        "cause: `x.*` means a profile or table, `x.attributes` and `x.segments` an entity.\n\
        example:\n\
        \x20 select: profil.*\n\
        fix:\n\
        \x20 select: profile.*";
    UNKNOWN_WAVE = "S0206", "a wave is not declared",
        "cause: `from: panel.NAME` names a wave under `panel.waves`.\n\
        example:\n\
        \x20 from: panel.mian\n\
        fix:\n\
        \x20 from: panel.main";
    UNKNOWN_PURPOSE = "S0207", "a purpose is not declared",
        "cause: Consent is declared once, by purpose; an output or panel can only name those.\n\
        example:\n\
        \x20 purpose: service\n\
        fix:\n\
        \x20 consent: {from: customers, purposes: {service: service_ok}}";
    REFERENCE_KEY = "S0208", "a reference does not fit the other's key",
        "cause: A reference is a left join on the other source's declared key, so that no row can double.\n\
        example:\n\
        \x20 references: {item_id: products}     # products has no key\n\
        fix:\n\
        \x20 products: {parquet: p.parquet, key: item_id}";
    UNKNOWN_ATTRIBUTE = "S0209", "neither an attribute nor a segment column",
        "cause: Strata, margins and selections name what `attributes:` and `segments:` of the entity make.\n\
        example:\n\
        \x20 strata: [home_regoin]\n\
        fix:\n\
        \x20 strata: [home_region]";
    UNKNOWN_COLUMN = "S0210", "a column is not declared",
        "cause: The source declares its columns, and this one is not among them.\n\
        example:\n\
        \x20 columns: {id: string!} with key: user_id\n\
        fix:\n\
        \x20 key: id";
    MIXED_ROWS = "S0211", "one output selects different kinds of row",
        "cause: An output has one row an entity, a drawn panelist, or a row of one profile or table.\n\
        example:\n\
        \x20 select: [customer.attributes, profile.*]\n\
        fix:\n\
        \x20 two outputs.";
    SAME_DESTINATION = "S0212", "two outputs write to one place",
        "cause: The second would replace the first.\n\
        example:\n\
        \x20 a: {to: out/x} and b: {to: out/x}\n\
        fix:\n\
        \x20 defaults: {to: \"out/{name}\"}";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_of_three_to_eight_lines() {
        let mut last = "";
        for (code, title, page) in PAGES {
            assert!(code.0 > last && code.0.len() == 5 && code.0.starts_with('S'), "{code} is out of order");
            last = code.0;
            let lines = page.lines().count();
            assert!((3..=8).contains(&lines), "{code} has {lines} lines");
            assert!(page.starts_with(code.0) && page.contains(title));
            assert!(page.contains("\nexample:\n  ") && page.contains("\nfix:\n  "), "{page}");
            assert_eq!(explain(code.0), Some(*page));
        }
        assert_eq!(explain("S9999"), None);
    }
}
