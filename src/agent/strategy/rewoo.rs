//! ReWOO (Xu et al., arXiv 2305.18323): a plan with evidence variables, which the person
//! confirms before anything is called; the calls, exactly as confirmed; then the answer
//! from what they found. No result changes what is called next, only what stands in the
//! slots that the plan left open.

use serde_json::{Map, Value as Json, json};

use super::plan::{Plan, marks};
use super::{Ask, CallResult, Goal, Happened, Next, Strategy, WantedCall};
use crate::decode::constraint::{Spacing, json_term};

const PLANNER: &str = "Make a plan that answers the question with the help of tools. Write one line for what to do and one for the call:
Plan: what to find out
#E1 = tool[{\"argument\": \"value\"}]
A later call may use #E1. Do not answer yet.

Tools:
";

const SOLVER: &str = "Answer the question with the evidence that was found. Answer shortly.";

/// Most calls of a plan that a grammar holds to its form.
const MAX_GRAMMAR_STEPS: usize = 5;

/// The strategy.
#[derive(Default)]
pub(super) struct Rewoo {
    plan: Option<Plan>,
    /// What was found, by step, as the model is to read it.
    evidence: Vec<Option<String>>,
    /// The same without marks, for the slots that the plan left open.
    bare: Vec<String>,
    /// Which of it is an error.
    failed: Vec<bool>,
    /// Complaints about plans that could not be read.
    said: Vec<Json>,
    solving: bool,
}

impl Strategy for Rewoo {
    fn name(&self) -> &'static str {
        "rewoo"
    }

    fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    fn advance(&mut self, goal: &Goal<'_>, happened: Happened) -> Next {
        match happened {
            Happened::Begin => Next::Ask(self.ask_planner(goal)),
            Happened::Reply(reply) if self.solving => {
                let answer = reply.content.trim().to_string();
                match answer.is_empty() {
                    true => Next::Mend {
                        what: "the answer is empty".to_string(),
                        ask: self.ask_solver(goal),
                    },
                    false => Next::Finish(answer),
                }
            }
            Happened::Reply(reply) => match Plan::read(&reply.content, goal) {
                Ok(plan) => {
                    self.evidence = vec![None; plan.steps.len()];
                    self.bare = vec![String::new(); plan.steps.len()];
                    self.failed = vec![false; plan.steps.len()];
                    self.plan = Some(plan);
                    Next::Confirm
                }
                Err(what) => {
                    self.said
                        .push(json!({ "role": "assistant", "content": reply.content }));
                    let told = format!(
                        "This is not a plan that can be carried out: {what}. Write it again."
                    );
                    self.said.push(json!({ "role": "user", "content": told }));
                    Next::Mend {
                        ask: self.ask_planner(goal),
                        what,
                    }
                }
            },
            Happened::Confirmed(false) => Next::Fail("declined"),
            Happened::Confirmed(true) => self.go_on(goal),
            Happened::Results(results) => {
                for result in &results {
                    self.found(result);
                }
                self.go_on(goal)
            }
        }
    }
}

impl Rewoo {
    fn ask_planner(&self, goal: &Goal<'_>) -> Ask {
        let mut messages = goal.under(&format!("{PLANNER}{}", goal.tool_lines()));
        messages.extend(self.said.iter().cloned());
        let mut fields = Map::new();
        if goal.style.grammar && !goal.tools.is_empty() {
            let grammar = json!({ "type": "grammar", "grammar": grammar(goal) });
            fields.insert("response_format".to_string(), grammar);
        }
        Ask {
            purpose: "plan",
            messages,
            fields,
        }
    }

    fn ask_solver(&self, goal: &Goal<'_>) -> Ask {
        let plan = self.plan.as_ref().map(|plan| plan.write(&self.evidence));
        let question = format!(
            "Question: {}\n\n{}",
            goal.question(),
            plan.unwrap_or_default()
        );
        Ask {
            purpose: "solve",
            messages: vec![
                json!({ "role": "system", "content": SOLVER }),
                json!({ "role": "user", "content": question }),
            ],
            fields: Map::new(),
        }
    }

    fn found(&mut self, result: &CallResult) {
        let Some(i) = result.call.step else { return };
        if i < self.evidence.len() {
            self.failed[i] = result.outcome.is_err();
            self.evidence[i] = Some(result.text());
            self.bare[i] = result.bare.clone();
        }
    }

    /// The steps whose evidence is all there; with none left, the answer is asked for.
    fn go_on(&mut self, goal: &Goal<'_>) -> Next {
        let Some(plan) = &self.plan else {
            return Next::Fail("internal");
        };
        loop {
            let mut wanted = Vec::new();
            let mut hopeless = Vec::new();
            for (i, step) in plan.steps.iter().enumerate() {
                if self.evidence[i].is_some() {
                    continue;
                }
                if step.needs.iter().any(|need| self.failed[need - 1]) {
                    hopeless.push(i);
                } else if step
                    .needs
                    .iter()
                    .all(|need| self.evidence[need - 1].is_some())
                {
                    let manifest = goal.tools.iter().find(|tool| tool.name == step.tool);
                    let schema = manifest.map(|tool| &tool.parameters["properties"]);
                    wanted.push(WantedCall {
                        id: None,
                        tool: step.tool.clone(),
                        arguments: fill(&step.arguments, schema, &self.bare).to_string(),
                        step: Some(i),
                    });
                }
            }
            if !wanted.is_empty() {
                return Next::Call(wanted);
            }
            if hopeless.is_empty() {
                break;
            }
            // What hangs on a call that failed is not made.
            for i in hopeless {
                self.evidence[i] = Some("Error: the evidence that it needs is missing".to_string());
                self.failed[i] = true;
            }
        }
        self.solving = true;
        Next::Ask(self.ask_solver(goal))
    }
}

