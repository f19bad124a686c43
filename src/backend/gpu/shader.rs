//! WGSL files -> the text of one shader module.
//!
//! WGSL has neither imports nor conditional compilation, and constants cannot size
//! registers by name, so the shaders in `shaders/` use a few directives of our own,
//! each alone on its line:
//!
//! - `#import name` puts `shared/name.wgsl` here, once; `#import params` and
//!   `#import format` put what the kernel was specialised with.
//! - `#ifdef NAME`, `#ifndef NAME`, `#else`, `#endif`.
//! - `#for i in A..B` ... `#end` repeats lines with `$i` replaced: loops that must be
//!   unrolled, because arrays indexed at run time live in slow memory.
//! - `$NAME` is the value of a definition.
//!
//! Anything unknown is an error that names the file and the line.

use std::collections::BTreeMap;

use super::sampler;
use super::state;
use super::weights::Format;
use crate::error::{Code, Error, Result};

/// The kernels, one file each.
const KERNELS: &[(&str, &str)] = &[
    ("accept", include_str!("../../../shaders/accept.wgsl")),
    ("adjust", include_str!("../../../shaders/adjust.wgsl")),
    ("attention", include_str!("../../../shaders/attention.wgsl")),
    (
        "attention_merge",
        include_str!("../../../shaders/attention_merge.wgsl"),
    ),
    ("embed", include_str!("../../../shaders/embed.wgsl")),
    ("head", include_str!("../../../shaders/head.wgsl")),
    ("kv_move", include_str!("../../../shaders/kv_move.wgsl")),
    (
        "linear_add",
        include_str!("../../../shaders/linear_add.wgsl"),
    ),
    ("logprobs", include_str!("../../../shaders/logprobs.wgsl")),
    ("norm_add", include_str!("../../../shaders/norm_add.wgsl")),
    (
        "norm_gate_up",
        include_str!("../../../shaders/norm_gate_up.wgsl"),
    ),
    (
        "norm_linear",
        include_str!("../../../shaders/norm_linear.wgsl"),
    ),
    (
        "rope_append",
        include_str!("../../../shaders/rope_append.wgsl"),
    ),
    ("sample", include_str!("../../../shaders/sample.wgsl")),
    (
        "sample_scan",
        include_str!("../../../shaders/sample_scan.wgsl"),
    ),
];

/// What several kernels import.
const SHARED: &[(&str, &str)] = &[
    (
        "activation",
        include_str!("../../../shaders/shared/activation.wgsl"),
    ),
    ("cache", include_str!("../../../shaders/shared/cache.wgsl")),
    (
        "contest",
        include_str!("../../../shaders/shared/contest.wgsl"),
    ),
    (
        "format_bf16",
        include_str!("../../../shaders/shared/format_bf16.wgsl"),
    ),
    (
        "format_f16",
        include_str!("../../../shaders/shared/format_f16.wgsl"),
    ),
    (
        "format_f32",
        include_str!("../../../shaders/shared/format_f32.wgsl"),
    ),
    (
        "format_i8",
        include_str!("../../../shaders/shared/format_i8.wgsl"),
    ),
    (
        "format_q2_k",
        include_str!("../../../shaders/shared/format_q2_k.wgsl"),
    ),
    (
        "format_q3_k",
        include_str!("../../../shaders/shared/format_q3_k.wgsl"),
    ),
    (
        "format_q4",
        include_str!("../../../shaders/shared/format_q4.wgsl"),
    ),
    (
        "format_q4_k",
        include_str!("../../../shaders/shared/format_q4_k.wgsl"),
    ),
    (
        "format_q6_k",
        include_str!("../../../shaders/shared/format_q6_k.wgsl"),
    ),
    ("gemm", include_str!("../../../shaders/shared/gemm.wgsl")),
    (
        "matvec",
        include_str!("../../../shaders/shared/matvec.wgsl"),
    ),
    ("noise", include_str!("../../../shaders/shared/noise.wgsl")),
    (
        "projection",
        include_str!("../../../shaders/shared/projection.wgsl"),
    ),
    (
        "scores",
        include_str!("../../../shaders/shared/scores.wgsl"),
    ),
    (
        "softcap",
        include_str!("../../../shaders/shared/softcap.wgsl"),
    ),
    ("state", include_str!("../../../shaders/shared/state.wgsl")),
    (
        "tokens",
        include_str!("../../../shaders/shared/tokens.wgsl"),
    ),
    (
        "weights",
        include_str!("../../../shaders/shared/weights.wgsl"),
    ),
];

/// Names and values that specialise a kernel.
pub type Defines = BTreeMap<&'static str, u32>;

