//! An address's text -> one that means the same to everybody.
//!
//! Addresses are read by the same rules as browsers read them (the `url` crate), and what
//! the rules would quietly mend is refused instead. What is checked, shown and fetched is
//! the canonical form, [`Address::href`]; the page checks that its own parser leaves it as
//! it is. Hosts outside ASCII have to be written, and are shown, in punycode: no person can
//! tell `аррӏе.com` from another, and `Cargo.toml` leaves out the tables that would read it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::policy::Refusal;

/// Longest address that is read at all, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 8192;

/// Ends of names that never leave the machine or the house, and networks that are not
/// the public one.
const LOCAL_ENDS: &[&str] = &[
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
    "onion",
    "i2p",
    "test",
    "invalid",
    "alt",
];

/// Services that turn any address, local ones too, into a public name.
const REBINDING_ENDS: &[&str] = &[
    "nip.io",
    "sslip.io",
    "xip.io",
    "localtest.me",
    "lvh.me",
    "vcap.me",
    "lacolhost.com",
    "yoogle.com",
];

/// Scheme, host and port, such as `https://api.open-meteo.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin that is to be allowed: written exactly as browsers write it, no
    /// path, no wildcard.
    ///
    /// # Errors
    /// What [`Address::parse`] refuses, and text that is not its own canonical form.
    pub fn parse(text: &str, loopback: &[Origin]) -> Result<Self, Refusal> {
        let address = Address::parse(text, loopback)?;
        if address.origin.0 != text {
            return Err(Refusal::Unreadable);
        }
        Ok(address.origin)
    }

    /// An origin on this machine, which only tests have a use for.
    ///
    /// # Errors
    /// `scheme` unless it is `http://127.0.0.1:PORT` or `http://localhost:PORT`.
    pub fn loopback(text: &str) -> Result<Self, Refusal> {
        let url = Url::parse(text).map_err(|_| Refusal::Unreadable)?;
        let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
        let found = url.origin().ascii_serialization();
        if url.scheme() == "http" && here && url.port().is_some() && found == text {
            Ok(Self(found))
        } else {
            Err(Refusal::Scheme)
        }
    }

    /// As browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address on the public network, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    origin: Origin,
}

impl Address {
    /// Reads an address. `loopback` are origins on this machine that tests allow.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn parse(text: &str, loopback: &[Origin]) -> Result<Self, Refusal> {
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(Refusal::TooLong);
        }
        // Browsers drop or turn these around before they read an address.
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(Refusal::Characters);
        }
        if text.chars().any(super::trust::is_hidden) {
            return Err(Refusal::Characters);
        }
        let mut url = Url::parse(text).map_err(|_| Refusal::Unreadable)?;
        url.set_fragment(None);
        let origin = Origin(url.origin().ascii_serialization());
        let here = url.scheme() == "http" && loopback.contains(&origin);
        if url.scheme() != "https" && !here {
            return Err(Refusal::Scheme);
        }
        // `https:/host` and `https:host` are mended by browsers.
        let Some((_, rest)) = text.split_once("://") else {
            return Err(Refusal::Unreadable);
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(Refusal::Unreadable);
        }
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        if !here {
            match url.host() {
                Some(Host::Domain(name)) => check_name(name)?,
                Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(Refusal::AddressLiteral),
                None => return Err(Refusal::Unreadable),
            }
        }
        Ok(Self { url, origin })
    }

    /// The canonical form, without a fragment: what is shown, and what is fetched.
    pub fn href(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The host, in punycode where it is not ASCII.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// A port other than the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.url.port()
    }

    /// The path, as it is sent.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The query, as it is sent.
    pub fn query(&self) -> Option<&str> {
        self.url.query()
    }

    /// The query's names and values, decoded.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        let pairs = self.url.query_pairs();
        pairs
            .map(|(n, v)| (n.into_owned(), v.into_owned()))
            .collect()
    }
}

