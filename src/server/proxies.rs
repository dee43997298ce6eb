//! Where a request comes from when proxies stand in between (spec `http-api.md` §11.1, S19).
//!
//! A proxy appends the address it was called from to `X-Forwarded-For` or `Forwarded` (RFC 7239), so only what trusted
//! ones appended is believed: read from the right, the first address that is no trusted proxy is the client. Whatever
//! stands to the left of it the client may have written itself.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::server::auth::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Addresses of a chain that are looked at.
const HOPS: usize = 32;

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    trusted: Vec<IpNet>,
}

/// Who sent a request, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address, an IPv4 one in its own form.
    pub(crate) address: Option<IpAddr>,
    /// Whether somebody passed it on.
    pub(crate) forwarded: bool,
    /// Whether it used TLS as far as a trusted proxy.
    pub(crate) secure: bool,
    /// The host that it asked a trusted proxy for.
    pub(crate) host: Option<String>,
}

impl Client {
    /// Whether it runs on this machine: nobody passed it on, not even a proxy that is not known.
    pub(crate) fn is_local(&self) -> bool {
        !self.forwarded && self.address.is_some_and(|address| address.is_loopback())
    }

    /// What is counted together: an IPv4 address, or the network of 64 bits that one IPv6 user has at least.
    pub(crate) fn group(&self) -> String {
        match self.address {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
    }
}

impl Proxies {
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted }
    }

    /// The client behind `peer`.
    pub(crate) fn client(&self, peer: Option<Peer>, headers: &HeaderMap) -> Client {
        let Some(Peer::Tcp(address)) = peer else { return Client::default() };
        let proxy = address.ip().to_canonical();
        let all = [&FORWARDED_FOR, &FORWARDED, &REAL_IP, &FORWARDED_HOST, &FORWARDED_PROTO];
        let forwarded = all.into_iter().any(|name| headers.contains_key(name));
        if !forwarded || !self.trusts(proxy) {
            return Client { address: Some(proxy), forwarded, ..Client::default() };
        }
        let elements = elements(headers);
        let parameter = |name: &str| -> Vec<String> {
            elements.iter().filter_map(|element| element.get(name).cloned()).collect()
        };
        let by_list =
            headers.contains_key(&FORWARDED_FOR).then(|| self.walk(proxy, &items(headers, &FORWARDED_FOR)));
        let by_elements = headers.contains_key(FORWARDED).then(|| self.walk(proxy, &parameter("for")));
        let address = match (by_list, by_elements) {
            // A proxy knows one of the two and passes on what it is sent of the other: nobody can tell which.
            (Some(one), Some(other)) if one != other => proxy,
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => proxy,
        };
        let schemes = items(headers, &FORWARDED_PROTO).into_iter().chain(parameter("proto"));
        let secure = schemes.into_iter().any(|scheme| scheme.eq_ignore_ascii_case("https"));
        let host = items(headers, &FORWARDED_HOST).into_iter().chain(parameter("host")).next();
        Client { address: Some(address), forwarded, secure, host }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The right-most address of `chain` that is no trusted proxy; behind what is no address nothing is believed.
    fn walk(&self, proxy: IpAddr, chain: &[String]) -> IpAddr {
        let mut last = proxy;
        for hop in chain.iter().rev().take(HOPS) {
            let Some(address) = address_of(hop) else { return last };
            last = address;
            if !self.trusts(address) {
                return last;
            }
        }
        last
    }
}

/// The items of a list header, over all its lines, without blanks.
fn items(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

/// An element of `Forwarded`: its parameters, names in lower case.
struct Element(Vec<(String, String)>);

impl Element {
    fn get(&self, name: &str) -> Option<&String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The elements of `Forwarded`, over all its lines; quoted texts may hold commas and semicolons.
fn elements(headers: &HeaderMap) -> Vec<Element> {
    let lines = headers.get_all(FORWARDED).iter().filter_map(|line: &HeaderValue| line.to_str().ok());
    lines
        .flat_map(|line| unquoted(line, ','))
        .map(|element| {
            let pairs = unquoted(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
            Element(
                pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), plain(value.trim()))).collect(),
            )
        })
        .collect()
}

