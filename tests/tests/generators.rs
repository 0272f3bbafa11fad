//! Load generators as they come, `wrk` and `h2load`: a gateway under as much load as they give answers every request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use sluice_tests::DRIVERS;
use sluice_tests::checkout;
use sluice_tests::observed::{assert_well, metric};
use sluice_tests::process::Gateway;
use sluice_tests::tls::Identity;
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::ok;

fn upstream() -> Answering {
    Upstream::answering(|_| ok("text/plain", "the key AKIAEZH5VTGLTMQAZX6T is here."))
}

/// What a program prints; `None`, and the test is skipped, where it is not installed.
fn printed(what: &str, program: &str, args: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(args).output() else {
        checkout::skip(what, &format!("{program} is not installed"));
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text} {}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn wrk_gets_an_answer_to_every_request() {
    for io in DRIVERS {
        let upstream = upstream();
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let url = format!("http://{}/x", gateway.address);
        let args = ["--threads", "1", "--connections", "16", "--duration", "1", &url];
        let Some(text) = printed("generators", "wrk", &args) else { return };
        for fault in ["Socket errors", "Non-2xx"] {
            assert!(!text.contains(fault), "{io}: {text}");
        }
        assert!(metric(&gateway, "sluice_requests_total") > 16, "{io}: {text}");
        assert_well(&mut gateway, io);
    }
}

#[test]
fn h2load_gets_an_answer_to_every_request_in_clear_and_over_tls() {
    let identity = Identity::new(&["localhost"]);
    let (certificate, key) = (identity.certificate_file(), identity.key_file());
    for io in DRIVERS {
        for tls in [&[][..], &["--tls-cert", &certificate, "--tls-key", &key]] {
            let upstream = upstream();
            let mut gateway = Gateway::with_keys(&upstream.url(), io, tls);
            let scheme = if tls.is_empty() { "http" } else { "https" };
            let url = format!("{scheme}://localhost:{}/x", gateway.address.port());
            let args = ["--requests", "400", "--clients", "4", "--max-concurrent-streams", "10", &url];
            let Some(text) = printed("generators", "h2load", &args) else { return };
            let wanted = "400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout";
            assert!(text.contains(wanted) && text.contains("status codes: 400 2xx"), "{io} {scheme}: {text}");
            assert_eq!(metric(&gateway, "sluice_requests_total"), 400, "{io} {scheme}");
            assert_well(&mut gateway, io);
        }
    }
}