/// Whether a host's name belongs to the public network.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.ends_with('.') || name.starts_with('.') || name.contains("..") || name.len() > 253 {
        return Err(Refusal::HostName);
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name
        .split('.')
        .all(|label| (1..=63).contains(&label.len()) && label.chars().all(fits))
    {
        return Err(Refusal::HostName);
    }
    if !name.contains('.') {
        return Err(Refusal::HostLocal);
    }
    let ends = |end: &&str| {
        name.strip_suffix(*end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if LOCAL_ENDS.iter().chain(REBINDING_ENDS).any(ends) {
        return Err(Refusal::HostLocal);
    }
    Ok(())
}

/// Whether a page on `host` (as a page's `location.hostname` has it) stands inside a network of
/// its own: on this machine, on a private address or under a local name, or in a file. To such
/// a page a browser opens the network around it, which it closes to pages of the public one.
pub fn is_local_host(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_local_v4(address),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => is_local_v4(mapped),
            None => {
                let first = address.segments()[0];
                let unique_or_link = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80;
                address.is_loopback() || address.is_unspecified() || unique_or_link
            }
        },
        // No name at all is a file's.
        Err(_) => check_name(&host.to_ascii_lowercase()) != Ok(()),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10: behind a carrier's translation of addresses.
    let [first, second, ..] = address.octets();
    let shared = first == 100 && second & 0xc0 == 64;
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || shared
}

