//! Validators: published values and their near misses.

use super::*;

fn check(validator: &Validator, good: &[&str], bad: &[&str]) {
    for value in good {
        assert!(validator.accepts(value.as_bytes()), "{} refuses {value}", validator.name());
    }
    for value in bad {
        assert!(!validator.accepts(value.as_bytes()), "{} accepts {value}", validator.name());
    }
}

#[test]
fn card_numbers() {
    check(
        &Validator::Luhn,
        &["4111 1111 1111 1111", "378282246310005", "79927398713"],
        &["4111111111111112", "x", "", "0000"],
    );
}

#[test]
fn ibans() {
    check(
        &Validator::Mod97,
        &["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "NO9386011117947"],
        &["GB82WEST12345698765433", "DE8937040044053201300", "DE", "", "é"],
    );
}

#[test]
fn social_security_numbers() {
    check(
        &Validator::UsSsn,
        &["536-22-8145", "536228145"],
        &[
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "536-00-8145",
            "536-22-0000",
            "53622814",
            "111-11-1111",
        ],
    );
}

#[test]
fn entropy() {
    check(&Validator::Entropy { min: 3.0 }, &["a8Jk2Lq9"], &["aaaaaaaa", ""]);
}

#[test]
fn json_web_tokens() {
    check(
        &Validator::Jwt,
        &["eyJhbGciOiJIUzI1NiJ9.e30.abc"],
        &["eyJ0eXAiOiJKV1QifQ.e30.abc", "eyJhbGciOiJIUzI1NiJ9", "a.b.c", ""],
    );
}

#[test]
fn addresses() {
    check(
        &Validator::Ip,
        &["10.1.2.3", "2001:db8::1", "fe80::1%eth0", "[::1]"],
        &["256.1.1.1", "1.2.3", "12:34", ""],
    );
}

#[test]
fn token_checksums() {
    let body = b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5";
    let mut crc = crc32(body);
    let mut check_digits = Vec::new();
    for _ in 0..6 {
        check_digits.insert(0, BASE62[(crc % 62) as usize]);
        crc /= 62;
    }
    let good = [b"ghp_".as_slice(), body, &check_digits].concat();
    assert!(Validator::Crc32Github.accepts(&good));
    let mut bad = good.clone();
    bad[10] ^= 1;
    assert!(!Validator::Crc32Github.accepts(&bad) && !Validator::Crc32Npm.accepts(b"npm_x"));
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn base64_texts() {
    check(&Validator::Base64, &["YWJj", "YWI=", "YWI", "-_-_"], &["YWJjZ", "YW=J", "YWJj===", "Y WJ"]);
}

#[test]
fn dates() {
    check(
        &Validator::Date,
        &[
            "1990-02-28",
            "28/02/1990",
            "02/28/1990",
            "4 July 1976",
            "July 4th, 1976",
            "19900228",
            "29.02.2000",
        ],
        &["1990-13-40", "31/31/1990", "29.02.1999", "hello", ""],
    );
}

#[test]
fn coin_addresses() {
    check(
        &Validator::Bitcoin,
        &[
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ],
        &["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", ""],
    );
    check(
        &Validator::Ethereum,
        &["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"],
        &["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "0x5a", "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed00"],
    );
}

#[test]
fn character_classes() {
    let v = Validator::Chars { digits: 1, lower: 1, upper: 1, letters: 2, distinct: 3 };
    check(&v, &["aB1"], &["ab1", "AB1", "aBc", "aB"]);
}
