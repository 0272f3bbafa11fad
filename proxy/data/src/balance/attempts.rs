//! The order in which addresses are tried for one connection: happy eyeballs (RFC 8305, section 4).

use std::collections::VecDeque;
use std::time::Duration;

use super::TargetAddress;

/// Time that an attempt has before the next one starts beside it (RFC 8305, section 5: 250 ms is recommended).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Local,
}

fn family(address: &TargetAddress) -> Family {
    match address {
        TargetAddress::Tcp(address) if address.is_ipv4() => Family::V4,
        TargetAddress::Tcp(_) => Family::V6,
        TargetAddress::Unix(_) => Family::Local,
    }
}

/// The same addresses with the first one first, then by turns one of another family and one of its family, so that a
/// family without a way costs one delay and not one for each of its addresses (RFC 8305, section 4, with a First
/// Address Family Count of 1). Within a family the order stays.
pub(crate) fn attempt_order<T>(items: Vec<T>, address: impl Fn(&T) -> &TargetAddress) -> Vec<T> {
    let Some(first) = items.first().map(|item| family(address(item))) else { return items };
    let (mut own, mut other): (VecDeque<T>, VecDeque<T>) =
        items.into_iter().partition(|item| family(address(item)) == first);
    let mut order = Vec::with_capacity(own.len() + other.len());
    while !own.is_empty() || !other.is_empty() {
        order.extend(own.pop_front());
        order.extend(other.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of addresses: `6a` is of IPv6, `4a` of IPv4, `ua` a Unix socket.
    fn addresses(names: &str) -> Vec<TargetAddress> {
        let one = |name: &str| match name.split_at(1) {
            ("6", host) => TargetAddress::Tcp(format!("[2001:db8::{host}]:80").parse().unwrap()),
            ("4", host) => TargetAddress::Tcp(format!("192.0.2.{host}:80").parse().unwrap()),
            (_, path) => TargetAddress::Unix(path.into()),
        };
        names.split_whitespace().map(one).collect()
    }

    #[test]
    fn families_take_turns() {
        for (given, wanted) in [
            ("", ""),
            ("61", "61"),
            ("61 62 63", "61 62 63"),
            ("61 62 41 42", "61 41 62 42"),
            ("41 42 61 62", "41 61 42 62"),
            ("41 61 62 63", "41 61 62 63"),
            ("61 62 63 64 41", "61 41 62 63 64"),
            ("u1 61 41 u2", "u1 61 u2 41"),
        ] {
            assert_eq!(attempt_order(addresses(given), |a| a), addresses(wanted), "{given}");
        }
    }

    #[test]
    fn the_mapped_address_is_of_the_family_that_carries_it() {
        let mapped = TargetAddress::Tcp("[::ffff:192.0.2.1]:80".parse().unwrap());
        assert!(family(&mapped) == Family::V6);
    }
}
