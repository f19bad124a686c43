//! ReAct (Yao et al., arXiv 2210.03629): thought, action, observation, until a final
//! answer. The form is the one that the pair that ships was trained on
//! (`models/train/generate/agents.py`).

use serde_json::{Map, Value as Json, json};

use super::{
    Ask, Goal, Happened, Next, ObservationRole, Reply, Strategy, WantedCall, leading_json,
};
use crate::decode::constraint::{Spacing, json_term};

const SYSTEM: &str = "Answer the question with the help of tools. Write in this form:
Thought: what to do next
Action: the name of a tool
Action Input: its arguments as JSON
After each observation go on, and end with:
Thought: I know the answer.
Final Answer: the answer

Tools:
";

const FORM: &str = "Write \"Action:\" and \"Action Input:\" with a tool and its arguments as JSON, or \"Final Answer:\"";

/// The strategy.
#[derive(Default)]
pub(super) struct React {
    said: Vec<Json>,
}

/// A step, as the model wrote it.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Act { tool: String, input: String },
    Answer(String),
    Malformed(String),
}

impl Strategy for React {
    fn name(&self) -> &'static str {
        "react"
    }

    fn advance(&mut self, goal: &Goal<'_>, happened: Happened) -> Next {
        match happened {
            Happened::Begin => Next::Ask(self.ask(goal)),
            Happened::Reply(reply) => self.replied(goal, &reply),
            Happened::Results(results) => {
                for result in &results {
                    self.observe(goal, result.call.tool.as_str(), &result.text());
                }
                Next::Ask(self.ask(goal))
            }
            Happened::Confirmed(_) => Next::Fail("internal"),
        }
    }
}

impl React {
    fn ask(&self, goal: &Goal<'_>) -> Ask {
        let mut messages = goal.under(&format!("{SYSTEM}{}", goal.tool_lines()));
        messages.extend(self.said.iter().cloned());
        let mut fields = Map::new();
        // What comes next is not the model's to write.
        fields.insert("stop".to_string(), json!(["\nObservation:"]));
        if goal.style.grammar {
            let grammar = json!({ "type": "grammar", "grammar": grammar(goal) });
            fields.insert("response_format".to_string(), grammar);
        }
        Ask {
            purpose: "act",
            messages,
            fields,
        }
    }

    fn observe(&mut self, goal: &Goal<'_>, tool: &str, text: &str) {
        let content = format!("Observation: {text}");
        self.said.push(match goal.style.observations {
            ObservationRole::User => json!({ "role": "user", "content": content }),
            ObservationRole::Tool => json!({ "role": "tool", "name": tool, "content": content }),
        });
    }

    fn replied(&mut self, goal: &Goal<'_>, reply: &Reply) -> Next {
        // Some models call in their own form whatever they are told.
        if let (true, Some(call)) = (!reply.content.contains("Action:"), reply.calls.first()) {
            let content = format!(
                "{}\nAction: {}\nAction Input: {}",
                reply.content.trim(),
                call.name,
                call.arguments
            );
            self.said
                .push(json!({ "role": "assistant", "content": content.trim() }));
            return Next::Call(vec![wanted(&call.name, &call.arguments)]);
        }
        let (step, kept) = read(&reply.content);
        if !kept.is_empty() {
            self.said
                .push(json!({ "role": "assistant", "content": kept }));
        }
        match step {
            Step::Answer(answer) => Next::Finish(answer),
            Step::Act { tool, input } => Next::Call(vec![wanted(&tool, &input)]),
            Step::Malformed(what) => {
                self.observe(goal, "form", &format!("Error: {what}. {FORM}."));
                Next::Mend {
                    ask: self.ask(goal),
                    what,
                }
            }
        }
    }
}

fn wanted(tool: &str, arguments: &str) -> WantedCall {
    WantedCall {
        id: None,
        tool: tool.to_string(),
        arguments: arguments.to_string(),
        step: None,
    }
}

