//! The figures, as a table for people or as one JSON object.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// One figure and, where there is one, the most it should be.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) goal: Option<f64>,
}

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    /// Adds a figure without a goal.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push(Figure { name: name.into(), value, unit: unit.to_owned(), goal: None });
    }

    /// Adds a figure that should be at most `goal`.
    pub(crate) fn hold(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: f64) {
        self.0.push(Figure { name: name.into(), value, unit: unit.to_owned(), goal: Some(goal) });
    }

    /// Every figure, in the order it was taken.
    pub(crate) fn figures(&self) -> &[Figure] {
        &self.0
    }

    /// Prints everything.
    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            let figures: Map<_, _> =
                self.0.iter().map(|figure| (figure.name.clone(), figure.json())).collect();
            return writeln!(out, "{}", serde_json::Value::Object(figures));
        }
        writeln!(out, "{:<64} {:>12} {:<8} {:>10}", "figure", "measured", "unit", "goal")?;
        for figure in &self.0 {
            let goal = figure.goal.map(|goal| format!("<= {goal}")).unwrap_or_default();
            let verdict = if figure.is_met() { "" } else { "  missed" };
            let Figure { name, value, unit, .. } = figure;
            writeln!(out, "{name:<64} {value:>12.2} {unit:<8} {goal:>10}{verdict}")?;
        }
        Ok(())
    }
}

impl Figure {
    pub(crate) fn is_met(&self) -> bool {
        self.goal.is_none_or(|goal| self.value <= goal)
    }

    fn json(&self) -> serde_json::Value {
        let mut figure = json!({ "value": self.value, "unit": self.unit });
        if let Some(goal) = self.goal {
            figure["goal"] = json!(goal);
            figure["is_met"] = json!(self.is_met());
        }
        figure
    }
}
