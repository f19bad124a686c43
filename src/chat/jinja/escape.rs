//! Escapes in string constants.

/// Python's `unicode-escape`, which jinja2 applies to string constants: an unknown
/// escape keeps its backslash.
pub(super) fn unescape(body: &str) -> Option<String> {
    if !body.contains('\\') {
        return Some(body.to_string());
    }
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let hex_digits = match chars.next()? {
            '\n' => continue,
            'a' => {
                text.push('\u{7}');
                continue;
            }
            'b' => {
                text.push('\u{8}');
                continue;
            }
            'f' => {
                text.push('\u{c}');
                continue;
            }
            'n' => {
                text.push('\n');
                continue;
            }
            'r' => {
                text.push('\r');
                continue;
            }
            't' => {
                text.push('\t');
                continue;
            }
            'v' => {
                text.push('\u{b}');
                continue;
            }
            first @ '0'..='7' => {
                let mut code = first.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    chars.next();
                }
                text.push(char::from_u32(code)?);
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            c @ ('\\' | '\'' | '"') => {
                text.push(c);
                continue;
            }
            other => {
                text.push('\\');
                text.push(other);
                continue;
            }
        };
        let mut hex = |digits: u32| {
            let mut code = 0u32;
            for _ in 0..digits {
                code = code
                    .checked_mul(16)?
                    .checked_add(chars.next()?.to_digit(16)?)?;
            }
            Some(code)
        };
        let mut code = hex(hex_digits)?;
        // A surrogate pair is written as two escapes in templates that came through JSON.
        if (0xd800..0xdc00).contains(&code) {
            let low = (chars.next()? == '\\' && chars.next()? == 'u')
                .then(|| (0..4).try_fold(0u32, |n, _| Some(n * 16 + chars.next()?.to_digit(16)?)))
                .flatten()?;
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            code = 0x10000 + ((code - 0xd800) << 10) + low;
        }
        text.push(char::from_u32(code)?);
    }
    Some(text)
}