/// The step that `text` takes, and the part of `text` that says so: what a model makes up
/// after it is left out.
pub(super) fn read(text: &str) -> (Step, &str) {
    let text = text.trim();
    // An observation that the model wrote itself is none.
    let text = match text.find("\nObservation:") {
        Some(at) => text.get(..at).unwrap_or_default().trim_end(),
        None => text,
    };
    let action = line_start(text, "Action:");
    let answer = line_start(text, "Final Answer:");
    if let Some(at) = answer.filter(|at| action.is_none_or(|action| *at < action)) {
        // What it does after it has answered is not done.
        let text = text
            .get(..action.unwrap_or(text.len()))
            .unwrap_or(text)
            .trim_end();
        let said = after(text, at, "Final Answer:").trim();
        return match said.is_empty() {
            true => (
                Step::Malformed("the final answer is empty".to_string()),
                text,
            ),
            false => (Step::Answer(said.to_string()), text),
        };
    }
    let Some(at) = action else {
        let what = match text.is_empty() {
            true => "you said nothing",
            false => "there is neither an action nor a final answer",
        };
        return (Step::Malformed(what.to_string()), text);
    };
    let rest = after(text, at, "Action:");
    let tool = rest
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches(['`', '"', '*'])
        .to_string();
    let Some(input_at) = line_start(rest, "Action Input:") else {
        return (Step::Malformed("the action has no input".to_string()), text);
    };
    let input = after(rest, input_at, "Action Input:");
    let trimmed = input.trim_start();
    let (input, taken) = match leading_json(trimmed) {
        Some((value, taken)) => (value.to_string(), taken),
        None => {
            let line = trimmed.lines().next().unwrap_or_default();
            (line.trim().to_string(), line.len())
        }
    };
    let end = text.len() - (trimmed.len() - taken);
    (
        Step::Act { tool, input },
        text.get(..end).unwrap_or(text).trim_end(),
    )
}

/// Where a line begins with `word`, white space aside.
fn line_start(text: &str, word: &str) -> Option<usize> {
    text.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = text.get(..*at).unwrap_or_default();
        before.trim_end_matches([' ', '\t', '*']).ends_with('\n') || before.trim().is_empty()
    })
}

fn after<'a>(text: &'a str, at: usize, word: &str) -> &'a str {
    text.get(at + word.len()..).unwrap_or_default()
}

/// One step: a thought, then an action whose input fits its tool, or an answer.
fn grammar(goal: &Goal<'_>) -> String {
    let mut rules = vec![
        "start: \"Thought: \" /[^\\n]{1,300}/ \"\\n\" (act | answer)".to_string(),
        "answer: \"Final Answer: \" /[^\\n](.|\\n)*/".to_string(),
    ];
    let names: Vec<String> = (0..goal.tools.len()).map(|i| format!("tool_{i}")).collect();
    if names.is_empty() {
        rules[0] = rules[0].replace("(act | answer)", "answer");
    } else {
        rules.push(format!("act: \"Action: \" ({})", names.join(" | ")));
    }
    for (name, tool) in names.iter().zip(goal.tools) {
        let head = json!(format!("{}\nAction Input: ", tool.name));
        rules.push(format!(
            "{name}: {head} {}",
            json_term(&tool.parameters, Spacing::Compact)
        ));
    }
    rules.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_the_one_that_the_pair_was_trained_on() {
        let trained = include_str!("../../../models/train/generate/agents.py");
        let system = trained.split("REACT_SYSTEM = \"\"\"").nth(1).unwrap();
        let system = system.split("{tools}").next().unwrap();
        assert_eq!(SYSTEM, system);
    }

    #[test]
    fn steps_are_read_however_they_are_cut() {
        let act = |tool: &str, input: &str| Step::Act {
            tool: tool.into(),
            input: input.into(),
        };
        let malformed = |what: &str| Step::Malformed(what.into());
        for (text, step) in [
            (
                "Thought: I need it.\nAction: weather\nAction Input: {\"city\": \"Oslo\"}",
                act("weather", "{\"city\":\"Oslo\"}"),
            ),
            (
                "Action: weather\nAction Input: {\"city\":\n \"Oslo\"}\nObservation: sunny\nFinal Answer: sunny",
                act("weather", "{\"city\":\"Oslo\"}"),
            ),
            (
                "Action: `clock`\nAction Input: Europe/Oslo\nmore",
                act("clock", "Europe/Oslo"),
            ),
            (
                "**Action:** x\nAction Input: {}",
                malformed("there is neither an action nor a final answer"),
            ),
            (
                "Thought: done\nFinal Answer: It is\n4 °C.",
                Step::Answer("It is\n4 °C.".into()),
            ),
            (
                "Final Answer: a\nAction: b\nAction Input: {}",
                Step::Answer("a".into()),
            ),
            (
                "Action: b\nAction Input: {}\nFinal Answer: a",
                act("b", "{}"),
            ),
            (
                "Thought: The word Action: is no action",
                malformed("there is neither an action nor a final answer"),
            ),
            ("Action: weather", malformed("the action has no input")),
            ("Final Answer:  ", malformed("the final answer is empty")),
            ("", malformed("you said nothing")),
            ("Action:\nAction Input:", act("", "")),
        ] {
            assert_eq!(read(text).0, step, "{text:?}");
        }
    }

    #[test]
    fn what_follows_the_step_is_not_kept() {
        let (_, kept) = read("Thought: a\nAction: b\nAction Input: {\"c\": 1} and then\nI saw d");
        assert_eq!(kept, "Thought: a\nAction: b\nAction Input: {\"c\": 1}");
        let (_, kept) = read("Thought: a\nAction: b\nAction Input: x y\nObservation: z");
        assert_eq!(kept, "Thought: a\nAction: b\nAction Input: x y");
    }
}