/// Encodes text so that it is one segment of a path or one value of a query: everything
/// but letters, digits and `-_.~` becomes `%XX`.
pub fn encode_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> &'static str {
        match Address::parse(text, &[]) {
            Ok(address) => panic!("{text:?} was read as {}", address.href()),
            Err(refusal) => refusal.as_str(),
        }
    }

    #[test]
    fn only_https_is_let_through() {
        for text in [
            "http://example.com/",
            "ftp://example.com/",
            "ws://example.com/",
            "wss://example.com/",
            "file:///etc/passwd",
            "data:text/html,x",
            "blob:https://example.com/1",
            "javascript:alert(1)",
            "about:blank",
            "view-source:https://example.com/",
            "intent://example.com/",
        ] {
            assert_eq!(refused(text), "scheme", "{text}");
        }
    }

    #[test]
    fn addresses_of_machines_are_refused_however_they_are_spelled() {
        for text in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://127.0.0.1./",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://100.64.0.1/",
            "https://8.8.8.8/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fe80::1]/",
            "https://[2606:4700::1111]/",
        ] {
            assert_eq!(refused(text), "address_literal", "{text}");
        }
    }

    #[test]
    fn names_of_the_house_are_refused() {
        for text in [
            "https://localhost/",
            "https://LOCALHOST/",
            "https://foo.localhost/",
            "https://router/",
            "https://printer.local/",
            "https://db.internal/",
            "https://nas.home.arpa/",
            "https://x.lan/",
            "https://127.0.0.1.nip.io/",
            "https://evil.localtest.me/",
            "https://abc.onion/",
        ] {
            assert_eq!(refused(text), "host_local", "{text}");
        }
        for text in [
            "https://localhost./",
            "https://example.com./",
            "https://a..b.com/",
        ] {
            assert_eq!(refused(text), "host_name", "{text}");
        }
    }

    #[test]
    fn a_page_inside_a_network_is_told_from_one_outside() {
        for host in [
            "localhost",
            "app.localhost",
            "127.0.0.1",
            "127.8.9.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "[::1]",
            "::1",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "nas",
            "Printer.LOCAL",
            "wiki.corp",
            "10.0.0.1.nip.io",
            "localhost.",
            "",
        ] {
            assert!(is_local_host(host), "{host}");
        }
        for host in [
            "example.com",
            "tandem.example",
            "172.32.0.1",
            "8.8.8.8",
            "100.128.0.1",
            "[2606:4700::1111]",
        ] {
            assert!(!is_local_host(host), "{host}");
        }
    }

    #[test]
    fn what_browsers_mend_is_refused() {
        for text in [
            "https://example.com\\@evil.com/",
            "https:\\\\example.com/",
            "https://exa\tmple.com/",
            "https://exam\nple.com/",
            " https://example.com/",
            "https://example.com/ ",
            "https://example.com/a b",
            "https://exam\u{200b}ple.com/",
            "https://example.com/\u{202e}gpj.exe",
            "https://example.com/\u{e0041}",
        ] {
            assert_eq!(refused(text), "characters", "{text:?}");
        }
        for text in [
            "https:example.com",
            "https:/example.com",
            "https:///example.com",
            "example.com",
            "//example.com/",
            "",
        ] {
            assert_eq!(refused(text), "unreadable", "{text}");
        }
    }

    #[test]
    fn names_and_passwords_are_refused_even_empty() {
        for text in [
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://@example.com/",
            "https://:@example.com/",
            "https://en.wikipedia.org@evil.com/",
            "https://en.wikipedia.org%40evil.com@evil.com/",
        ] {
            assert_eq!(refused(text), "credentials", "{text}");
        }
        // Behind the host it is a letter like others.
        assert!(Address::parse("https://example.com/@name", &[]).is_ok());
    }

    #[test]
    fn the_canonical_form_is_one() {
        for (text, href) in [
            ("https://example.com", "https://example.com/"),
            ("HTTPS://EXAMPLE.com:443/a/../b#c", "https://example.com/b"),
            (
                "https://example.com/ü?q=ü",
                "https://example.com/%C3%BC?q=%C3%BC",
            ),
            ("https://example.com:8443/", "https://example.com:8443/"),
        ] {
            let address = Address::parse(text, &[]).unwrap();
            assert_eq!(address.href(), href);
            let again = Address::parse(address.href(), &[]).unwrap();
            assert_eq!(again, address, "canonical once, canonical for ever");
        }
    }

    #[test]
    fn names_outside_ascii_are_read_in_punycode_alone() {
        let punycode = Address::parse("https://xn--80ak6aa92e.com/", &[]).unwrap();
        assert_eq!(punycode.host(), "xn--80ak6aa92e.com");
        for text in [
            "https://münchen.example.com/",
            "https://аррӏе.com/",
            "https://①②⑦.0.0.1/",
            "https://127。0。0。1/",
            "https://ｅxample.com/",
            "https://%C3%BC.com/",
        ] {
            assert_eq!(refused(text), "unreadable", "{text}");
        }
    }

    #[test]
    fn loopback_is_for_those_who_name_it() {
        let fixture = Origin::loopback("http://127.0.0.1:4000").unwrap();
        let allowed = [fixture];
        assert!(Address::parse("http://127.0.0.1:4000/x?y=1", &allowed).is_ok());
        for text in [
            "http://127.0.0.1:4001/",
            "http://localhost:4000/",
            "http://127.0.0.1/",
        ] {
            assert!(Address::parse(text, &allowed).is_err(), "{text}");
        }
        for text in [
            "http://10.0.0.1:80",
            "https://127.0.0.1:4",
            "http://127.0.0.1",
            "http://example.com:1",
            "http://127.0.0.1:4/x",
        ] {
            assert!(Origin::loopback(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_written_exactly() {
        assert!(Origin::parse("https://example.com", &[]).is_ok());
        assert!(Origin::parse("https://example.com:8443", &[]).is_ok());
        for text in [
            "https://example.com/",
            "https://EXAMPLE.com",
            "https://example.com:443",
            "https://*.example.com",
            "https://example.com/path",
            "*",
            "null",
        ] {
            assert!(Origin::parse(text, &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_component_cannot_leave_its_place() {
        assert_eq!(encode_component("a/b?c=d&e#f%"), "a%2Fb%3Fc%3Dd%26e%23f%25");
        assert_eq!(encode_component("Zürich"), "Z%C3%BCrich");
    }
}
