//! The second wall: content security policies for the frames in which tools run and
//! requests are made, from the same list that the gate checks.
//!
//! A browser holds a redirect's next hop to `connect-src` before it sends it, which no
//! script can do.

use super::super::address::Origin;

/// For the frame in which a tool's code runs: it reaches nothing. Its one inline script is
/// named by hash in the frame's own file; this is the part that is the same for all.
pub const TOOL: &str = "default-src 'none'; worker-src blob:; base-uri 'none'; form-action 'none'";

/// For the frame that makes one call's requests: those origins and nothing else.
pub fn broker<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> String {
    let mut list: Vec<&str> = origins.into_iter().map(Origin::as_str).collect();
    list.sort_unstable();
    list.dedup();
    let list = match list.is_empty() {
        true => "'none'".to_string(),
        false => list.join(" "),
    };
    format!(
        "default-src 'none'; script-src 'unsafe-inline'; connect-src {list}; base-uri 'none'; form-action 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_whole_list() {
        let origin = |text: &str| Origin::parse(text, &[]).unwrap();
        let list = [
            origin("https://b.example"),
            origin("https://a.example"),
            origin("https://b.example"),
        ];
        assert!(broker(&list).contains("connect-src https://a.example https://b.example;"));
        assert!(broker(&[]).contains("connect-src 'none';"));
        for policy in [broker(&list), TOOL.to_string()] {
            assert!(
                policy.starts_with("default-src 'none'"),
                "what is not named is closed"
            );
            assert!(!policy.contains('*'));
        }
    }

    #[test]
    fn no_origin_can_write_a_policy() {
        for text in [
            "https://a.example; script-src *",
            "https://a.example 'unsafe-inline'",
            "https://a.example,https://b.example",
        ] {
            assert!(Origin::parse(text, &[]).is_err(), "{text}");
        }
    }
}