/// The arguments with evidence in place of its variables.
fn fill(arguments: &Json, schema: Option<&Json>, evidence: &[String]) -> Json {
    let mut filled = arguments.clone();
    if let Some(map) = filled.as_object_mut() {
        for (name, value) in map.iter_mut() {
            let kind = schema.and_then(|schema| schema[name.as_str()]["type"].as_str());
            fill_value(value, matches!(kind, Some("number" | "integer")), evidence);
        }
    }
    filled
}

fn fill_value(value: &mut Json, as_number: bool, evidence: &[String]) {
    match value {
        Json::String(text) => {
            let found: Vec<_> = marks(text).collect();
            if found.is_empty() {
                return;
            }
            let of = |number: usize| {
                let at = number.checked_sub(1).and_then(|i| evidence.get(i));
                at.map(String::as_str).unwrap_or_default()
            };
            let whole = matches!(found[..], [(0, end, _)] if end == text.len());
            if whole && as_number {
                if let Some(number) = first_number(of(found[0].2)) {
                    *value = number;
                }
                return;
            }
            let mut out = String::new();
            let mut from = 0;
            for (start, end, number) in found {
                out.push_str(text.get(from..start).unwrap_or_default());
                let said = of(number);
                // Within a longer text, as in `2060 - #E1`, a number is meant where there is one.
                match first_number(said).filter(|_| !whole) {
                    Some(number) => out.push_str(&number.to_string()),
                    None => out.push_str(said),
                }
                from = end;
            }
            out.push_str(text.get(from..).unwrap_or_default());
            *value = Json::String(out);
        }
        Json::Array(list) => list
            .iter_mut()
            .for_each(|item| fill_value(item, false, evidence)),
        Json::Object(map) => map
            .values_mut()
            .for_each(|item| fill_value(item, false, evidence)),
        _ => {}
    }
}

/// The first number that `text` holds, JSON or not.
fn first_number(text: &str) -> Option<Json> {
    let starts = text.char_indices().filter(|(at, c)| {
        let before = text.get(..*at).and_then(|t| t.chars().next_back());
        let fresh = !before.is_some_and(|b| b.is_alphanumeric() || b == '.' || b == '_');
        let sign = *c == '-'
            && text
                .get(at + 1..)
                .is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit()));
        fresh && (c.is_ascii_digit() || sign)
    });
    let mut numbers = starts.filter_map(|(at, _)| {
        let rest = text.get(at..)?;
        let mut points = 0;
        let end = rest.char_indices().find(|(i, c)| {
            points += usize::from(*c == '.');
            !(c.is_ascii_digit() || (*c == '.' && points == 1) || (*i == 0 && *c == '-'))
        });
        let digits = rest.get(..end.map_or(rest.len(), |(i, _)| i))?;
        let digits = digits.trim_end_matches('.');
        let whole = digits.parse::<i64>().ok().map(Json::from);
        whole.or_else(|| digits.parse::<f64>().ok().map(Json::from))
    });
    numbers.next()
}

/// The plan's form, with arguments that fit or name evidence.
fn grammar(goal: &Goal<'_>) -> String {
    let mut rules = vec!["start: step_1".to_string()];
    for number in 1..=MAX_GRAMMAR_STEPS {
        let more = match number < MAX_GRAMMAR_STEPS {
            true => format!(" (\"\\n\" step_{})?", number + 1),
            false => String::new(),
        };
        rules.push(format!(
            "step_{number}: \"Plan: \" /[^\\n]{{1,200}}/ \"\\n#E{number} = \" call{more}"
        ));
    }
    let names: Vec<String> = (0..goal.tools.len()).map(|i| format!("tool_{i}")).collect();
    rules.push(format!("call: {}", names.join(" | ")));
    for (name, tool) in names.iter().zip(goal.tools) {
        let head = json!(format!("{}[", tool.name));
        let mut schema = tool.parameters.clone();
        let properties = schema.get_mut("properties").and_then(Json::as_object_mut);
        for property in properties.into_iter().flat_map(|map| map.values_mut()) {
            if property["type"] != "string" || property.get("enum").is_some() {
                *property = json!({ "anyOf": [property.clone(), { "type": "string", "pattern": "^#E[1-9]$" }] });
            }
        }
        rules.push(format!(
            "{name}: {head} {} \"]\"",
            json_term(&schema, Spacing::Compact)
        ));
    }
    rules.join("\n")
}

#[cfg(test)]
#[path = "rewoo_tests.rs"]
mod tests;