/// `text` split at `separator` wherever that is not within quotes.
fn unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// A token, or a quoted text without its quotes.
fn plain(value: &str) -> String {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => text.replace('\\', ""),
        None => value.to_owned(),
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address_of(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let host = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => hop.rsplit_once(':')?.0,
    };
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> Client {
        let trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Proxies::new(trusted).client(Some(Peer::Tcp(peer.parse().unwrap())), &map)
    }

    const PROXY: &str = "10.0.0.1:1";
    const NETS: &[&str] = &["10.0.0.0/8", "2001:db8:1::/48"];

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        let (xff, fwd) = ("x-forwarded-for", "forwarded");
        for (peer, headers, address) in [
            (PROXY, &[][..], "10.0.0.1"),
            (PROXY, &[(xff, "192.0.2.1")], "192.0.2.1"),
            // Forged to the left of it.
            (PROXY, &[(xff, "127.0.0.1, 192.0.2.1")], "192.0.2.1"),
            (PROXY, &[(xff, "127.0.0.1, 192.0.2.1, 10.9.9.9")], "192.0.2.1"),
            (PROXY, &[(xff, "192.0.2.9"), (xff, "192.0.2.1 , 10.2.2.2")], "192.0.2.1"),
            (PROXY, &[(xff, "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
            (PROXY, &[(xff, "192.0.2.1:4711")], "192.0.2.1"),
            (PROXY, &[(xff, "[2001:db8::1]:4711")], "2001:db8::1"),
            (PROXY, &[(xff, "2001:db8::1")], "2001:db8::1"),
            (PROXY, &[(xff, "::ffff:192.0.2.1")], "192.0.2.1"),
            (PROXY, &[(xff, "192.0.2.1, unknown")], "10.0.0.1"),
            (PROXY, &[(xff, "192.0.2.1, unknown, 10.2.2.2")], "10.2.2.2"),
            (PROXY, &[(xff, "")], "10.0.0.1"),
            (PROXY, &[(fwd, "for=192.0.2.1")], "192.0.2.1"),
            (PROXY, &[(fwd, r#"For="[2001:db8::1]:4711"; by=x;proto=https, for=10.2.2.2"#)], "2001:db8::1"),
            (PROXY, &[(fwd, r#"for="a,for=192.0.2.7", for=192.0.2.1"#)], "192.0.2.1"),
            (PROXY, &[(fwd, "for=192.0.2.1, for=_hidden")], "10.0.0.1"),
            (PROXY, &[(fwd, "proto=https")], "10.0.0.1"),
            // Of two that disagree one was written by the client.
            (PROXY, &[(fwd, "for=192.0.2.1"), (xff, "192.0.2.2")], "10.0.0.1"),
            (PROXY, &[(fwd, "for=192.0.2.1"), (xff, "192.0.2.1")], "192.0.2.1"),
            // Nobody's.
            ("192.0.2.8:1", &[(xff, "127.0.0.1"), (fwd, "for=127.0.0.1")], "192.0.2.8"),
            ("[::ffff:10.0.0.1]:1", &[(xff, "192.0.2.1")], "192.0.2.1"),
            ("[2001:db8:1::5]:1", &[(xff, "2001:db8:2::1, 2001:db8:1::9")], "2001:db8:2::1"),
        ] {
            let told = client(NETS, peer, headers).address.unwrap();
            assert_eq!(told.to_string(), address, "{peer} {headers:?}");
        }
    }

    #[test]
    fn local_is_who_nobody_passed_on() {
        for (trusted, headers, local) in [
            (&[][..], &[][..], true),
            (&[], &[("x-forwarded-for", "127.0.0.1")], false),
            (&[], &[("forwarded", "for=127.0.0.1")], false),
            (&[], &[("x-real-ip", "127.0.0.1")], false),
            (&["127.0.0.1/32"], &[("x-forwarded-for", "127.0.0.1")], false),
            (&["127.0.0.1/32"], &[], true),
        ] {
            assert_eq!(client(trusted, "127.0.0.1:1", headers).is_local(), local, "{trusted:?} {headers:?}");
        }
        assert!(!client(&[], "192.0.2.1:1", &[]).is_local());
        assert!(!Client::default().is_local());
    }

    #[test]
    fn tls_and_host_are_told_by_trusted_proxies_only() {
        let headers = [("x-forwarded-proto", "https"), ("x-forwarded-host", "console.test")];
        let trusted = client(NETS, PROXY, &headers);
        assert_eq!((trusted.secure, trusted.host.as_deref()), (true, Some("console.test")));
        let other = client(NETS, "192.0.2.1:1", &headers);
        assert_eq!((other.secure, other.host), (false, None));
        let element = client(NETS, PROXY, &[("forwarded", "for=192.0.2.1;host=\"h.test:81\";proto=HTTPS")]);
        assert_eq!((element.secure, element.host.as_deref()), (true, Some("h.test:81")));
        assert!(!client(NETS, PROXY, &[("x-forwarded-proto", "http")]).secure);
    }

    #[test]
    fn an_ipv6_user_is_one_network() {
        let group = |peer: &str| client(&[], peer, &[]).group();
        assert_eq!(group("[2001:db8:1:2:3:4:5:6]:1"), "2001:db8:1:2::/64");
        assert_eq!(group("[2001:db8:1:2::9]:1"), "2001:db8:1:2::/64");
        assert_eq!(group("[::ffff:192.0.2.1]:1"), "192.0.2.1");
        assert_eq!(Client::default().group(), "unknown");
    }
}
