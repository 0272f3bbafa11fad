//! `sluice demo`: a fake LLM and a fake trace store, the gateway before them, and the console.
//!
//! The fake upstream ([`upstream`]) is a real server that speaks the real formats; only what it says is made up. It
//! plants values that look like secrets in its answers, and repeats the prompt it was sent, so that one sees what
//! the gateway masks on the way in and on the way out. It is also the upstream of the end-to-end tests, which script
//! its answers on its own address, past the gateway:
//!
//! * `POST /demo/script` with `{"id": "a", "kind": "text" | "tool" | "thinking", "text": "…", "cuts": [3, 9],
//!   "delta_chars": 5, "pause_ms": 0, "wire_bytes": 7}`: the answer to requests for the model `script:a`. `cuts`
//!   are places in characters at which the text is cut into deltas; without them it is cut every `delta_chars`.
//!   `wire_bytes` cuts the bytes of the answer on the wire.
//! * `GET /demo/requests`: the last requests as they came, `[{"method", "path", "headers", "body"}]`; `DELETE`
//!   forgets them.

mod anthropic;
mod openai;
mod reply;
mod upstream;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::serve::ListenerExt;
use sluice_control::{Config, ConfigError, Files};
use sluice_data::{
    GatewayConfig, ListenAddress, ListenerConfig, RouteConfig, Routing, UpstreamConfig, UpstreamUrl,
};
use sluice_policy::Access;
use tokio::net::TcpListener;

use crate::args::DemoArgs;
use crate::failure::Failure;
use crate::running::Running;
use crate::serve::compile;
use crate::terminal::{Terminal, print, tell};

const GATEWAY_PORT: u16 = 8080;
const LLM_PORT: u16 = 8081;
const ADMIN_PORT: u16 = 9090;
/// Seconds that running exchanges get at Ctrl-C.
const DRAIN_SECONDS: u64 = 5;

pub(crate) fn run(args: &DemoArgs, terminal: &Terminal) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::work(format!("can't start the control pool: {e}")))?;
    runtime.block_on(async {
        let listener = bind(args.llm, LLM_PORT).await?;
        let llm = listener.local_addr().map_err(Failure::work)?;
        tokio::spawn(async move {
            // An answer is many small writes: each leaves at once.
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            if let Err(e) = axum::serve(listener, upstream::router()).await {
                tell(format_args!("sluice: the fake upstream ended: {e}"));
            }
        });
        let url: UpstreamUrl = format!("http://{llm}").parse().map_err(Failure::work)?;
        let listen = free(args.listen, GATEWAY_PORT).await;
        let admin = free(args.admin, ADMIN_PORT).await;
        let args = args.clone();
        let read = move || configure(&args, &url, listen, admin);
        let config = read().map_err(Failure::faults)?;
        let running = Running::start(config, read, *terminal).await?;
        if let Some(gateway) = running.gateway().addresses().first() {
            introduce(gateway, llm, running.admin, terminal)?;
        }
        running.until_signal(terminal).await
    })
}

/// One listener, one route and one upstream.
fn configure(
    args: &DemoArgs,
    url: &UpstreamUrl,
    listen: SocketAddr,
    admin: SocketAddr,
) -> Result<Config, ConfigError> {
    let ruleset = compile(&args.packs)?;
    let routing =
        Routing::everything_to(UpstreamConfig::new("demo", url, None), RouteConfig::new("demo", 0, ruleset));
    let listener = ListenerConfig::new("demo", ListenAddress::Tcp(listen));
    // The demo listens on this machine only, and its upstream keeps nothing.
    let mut config = GatewayConfig::new(listener, routing, Access::Anonymous);
    if let Some(shards) = args.shards {
        config.shards = usize::from(shards);
    }
    config.io = args.io.into();
    Ok(Config::from_flags(config, Some(admin), DRAIN_SECONDS, Files::default()))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The address asked for; else the default port, or a free one when it is taken.
async fn free(asked: Option<SocketAddr>, port: u16) -> SocketAddr {
    match asked {
        Some(address) => address,
        None => match TcpListener::bind(loopback(port)).await {
            Ok(_) => loopback(port),
            Err(_) => loopback(0),
        },
    }
}

async fn bind(asked: Option<SocketAddr>, port: u16) -> Result<TcpListener, Failure> {
    let address = free(asked, port).await;
    TcpListener::bind(address).await.map_err(|e| Failure::usage(format!("can't listen on {address}: {e}")))
}

/// Lines to try, whole as they are.
fn introduce(
    gateway: &ListenAddress,
    llm: SocketAddr,
    admin: Option<SocketAddr>,
    terminal: &Terminal,
) -> Result<(), Failure> {
    print(format_args!("sluice: gateway on http://{gateway}"))?;
    print(format_args!("sluice: llm on http://{llm} (fake LLM and trace store)"))?;
    let Some(admin) = admin else { return Ok(()) };
    print(format_args!("sluice: admin on http://{admin}"))?;
    if terminal.quiet {
        return Ok(());
    }
    let prompt = "My key is AKIAQX7T3Z5J2M6W4KPL, mail me at jane.doe@example.org";
    print(format_args!(
        r#"
A masked prompt: the fake LLM repeats what it was sent.
  curl -s http://{gateway}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"demo","messages":[{{"role":"user","content":"{prompt}"}}]}}'

A masked stream: the values are cut over many events.
  curl -sN http://{gateway}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"demo","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}'
  curl -sN http://{gateway}/v1/messages -H 'content-type: application/json' -d '{{"model":"demo","max_tokens":99,"stream":true,"messages":[{{"role":"user","content":"hello"}}]}}'

A trace on its way to a store, and what the store has.
  curl -s http://{gateway}/v1/traces -H 'content-type: application/json' -d '{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"chat","attributes":[{{"key":"gen_ai.prompt","value":{{"stringValue":"{prompt}"}}}}]}}]}}]}}]}}'
  curl -s http://{llm}/v1/traces

The metrics, and the console in a browser.
  curl -s http://{admin}/metrics
  http://{admin}/

With an SDK: set its base URL to http://{gateway}/v1 (OpenAI) or http://{gateway} (Anthropic). Ctrl-C ends."#
    ))
}