/// A kernel and what it is specialised with: everything its text depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant {
    /// The kernel: a file in `shaders/`.
    pub kernel: &'static str,
    /// The uniform block, as WGSL (see [`super::params`]).
    pub params: &'static str,
    /// The file in `shaders/shared/` that `#import format` stands for.
    pub format: Option<&'static str>,
    /// The definitions.
    pub defines: Defines,
}

impl Variant {
    /// A variant without a weight format.
    pub fn new(kernel: &'static str, params: &'static str) -> Self {
        Self {
            kernel,
            params,
            format: None,
            defines: Defines::new(),
        }
    }

    /// With one more definition.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: usize) -> Self {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.defines.insert(name, value);
        self
    }

    /// With a definition that says only that something is so, or not.
    #[must_use]
    pub fn flag(self, name: &'static str, set: bool) -> Self {
        if set { self.with(name, 1) } else { self }
    }

    /// With matrices of this format.
    #[must_use]
    pub fn formatted(mut self, format: Format) -> Self {
        self.format = Some(format.shader());
        for (name, value) in format.defines() {
            self = self.with(name, *value);
        }
        self
    }

    /// For reports and labels: the kernel, its format and its definitions.
    pub fn label(&self) -> String {
        let mut label = self.kernel.to_string();
        if let Some(format) = self.format {
            label += &format!(" {format}");
        }
        for (name, value) in &self.defines {
            label += &format!(" {name}={value}");
        }
        label
    }

    /// The WGSL of this variant.
    ///
    /// # Errors
    /// `internal` for a directive, an import or a name that is not known.
    pub fn source(&self) -> Result<String> {
        let mut defines = self.defines.clone();
        defines.extend(state::DEFINES.iter().copied());
        defines.extend(sampler::DEFINES.iter().copied());
        let mut expansion = Expansion {
            params: self.params,
            format: self.format,
            defines: defines.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
            imported: Vec::new(),
            out: String::new(),
        };
        let lines = numbered(find(KERNELS, self.kernel, self.kernel, 0)?);
        expansion.expand(self.kernel, &lines)?;
        Ok(expansion.out)
    }
}

type Line<'a> = (usize, &'a str);

fn numbered(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line))
        .collect()
}

fn slip(file: &str, line: usize, detail: impl std::fmt::Display) -> Error {
    Error::new(
        Code::Internal,
        format!("shaders/{file}.wgsl:{line}"),
        detail.to_string(),
    )
}

fn find(
    table: &[(&str, &'static str)],
    name: &str,
    file: &str,
    line: usize,
) -> Result<&'static str> {
    let found = table.iter().find(|(n, _)| *n == name);
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| slip(file, line, format!("no file {name}")))
}

struct Expansion<'a> {
    params: &'a str,
    format: Option<&'static str>,
    defines: BTreeMap<String, u32>,
    imported: Vec<String>,
    out: String,
}

