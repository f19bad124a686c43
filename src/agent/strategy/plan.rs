//! A plan: calls with evidence variables, fixed before the first of them is made.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Goal, leading_json};
use crate::agent::policy::digest;

/// Most steps of a plan.
pub const MAX_STEPS: usize = 12;

/// What is to be called, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The steps; the first is `#E1`.
    pub steps: Vec<PlannedCall>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCall {
    /// What for, in the model's words.
    pub what: String,
    /// The tool.
    pub tool: String,
    /// Its arguments; strings in them may name evidence, as `#E1`.
    pub arguments: Json,
    /// The steps whose evidence it needs, counted from 1.
    pub needs: Vec<usize>,
}

impl Plan {
    /// Names exactly this plan: what was approved is compared by it.
    pub fn digest(&self) -> String {
        let text = json!(self).to_string();
        digest(&["plan", &text])
    }

    /// Reads a plan as models write it:
    ///
    /// ```text
    /// Plan: Find the weather.
    /// #E1 = weather[{"city": "Oslo"}]
    /// ```
    ///
    /// # Errors
    /// What is wrong, in words for the model.
    pub fn read(text: &str, goal: &Goal<'_>) -> Result<Self, String> {
        let mut plan = Plan::default();
        let mut what = String::new();
        let mut rest = text;
        while let Some(line) = rest.lines().next() {
            let trimmed = line.trim();
            let mut taken = line.len();
            if let Some(said) = trimmed.strip_prefix("Plan:") {
                what = said.trim().to_string();
            } else if let Some((number, call)) = evidence_line(trimmed) {
                if number != plan.steps.len() + 1 {
                    return Err(format!(
                        "#E{number} stands where #E{} is due",
                        plan.steps.len() + 1
                    ));
                }
                if number > MAX_STEPS {
                    return Err(format!("the plan has more than {MAX_STEPS} calls"));
                }
                let from = rest.find(call).unwrap_or(0);
                let (step, used) = read_call(rest.get(from..).unwrap_or_default(), number, goal)?;
                plan.steps.push(PlannedCall {
                    what: std::mem::take(&mut what),
                    ..step
                });
                taken = from + used;
            }
            rest = rest.get(taken..).unwrap_or_default();
            // The rest of this line, and its end.
            let next = rest.find('\n').map_or(rest.len(), |at| at + 1);
            rest = rest.get(next..).unwrap_or_default();
        }
        match plan.steps.is_empty() {
            true => Err("there is no call in the plan".to_string()),
            false => Ok(plan),
        }
    }

    /// The plan as it was asked for, with the evidence that was found so far.
    pub fn write(&self, evidence: &[Option<String>]) -> String {
        let mut lines = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            lines.push(format!("Plan: {}", step.what));
            let arguments = crate::agent::python_json(&step.arguments);
            lines.push(format!("#E{} = {}[{arguments}]", i + 1, step.tool));
            if let Some(Some(found)) = evidence.get(i) {
                lines.push(format!("Evidence: {found}"));
            }
        }
        lines.join("\n")
    }
}

/// `#E1 = call` as the number and what follows the `=`.
fn evidence_line(line: &str) -> Option<(usize, &str)> {
    let rest = line.strip_prefix("#E")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = rest.get(..digits)?.parse().ok()?;
    let call = rest
        .get(digits..)?
        .trim_start()
        .strip_prefix('=')?
        .trim_start();
    (!call.is_empty()).then_some((number, call))
}

/// `tool[arguments]` at the start of `text`, and how many bytes it takes.
fn read_call(text: &str, number: usize, goal: &Goal<'_>) -> Result<(PlannedCall, usize), String> {
    let fail = |what: &str| Err(format!("#E{number} {what}"));
    let line = text.lines().next().unwrap_or_default();
    let Some(open) = line.find('[') else {
        return fail("is not written as tool[arguments]");
    };
    let tool = line.get(..open).unwrap_or_default().trim();
    let Some(manifest) = goal.tools.iter().find(|manifest| manifest.name == tool) else {
        return Err(unknown_tool(tool, goal));
    };
    let inside = text.get(open + 1..).unwrap_or_default();
    let (arguments, taken) = match leading_json(inside) {
        Some((value, taken)) if value.is_object() => (value, open + 1 + taken),
        _ => {
            let end = line.rfind(']').filter(|end| *end > open);
            let said = line
                .get(open + 1..end.unwrap_or(line.len()))
                .unwrap_or_default()
                .trim();
            if said.is_empty() || said.starts_with('{') {
                return fail("has arguments that are not a JSON object");
            }
            let Some(name) = manifest.only_argument() else {
                return fail("has arguments that are not a JSON object");
            };
            (
                json!({ name: said.trim_matches('"') }),
                end.map_or(line.len(), |end| end + 1),
            )
        }
    };
    let needs = references(&arguments);
    if needs.iter().any(|need| *need == 0 || *need >= number) {
        return fail("uses evidence that comes later");
    }
    // Evidence is text until it is there; what it is put in for is checked then.
    if let Some(wrong) = manifest.misfit(&without_evidence(manifest, &arguments)) {
        return Err(format!("#E{number}: {wrong}"));
    }
    let step = PlannedCall {
        what: String::new(),
        tool: tool.to_string(),
        arguments,
        needs,
    };
    Ok((step, taken))
}

/// What to tell a model that calls a tool by a wrong name.
pub fn unknown_tool(name: &str, goal: &Goal<'_>) -> String {
    let names: Vec<&str> = goal.tools.iter().map(|tool| tool.name.as_str()).collect();
    format!("there is no tool {name:?}; there is {}", names.join(", "))
}

/// The arguments with something that fits in place of each that names evidence, so that
/// the others can be checked.
fn without_evidence(manifest: &crate::agent::tool::Manifest, arguments: &Json) -> Json {
    let mut checked = arguments.clone();
    let Some(map) = checked.as_object_mut() else {
        return checked;
    };
    for (name, value) in map.iter_mut() {
        let schema = &manifest.parameters["properties"][name.as_str()];
        if schema.is_null() || references(value).is_empty() {
            continue;
        }
        let min = schema["minimum"].as_f64().unwrap_or(0.0);
        *value = match (schema["enum"].get(0), schema["type"].as_str()) {
            (Some(first), _) => first.clone(),
            (None, Some("number" | "integer")) => json!(min.ceil()),
            _ => value.clone(),
        };
    }
    checked
}

/// The evidence that `value`'s strings name, each once, in order.
pub fn references(value: &Json) -> Vec<usize> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn collect(value: &Json, found: &mut Vec<usize>) {
    match value {
        Json::String(text) => found.extend(marks(text).map(|(_, _, number)| number)),
        Json::Array(list) => list.iter().for_each(|item| collect(item, found)),
        Json::Object(map) => map.values().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Where `#E1`s stand in `text`: start, end, number.
pub fn marks(text: &str) -> impl Iterator<Item = (usize, usize, usize)> {
    text.match_indices("#E").filter_map(|(at, _)| {
        let digits = text.get(at + 2..)?;
        let n_digits = digits.len()
            - digits
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        let number = digits.get(..n_digits)?.parse().ok()?;
        Some((at, at + 2 + n_digits, number))
    })
}
