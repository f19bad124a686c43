//! A tool's requests, from being wanted to their answers.

use super::event::{Card, CardKind, Response};
use super::{Action, OpenCard, Run};
use crate::agent::policy::{Decision, Fetch, Refusal, RequestCard, ToolRequest};
use crate::error::{Code, Error, Result};

impl Run {
    pub(super) fn requested(
        &mut self,
        id: &str,
        request: u32,
        wanted: &ToolRequest,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let Some(call) = self.open.get(id).filter(|call| call.is_running) else {
            out.push(Action::refuse(id, request, Refusal::Ended, None));
            return Ok(());
        };
        let manifest = &self.config.tools[call.tool];
        let decision = self
            .gate
            .decide(self.now_ms, manifest, &call.context, wanted);
        let (url, word) = match &decision {
            Decision::Allow(fetch) => (Some(fetch.url.clone()), "allowed"),
            Decision::Ask(_, fetch) => (Some(fetch.url.clone()), "asked"),
            Decision::Deny(refusal, _) => (None, refusal.as_str()),
        };
        let tool = manifest.name.clone();
        let taint = call.context.taint.clone();
        self.step(
            out,
            |step| {
                step.call = Some(id.to_string());
                step.tool = Some(tool);
                step.url = url;
                step.decision = Some(word.to_string());
                step.taint = taint;
            },
            "request",
        );
        if let Some(call) = self.open.get_mut(id) {
            // What was refused counts too: nobody learns the rules by trying.
            call.context.n_requests += 1;
        }
        match decision {
            Decision::Allow(fetch) => self.let_go(id, request, *fetch, out),
            Decision::Deny(refusal, why) => {
                out.push(Action::refuse(id, request, refusal, Some(why)))
            }
            Decision::Ask(card, fetch) => {
                self.n_cards += 1;
                let number = self.n_cards;
                out.push(Action::Consent {
                    card: Card {
                        id: number,
                        kind: CardKind::Request(card.clone()),
                    },
                });
                let open = OpenCard::Request {
                    call: id.to_string(),
                    request,
                    card,
                    fetch,
                };
                self.cards.insert(number, open);
            }
        }
        Ok(())
    }

    /// The person answered a request's card.
    #[expect(clippy::too_many_arguments, reason = "a card's parts and the answer's")]
    pub(super) fn consented(
        &mut self,
        id: &str,
        request: u32,
        card: &RequestCard,
        fetch: Fetch,
        approved: bool,
        always: bool,
        out: &mut Vec<Action>,
    ) {
        if !self.open.get(id).is_some_and(|call| call.is_running) {
            out.push(Action::refuse(id, request, Refusal::Ended, None));
        } else if approved {
            if always {
                self.gate.grant(card, &fetch.origin);
            }
            self.let_go(id, request, fetch, out);
        } else {
            out.push(Action::refuse(id, request, Refusal::Declined, None));
        }
    }

    fn let_go(&mut self, id: &str, request: u32, fetch: Fetch, out: &mut Vec<Action>) {
        self.gate.left(self.now_ms, &fetch.origin);
        if let Some(call) = self.open.get_mut(id) {
            call.under_way.push((request, fetch.clone()));
        }
        out.push(Action::Fetch {
            call: id.to_string(),
            request,
            fetch: Box::new(fetch),
        });
    }

    pub(super) fn responded(
        &mut self,
        id: &str,
        request: u32,
        response: &Response,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let Some(call) = self.open.get_mut(id).filter(|call| call.is_running) else {
            // The call was stopped, and with it its requests.
            return Ok(());
        };
        let Some(at) = call
            .under_way
            .iter()
            .position(|(other, _)| *other == request)
        else {
            return Err(Error::new(
                Code::RequestInvalid,
                "request",
                format!("{request} is not under way"),
            ));
        };
        let (_, fetch) = call.under_way.swap_remove(at);
        let tool = &self.config.tools[call.tool].name;
        // Whatever came, somebody else may have written it.
        call.has_read_foreign = true;
        call.context
            .taint
            .foreign
            .insert(format!("tool:{tool} {}", fetch.origin));
        self.gate.came_back();
        let refusal = match response {
            Response::Failed { code } => Some(*code),
            Response::Answered {
                url,
                content_type,
                n_bytes,
                ..
            } => self.gate.accept(&fetch, url, content_type, *n_bytes).err(),
        };
        out.push(match refusal {
            Some(refusal) => Action::refuse(id, request, refusal, None),
            None => Action::Deliver {
                call: id.to_string(),
                request,
            },
        });
        Ok(())
    }
}
