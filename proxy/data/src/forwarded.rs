//! `Forwarded` (RFC 7239) and `X-Forwarded-*`: what is believed of them, and what the upstream is told, without I/O.
//!
//! Every such field is left out of what goes on; what goes on is written anew. From a peer that is not trusted nothing is
//! believed. From one that is, the chain of addresses is: the client is the right-most address that is not trusted, for
//! all to the left of it is what that one says. Where both kinds of fields come and name different clients, one of them
//! passed a proxy that does not know it: neither is believed.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use crate::client::Client;
use crate::codec::fields::Fields;
use crate::codec::head::RequestHead;

/// Most hops of a chain that go on: the last ones.
const HOPS_MAX: usize = 32;

/// What an upstream is told of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForwardedFields {
    /// Nothing: who asks, and from where, is no business of a model's. The default.
    #[default]
    None,
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// All of them.
    Both,
}

/// Whether a field says who forwarded what for whom. A name with `_` for `-` is the same name.
pub(crate) fn is_forwarded(name: &str) -> bool {
    let is = |wanted: &str, name: &str| {
        let same = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (a, b) == (b'-', b'_');
        wanted.len() == name.len() && wanted.bytes().zip(name.bytes()).all(same)
    };
    is("forwarded", name)
        || is("x-real-ip", name)
        || name.get(.."x-forwarded".len()).is_some_and(|start| is("x-forwarded", start))
}

/// A node of a chain (RFC 7239, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// Its name is hidden, not known, or no name.
    Hidden,
}

/// What was said of the request on its way to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    /// From the client on.
    chain: Vec<Node>,
    proto: Option<&'static str>,
    host: Option<String>,
}

/// The address of whom a request is from, as far as it is known.
pub(crate) fn client_address(head: &Fields, client: &Client) -> Option<IpAddr> {
    let peer = client.peer?.ip();
    Some(rightmost(&believed(head, client).chain, peer, client))
}

/// The right-most address that is not trusted; behind what is hidden nothing is known.
fn rightmost(chain: &[Node], peer: IpAddr, client: &Client) -> IpAddr {
    let mut nearest = peer;
    for node in chain.iter().rev() {
        match node {
            Node::Address(address) if client.trusts(nearest) => nearest = *address,
            Node::Address(_) | Node::Hidden => break,
        }
    }
    nearest
}

/// What is believed of a request's fields.
fn believed(fields: &Fields, client: &Client) -> Said {
    let Some(peer) = client.peer.filter(|_| client.is_trusted()) else { return Said::default() };
    let (standard, common) = (standard(fields), common(fields));
    match (fields.has("forwarded"), fields.has("x-forwarded-for")) {
        (true, true) => {
            let same = |a: &Said, b: &Said| {
                rightmost(&a.chain, peer.ip(), client) == rightmost(&b.chain, peer.ip(), client)
            };
            if same(&standard, &common) { standard } else { Said::default() }
        }
        (true, false) => standard,
        (false, _) => common,
    }
}

/// What `X-Forwarded-*` say.
fn common(fields: &Fields) -> Said {
    let mut chain = Vec::new();
    for value in fields.all("x-forwarded-for") {
        chain.extend(value.split(|b| *b == b',').map(|node| node_of(&String::from_utf8_lossy(node))));
    }
    let proto = fields.text("x-forwarded-proto").and_then(proto_of);
    let host = fields.text("x-forwarded-host").and_then(host_of);
    Said { chain, proto, host }
}

/// What `Forwarded` says. A line that is not valid says of a node that it is hidden: what a proxy wrote on a line of its
/// own behind it stays.
fn standard(fields: &Fields) -> Said {
    let mut said = Said::default();
    for (at, value) in fields.all("forwarded").enumerate() {
        let elements = std::str::from_utf8(value).ok().and_then(elements);
        let elements = elements.unwrap_or_else(|| vec![Element::default()]);
        if at == 0
            && let Some(first) = elements.first()
        {
            said.proto = first.proto.as_deref().and_then(proto_of);
            said.host = first.host.as_deref().and_then(host_of);
        }
        said.chain.extend(elements.iter().map(|element| element.node.unwrap_or(Node::Hidden)));
    }
    said
}

/// One element of `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<Node>,
    proto: Option<String>,
    host: Option<String>,
}

