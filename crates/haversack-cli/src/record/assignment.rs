//! Field assignments of the command line: `minutes=45`, `note=`, `+tags=tur`, `-tags=tur`, `calls+=1`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};

use haversack::{Changes, CollectionSchema, EditRefusal, FieldKind, Value, ValueRefusal, value_from_json};
use haversack_protocol::limits::TEXT_BYTES_MAX;
use serde_json::json;

use crate::failure::Failure;

const FORMS: &str =
    "an assignment is FIELD=VALUE, FIELD= (clear), +FIELD=VALUE (add) or -FIELD=VALUE (take away)";

/// What an assignment does to its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Put,
    Plus,
    Minus,
}

/// One assignment, not yet checked against the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment<'a> {
    field: &'a str,
    step: Step,
    text: &'a str,
}

/// Turns `-tags=tur` after `create` or `edit` into `tags-=tur`, so that it is not taken for an option.
pub(crate) fn with_removals(mut words: Vec<OsString>) -> Vec<OsString> {
    let verb = words.iter().position(|word| word == "create" || word == "edit").unwrap_or(words.len());
    for word in words.iter_mut().skip(verb + 1) {
        let rest =
            word.to_str().and_then(|text| text.strip_prefix('-')).and_then(|text| text.split_once('='));
        if let Some((field, text)) = rest.filter(|(field, _)| is_name(field)) {
            *word = format!("{field}-={text}").into();
        }
    }
    words
}

/// Reads assignments as changes to a record of a collection.
///
/// # Errors
/// [`Failure::Sentence`] for another form, an [`EditRefusal`] naming the field for a value that does not fit.
pub(crate) fn changes(
    (name, collection): (&str, &CollectionSchema),
    assignments: &[String],
    is_new: bool,
) -> Result<Changes, Failure> {
    assignments.iter().try_fold(Changes::new(), |changes, text| {
        let Assignment { field, step, text } = parse(text)?;
        let kind = kind_of((name, collection), field)?;
        if step == Step::Put && text.is_empty() {
            return Ok(changes.clear(field));
        }
        if step == Step::Put && !kind.is_register() && !is_new {
            return Err(Failure::NotPut(field.to_owned()));
        }
        if step != Step::Put && kind.is_register() {
            return Err(EditRefusal::WrongOperation { collection: name.into(), field: field.into() }.into());
        }
        let value = value((name, field), kind, text)?;
        Ok(match (step, value) {
            (Step::Minus, Value::Set(elements)) => {
                elements.iter().fold(changes, |changes, element| changes.remove(field, element))
            }
            (Step::Minus, Value::Counter(by)) => changes.increment(field, by.saturating_neg()),
            (_, value) => changes.put(field, value),
        })
    })
}

/// Reads a value as the command line writes it: the text itself, `@FILE`, `@-` for the standard input, or `@@...` for a
/// text that begins with `@`.
///
/// # Errors
/// An [`EditRefusal`] naming the field, never the value; [`Failure::File`] for a file that cannot be read.
pub(crate) fn value(
    (collection, field): (&str, &str),
    kind: FieldKind,
    text: &str,
) -> Result<Value, Failure> {
    let refused = |source| EditRefusal::Value { collection: collection.into(), field: field.into(), source };
    let unreadable = |source| Failure::File { what: format!("the file for {field}"), source };
    let bytes = match text.strip_prefix('@') {
        Some(literal) if literal.starts_with('@') => return Ok(parse_value(kind, literal).map_err(refused)?),
        None => return Ok(parse_value(kind, text).map_err(refused)?),
        Some("-") => read(io::stdin().lock()),
        Some(path) => File::open(path).and_then(read),
    };
    let bytes = bytes.map_err(unreadable)?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(refused(ValueRefusal::TooLong { max: TEXT_BYTES_MAX }).into());
    }
    if kind == FieldKind::Bytes {
        return Ok(Value::Bytes(bytes));
    }
    let text = String::from_utf8(bytes).map_err(|_| refused(ValueRefusal::Form))?;
    // Text is kept as it is; a number's line end is the editor's.
    let text = if kind == FieldKind::Text { text.as_str() } else { text.trim_end() };
    Ok(parse_value(kind, text).map_err(refused)?)
}

/// Reads the literal text of a value of `kind`.
///
/// # Errors
/// [`ValueRefusal`], without the value.
pub(crate) fn parse_value(kind: FieldKind, text: &str) -> Result<Value, ValueRefusal> {
    let wrong = || ValueRefusal::Kind { expected: kind };
    let json = match kind {
        FieldKind::Integer | FieldKind::Counter => json!(text.parse::<i64>().map_err(|_| wrong())?),
        FieldKind::Float => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => json!(number),
            Ok(_) => return Err(ValueRefusal::NotFinite),
            Err(_) => return Err(wrong()),
        },
        FieldKind::Boolean => json!(text.parse::<bool>().map_err(|_| wrong())?),
        FieldKind::Set => json!([text]),
        _ => json!(text),
    };
    value_from_json(kind, &json)
}

/// The kind of a field.
///
/// # Errors
/// [`EditRefusal::UnknownField`].
pub(crate) fn kind_of(
    (name, collection): (&str, &CollectionSchema),
    field: &str,
) -> Result<FieldKind, EditRefusal> {
    let unknown = || EditRefusal::UnknownField { collection: name.to_owned(), field: field.to_owned() };
    collection.field(field).map(|field| field.kind).ok_or_else(unknown)
}

fn parse(assignment: &str) -> Result<Assignment<'_>, Failure> {
    let (name, text) = assignment.split_once('=').ok_or(Failure::Sentence(FORMS))?;
    let forms: [(Option<&str>, Step); 4] = [
        (name.strip_prefix('+'), Step::Plus),
        (name.strip_prefix('-'), Step::Minus),
        (name.strip_suffix('+'), Step::Plus),
        (name.strip_suffix('-'), Step::Minus),
    ];
    let stepped = forms.into_iter().find_map(|(field, step)| Some((field?, step)));
    let (field, step) = stepped.unwrap_or((name, Step::Put));
    is_name(field).then_some(Assignment { field, step, text }).ok_or(Failure::Sentence(FORMS))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Reads to the end, but at most one byte more than a value may have.
fn read(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    source.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