impl Expansion<'_> {
    fn expand(&mut self, file: &str, lines: &[Line<'_>]) -> Result<()> {
        // Whether each open `#ifdef` holds.
        let mut open: Vec<bool> = Vec::new();
        let mut at = 0;
        while let Some(&(number, line)) = lines.get(at) {
            at += 1;
            let (word, rest) = directive(line);
            match word {
                "#ifdef" => open.push(self.defines.contains_key(rest)),
                "#ifndef" => open.push(!self.defines.contains_key(rest)),
                "#else" | "#endif" => {
                    let held = open
                        .pop()
                        .ok_or_else(|| slip(file, number, "no #ifdef is open"))?;
                    if word == "#else" {
                        open.push(!held);
                    }
                }
                "#for" => {
                    let len =
                        body_len(&lines[at..]).ok_or_else(|| slip(file, number, "no #end"))?;
                    let body = &lines[at..at + len];
                    at += len + 1;
                    if open.iter().all(|held| *held) {
                        self.repeat(file, number, rest, body)?;
                    }
                }
                "#end" => return Err(slip(file, number, "no #for is open")),
                _ if !open.iter().all(|held| *held) => {}
                "#import" => self.import(file, number, rest)?,
                _ if word.starts_with('#') => {
                    return Err(slip(file, number, format!("unknown directive {word}")));
                }
                _ => self.substitute(file, number, line)?,
            }
        }
        match open.is_empty() {
            true => Ok(()),
            false => Err(slip(file, lines.len(), "no #endif")),
        }
    }

    fn import(&mut self, file: &str, number: usize, name: &str) -> Result<()> {
        if self.imported.iter().any(|n| n == name) {
            return Ok(());
        }
        self.imported.push(name.to_string());
        match (name, self.format) {
            ("params", _) => {
                self.out += self.params;
                Ok(())
            }
            ("format", None) => Err(slip(file, number, "this variant has no weight format")),
            ("format", Some(format)) => {
                self.expand(format, &numbered(find(SHARED, format, file, number)?))
            }
            _ => self.expand(name, &numbered(find(SHARED, name, file, number)?)),
        }
    }

    fn repeat(&mut self, file: &str, number: usize, head: &str, body: &[Line<'_>]) -> Result<()> {
        let parse = || {
            let (name, range) = head.split_once(" in ")?;
            let (first, last) = range.split_once("..")?;
            Some((
                name.trim(),
                self.value(first.trim())?,
                self.value(last.trim())?,
            ))
        };
        let (name, first, last) =
            parse().ok_or_else(|| slip(file, number, "not `#for i in A..B` with known bounds"))?;
        let outer = self.defines.get(name).copied();
        for i in first..last {
            self.defines.insert(name.to_string(), i);
            self.expand(file, body)?;
        }
        match outer {
            Some(value) => self.defines.insert(name.to_string(), value),
            None => self.defines.remove(name),
        };
        Ok(())
    }

    fn value(&self, text: &str) -> Option<u32> {
        text.parse()
            .ok()
            .or_else(|| self.defines.get(text).copied())
    }

    fn substitute(&mut self, file: &str, number: usize, line: &str) -> Result<()> {
        let mut pieces = line.split('$');
        self.out += pieces.next().unwrap_or_default();
        for piece in pieces {
            let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, rest) = piece.split_at(end.unwrap_or(piece.len()));
            let value = self.defines.get(name);
            let value =
                value.ok_or_else(|| slip(file, number, format!("${name} is not defined")))?;
            self.out += &value.to_string();
            self.out += rest;
        }
        self.out.push('\n');
        Ok(())
    }
}

/// The first word of a line that is a directive, and what follows it.
fn directive(line: &str) -> (&str, &str) {
    let line = line.trim();
    match line.split_once(char::is_whitespace) {
        _ if !line.starts_with('#') => ("", line),
        Some((word, rest)) => (word, rest.trim()),
        None => (line, ""),
    }
}

/// How many lines stand before the `#end` that closes a `#for`.
fn body_len(lines: &[Line<'_>]) -> Option<usize> {
    let mut depth = 0;
    lines.iter().position(|(_, line)| {
        match directive(line).0 {
            "#for" => depth += 1,
            "#end" => depth -= 1,
            _ => {}
        }
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, defines: &[(&str, u32)]) -> Result<String> {
        let mut expansion = Expansion {
            params: "struct Params {}\n",
            format: Some("format_f32"),
            defines: defines.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
            imported: Vec::new(),
            out: String::new(),
        };
        expansion.expand("test", &numbered(text))?;
        Ok(expansion.out)
    }

    #[test]
    fn loops_unroll_and_nest() {
        let text = "#for r in 0..ROWS\n#for c in 1..3\na$r_ $r$c;\n#end\n#end";
        let error = expand(text, &[("ROWS", 2)]).unwrap_err();
        assert_eq!(error.to_string(), "shaders/test.wgsl:3: $r_ is not defined");
        let text = "#for r in 0..ROWS\n#for c in 1..3\na[$r * 2 + $c];\n#end\n#end";
        let want = "a[0 * 2 + 1];\na[0 * 2 + 2];\na[1 * 2 + 1];\na[1 * 2 + 2];\n";
        assert_eq!(expand(text, &[("ROWS", 2)]).unwrap(), want);
    }

    #[test]
    fn conditions_choose_lines() {
        let text = "#ifdef A\na\n#ifndef B\nb\n#else\nc\n#endif\n#else\nd\n#endif";
        assert_eq!(expand(text, &[("A", 1)]).unwrap(), "a\nb\n");
        assert_eq!(expand(text, &[("A", 1), ("B", 1)]).unwrap(), "a\nc\n");
        assert_eq!(expand(text, &[("B", 1)]).unwrap(), "d\n");
    }

    #[test]
    fn imports_stand_once_and_unknown_things_are_errors() {
        let text = "#import params\n#import params";
        assert_eq!(expand(text, &[]).unwrap(), "struct Params {}\n");
        for text in [
            "#import nothing",
            "#include x",
            "#ifdef A",
            "#else",
            "#for i in 0..2",
            "#end",
        ] {
            assert_eq!(
                expand(text, &[]).unwrap_err().code(),
                Code::Internal,
                "{text}"
            );
        }
    }
}
