//! The gateway's counters as Prometheus metrics (OpenMetrics 1.0 text).

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use sluice_audit::RecorderStats;
use sluice_data::{FIRST_BYTE_US, GatewayStats, REFUSALS, StatsSnapshot, UpstreamSnapshot};
use std::sync::Arc;

use crate::decide::Numbers;
use crate::reload::{InForce, Reloads};

/// All metrics of `stats` and `reloads`, as text.
pub(crate) fn encode(stats: &Arc<GatewayStats>, reloads: &Reloads) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("sluice");
    registry.register_collector(Box::new(Counters {
        stats: stats.snapshot(),
        in_force: reloads.in_force(),
        reloads_refused: reloads.refused(),
        decided: reloads.pool().map(|pool| pool.numbers()),
        record: reloads.record_stats(),
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Counters {
    stats: StatsSnapshot,
    in_force: InForce,
    reloads_refused: u64,
    decided: Option<Numbers>,
    record: Option<RecorderStats>,
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = &self.stats;
        let e = &mut encoder;
        counter(e, "requests", "Requests whose head was read", stats.requests)?;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(stats.responses);
        family(e, "responses", "Responses sent, by class of status", "class", classes)?;
        family(
            e,
            "refusals",
            "Requests refused or failed, by code",
            "code",
            REFUSALS.into_iter().zip(stats.refusals),
        )?;
        counter(e, "aborted", "Exchanges broken off after the response had begun", stats.aborted)?;
        counter(e, "connections_accepted", "Connections accepted from clients", stats.connections_accepted)?;
        counter(
            e,
            "accept_failures",
            "Connections that could not be accepted: no more descriptors or memory",
            stats.accept_failures,
        )?;
        gauge(e, "connections_open", "Connections of clients that are open", stats.connections_open)?;
        let upstream = [
            ("connect", stats.upstream_connects),
            ("reuse", stats.upstream_reuses),
            ("error", stats.upstream_errors),
        ];
        family(e, "upstream", "Upstream connections made and used again, and failures", "event", upstream)?;
        self.by_name(e)?;
        let coded = [("request", stats.request_bodies_coded), ("response", stats.response_bodies_coded)];
        family(e, "coded_bodies", "Bodies that came with content codings", "direction", coded)?;
        let scanned = [("request", stats.request_bytes_scanned), ("response", stats.response_bytes_scanned)];
        bytes_family(e, "scanned", "Bytes of bodies scanned, decoded", "direction", scanned)?;
        let passed = [("opaque_field", stats.bytes_passed_opaque), ("off", stats.bytes_passed_off)];
        bytes_family(e, "passed", "Bytes of bodies passed without a scan, by reason", "reason", passed)?;
        counter(e, "websockets", "WebSockets that were opened", stats.websockets)?;
        gauge(e, "websockets_open", "WebSockets that are open", stats.websockets_open)?;
        let messages =
            [("request", stats.websocket_request_messages), ("response", stats.websocket_response_messages)];
        family(e, "websocket_messages", "Messages of WebSockets passed on", "direction", messages)?;
        let matches = stats.matches.iter().filter(|(_, n)| **n > 0).map(|(id, n)| (id.as_str(), *n));
        family(e, "matches", "Matches, by rule", "rule", matches)?;
        let unit = Unit::Bytes;
        let held = e.encode_descriptor(
            "hold_back",
            "Bytes held back now",
            Some(&unit),
            ConstGauge::new(0i64).metric_type(),
        )?;
        encode_gauge(held, stats.hold_back_bytes)?;
        let masking = ConstCounter::new(stats.masking_us as f64 / 1e6);
        let masked = e.encode_descriptor(
            "masking",
            "Time spent masking",
            Some(&Unit::Seconds),
            masking.metric_type(),
        )?;
        masking.encode(masked)?;
        first_byte(e, stats)?;
        gauge(e, "shards_stalled", "Shards that have not run for two seconds", stats.shards_stalled)?;
        counter(e, "panics", "Panics caught; each closed its connection", stats.panics)?;
        self.decisions(e)?;
        let taken = self.in_force.version.saturating_sub(1);
        let reloads = [("taken", taken), ("refused", self.reloads_refused)];
        family(e, "reloads", "Times the configuration was read again", "result", reloads)?;
        let sha256 = [("sha256", self.in_force.sha256.as_str())];
        info(e, "configuration", "The files that the configuration in force was read from", sha256)?;
        info(e, "build", "The version that runs", [("version", env!("CARGO_PKG_VERSION"))])
    }
}

impl Counters {
    /// Verdicts, approvals, and the record.
    fn decisions(&self, e: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = &self.stats;
        let verdicts = [
            ("asked", stats.verdicts_asked),
            ("remembered", stats.verdicts_remembered),
            ("missed", stats.verdicts_missed),
        ];
        let help = "Questions whether a request may go on: asked, remembered, and without an answer in time";
        family(e, "verdicts", help, "result", verdicts)?;
        if let Some(decided) = &self.decided {
            gauge(e, "desk_questions", "Questions that nobody has taken", decided.waiting)?;
            gauge(e, "approvals_pending", "Requests that people are to decide", decided.pending)?;
            let unproved = decided.unproved.iter().copied();
            family(e, "unproved", "Callers who were not proved, by reason", "reason", unproved)?;
        }
        if let Some(record) = &self.record {
            counter(e, "records", "Records written", record.records)?;
            counter(e, "records_refused", "Records refused: each exchange went no further", record.refused)?;
            counter(e, "records_lost", "Records taken and not written; a gap tells of them", record.lost)?;
            gauge(e, "record_queue", "Records that wait for the disk", record.queued)?;
            gauge(e, "record_failing", "1: nothing can be recorded", u64::from(record.is_failing))?;
        }
        Ok(())
    }

    /// What is counted by the names of the configuration.
    fn by_name(&self, e: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let routes = self.stats.routes.iter().map(|(name, n)| (name.as_str(), *n));
        family(e, "route_requests", "Requests, by route", "route", routes)?;
        let all = &self.stats.upstreams;
        let of = |get: fn(&UpstreamSnapshot) -> u64| all.iter().map(move |(name, u)| (name.as_str(), get(u)));
        family(e, "upstream_outs", "Times that a target was left out", "upstream", of(|u| u.outs))?;
        let help = "Times that a target was chosen although all were out";
        family(e, "upstream_panics", help, "upstream", of(|u| u.panics))?;
        let events = all.iter().flat_map(|(name, u)| {
            let events = [
                ("connect", u.connects),
                ("reuse", u.reuses),
                ("fault", u.faults),
                ("retry", u.retries),
                ("retry_refused", u.retries_refused),
            ];
            events.map(|(event, n)| ([("upstream", name.as_str()), ("event", event)], n))
        });
        let counters = ConstCounter::new(0u64).metric_type();
        let help = "Connections made and used again, faults, and requests sent again, by upstream";
        let mut metric = e.encode_descriptor("upstream_events", help, None, counters)?;
        for (labels, n) in events {
            ConstCounter::new(n).encode(metric.encode_family(&labels)?)?;
        }
        let gauges = ConstGauge::new(0i64).metric_type();
        let help = "Exchanges that run, by upstream";
        let mut metric = e.encode_descriptor("upstream_exchanges", help, None, gauges)?;
        for (name, n) in of(|u| u.running) {
            encode_gauge(metric.encode_family(&[("upstream", name)])?, n)?;
        }
        let help = "Targets by upstream and state, summed over the shards, each of which judges for itself";
        let mut metric = e.encode_descriptor("upstream_targets", help, None, gauges)?;
        for (name, u) in all {
            for (state, n) in [("in", u.targets_in), ("out", u.targets_out)] {
                encode_gauge(metric.encode_family(&[("upstream", name.as_str()), ("state", state)])?, n)?;
            }
        }
        Ok(())
    }
}

fn counter(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(e.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = e.encode_descriptor(name, help, None, ConstGauge::new(0i64).metric_type())?;
    encode_gauge(metric, value)
}

fn encode_gauge(metric: MetricEncoder<'_>, value: u64) -> Result<(), std::fmt::Error> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
}

fn family<'a>(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'a str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), std::fmt::Error> {
    let metric = e.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
    encode_family(metric, label, values)
}

fn bytes_family<'a>(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'a str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), std::fmt::Error> {
    let metric =
        e.encode_descriptor(name, help, Some(&Unit::Bytes), ConstCounter::new(0u64).metric_type())?;
    encode_family(metric, label, values)
}

fn encode_family<'a>(
    mut metric: MetricEncoder<'_>,
    label: &'a str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), std::fmt::Error> {
    for (value, count) in values {
        let labels = [(label, value)];
        ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn first_byte(e: &mut DescriptorEncoder<'_>, stats: &StatsSnapshot) -> Result<(), std::fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Histogram;
    let help = "Time the gateway adds to the first byte of a response's body";
    let mut metric = e.encode_descriptor("added_first_byte", help, Some(&Unit::Seconds), kind)?;
    let bounds = FIRST_BYTE_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(stats.first_byte).collect();
    let count = stats.first_byte.iter().sum();
    metric.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
        stats.first_byte_us as f64 / 1e6,
        count,
        &buckets,
        None,
    )
}

fn info(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    labels: [(&str, &str); 1],
) -> Result<(), std::fmt::Error> {
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let metric = prometheus_client::metrics::info::Info::new(labels);
    metric.encode(e.encode_descriptor(name, help, None, metric.metric_type())?)
}
