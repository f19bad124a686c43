//! What is asked of a reply, and the grammar engine that holds it to that.

use std::sync::Arc;

use crate::decode::GenerateOptions;
use crate::decode::constraint::{Constraint, ConstraintCompiler, ConstraintSpec};
use crate::error::{Code, Error, Result};
use crate::tokenizer::Tokenizer;

/// Constraints that are remembered, so that they are compiled once.
const MAX_REMEMBERED: usize = 8;

/// What is asked of a reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplyRequest {
    /// How it is made.
    pub options: GenerateOptions,
    /// What it must look like.
    pub constraint: Option<ConstraintSpec>,
}

impl From<GenerateOptions> for ReplyRequest {
    fn from(options: GenerateOptions) -> Self {
        Self {
            options,
            constraint: None,
        }
    }
}

/// The grammar engine of one vocabulary, once it is needed, and the constraints that it
/// compiled last.
#[derive(Default)]
pub(super) struct Constraints {
    compiler: Option<ConstraintCompiler>,
    /// The latest last.
    compiled: Vec<(ConstraintSpec, Constraint)>,
}

impl Constraints {
    /// A constraint at its beginning.
    pub fn get(&mut self, tokenizer: &Arc<Tokenizer>, spec: &ConstraintSpec) -> Result<Constraint> {
        if let Some(at) = self.compiled.iter().position(|(known, _)| known == spec) {
            let known = self.compiled.remove(at);
            let constraint = known.1.clone();
            self.compiled.push(known);
            return Ok(constraint);
        }
        let compiler = match &mut self.compiler {
            Some(compiler) => compiler,
            none => {
                let end = end_token(tokenizer)?;
                none.insert(ConstraintCompiler::new(tokenizer.clone(), end)?)
            }
        };
        let constraint = compiler.compile(spec)?;
        if self.compiled.len() == MAX_REMEMBERED {
            self.compiled.remove(0);
        }
        self.compiled.push((spec.clone(), constraint.clone()));
        Ok(constraint)
    }
}

/// The token that ends a complete reply.
pub(super) fn end_token(tokenizer: &Tokenizer) -> Result<u32> {
    let end = tokenizer.eot_id().or(tokenizer.eos_id());
    end.or(tokenizer.stop_ids().first().copied())
        .ok_or_else(|| {
            let detail = "the tokenizer has no token that could end a constrained reply";
            Error::new(Code::ConstraintInvalid, "constraint", detail)
        })
}
