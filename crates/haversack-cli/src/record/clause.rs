//! Where clauses and sort orders of the command line: `minutes>=30`, `-started_at`.

use haversack::{CollectionSchema, Comparison, Direction, EditRefusal, Filter};

use super::assignment::{kind_of, parse_value};
use crate::failure::Failure;

const FORMS: &str = "a where clause is FIELD, one of = < <= > >=, and a value: 'minutes>=30'";
/// Longer signs first, so that `<=` is not read as `<`.
const SIGNS: [(&str, Comparison); 5] = [
    ("<=", Comparison::Le),
    (">=", Comparison::Ge),
    ("<", Comparison::Lt),
    (">", Comparison::Gt),
    ("=", Comparison::Eq),
];

/// Reads a where clause as a filter on a collection.
///
/// # Errors
/// [`Failure::Sentence`] for another form, an [`EditRefusal`] naming the field for a value that does not fit.
pub(crate) fn filter((name, collection): (&str, &CollectionSchema), clause: &str) -> Result<Filter, Failure> {
    let (field, op, text) = parse(clause).ok_or(Failure::Sentence(FORMS))?;
    let kind = kind_of((name, collection), field)?;
    let refused =
        |source| EditRefusal::Value { collection: name.to_owned(), field: field.to_owned(), source };
    Ok(Filter { field: field.to_owned(), op, value: parse_value(kind, text).map_err(refused)? })
}

/// Reads a sort order: a field, `-` before it for the greatest first.
pub(crate) fn order(text: &str) -> (String, Direction) {
    match text.strip_prefix('-') {
        Some(field) => (field.to_owned(), Direction::Descending),
        None => (text.to_owned(), Direction::Ascending),
    }
}

fn parse(clause: &str) -> Option<(&str, Comparison, &str)> {
    let (field, rest) = clause.split_at(clause.find(['<', '>', '='])?);
    let (text, op) = SIGNS.iter().find_map(|(sign, op)| Some((rest.strip_prefix(sign)?, *op)))?;
    let field = field.trim();
    (!field.is_empty()).then_some((field, op, text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn every_sign_is_read_with_and_without_blanks() {
        for (clause, op) in [
            ("minutes=30", Comparison::Eq),
            ("minutes<30", Comparison::Lt),
            ("minutes <= 30", Comparison::Le),
            ("minutes> 30", Comparison::Gt),
            ("minutes >=30", Comparison::Ge),
        ] {
            assert_eq!(parse(clause), Some(("minutes", op, "30")), "{clause}");
        }
        assert_eq!(parse("note=a>=b"), Some(("note", Comparison::Eq, "a>=b")));
    }

    #[test]
    fn other_forms_are_usage_errors_and_other_values_are_refused() {
        let collection: CollectionSchema =
            serde_json::from_str(r#"{"fields":{"minutes":{"kind":"integer","indexed":true}}}"#).unwrap();
        let exit =
            |clause| filter(("visit", &collection), clause).map(drop).map_err(|refused| refused.exit());
        for bad in ["minutes", "", "=3", "minutes!"] {
            assert_eq!(exit(bad), Err(Exit::Usage), "{bad}");
        }
        assert_eq!(exit("minutes>lenge"), Err(Exit::Refused));
        assert_eq!(exit("hours>1"), Err(Exit::Refused));
        assert_eq!(exit("minutes>1"), Ok(()));
    }

    #[test]
    fn a_minus_sorts_the_greatest_first() {
        assert_eq!(order("-started_at"), ("started_at".to_owned(), Direction::Descending));
        assert_eq!(order("started_at"), ("started_at".to_owned(), Direction::Ascending));
    }
}
