//! Every diagnostic code with a title and a page for `strata explain`, also those that the compiler of plans gives.
//! Never renumbered: codes are stable.

use crate::diagnostic::Code;

/// The page of a code: cause, an example, and the same written right. Markdown. `None` if there is no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(c, _, _)| c.0.eq_ignore_ascii_case(code)).map(|(_, _, page)| *page)
}

/// The one-line title of a code.
pub fn title(code: Code) -> Option<&'static str> {
    PAGES.iter().find(|(c, _, _)| *c == code).map(|(_, title, _)| *title)
}

/// Every code, in order.
pub fn all() -> impl Iterator<Item = Code> {
    PAGES.iter().map(|(code, _, _)| *code)
}

macro_rules! codes {
    (files: [$($name:ident = $code:literal, $title:literal;)+] plans: [$($plan:literal, $plan_title:literal;)+]) => {
        $(#[doc = $title]
        pub const $name: Code = Code($code);)+

        /// Every code with its title and page, in order.
        const PAGES: &[(Code, &str, &str)] = &[
            $(($name, $title, include_str!(concat!("pages/", $code, ".md"))),)+
            $((Code($plan), $plan_title, include_str!(concat!("pages/", $plan, ".md"))),)+
        ];
    };
}

codes! {
    files: [
        NOT_YAML = "S0101", "the file is not YAML";
        DUPLICATE_KEY = "S0102", "a key is written twice";
        UNKNOWN_KEY = "S0103", "a key is not known here";
        WRONG_KIND = "S0104", "a value has the wrong shape";
        EMPTY = "S0105", "a value is empty";
        MISSING_KEY = "S0106", "a key is missing";
        NOT_A_NAME = "S0107", "a name is not an identifier";
        COMMA_SPLIT = "S0108", "YAML split an expression at its comma";
        YAML_FEATURE = "S0109", "anchors, aliases, tags and merge keys are not used";
        TOO_DEEP = "S0110", "the file is nested too deeply";
        TOO_LARGE = "S0111", "the file is too large";
        SEVERAL_DOCUMENTS = "S0112", "the file holds several YAML documents";
        UNKNOWN_VARIABLE = "S0113", "a variable is not known";
        UNDECLARED_PARAMETER = "S0114", "`-p` sets a variable that is not declared";
        BAD_VALUE = "S0115", "a value is not one of those allowed";
        BAD_NUMBER = "S0116", "a number is wrong";
        BAD_DURATION = "S0117", "a duration or window is wrong";
        BAD_INSTANT = "S0118", "this is not an instant";
        UNKNOWN_TIMEZONE = "S0119", "a time zone is not known";
        CHOOSE_ONE = "S0120", "exactly one of several keys is needed";
        UNKNOWN_METHOD = "S0121", "a method or preset is not known";
        ELSE_PLACE = "S0122", "`else` is not the last rule";
        NEEDS_TIME = "S0123", "a `time` is missing";
        CSV_COLUMNS = "S0124", "a CSV source declares no columns";
        BAD_TYPE = "S0125", "a column type is not known";
        BAD_PLACEHOLDER = "S0126", "a placeholder is not known";
        BAD_SELECT = "S0127", "a selection cannot be read";
        WRONG_COUNT = "S0128", "a list has the wrong length";
        WRONG_VERSION = "S0129", "the language version is not known";
        WRONG_ACTION = "S0130", "an action does not fit its check";
        COMMENT_CUT = "S0131", "YAML took a part of an expression for a comment";
        NO_PAST = "S0180", "the past cannot be rebuilt";
        LEFT_OUT = "S0181", "a preset leaves attributes out";
        NOT_YET = "S0190", "not in this version of Strata";
        TOO_MANY = "S0199", "more problems than are shown";
        DUPLICATE_NAME = "S0201", "a name is used twice";
        UNKNOWN_SOURCE = "S0202", "a source or table is not declared";
        UNKNOWN_ENTITY = "S0203", "an entity is not declared";
        UNKNOWN_SEGMENTATION = "S0204", "a segmentation is not declared";
        UNKNOWN_ROWS = "S0205", "a profile, table or entity is not declared";
        UNKNOWN_WAVE = "S0206", "a wave is not declared";
        UNKNOWN_PURPOSE = "S0207", "a purpose is not declared";
        REFERENCE_KEY = "S0208", "a reference does not fit the other's key";
        UNKNOWN_ATTRIBUTE = "S0209", "neither an attribute nor a segment column";
        UNKNOWN_COLUMN = "S0210", "a column is not declared";
        MIXED_ROWS = "S0211", "one output selects different kinds of row";
        SAME_DESTINATION = "S0212", "two outputs write to one place";
    ]
    plans: [
        "S0301", "SQL cannot be read";
        "S0302", "a column or attribute is not known";
        "S0303", "a function is not known or not allowed";
        "S0304", "an attribute is defined by itself";
        "S0305", "a circle";
        "S0306", "an aggregate is missing or misplaced";
        "S0307", "the order leaves ties";
        "S0308", "types do not fit";
        "S0310", "a table does not know the entity's key";
        "S0311", "a second time leaks the future";
        "S0312", "a personal column reaches an output";
        "S0314", "an expression is too large";
        "S0315", "this SQL is not allowed";
        "S0316", "a function would count in another time zone";
        "S0317", "a column is not in the files";
        "S0318", "the files are not as declared";
        "S0319", "an output lies outside of where outputs may be";
        "S0320", "an export could tell who somebody is";
        "S0390", "not in this version of Strata";
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_short_page_with_cause_and_both_examples() {
        let mut last = "";
        for (code, title, page) in PAGES {
            assert!(code.0 > last && code.0.len() == 5 && code.0.starts_with('S'), "{code} is out of order");
            last = code.0;
            assert!(page.starts_with(&format!("# {code}: {title}\n\n")), "{page}");
            let (wrong, right) = (page.find("\n## Wrong\n\n```").unwrap(), page.find("\n## Right\n\n```").unwrap());
            assert!(wrong < right && page.lines().count() <= 45, "{page}");
            assert!(page[..wrong].lines().skip(2).any(|l| l.ends_with('.')), "{code} has no cause");
            assert_eq!(explain(&code.0.to_lowercase()), Some(*page));
        }
        assert_eq!(explain("S9999"), None);
    }
}
