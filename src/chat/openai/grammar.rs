//! What a reply must look like, as one grammar: calls in the family's form with
//! arguments by the tools' schemas, an answer by `response_format`, thinking before
//! either.

use serde_json::Value as Json;

use super::tools::{Tool, ToolChoice};
use crate::chat::tool_call::CallForm;
use crate::decode::constraint::{ConstraintSpec, Spacing, json_term};

/// The most calls of one reply.
const MAX_CALLS: usize = 16;

/// How the reply may think before it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thought<'a> {
    /// It does not.
    None,
    /// Between these, if it likes.
    Optional { open: &'a str, close: &'a str },
    /// The prompt has begun it already.
    Begun { close: &'a str },
}

/// A reply's parts.
#[derive(Debug, Clone)]
pub(super) struct ReplyGrammar<'a> {
    pub(super) form: Option<CallForm>,
    /// What may be called, in this order.
    pub(super) tools: &'a [Tool],
    pub(super) choice: &'a ToolChoice,
    pub(super) parallel: bool,
    pub(super) answer: Option<&'a ConstraintSpec>,
    pub(super) thought: Thought<'a>,
}

impl ReplyGrammar<'_> {
    /// The constraint; `None` where anything goes. `schema_of` gives the schema that a
    /// tool's arguments are held to.
    pub(super) fn spec(&self, schema_of: impl Fn(&Tool) -> Json) -> Option<ConstraintSpec> {
        let form = self.form.filter(|_| !self.callable().is_empty());
        let mut rules = Vec::new();
        let answer = match self.answer {
            // A grammar of the caller's own is whole: nothing can be put around it.
            Some(ConstraintSpec::Lark(_)) => return self.answer.cloned(),
            answer => answer.map(answer_rule),
        };
        let start = match (form, answer) {
            (None, None) => return None,
            (None, Some(_)) if self.thought == Thought::None => return self.answer.cloned(),
            (None, Some(answer)) => self.after_thought(&answer, &mut rules),
            (Some(form), answer) => {
                self.call_rules(form, &schema_of, &mut rules);
                let calls = format!("{} first", quoted(form.open));
                match answer {
                    _ if self.choice.is_forced() => self.after_thought(&calls, &mut rules),
                    Some(answer) => {
                        self.after_thought(&format!("({answer} | {calls})"), &mut rules)
                    }
                    None => {
                        // Free text until a call begins: the lazy rule takes precedence, so
                        // that text cannot hold what begins one.
                        rules.push("text: /(.|\\n)*/".to_string());
                        rules.push(format!("lead[lazy]: /(.|\\n)*/ {}", quoted(form.open)));
                        "text | lead first".to_string()
                    }
                }
            }
        };
        rules.insert(0, format!("start: {start}"));
        Some(ConstraintSpec::Lark(rules.join("\n")))
    }

    /// The tools that the choice leaves.
    fn callable(&self) -> Vec<&Tool> {
        let callable = |tool: &&Tool| match self.choice {
            ToolChoice::None => false,
            ToolChoice::Named(name) => tool.name == *name,
            _ => true,
        };
        self.tools.iter().filter(callable).collect()
    }

    fn call_rules(
        &self,
        form: CallForm,
        schema_of: &impl Fn(&Tool) -> Json,
        rules: &mut Vec<String>,
    ) {
        let callable = self.callable();
        let one = matches!(self.choice, ToolChoice::Named(_)) || !self.parallel;
        let more = match one {
            true => String::new(),
            false => format!(" (again call){{0,{}}}", MAX_CALLS - 1),
        };
        rules.push(format!("first: call{more}"));
        if !one {
            rules.push(format!("again: /[ \\n]{{0,2}}/ {}", quoted(form.open)));
        }
        let names: Vec<String> = (0..callable.len()).map(|i| format!("tool_{i}")).collect();
        rules.push(format!(
            "call: /[ \\n]{{0,2}}\\{{ ?\"name\": ?/ ({}) /\\}}[ \\n]{{0,2}}/ {}",
            names.join(" | "),
            quoted(form.close)
        ));
        for (i, tool) in callable.into_iter().enumerate() {
            rules.push(format!(
                "tool_{i}: {} /, ?\"arguments\": ?/ {}",
                quoted(&Json::from(tool.name.as_str()).to_string()),
                json_term(&schema_of(tool), Spacing::Compact)
            ));
        }
    }

    /// `rest`, with thinking before it where there may be any.
    fn after_thought(&self, rest: &str, rules: &mut Vec<String>) -> String {
        let close = match self.thought {
            Thought::None => return rest.to_string(),
            Thought::Optional { close, .. } | Thought::Begun { close } => close,
        };
        rules.push(format!("thinking[lazy]: /(.|\\n)*/ {}", quoted(close)));
        rules.push("pause: /[ \\n]{0,4}/".to_string());
        match self.thought {
            Thought::Optional { open, .. } => {
                format!("({} thinking pause)? {rest}", quoted(open))
            }
            _ => format!("thinking pause {rest}"),
        }
    }
}

fn answer_rule(answer: &ConstraintSpec) -> String {
    match answer {
        ConstraintSpec::JsonSchema { schema, spacing } => json_term(schema, *spacing),
        ConstraintSpec::Regex(regex) => format!("/{}/", regex.replace('/', "\\/")),
        ConstraintSpec::Choice(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
            format!("({})", choices.join(" | "))
        }
        ConstraintSpec::Lark(grammar) => grammar.clone(),
    }
}

/// A literal of the grammar: its strings are JSON's.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
