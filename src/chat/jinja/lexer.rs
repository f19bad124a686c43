//! Template source -> tokens, as jinja2's lexer cuts it with `trim_blocks` and
//! `lstrip_blocks` set and `keep_trailing_newline` unset (how Hugging Face runs it).

use super::escape::unescape;
use super::meter::{Fault, invalid};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    Data(String),
    BlockBegin,
    BlockEnd,
    OutputBegin,
    OutputEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    Eof,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) line: u32,
}

/// Longest first, so that the first that fits is the one meant.
const OPERATORS: [&str; 27] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}",
    "<", ">", "=", ".", ":", "|", ",", ";", "!",
];

/// Python's `str.isspace` for one character.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Whether what was read last ended a line.
    line_starting: bool,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Output,
    Block,
    Comment,
}

/// Cuts `source` into tokens. `max_tokens` bounds the memory it takes.
pub(crate) fn lex(source: &str, max_tokens: usize) -> Result<Vec<Token>, Fault> {
    let mut normal = source.replace("\r\n", "\n").replace('\r', "\n");
    if normal.ends_with('\n') {
        normal.pop();
    }
    let mut lexer = Lexer {
        source: &normal,
        at: 0,
        line: 1,
        line_starting: true,
        tokens: Vec::new(),
    };
    while lexer.at < lexer.source.len() {
        if lexer.tokens.len() > max_tokens {
            return Err(Fault::Limit("the template has too many tokens"));
        }
        lexer.text_and_tag(max_tokens)?;
    }
    lexer.push(Tok::Eof);
    Ok(lexer.tokens)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, tok: Tok) {
        self.tokens.push(Token {
            tok,
            line: self.line,
        });
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err(invalid(message).at(self.line))
    }

    /// Moves past `bytes`, counting lines.
    fn skip(&mut self, bytes: usize) {
        let passed = self.rest().get(..bytes).unwrap_or_default();
        self.line += passed.bytes().filter(|b| *b == b'\n').count() as u32;
        if let Some(last) = passed.chars().next_back() {
            self.line_starting = last == '\n';
        }
        self.at += bytes;
    }

    /// Text up to the next tag, then the tag.
    fn text_and_tag(&mut self, max_tokens: usize) -> Result<(), Fault> {
        let rest = self.rest();
        let found = rest.char_indices().find_map(|(at, c)| {
            let next = rest.as_bytes().get(at + 1)?;
            match (c, next) {
                ('{', b'{') => Some((at, Tag::Output)),
                ('{', b'%') => Some((at, Tag::Block)),
                ('{', b'#') => Some((at, Tag::Comment)),
                _ => None,
            }
        });
        let Some((at, tag)) = found else {
            self.data(rest);
            self.at = self.source.len();
            return Ok(());
        };
        let sign = match rest.as_bytes().get(at + 2) {
            Some(b'-') => Some('-'),
            Some(b'+') => Some('+'),
            _ => None,
        };
        let text = rest.get(..at).unwrap_or_default();
        self.data(self.before_tag(text, sign, tag != Tag::Output));
        self.skip(at + 2 + usize::from(sign.is_some()));
        match tag {
            Tag::Comment => self.comment(),
            Tag::Output => {
                self.push(Tok::OutputBegin);
                self.inside(Tag::Output, max_tokens)
            }
            Tag::Block if self.raw_begin() => self.raw(),
            Tag::Block => {
                self.push(Tok::BlockBegin);
                self.inside(Tag::Block, max_tokens)
            }
        }
    }

    fn data(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(Tok::Data(text.to_string()));
        }
    }

    /// What is left of the text before a tag after `-` or `lstrip_blocks`.
    fn before_tag<'t>(&self, text: &'t str, sign: Option<char>, block: bool) -> &'t str {
        if sign == Some('-') {
            return text.trim_end_matches(is_space);
        }
        if sign == Some('+') || !block {
            return text;
        }
        let line_start = text.rfind('\n').map_or(0, |at| at + 1);
        let (before, last_line) = text.split_at(line_start);
        if (line_start > 0 || self.line_starting) && last_line.chars().all(is_space) {
            return before;
        }
        text
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let Some(end) = self.rest().find("#}") else {
            return self.fail("Missing end of comment tag");
        };
        let sign = self
            .rest()
            .get(..end)
            .and_then(|body| body.chars().next_back());
        self.skip(end + 2);
        self.after_block_end(sign);
        Ok(())
    }

    /// `-` eats the white space that follows, nothing eats one newline
    /// (`trim_blocks`), `+` neither.
    fn after_block_end(&mut self, sign: Option<char>) {
        let rest = self.rest();
        match sign {
            Some('-') => {
                let spaces = rest.len() - rest.trim_start_matches(is_space).len();
                self.skip(spaces);
            }
            Some('+') => {}
            _ if rest.starts_with('\n') => self.skip(1),
            _ => {}
        }
    }

    /// At `raw %}` or `raw -%}`: moves past it.
    fn raw_begin(&mut self) -> bool {
        let rest = self.rest();
        let Some(name) = rest.trim_start_matches(is_space).strip_prefix("raw") else {
            return false;
        };
        let end = name.trim_start_matches(is_space);
        if let Some(after) = end.strip_prefix("-%}") {
            let text = after.trim_start_matches(is_space);
            self.skip(rest.len() - text.len());
            true
        } else if let Some(after) = end.strip_prefix("%}") {
            self.skip(rest.len() - after.len());
            true
        } else {
            false
        }
    }

    fn raw(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(begin) = rest
            .get(from..)
            .and_then(|r| r.find("{%"))
            .map(|b| b + from)
        {
            from = begin + 2;
            let mut inner = rest.get(from..).unwrap_or_default();
            let sign = inner.chars().next().filter(|c| matches!(c, '-' | '+'));
            inner = inner.get(usize::from(sign.is_some())..).unwrap_or_default();
            let Some(name) = inner.trim_start_matches(is_space).strip_prefix("endraw") else {
                continue;
            };
            let end = name.trim_start_matches(is_space);
            let (end_sign, after) = match end.chars().next() {
                Some(c @ ('-' | '+')) => (Some(c), end.get(1..).unwrap_or_default()),
                _ => (None, end),
            };
            let Some(after) = after.strip_prefix("%}") else {
                continue;
            };
            let text = rest.get(..begin).unwrap_or_default();
            self.data(self.before_tag(text, sign, true));
            self.skip(rest.len() - after.len());
            self.after_block_end(end_sign);
            return Ok(());
        }
        self.fail("Missing end of raw directive")
    }

    /// The tokens between a tag's delimiters.
    fn inside(&mut self, tag: Tag, max_tokens: usize) -> Result<(), Fault> {
        let mut open: Vec<char> = Vec::new();
        loop {
            let rest = self.rest();
            let space = rest.len() - rest.trim_start_matches(is_space).len();
            self.skip(space);
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return self.fail("unexpected end of template inside a tag");
            };
            if self.tokens.len() > max_tokens {
                return Err(Fault::Limit("the template has too many tokens"));
            }
            if open.is_empty() && self.tag_end(tag) {
                return Ok(());
            }
            if c == '\'' || c == '"' {
                self.string(c)?;
            } else if c.is_ascii_digit() {
                self.number()?;
            } else if c == '_' || c.is_alphanumeric() {
                let len = rest
                    .find(|c: char| c != '_' && !c.is_alphanumeric())
                    .unwrap_or(rest.len());
                self.push(Tok::Name(rest.get(..len).unwrap_or_default().to_string()));
                self.skip(len);
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn tag_end(&mut self, tag: Tag) -> bool {
        let rest = self.rest();
        let close = if tag == Tag::Output { "}}" } else { "%}" };
        let (sign, after) = match rest.chars().next() {
            Some(c @ ('-' | '+')) => (Some(c), rest.get(1..).unwrap_or_default()),
            _ => (None, rest),
        };
        if !after.starts_with(close) || (tag == Tag::Output && sign == Some('+')) {
            return false;
        }
        self.push(if tag == Tag::Output {
            Tok::OutputEnd
        } else {
            Tok::BlockEnd
        });
        self.skip(2 + usize::from(sign.is_some()));
        if tag == Tag::Block || sign == Some('-') {
            self.after_block_end(sign);
        }
        true
    }

    fn operator(&mut self, open: &mut Vec<char>) -> Result<(), Fault> {
        let rest = self.rest();
        let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
            let c = rest.chars().next().unwrap_or_default();
            return self.fail(format!("unexpected char {c:?}"));
        };
        match *op {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" if open.pop().map(|c| op.starts_with(c)) != Some(true) => {
                return self.fail(format!("unexpected '{op}'"));
            }
            _ => {}
        }
        self.push(Tok::Op(op));
        self.skip(op.len());
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let radix = match bytes.get(..2) {
            Some(b"0x" | b"0X") => 16,
            Some(b"0o" | b"0O") => 8,
            Some(b"0b" | b"0B") => 2,
            _ => 10,
        };
        let digits_from = |from: usize| {
            let tail = bytes.get(from..).unwrap_or_default();
            let is_digit = |b: &u8| *b == b'_' || (*b as char).is_digit(radix);
            from + tail.iter().take_while(|b| is_digit(b)).count()
        };
        let digit_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        if radix != 10 {
            let end = digits_from(2);
            let digits = rest.get(2..end).unwrap_or_default().replace('_', "");
            return self.integer(&digits, radix, end);
        }
        let mut end = digits_from(0);
        let mut float = false;
        // `x.0.1` is two lookups, not a float.
        let after_dot = matches!(
            self.tokens.last(),
            Some(Token {
                tok: Tok::Op("."),
                ..
            })
        );
        if !after_dot {
            if bytes.get(end) == Some(&b'.') && digit_at(end + 1) {
                end = digits_from(end + 1);
                float = true;
            }
            if matches!(bytes.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
                if digit_at(end + 1 + sign) {
                    end = digits_from(end + 1 + sign);
                    float = true;
                }
            }
        }
        let digits = rest.get(..end).unwrap_or_default().replace('_', "");
        if !float {
            return self.integer(&digits, 10, end);
        }
        match digits.parse() {
            Ok(value) => {
                self.push(Tok::Float(value));
                self.skip(end);
                Ok(())
            }
            Err(_) => self.fail(format!("invalid number '{digits}'")),
        }
    }

    fn integer(&mut self, digits: &str, radix: u32, len: usize) -> Result<(), Fault> {
        match i128::from_str_radix(digits, radix) {
            Ok(value) => {
                self.push(Tok::Int(value));
                self.skip(len);
                Ok(())
            }
            Err(_) => self.fail(format!("integer '{digits}' is out of range")),
        }
    }

    fn string(&mut self, quote: char) -> Result<(), Fault> {
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == quote {
                end = Some(at);
                break;
            }
        }
        let Some(end) = end else {
            return self.fail(format!("unexpected char {quote:?}"));
        };
        let body = rest.get(1..end).unwrap_or_default();
        match unescape(body) {
            Some(text) => {
                self.push(Tok::Str(text));
                self.skip(end + 1);
                Ok(())
            }
            None => self.fail("a string escape is malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(source: &str) -> String {
        let tokens = lex(source, 1000).unwrap();
        let text = tokens.iter().filter_map(|t| match &t.tok {
            Tok::Data(text) => Some(text.clone()),
            Tok::BlockBegin => Some("<".into()),
            Tok::OutputBegin => Some("[".into()),
            _ => None,
        });
        text.collect()
    }

    #[test]
    fn white_space_around_tags_goes_as_jinja2_takes_it() {
        assert_eq!(
            data("a\n  {% if x %}\n  b\n  {% endif %}\nc\n"),
            "a\n<  b\n<c"
        );
        assert_eq!(data("a  {%- if x -%}  b  {%+ endif +%}\nc"), "a<b  <\nc");
        assert_eq!(data("a {{ x }}\nb {{- x -}} \n c"), "a [\nb[c");
        assert_eq!(data("  {# note #}\n  x"), "  x");
        assert_eq!(data("a {# {% if #} b"), "a  b");
        assert_eq!(data("x\r\ny\r"), "x\ny");
    }

    #[test]
    fn raw_is_text() {
        assert_eq!(data("{% raw %}{{ x }}{% endraw %}"), "{{ x }}");
        assert_eq!(data("a {%- raw -%} {% y %} {%- endraw -%} b"), "a{% y %}b");
        assert!(lex("{% raw %}", 10).is_err());
    }

    #[test]
    fn strings_escape_as_python_does() {
        assert_eq!(unescape(r#"\n\\\x41\u00e9\d\'"#).unwrap(), "\n\\Aé\\d'");
        assert_eq!(unescape(r"\ud83d\ude00").unwrap(), "\u{1f600}");
        assert_eq!(unescape(r"\101").unwrap(), "A");
        assert!(unescape(r"\x4").is_none());
        assert!(unescape(r"\ud83d").is_none());
    }

    #[test]
    fn a_closing_brace_inside_a_dictionary_does_not_end_the_tag() {
        let tokens = lex("{{ {'a': {'b': 1}} }}", 100).unwrap();
        assert_eq!(tokens[tokens.len() - 2].tok, Tok::OutputEnd);
        assert!(lex("{{ (] }}", 100).is_err());
        assert!(lex("{{ 'a", 100).is_err());
        assert!(lex("{# a", 100).is_err());
    }
}
