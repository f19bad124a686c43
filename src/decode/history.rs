//! What was said so far.

use std::collections::HashMap;

/// What was said so far, counted: the penalties' memory. Drafted tokens are pushed
/// and popped as they are tried.
#[derive(Debug, Clone, Default)]
pub struct History {
    tokens: Vec<u32>,
    n_prompt: usize,
    pub(super) in_prompt: HashMap<u32, u32>,
    pub(super) in_reply: HashMap<u32, u32>,
}

impl History {
    /// A history that begins with a prompt.
    pub fn new(prompt: &[u32]) -> Self {
        let mut in_prompt = HashMap::new();
        for &token in prompt {
            *in_prompt.entry(token).or_insert(0) += 1;
        }
        Self {
            tokens: prompt.to_vec(),
            n_prompt: prompt.len(),
            in_prompt,
            in_reply: HashMap::new(),
        }
    }

    /// One more token of the reply.
    pub fn push(&mut self, token: u32) {
        self.tokens.push(token);
        *self.in_reply.entry(token).or_insert(0) += 1;
    }

    /// Forgets tokens of the reply until `len` are left in all.
    pub fn truncate(&mut self, len: usize) {
        assert!(
            len >= self.n_prompt,
            "cannot forget the prompt: {len} < {}",
            self.n_prompt
        );
        while self.tokens.len() > len {
            let Some(token) = self.tokens.pop() else {
                return;
            };
            if let Some(count) = self.in_reply.get_mut(&token) {
                *count -= 1;
                if *count == 0 {
                    self.in_reply.remove(&token);
                }
            }
        }
    }

    /// Prompt and reply.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens in all; the position of the next one.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The reply alone.
    pub fn reply(&self) -> &[u32] {
        &self.tokens[self.n_prompt..]
    }
}
