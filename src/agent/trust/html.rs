//! A web page -> the text that its reader would see. Nothing is run, loaded or rendered.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

/// Elements whose inside is not text for a reader.
const SKIPPED: &[&str] = &[
    "script", "style", "template", "noscript", "head", "iframe", "object", "embed", "svg", "math",
    "canvas", "audio", "video", "select", "datalist", "textarea", "button", "dialog", "noembed",
    "noframes", "xmp",
];

/// Elements that have no end tag.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

/// Elements that begin a line of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "title",
    "tr",
    "ul",
];

/// Longest alternative text of an image, in characters.
const MAX_ALT_CHARS: usize = 80;
/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 512;

/// The page's title and text. Scripts, styles, comments and what is hidden are left out;
/// links lose their targets, so that no address reaches the model through them.
pub fn html_to_text(html: &str) -> String {
    let mut reader = Reader::default();
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => reader.open(&tag),
            Token::EndTag(tag) => reader.close(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) => reader.text(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    reader.out.trim().to_string()
}

/// An element that is open and not read, or inside one.
#[derive(Default)]
struct Reader {
    out: String,
    /// Open elements, from the first that is not read.
    skipped: Vec<String>,
    in_title: bool,
    in_head: bool,
}

impl Reader {
    fn open(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        let is_void = VOID.contains(&name.as_str()) || tag.self_closing && is_foreign(&name);
        if !self.skipped.is_empty() {
            if !is_void && self.skipped.len() < MAX_DEPTH {
                self.skipped.push(name);
            }
            return;
        }
        match name.as_str() {
            // A page's head holds one text for readers.
            "head" => self.in_head = true,
            "body" => self.in_head = false,
            "title" => self.in_title = true,
            _ => {}
        }
        let skips = SKIPPED.contains(&name.as_str()) && name != "head";
        if skips || is_hidden_element(tag) {
            if !is_void {
                self.skipped.push(name);
            }
            return;
        }
        if name == "img"
            && let Some(alt) = attribute(tag, "alt").filter(|alt| !alt.trim().is_empty())
        {
            let alt: String = alt.chars().take(MAX_ALT_CHARS).collect();
            self.text(&format!("[image: {}]", alt.trim()));
        }
        self.around(&name);
        match name.as_str() {
            "br" => self.line(),
            "li" => self.out.push_str("- "),
            "td" | "th" => self.space(),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if !self.skipped.is_empty() {
            if let Some(at) = self.skipped.iter().rposition(|open| open == name) {
                self.skipped.truncate(at);
            } else if name == "body" || name == "html" {
                self.skipped.clear();
            }
            return;
        }
        match name {
            "head" => self.in_head = false,
            "title" => self.in_title = false,
            _ => {}
        }
        self.around(name);
    }

    fn text(&mut self, text: &str) {
        if !self.skipped.is_empty() || (self.in_head && !self.in_title) {
            return;
        }
        if text.starts_with(char::is_whitespace) {
            self.space();
        }
        for (i, word) in text.split_whitespace().enumerate() {
            if i > 0 {
                self.space();
            }
            self.out.push_str(word);
        }
        if text.ends_with(char::is_whitespace) {
            self.space();
        }
    }

    fn space(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        }
    }

    fn line(&mut self) {
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn around(&mut self, name: &str) {
        if BLOCKS.contains(&name) {
            while self.out.ends_with(' ') {
                self.out.pop();
            }
            if !self.out.is_empty() && !self.out.ends_with('\n') {
                self.out.push('\n');
            }
        }
    }
}

fn is_foreign(name: &str) -> bool {
    matches!(name, "svg" | "math")
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Whether a reader would not see the element.
fn is_hidden_element(tag: &StartTag<()>) -> bool {
    if attribute(tag, "hidden").is_some() || attribute(tag, "inert").is_some() {
        return true;
    }
    if attribute(tag, "aria-hidden").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    {
        return true;
    }
    let zero = |name: &str| attribute(tag, name).is_some_and(|value| value.trim() == "0");
    if zero("width") || zero("height") {
        return true;
    }
    let Some(style) = attribute(tag, "style") else {
        return false;
    };
    let style: String = style
        .to_ascii_lowercase()
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    style.split(';').any(|rule| {
        let Some((property, value)) = rule.split_once(':') else {
            return false;
        };
        let value = value.trim_end_matches("!important");
        let digits: String = value
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let is_zero = !digits.is_empty() && digits.chars().all(|c| c == '0' || c == '.');
        match property {
            "display" => value == "none",
            "visibility" => value == "hidden" || value == "collapse",
            "content-visibility" => value == "hidden",
            "opacity" | "font-size" | "font" | "width" | "height" | "max-width" | "max-height" => {
                is_zero
            }
            "left" | "top" | "right" | "bottom" | "text-indent" | "margin-left" | "margin-top" => {
                // Moved out of sight.
                value.strip_prefix('-').is_some_and(|far| {
                    let digits: String = far.chars().take_while(char::is_ascii_digit).collect();
                    digits.len() >= 3
                })
            }
            "clip" | "clip-path" => true,
            "color" => value == "transparent",
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_its_reader_sees_it() {
        let html = "<!doctype html><html><head><title>Oslo &amp; more</title><meta name=description content=hidden>\
            <style>p{color:red}</style><script>alert('x')</script></head><body><h1>Oslo</h1>\
            <p>Capital of <a href='https://evil.com/?leak'>Norway</a>.<br>Second&nbsp;line</p>\
            <ul><li>one</li><li>two</li></ul><table><tr><td>a</td><td>b</td></tr></table>\
            <img src=https://evil.com/x.png alt='a fjord'></body></html>";
        assert_eq!(
            html_to_text(html),
            "Oslo & more\nOslo\nCapital of Norway.\nSecond line\n- one\n- two\na b\n[image: a fjord]"
        );
    }

    #[test]
    fn what_is_hidden_is_left_out() {
        for hidden in [
            "<script>SECRET</script>",
            "<style>SECRET</style>",
            "<!-- SECRET -->",
            "<template>SECRET</template>",
            "<noscript>SECRET</noscript>",
            "<svg><text>SECRET</text></svg>",
            "<div hidden>SECRET</div>",
            "<div aria-hidden=true>SECRET</div>",
            "<div style='display: none'>SECRET</div>",
            "<div style='DISPLAY:NONE !important'><p>SECRET</p></div>",
            "<div style='visibility:hidden'>SECRET</div>",
            "<span style='font-size:0px'>SECRET</span>",
            "<span style='opacity:0'>SECRET</span>",
            "<span style='position:absolute;left:-9999px'>SECRET</span>",
            "<div style='width:0;height:0;overflow:hidden'>SECRET</div>",
            "<textarea>SECRET</textarea>",
            "<iframe>SECRET</iframe>",
            "<div hidden><div>SECRET</div>SECRET</div>",
            "<p hidden><img alt=SECRET></p>",
            "<a title=SECRET href=SECRET data-x=SECRET></a>",
        ] {
            let text = html_to_text(&format!("<p>before</p>{hidden}<p>after</p>"));
            assert_eq!(text, "before\nafter", "{hidden}");
        }
    }

    #[test]
    fn what_stands_for_an_image_is_short() {
        let html = format!("<p>a<img alt='{}'>b", "x".repeat(1000));
        let text = html_to_text(&html);
        assert!(text.contains(&"x".repeat(MAX_ALT_CHARS)), "{text}");
        assert!(text.len() < 2 * MAX_ALT_CHARS, "{text}");
    }

    #[test]
    fn broken_pages_end() {
        for html in [
            "",
            "<",
            "<div",
            "<div hidden",
            "<!--",
            "<script>",
            "&#x110000;&bogus;",
            "</p></div>",
            "\0<\u{fffd}>",
        ] {
            html_to_text(html);
        }
        let deep = "<div hidden>".repeat(5000) + "x" + &"</div>".repeat(5000) + "<p>y";
        html_to_text(&deep);
        let wide = "<p>".repeat(20_000);
        html_to_text(&wide);
    }
}
