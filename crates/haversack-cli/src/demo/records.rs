//! The records of a field day: read from JSON lines, checked against the schema, dealt to the phones.

use std::collections::{BTreeMap, BTreeSet};

use haversack::{FieldKind, RecordId, Schema, value_from_json, value_to_json};
use haversack_core::check_value;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

/// One record as the file gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Option<String>,
    device: Option<String>,
    collection: String,
    fields: Map<String, Json>,
}

/// One record as a phone registers it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) record: RecordId,
    /// 0 or 1: which mentor's phone.
    pub(super) phone: usize,
    pub(super) collection: String,
    /// Values in their canonical JSON form; references hold record ids.
    pub(super) fields: BTreeMap<String, Json>,
}

/// A line that could not be used.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

/// What a file came to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) records: Vec<Planned>,
    pub(super) bad_lines: Vec<BadLine>,
}

struct Reading {
    number: usize,
    line: Line,
    record: RecordId,
}

/// Reads a file. A bad line is named by number and field, and the rest goes on; so is a record whose reference leads
/// to a bad line.
pub(super) fn read(text: &str, schema: &Schema) -> Plan {
    let mut plan = Plan::default();
    let mut readings = Vec::new();
    let mut keys: BTreeMap<String, (RecordId, String)> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        match serde_json::from_str::<Line>(line) {
            Err(error) => plan.refuse(number, None, format!("not a record: {}", classify(&error))),
            Ok(line) if schema.collection(&line.collection).is_none() => {
                plan.refuse(number, None, "the schema has no such collection".to_owned());
            }
            Ok(line) => {
                let record = RecordId::from_uuid(Uuid::now_v7());
                let key = line.key.clone().unwrap_or_else(|| record.to_string());
                if keys.insert(key, (record, line.collection.clone())).is_some() {
                    plan.refuse(number, Some("key"), "the key is used twice".to_owned());
                } else {
                    readings.push(Reading { number, line, record });
                }
            }
        }
    }
    let mut refused: BTreeSet<RecordId> = BTreeSet::new();
    let mut devices: BTreeMap<String, usize> = BTreeMap::new();
    for reading in parents_first(readings, &keys, schema) {
        match check(&reading, schema, &keys, &refused) {
            Ok(fields) => {
                let phone = deal(&reading.line, plan.records.len(), &mut devices);
                let Reading { record, line, .. } = reading;
                plan.records.push(Planned { record, phone, collection: line.collection, fields });
            }
            Err((field, reason)) => {
                refused.insert(reading.record);
                plan.refuse(reading.number, field.as_deref(), reason);
            }
        }
    }
    keep_references_on_one_phone(&mut plan.records, schema);
    plan.bad_lines.sort_by_key(|bad| bad.line);
    plan
}

impl Plan {
    fn refuse(&mut self, line: usize, field: Option<&str>, reason: String) {
        self.bad_lines.push(BadLine { line, field: field.map(str::to_owned), reason });
    }
}

/// The parser's message without the text it quotes: that may be personal data.
fn classify(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Syntax => "no JSON",
        serde_json::error::Category::Eof => "cut off",
        _ => "it holds an unknown, missing or wrong key (key, device, collection, fields)",
    }
}

fn deal(line: &Line, dealt: usize, devices: &mut BTreeMap<String, usize>) -> usize {
    match &line.device {
        Some(device) => {
            let next = devices.len() % 2;
            *devices.entry(device.clone()).or_insert(next)
        }
        None => dealt % 2,
    }
}

/// Orders records so that what is referred to comes first; cycles keep the file's order.
fn parents_first(
    readings: Vec<Reading>,
    keys: &BTreeMap<String, (RecordId, String)>,
    schema: &Schema,
) -> Vec<Reading> {
    let mut open: BTreeMap<RecordId, Reading> = BTreeMap::new();
    let order: Vec<RecordId> = readings.iter().map(|reading| reading.record).collect();
    open.extend(readings.into_iter().map(|reading| (reading.record, reading)));
    let mut done = Vec::with_capacity(order.len());
    for record in order {
        let mut stack = vec![record];
        while let Some(top) = stack.last().copied() {
            let Some(reading) = open.get(&top) else {
                stack.pop();
                continue;
            };
            let parent = targets(reading, keys, schema)
                .into_iter()
                .find(|target| open.contains_key(target) && !stack.contains(target));
            match parent {
                Some(parent) => stack.push(parent),
                None => {
                    done.extend(open.remove(&top));
                    stack.pop();
                }
            }
        }
    }
    done
}

