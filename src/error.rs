//! One public error for the whole engine, with a code that never changes.
//!
//! A [`Code`] is what programs match on, in Rust and in JavaScript alike; the
//! message is for people and names the thing at fault (a tensor, a field, a
//! file).

use std::fmt;

/// The result of everything that can fail on outside input.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and how to recognise it from a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    subject: String,
    detail: String,
}

impl Error {
    /// An error with a stable `code` about `subject` (the offending tensor, field
    /// or file, by its own name); `detail` is a sentence for people.
    pub fn new(code: Code, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code,
            subject: subject.into(),
            detail: detail.into(),
        }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The name of the thing at fault.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What is wrong with it.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() {
            f.write_str(&self.detail)
        } else {
            write!(f, "{}: {}", self.subject, self.detail)
        }
    }
}

impl std::error::Error for Error {}

/// Declares [`Code`] so that a code's spelling stands once.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Every stable error code. The spelling (`as_str`) is part of the public
        /// interface: it is what JavaScript sees as `error.code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the order of this table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code of this spelling.
            pub fn parse(text: &str) -> Option<Code> {
                Self::ALL.iter().copied().find(|code| code.as_str() == text)
            }

            /// The stable spelling.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A file, URL or range could not be read.
    SourceUnreadable = "source_unreadable",
    /// Fewer bytes than the header or the server promised.
    SourceTruncated = "source_truncated",
    /// Not a format this crate reads.
    FormatUnknown = "format_unknown",
    /// A header that contradicts itself or the file's size.
    FormatMalformed = "format_malformed",
    /// A version of a known format that is not supported.
    FormatVersion = "format_version",
    /// A tensor the model needs has an element type that cannot be read.
    DtypeUnsupported = "dtype_unsupported",
    /// A tensor the model needs is not in the checkpoint.
    TensorMissing = "tensor_missing",
    /// A tensor has another shape than the configuration implies.
    TensorShape = "tensor_shape",
    /// A tensor or a result holds NaN or infinity.
    NotFinite = "not_finite",
    /// A file that belongs to the checkpoint is not there.
    FileMissing = "file_missing",
    /// A configuration field is absent, of the wrong type or out of range.
    ConfigInvalid = "config_invalid",
    /// An architecture outside the table.
    ArchitectureUnknown = "architecture_unknown",
    /// A tokenizer that cannot be built from what the checkpoint holds.
    TokenizerInvalid = "tokenizer_invalid",
    /// A tokenizer of a kind that is not supported.
    TokenizerUnsupported = "tokenizer_unsupported",
    /// A token id outside the vocabulary.
    TokenUnknown = "token_unknown",
    /// A chat template that does not parse or fails while rendering.
    TemplateInvalid = "template_invalid",
    /// A chat template that called `raise_exception`: the message is its own.
    TemplateRaised = "template_raised",
    /// A chat template that did more work than is allowed.
    TemplateLimit = "template_limit",
    /// A request field of the wrong type, range or name.
    RequestInvalid = "request_invalid",
    /// A draft that cannot serve its target.
    PairMismatch = "pair_mismatch",
    /// A schema, expression or grammar that is wrong or asks for what cannot be enforced.
    ConstraintInvalid = "constraint_invalid",
    /// A schema, expression or grammar that takes too much work or memory.
    ConstraintLimit = "constraint_limit",
    /// Prompt and reply together do not fit the context window.
    ContextOverflow = "context_overflow",
    /// What was asked for does not fit the memory budget.
    OutOfMemory = "out_of_memory",
    /// No usable GPU adapter.
    GpuUnavailable = "gpu_unavailable",
    /// The GPU device was lost.
    GpuLost = "gpu_lost",
    /// The GPU refused a shader, a binding or a command.
    GpuFailed = "gpu_failed",
    /// A server that stands in for the engine refused or failed.
    RemoteFailed = "remote_failed",
    /// The tab of a site that had the engine for the others went away.
    EngineMoved = "engine_moved",
    /// The caller stopped it.
    Aborted = "aborted",
    /// A defect in this crate: please report it.
    Internal = "internal",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_and_spelled_like_identifiers() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} stands twice");
            assert_eq!(Code::parse(text), Some(*code));
            assert!(
                text.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_names_the_thing_at_fault() {
        let error = Error::new(
            Code::TensorMissing,
            "blk.0.attn_q.weight",
            "not in the checkpoint",
        );
        assert_eq!(
            error.to_string(),
            "blk.0.attn_q.weight: not in the checkpoint"
        );
        assert_eq!(error.code().as_str(), "tensor_missing");
    }
}
