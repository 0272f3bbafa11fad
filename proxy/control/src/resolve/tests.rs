//! A name server of our own says what names are, for how long, and at times nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv6Addr;

use hickory_resolver::config::ConnectionConfig;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// What the server says of every name.
#[derive(Clone, Debug)]
enum Says {
    /// These addresses of version 4, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// An address of each version.
    Both(Ipv4Addr, Ipv6Addr),
    /// SERVFAIL.
    Failure,
    /// NXDOMAIN.
    NoName,
}

/// A name server that says what `says` holds at the time.
async fn server(says: Arc<Mutex<Says>>) -> TokioResolver {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut query).await {
            let says = says.lock().unwrap().clone();
            socket.send_to(&answer(&query[..len], &says), peer).await.unwrap();
        }
    });
    let mut udp = ConnectionConfig::udp();
    udp.port = port;
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().timeout = Duration::from_millis(500);
    builder.options_mut().attempts = 1;
    build(builder).unwrap()
}

/// A message that answers a query (RFC 1035, section 4.1).
fn answer(query: &[u8], says: &Says) -> Vec<u8> {
    // The name ends with an empty label; type and class follow.
    let name_end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 1;
    let kind = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let (code, ttl, records): (u8, u32, Vec<Vec<u8>>) = match (says, kind) {
        (Says::Addresses(all, ttl), 1) => (0, *ttl, all.iter().map(|a| a.octets().to_vec()).collect()),
        (Says::Both(v4, _), 1) => (0, 60, vec![v4.octets().to_vec()]),
        (Says::Both(_, v6), 28) => (0, 60, vec![v6.octets().to_vec()]),
        (Says::Addresses(..) | Says::Both(..), _) => (0, 0, Vec::new()),
        (Says::Failure, _) => (2, 0, Vec::new()),
        (Says::NoName, _) => (3, 0, Vec::new()),
    };
    let mut message = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
    message.extend_from_slice(&query[12..name_end + 4]);
    for record in records {
        message.extend_from_slice(&[0xC0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(&ttl.to_be_bytes());
        message.extend_from_slice(&(record.len() as u16).to_be_bytes());
        message.extend_from_slice(&record);
    }
    message
}

type Published = UnboundedReceiver<(String, Vec<IpAddr>)>;

/// Names that ask such a server, and what they publish.
async fn names(says: &Arc<Mutex<Says>>) -> (Names<impl Fn(&str, Vec<IpAddr>) + use<>>, Published) {
    let (sender, published) = unbounded_channel();
    let publish = move |name: &str, addresses| {
        let _ = sender.send((name.to_owned(), addresses));
    };
    (Names::new(Source::Servers(server(Arc::clone(says)).await), publish), published)
}

async fn next(published: &mut Published) -> (String, Vec<IpAddr>) {
    timeout(Duration::from_secs(8), published.recv()).await.expect("it is published in time").unwrap()
}

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn published_as(name: &str, lasts: &[u8]) -> (String, Vec<IpAddr>) {
    (name.to_owned(), lasts.iter().map(|last| v4(*last).into()).collect())
}

#[tokio::test]
async fn a_name_is_looked_up_again_when_its_ttl_ends_and_changes_are_published() {
    // A TTL of 0 counts as a second.
    let says = Arc::new(Mutex::new(Says::Addresses(vec![v4(2), v4(1)], 0)));
    let (mut names, mut published) = names(&says).await;
    assert!(names.follow(&["a.test".to_owned()]).await.is_empty());
    assert_eq!(next(&mut published).await, published_as("a.test", &[1, 2]));
    // The same in another order is no change; what fails changes nothing.
    for said in [Says::Addresses(vec![v4(1), v4(2)], 1), Says::Failure, Says::NoName] {
        *says.lock().unwrap() = said;
        assert!(timeout(Duration::from_millis(1_200), published.recv()).await.is_err());
    }
    *says.lock().unwrap() = Says::Addresses(vec![v4(3)], 60);
    assert_eq!(next(&mut published).await, published_as("a.test", &[3]));
}

#[tokio::test]
async fn a_name_that_fails_at_first_is_told_and_tried_again() {
    let says = Arc::new(Mutex::new(Says::NoName));
    let (mut names, mut published) = names(&says).await;
    let failed = names.follow(&["b.test".to_owned()]).await;
    assert!(failed[0].to_string().starts_with("can't resolve `b.test`: "), "{failed:?}");
    *says.lock().unwrap() = Says::Both(v4(1), Ipv6Addr::LOCALHOST);
    let wanted = vec![IpAddr::V4(v4(1)), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    assert_eq!(next(&mut published).await, ("b.test".to_owned(), wanted));
}

#[tokio::test]
async fn names_come_and_go() {
    let says = Arc::new(Mutex::new(Says::Addresses(vec![v4(1)], 0)));
    let (mut names, mut published) = names(&says).await;
    names.follow(&["a.test".to_owned()]).await;
    assert_eq!(next(&mut published).await, published_as("a.test", &[1]));
    // After a reload there may be an upstream that has not heard of what is known.
    names.follow(&["a.test".to_owned()]).await;
    assert_eq!(next(&mut published).await, published_as("a.test", &[1]));
    names.follow(&["b.test".to_owned()]).await;
    assert_eq!(next(&mut published).await, published_as("b.test", &[1]));
    assert_eq!(names.tasks.len(), 1);
    *says.lock().unwrap() = Says::Addresses(vec![v4(2)], 0);
    assert_eq!(next(&mut published).await, published_as("b.test", &[2]));
    assert!(timeout(Duration::from_millis(1_200), published.recv()).await.is_err(), "a.test is not followed");
}

#[tokio::test]
async fn the_hosts_file_goes_before_name_servers() {
    let source = Source::System(Mutex::default());
    let answer = source.look_up("localhost").await.unwrap_or_else(|e| panic!("{e:?}"));
    assert!(answer.addresses.iter().all(|a| a.is_loopback()), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_name_is_refused() {
    let source = Source::System(Mutex::default());
    assert!(source.look_up(&"a".repeat(64)).await.is_err());
    assert!(source.look_up("a..b").await.is_err());
}