/// The elements of one line (RFC 7239, section 4); none where it is not valid.
fn elements(value: &str) -> Option<Vec<Element>> {
    let (mut all, mut element, mut seen) = (Vec::new(), Element::default(), Vec::new());
    let mut rest = value.trim_matches([' ', '\t']);
    loop {
        let equals = rest.find('=')?;
        let (name, after) = rest.split_at(equals);
        let name = name.to_ascii_lowercase();
        let (value, after) = text(after.get(1..)?)?;
        if !is_token(&name) || seen.contains(&name) {
            return None;
        }
        match name.as_str() {
            "for" => element.node = Some(node_of(&value)),
            "proto" => element.proto = Some(value),
            "host" => element.host = Some(value),
            // `by`, and what was registered since.
            _ => {}
        }
        seen.push(name);
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() || after.starts_with(',') {
            all.push(std::mem::take(&mut element));
            seen.clear();
        }
        rest = match after.split_at_checked(1) {
            None => return Some(all),
            Some((";" | ",", after)) => after.trim_start_matches([' ', '\t']),
            Some(_) => return None,
        };
    }
}

/// The token or quoted string that a text begins with, and what is behind it (RFC 9110, section 5.6).
fn text(value: &str) -> Option<(String, &str)> {
    let Some(quoted) = value.strip_prefix('"') else {
        let len = value.find(|c: char| !c.is_ascii() || !is_token_byte(c as u8)).unwrap_or(value.len());
        return Some((value.get(..len)?.to_owned(), value.get(len..)?))
            .filter(|(token, _)| !token.is_empty());
    };
    let (mut out, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                out.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return Some((out, quoted.get(at + 1..)?)),
            c if c.is_ascii_control() && c != '\t' => return None,
            c => out.push(c),
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A node with or without port; IPv6 in brackets, and bare without a port as `X-Forwarded-For` has it.
fn node_of(text: &str) -> Node {
    let text = text.trim_matches([' ', '\t']);
    let port = |rest: &str| {
        rest.is_empty()
            || rest.strip_prefix(':').is_some_and(|port| {
                (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit())
                    || port.strip_prefix('_').is_some_and(is_token)
            })
    };
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(_, rest)| port(rest)).and_then(|(v6, _)| {
            let v6: Option<Ipv6Addr> = v6.parse().ok();
            v6.map(IpAddr::V6)
        }),
        None => text.parse::<IpAddr>().ok().or_else(|| {
            let (v4, _) =
                text.split_once(':').filter(|(v4, _)| port(text.get(v4.len()..).unwrap_or_default()))?;
            v4.parse().ok().map(IpAddr::V4)
        }),
    };
    address.map_or(Node::Hidden, |address| Node::Address(address.to_canonical()))
}

fn proto_of(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

fn host_of(text: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b);
    (!text.is_empty() && text.len() <= 255 && text.bytes().all(valid)).then(|| text.to_owned())
}

/// Appends what the upstream is told of the client.
pub(crate) fn write(fields: &mut Fields, head: &RequestHead, client: &Client, sent: ForwardedFields) {
    let (common, standard) = match sent {
        ForwardedFields::None => return,
        ForwardedFields::XForwarded => (true, false),
        ForwardedFields::Rfc7239 => (false, true),
        ForwardedFields::Both => (true, true),
    };
    let said = believed(&head.fields, client);
    let own = client.peer.map_or(Node::Hidden, |peer| Node::Address(peer.ip().to_canonical()));
    let mut chain = said.chain;
    chain.push(own);
    chain.drain(..chain.len().saturating_sub(HOPS_MAX));
    let proto = said.proto.unwrap_or(if client.is_tls() { "https" } else { "http" });
    let host = said.host.or_else(|| head.authority.clone());
    if common {
        fields.push("X-Forwarded-For", chain.iter().map(common_node).collect::<Vec<_>>().join(", "));
        fields.push("X-Forwarded-Proto", proto);
        if let Some(host) = &host {
            fields.push("X-Forwarded-Host", host.as_str());
            fields.push("X-Forwarded-Port", port_of(host, proto));
        }
        if let Some(address) = client_address(&head.fields, client) {
            fields.push("X-Real-IP", address.to_canonical().to_string());
        }
    }
    if standard {
        let mut value = String::new();
        for (at, node) in chain.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(value, "{separator}for={}", standard_node(node));
            // They are told of the first hop: there the request was made.
            if at == 0 {
                let _ = write!(value, ";proto={proto}");
                if let Some(host) = &host {
                    let quote = if is_token(host) { "" } else { "\"" };
                    let _ = write!(value, ";host={quote}{host}{quote}");
                }
            }
        }
        fields.push("Forwarded", value);
    }
}

fn common_node(node: &Node) -> String {
    match node {
        Node::Address(address) => address.to_string(),
        Node::Hidden => "unknown".to_owned(),
    }
}

fn standard_node(node: &Node) -> String {
    match node {
        Node::Address(IpAddr::V4(address)) => address.to_string(),
        Node::Address(IpAddr::V6(address)) => format!("\"[{address}]\""),
        Node::Hidden => "unknown".to_owned(),
    }
}

fn port_of(host: &str, proto: &str) -> String {
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    port.unwrap_or(if proto == "https" { "443" } else { "80" }).to_owned()
}

#[cfg(test)]
mod tests;
