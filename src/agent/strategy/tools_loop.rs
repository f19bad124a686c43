//! The model calls tools in its own form until it answers.

use serde_json::{Map, Value as Json, json};

use super::{Ask, CallResult, Goal, Happened, Next, Reply, Strategy, WantedCall};

/// The strategy.
#[derive(Default)]
pub(super) struct ToolsLoop {
    /// What was said since the conversation that it began with.
    said: Vec<Json>,
}

impl Strategy for ToolsLoop {
    fn name(&self) -> &'static str {
        "tools"
    }

    fn advance(&mut self, goal: &Goal<'_>, happened: Happened) -> Next {
        match happened {
            Happened::Begin => Next::Ask(self.ask(goal)),
            Happened::Reply(reply) => self.replied(goal, &reply),
            Happened::Results(results) => {
                self.said.extend(results.iter().map(result_message));
                Next::Ask(self.ask(goal))
            }
            Happened::Confirmed(_) => Next::Fail("internal"),
        }
    }
}

impl ToolsLoop {
    fn ask(&self, goal: &Goal<'_>) -> Ask {
        let tools: Vec<Json> = goal.tools.iter().map(|tool| tool.describe()).collect();
        let mut fields = Map::new();
        if !tools.is_empty() {
            fields.insert("tools".to_string(), tools.into());
        }
        Ask {
            purpose: "act",
            messages: goal.messages.iter().chain(&self.said).cloned().collect(),
            fields,
        }
    }

    fn replied(&mut self, goal: &Goal<'_>, reply: &Reply) -> Next {
        if !reply.calls.is_empty() {
            let calls: Vec<Json> = reply
                .calls
                .iter()
                .map(|call| {
                    // The conversation has to stay one that templates can render.
                    let sound = serde_json::from_str::<Map<String, Json>>(&call.arguments).is_ok();
                    let arguments = if sound { call.arguments.as_str() } else { "{}" };
                    let function = json!({ "name": call.name, "arguments": arguments });
                    json!({ "id": call.id, "type": "function", "function": function })
                })
                .collect();
            self.said.push(
                json!({ "role": "assistant", "content": reply.content, "tool_calls": calls }),
            );
            let wanted = reply.calls.iter().map(|call| WantedCall {
                id: Some(call.id.clone()),
                tool: call.name.clone(),
                arguments: call.arguments.clone(),
                step: None,
            });
            return Next::Call(wanted.collect());
        }
        let what = match reply.broken.first() {
            Some(what) => {
                format!("Your call could not be read: {what}. Write it again, or answer.")
            }
            None if reply.content.trim().is_empty() => {
                "You said nothing. Call a tool, or answer.".to_string()
            }
            None => return Next::Finish(reply.content.trim().to_string()),
        };
        if !reply.content.trim().is_empty() {
            self.said
                .push(json!({ "role": "assistant", "content": reply.content }));
        }
        self.said.push(json!({ "role": "user", "content": what }));
        Next::Mend {
            ask: self.ask(goal),
            what,
        }
    }
}

fn result_message(result: &CallResult) -> Json {
    json!({
        "role": "tool",
        "tool_call_id": result.call.id,
        "content": result.text(),
    })
}
