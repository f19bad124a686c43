//! Rust text -> the paths it names inside the crate.
//!
//! Not a parser: comments and lifetimes are taken out, and what is left is words,
//! strings and punctuation. That is enough to find every `crate::`, `self::` and
//! `super::` path, use trees included, wherever it stands.

/// One file, as tokens.
pub struct Source {
    /// Its path below `src/`.
    pub name: String,
    /// Its module path below the crate.
    pub module: Vec<String>,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Ident(String),
    PathSep,
    Punct(char),
    /// The text between the quotes, escapes as they are written.
    Text(String),
}

impl Source {
    /// Reads a file called `name`, relative to `src/`.
    pub fn new(name: &str, text: &str) -> Self {
        let stem = name.strip_suffix(".rs").unwrap_or(name);
        let mut module: Vec<String> = stem.split(['/', '\\']).map(str::to_string).collect();
        if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
            module.pop();
        }
        Self {
            name: name.to_string(),
            module,
            tokens: tokens(text),
        }
    }

    /// How often any of `names` stands in the code.
    pub fn count_idents(&self, names: &[&str]) -> usize {
        let is_one =
            |token: &&Token| matches!(token, Token::Ident(name) if names.contains(&name.as_str()));
        self.tokens.iter().filter(is_one).count()
    }

    /// How often the code asks whether this is a browser.
    pub fn count_wasm_questions(&self) -> usize {
        let asks = |window: &&[Token]| match window {
            [Token::Ident(key), Token::Punct('='), Token::Text(value)] => {
                matches!(
                    key.as_str(),
                    "target_arch" | "target_family" | "target_os" | "target_env"
                ) && (value.starts_with("wasm") || value == "unknown")
            }
            _ => false,
        };
        self.tokens.windows(3).filter(asks).count()
    }

    /// Every path that begins with `crate`, `self` or `super`, from the crate's root on.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        // The inline modules around the current token, and the depth each began at.
        let mut inline: Vec<(usize, String)> = Vec::new();
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Punct('{') => {
                    depth += 1;
                    if let Some(Token::Ident(name)) = at.checked_sub(1).map(|i| &self.tokens[i])
                        && at >= 2
                        && self.tokens[at - 2] == Token::Ident("mod".to_string())
                    {
                        inline.push((depth, name.clone()));
                    }
                }
                Token::Punct('}') => {
                    if inline.last().is_some_and(|(began, _)| *began == depth) {
                        inline.pop();
                    }
                    depth -= 1;
                }
                Token::Ident(name) if matches!(name.as_str(), "crate" | "super" | "self") => {
                    let starts = at == 0 || self.tokens[at - 1] != Token::PathSep;
                    if starts && self.tokens.get(at + 1) == Some(&Token::PathSep) {
                        let mut here = self.module.clone();
                        here.extend(inline.iter().map(|(_, name)| name.clone()));
                        self.tree(at, &mut here, &mut found);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Follows one use tree from `at`, `base` being where it stands in the crate, and
    /// returns the index after it.
    fn tree(&self, mut at: usize, base: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
        loop {
            match self.tokens.get(at) {
                Some(Token::Ident(name)) => match name.as_str() {
                    "crate" => base.clear(),
                    "super" => drop(base.pop()),
                    "self" => {}
                    _ => base.push(name.clone()),
                },
                Some(Token::Punct('{')) => {
                    at += 1;
                    while !matches!(self.tokens.get(at), None | Some(Token::Punct('}'))) {
                        at = self.tree(at, &mut base.clone(), found);
                        // `as name`, and the comma.
                        while !matches!(self.tokens.get(at), None | Some(Token::Punct(',' | '}'))) {
                            at += 1;
                        }
                        if self.tokens.get(at) == Some(&Token::Punct(',')) {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                _ => {}
            }
            at += 1;
            if self.tokens.get(at) == Some(&Token::PathSep) {
                at += 1;
            } else {
                found.push(base.clone());
                return at;
            }
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = after_comment(&chars, i);
        } else if c == '"' {
            let begin = i + 1;
            i = after_string(&chars, i).min(chars.len());
            let end = (i - 1).max(begin).min(chars.len());
            tokens.push(Token::Text(chars[begin.min(end)..end].iter().collect()));
        } else if let Some(after) = after_raw_string(&chars, i) {
            i = after;
        } else if c == '\'' {
            // A character, or a lifetime, which nothing follows that closes it.
            if at(i + 1) == '\\' {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
                while is_word(at(i)) {
                    i += 1;
                }
            }
        } else if is_word(c) {
            let begin = i;
            while is_word(at(i)) {
                i += 1;
            }
            tokens.push(Token::Ident(chars[begin..i].iter().collect()));
        } else if c == ':' && at(i + 1) == ':' {
            tokens.push(Token::PathSep);
            i += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Punct(c));
            }
            i += 1;
        }
    }
    tokens
}

/// Comments nest.
fn after_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                i += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => i += 1,
        }
    }
    i
}

fn after_string(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// `r"..."`, `br#"..."#` and their like, or `None` where none begins at `i`.
fn after_raw_string(chars: &[char], mut i: usize) -> Option<usize> {
    if i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_') {
        return None;
    }
    if matches!(chars.get(i), Some('b' | 'c')) {
        i += 1;
    }
    if chars.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    i += 1;
    while i < chars.len() {
        let closes = chars[i] == '"'
            && chars[i + 1..].len() >= hashes
            && chars[i + 1..i + 1 + hashes].iter().all(|c| *c == '#');
        i += 1;
        if closes {
            return Some(i + hashes);
        }
    }
    Some(i)
}
