//! Active health checks: every shard asks the targets of its own pools, for shards share nothing.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::body::{Head, Http1Sink, Sink};
use super::connection::{Reader, Writer};
use super::exchange::SessionContext;
use super::upstream::{Pool, http1_head};
use crate::balance::TargetId;
use crate::codec::fields::Fields;
use crate::config::{HealthCheck, UpstreamProtocol};
use crate::forward::BodyLength;

/// How often it is looked whether a check is due.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Checks all targets, as often as their upstreams say, until the shard drains.
pub(crate) async fn watch(context: Rc<SessionContext>) {
    while !context.drain.is_set() {
        let table = context.table.load_full();
        for pool in context.upstreams.all(&table) {
            let Some(check) = pool.config().health.check.clone() else { continue };
            for target in pool.due_checks(Duration::from_millis(check.every_ms), Instant::now()) {
                monoio::spawn(probe(Rc::clone(&context), Rc::clone(&pool), target, check.clone()));
            }
        }
        monoio::time::sleep(LOOK_EVERY).await;
    }
}

async fn probe(context: Rc<SessionContext>, pool: Rc<Pool>, target: TargetId, check: HealthCheck) {
    let limit = Duration::from_millis(check.ms_max);
    let is_well = monoio::time::timeout(limit, ask(&context, &pool, target, &check)).await;
    pool.checked(target, is_well.is_ok_and(|status| status.is_some_and(|s| (200..400).contains(&s))));
}

/// The status of the answer; `None`: there is none. An upstream that speaks HTTP/2 only is well when it takes a
/// connection.
async fn ask(context: &SessionContext, pool: &Pool, target: TargetId, check: &HealthCheck) -> Option<u16> {
    let (read, write) = pool.open(target).await?;
    if pool.config().protocol == UpstreamProtocol::Http2 {
        return Some(200);
    }
    let (mut reader, mut writer) = (Reader::new(read), Writer::new(write, check.ms_max));
    let mut sink = Sink::Http1(Http1Sink::new(&mut writer, true));
    let mut fields = Fields::default();
    fields.push("Host", pool.config().authority.as_str());
    fields.push("User-Agent", "sluice-health");
    fields.push("Connection", "close");
    let path = format!("{}{}", pool.config().base, check.path);
    sink.head(Head::Request { method: "GET", target: &path }, fields, BodyLength::None);
    sink.flush().await.ok()?;
    let head = http1_head(&mut reader, "GET", context, check.ms_max, &true.into()).await.ok()?;
    Some(head.status)
}