fn targets(reading: &Reading, keys: &BTreeMap<String, (RecordId, String)>, schema: &Schema) -> Vec<RecordId> {
    let collection = schema.collection(&reading.line.collection);
    let names = collection.into_iter().flat_map(|collection| collection.references());
    let values = names.filter_map(|(name, _)| reading.line.fields.get(name)?.as_str());
    values.filter_map(|key| keys.get(key).map(|(record, _)| *record)).collect()
}

type FieldError = (Option<String>, String);

fn check(
    reading: &Reading,
    schema: &Schema,
    keys: &BTreeMap<String, (RecordId, String)>,
    refused: &BTreeSet<RecordId>,
) -> Result<BTreeMap<String, Json>, FieldError> {
    let collection =
        schema.collection(&reading.line.collection).ok_or((None, "no such collection".to_owned()))?;
    let mut fields = BTreeMap::new();
    for (name, json) in &reading.line.fields {
        let at = |reason: String| (Some(name.clone()), reason);
        let field = collection.field(name).ok_or_else(|| at("the schema has no such field".to_owned()))?;
        let json = if field.kind == FieldKind::Reference {
            let target = json.as_str().and_then(|key| keys.get(key));
            let (record, kind) = target.ok_or_else(|| at("refers to no line of this file".to_owned()))?;
            if refused.contains(record) || field.target.as_deref() != Some(kind) {
                return Err(at("refers to a line that cannot be used here".to_owned()));
            }
            Json::String(record.to_string())
        } else {
            json.clone()
        };
        let value = value_from_json(field.kind, &json).map_err(|refusal| at(refusal.to_string()))?;
        check_value(field, &value).map_err(|refusal| at(refusal.to_string()))?;
        fields.insert(name.clone(), value_to_json(&value));
    }
    let missing =
        collection.fields.iter().find(|(name, field)| field.required && !fields.contains_key(name.as_str()));
    match missing {
        Some((name, _)) => Err((Some(name.to_string()), "is required".to_owned())),
        None => Ok(fields),
    }
}

/// Before the first sync a phone knows only its own records, so what refers to a record follows it to its phone.
fn keep_references_on_one_phone(records: &mut [Planned], schema: &Schema) {
    let mut phones: BTreeMap<RecordId, usize> = BTreeMap::new();
    for planned in records {
        let collection = schema.collection(&planned.collection);
        let names = collection.into_iter().flat_map(|collection| collection.references());
        let values =
            names.filter_map(|(name, _)| planned.fields.get(name)?.as_str()?.parse::<RecordId>().ok());
        if let Some(phone) = values.filter_map(|record| phones.get(&record).copied()).next() {
            planned.phone = phone;
        }
        phones.insert(planned.record, planned.phone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::from_json(
            r#"{"version":1,"collections":{
            "a":{"fields":{"n":{"kind":"integer","max":9},"to":{"kind":"reference","target":"a"}}}}}"#,
        )
        .expect("valid")
    }

    #[test]
    fn a_bad_line_is_named_by_number_and_field_and_the_rest_goes_on() {
        let text = "{\"collection\":\"a\",\"key\":\"one\",\"fields\":{\"n\":1}}\nnonsense\n\n\
            {\"collection\":\"a\",\"key\":\"two\",\"fields\":{\"n\":10}}\n\
            {\"collection\":\"a\",\"fields\":{\"to\":\"two\"}}\n\
            {\"collection\":\"a\",\"fields\":{\"to\":\"one\",\"x\":1}}\n\
            {\"collection\":\"b\",\"fields\":{}}\n{\"collection\":\"a\",\"fields\":{\"to\":\"one\"}}";
        let plan = read(text, &schema());
        assert_eq!(plan.records.len(), 2);
        let bad: Vec<_> = plan.bad_lines.iter().map(|bad| (bad.line, bad.field.as_deref())).collect();
        assert_eq!(bad, [(2, None), (4, Some("n")), (5, Some("to")), (6, Some("x")), (7, None)]);
    }

    #[test]
    fn what_is_referred_to_comes_first_and_on_the_same_phone() {
        let text = "{\"collection\":\"a\",\"device\":\"x\",\"key\":\"child\",\"fields\":{\"to\":\"parent\"}}\n\
            {\"collection\":\"a\",\"device\":\"y\",\"key\":\"parent\",\"fields\":{}}";
        let plan = read(text, &schema());
        assert!(plan.records[0].fields.is_empty());
        assert_eq!(plan.records[0].phone, plan.records[1].phone);
    }
}
