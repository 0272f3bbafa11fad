//! OTLP of every signal as `prost` writes it: with planted values in random places and encodings, masked, then decoded by
//! `opentelemetry-proto` again; no value is found by any decoding, and nothing but strings and bytes has changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::profiles::v1development::{
    KeyValueAndUnit, Location, Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::json;
use sluice_engine::{Format, Schema, Scratch};
use sluice_tests::engine;
use sluice_tests::planted::Planted;
use sluice_tests::random::Random;

const DOCUMENTS: u64 = 20;
const DECODINGS_DEPTH_MAX: usize = 6;

/// Makes documents of what it is asked for.
struct Maker<'a> {
    random: Random,
    planted: &'a [Planted],
}

impl Maker<'_> {
    /// A sentence, with a value in it half of the time, in some encodings.
    fn text(&mut self) -> String {
        let n = self.random.below(self.planted.len() * 2);
        let Some(planted) = self.planted.get(n) else {
            return self.random.pick(&["", "GET /v1/x", "a b c", "caf\u{e9}", "select 1"]).to_owned();
        };
        (0..self.random.below(4)).fold(planted.sentence(), |text, _| self.encoded(&text))
    }

    fn encoded(&mut self, text: &str) -> String {
        let each = |f: &dyn Fn(u8) -> String| text.bytes().map(f).collect::<String>();
        match self.random.below(7) {
            0 => json!([{"role": "user", "parts": [{"type": "text", "content": text}]}]).to_string(),
            1 => json!({"arguments": json!({"text": text}).to_string()}).to_string(),
            2 => format!(
                "{{\"t\":\"{}\"}}",
                text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect::<String>()
            ),
            3 => STANDARD.encode(format!("words before it: {text}")),
            4 => format!(
                "data:text/plain;base64,{}",
                URL_SAFE_NO_PAD.encode(format!("words before it: {text}"))
            ),
            5 => each(&|b| {
                if b.is_ascii_alphanumeric() && b % 3 != 0 {
                    char::from(b).into()
                } else {
                    format!("%{b:02X}")
                }
            }),
            _ => text
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.into() } else { format!("&#{};", c as u32) })
                .collect(),
        }
    }

    fn any(&mut self, depth: usize) -> AnyValue {
        let value = match self.random.below(if depth > 2 { 4 } else { 8 }) {
            0 => Value::IntValue(i64::try_from(self.random.below(1 << 16)).expect("small")),
            1 => Value::DoubleValue(1.5),
            2 => Value::BytesValue(self.text().into_bytes()),
            3..=5 => Value::StringValue(self.text()),
            6 => Value::ArrayValue(ArrayValue { values: (0..3).map(|_| self.any(depth + 1)).collect() }),
            _ => Value::KvlistValue(KeyValueList { values: self.pairs(depth + 1) }),
        };
        AnyValue { value: Some(value) }
    }

    fn pairs(&mut self, depth: usize) -> Vec<KeyValue> {
        let names = ["gen_ai.input.messages", "db.statement", "http.url", "n", "exception.message"];
        (0..self.random.below(4))
            .map(|_| KeyValue {
                key: self.random.pick(&names).into(),
                value: Some(self.any(depth)),
                ..KeyValue::default()
            })
            .collect()
    }

    fn resource(&mut self) -> Option<Resource> {
        Some(Resource { attributes: self.pairs(0), ..Resource::default() })
    }

    fn scope(&mut self) -> Option<InstrumentationScope> {
        Some(InstrumentationScope {
            name: self.text(),
            attributes: self.pairs(0),
            ..InstrumentationScope::default()
        })
    }

    fn time(&mut self) -> u64 {
        1_763_700_000_000_000_000 + self.random.below(1 << 40) as u64
    }

    fn traces(&mut self) -> ExportTraceServiceRequest {
        let span = |m: &mut Self| Span {
            trace_id: m.random.bytes(16),
            span_id: m.random.bytes(8),
            trace_state: m.text(),
            name: m.text(),
            kind: 3,
            start_time_unix_nano: m.time(),
            end_time_unix_nano: m.time(),
            attributes: m.pairs(0),
            events: vec![Event {
                time_unix_nano: m.time(),
                name: m.text(),
                attributes: m.pairs(0),
                ..Event::default()
            }],
            links: vec![Link {
                trace_id: m.random.bytes(16),
                span_id: m.random.bytes(8),
                attributes: m.pairs(0),
                ..Link::default()
            }],
            status: Some(Status { message: m.text(), code: 2 }),
            ..Span::default()
        };
        let spans = (0..3).map(|_| span(self)).collect();
        let scope_spans = vec![ScopeSpans { scope: self.scope(), spans, schema_url: self.text() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: self.resource(),
                scope_spans,
                ..ResourceSpans::default()
            }],
        }
    }

    fn logs(&mut self) -> ExportLogsServiceRequest {
        let record = |m: &mut Self| LogRecord {
            time_unix_nano: m.time(),
            observed_time_unix_nano: m.time(),
            severity_number: 9,
            severity_text: "INFO".into(),
            body: Some(m.any(0)),
            attributes: m.pairs(0),
            trace_id: m.random.bytes(16),
            span_id: m.random.bytes(8),
            event_name: m.text(),
            ..LogRecord::default()
        };
        let log_records = (0..4).map(|_| record(self)).collect();
        let scope_logs = vec![ScopeLogs { scope: self.scope(), log_records, ..ScopeLogs::default() }];
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: self.resource(),
                scope_logs,
                ..ResourceLogs::default()
            }],
        }
    }

    fn exemplar(&mut self) -> Exemplar {
        Exemplar {
            filtered_attributes: self.pairs(0),
            time_unix_nano: self.time(),
            span_id: self.random.bytes(8),
            trace_id: self.random.bytes(16),
            value: Some(exemplar::Value::AsInt(12)),
        }
    }

    fn metrics(&mut self) -> ExportMetricsServiceRequest {
        let point = NumberDataPoint {
            attributes: self.pairs(0),
            time_unix_nano: self.time(),
            exemplars: vec![self.exemplar()],
            value: Some(number_data_point::Value::AsDouble(2.5e9)),
            ..NumberDataPoint::default()
        };
        let histogram = HistogramDataPoint {
            attributes: self.pairs(0),
            time_unix_nano: self.time(),
            count: 30,
            sum: Some(4.25),
            bucket_counts: vec![1, 2, 300],
            explicit_bounds: vec![0.5, 100.0],
            exemplars: vec![self.exemplar()],
            ..HistogramDataPoint::default()
        };
        let of = |m: &mut Self, data| Metric {
            name: "requests".into(),
            description: m.text(),
            unit: "1".into(),
            metadata: m.pairs(0),
            data: Some(data),
        };
        let metrics = vec![
            of(self, metric::Data::Gauge(Gauge { data_points: vec![point] })),
            of(
                self,
                metric::Data::Histogram(Histogram {
                    data_points: vec![histogram],
                    aggregation_temporality: 2,
                }),
            ),
        ];
        let scope_metrics = vec![ScopeMetrics { scope: self.scope(), metrics, ..ScopeMetrics::default() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: self.resource(), scope_metrics, ..ResourceMetrics::default() }];
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn profiles(&mut self) -> ExportProfilesServiceRequest {
        let profile = Profile {
            samples: vec![Sample { stack_index: 1, values: vec![5, 70_000], ..Sample::default() }],
            time_unix_nano: self.time(),
            profile_id: self.random.bytes(16),
            original_payload_format: "pprof".into(),
            original_payload: self.text().into_bytes(),
            ..Profile::default()
        };
        let scope_profiles =
            vec![ScopeProfiles { scope: self.scope(), profiles: vec![profile], ..ScopeProfiles::default() }];
        let value = Some(self.any(0));
        let dictionary = ProfilesDictionary {
            location_table: vec![Location { address: 0x7F00_1234_5678, ..Location::default() }],
            string_table: (0..4).map(|_| self.text()).collect(),
            attribute_table: vec![KeyValueAndUnit { key_strindex: 1, value, unit_strindex: 2 }],
            ..ProfilesDictionary::default()
        };
        ExportProfilesServiceRequest {
            resource_profiles: vec![ResourceProfiles {
                resource: self.resource(),
                scope_profiles,
                ..ResourceProfiles::default()
            }],
            dictionary: Some(dictionary),
        }
    }
}

/// What a text spells in any encoding, some levels deep, itself first.
fn decodings(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![text.to_vec()];
    let mut from = 0;
    for _ in 0..DECODINGS_DEPTH_MAX {
        let to = all.len();
        for n in from..to {
            let text = all[n].clone();
            let plain = unescaped(&text);
            if plain != text {
                all.push(plain);
            }
            let is_run = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_".contains(b);
            for run in text.split(|b| !is_run(b)).filter(|run| run.len() >= 24) {
                let url: String = run
                    .iter()
                    .map(|b| char::from(*b).to_string().replace('+', "-").replace('/', "_"))
                    .collect();
                all.extend(URL_SAFE_NO_PAD.decode(&url[..url.len() - usize::from(url.len() % 4 == 1)]));
            }
        }
        from = to;
    }
    all
}

/// A text with its escapes of JSON, URLs and HTML read.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        let rest = String::from_utf8_lossy(text.get(at + 1..(at + 12).min(text.len())).unwrap_or_default())
            .into_owned();
        let hex =
            |range: std::ops::Range<usize>| rest.get(range).and_then(|t| u32::from_str_radix(t, 16).ok());
        let entity = rest
            .strip_prefix('#')
            .and_then(|t| t.split_once(';'))
            .and_then(|(t, _)| Some((t.len() + 2, t.parse().ok()?)));
        let (len, code) = match byte {
            b'%' => (2, hex(0..2)),
            b'\\' if rest.starts_with('u') => (5, hex(1..5)),
            b'\\' => (1, rest.chars().next().map(|c| if c == 'n' { 10 } else { c as u32 })),
            b'&' => entity.map_or((0, None), |(len, code)| (len, Some(code))),
            _ => (0, None),
        };
        match code {
            Some(code) if byte == b'%' => out.push(u8::try_from(code).expect("two digits")),
            Some(code) => out.extend(char::from_u32(code).unwrap_or('?').to_string().bytes()),
            None => out.push(byte),
        }
        at += 1 + if code.is_some() { len } else { 0 };
    }
    out
}

/// Masks a message and decodes it; no planted value may be in it.
fn check<M: Message + Default + std::fmt::Debug>(
    message: &M,
    schema: Schema,
    planted: &[Planted],
    scratch: &mut Scratch,
    seed: u64,
) {
    let body = message.encode_to_vec();
    let format = Format::Protobuf(schema);
    let output = engine::mask(format, &body, body.len().max(1), scratch);
    for size in [1, 77] {
        assert!(engine::mask(format, &body, size, scratch) == output, "{seed}: chunks of {size} matter");
    }
    assert_eq!(output.len(), body.len(), "{seed}: lengths stay");
    let decoded = M::decode(output.as_slice()).unwrap_or_else(|e| panic!("{seed}: {schema:?}: {e}"));
    // What is not a string has not changed: its spelling, blanked, is the same.
    assert_eq!(shape(&decoded), shape(message), "{seed}: {schema:?}");
    let readings = decodings(&output);
    for planted in planted {
        for text in &readings {
            assert_eq!(planted.leak_in(text), None, "{seed}: {schema:?}: {}", planted.class);
        }
    }
}

/// A message's `Debug` without what is in quotes, and without bytes.
fn shape<M: std::fmt::Debug>(message: &M) -> String {
    let text = format!("{message:?}");
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '"' {
            while let Some(c) = chars.next() {
                match c {
                    '\\' => drop(chars.next()),
                    '"' => break,
                    _ => {}
                }
            }
        }
    }
    for name in ["BytesValue([", "original_payload: ["] {
        let mut parts = out.split(name);
        let first = parts.next().unwrap_or_default().to_owned();
        out = parts.fold(first, |all, part| all + part.split_once(']').map_or("", |(_, rest)| rest));
    }
    out
}

#[test]
fn every_signal_is_masked_and_decoded() {
    // Those that need neither words around them nor line breaks, which encodings may take away. Of OpenAI's keys the middle is
    // base64 of its name, which the sentence says too.
    let classes = [
        "aws_access_key",
        "github_token",
        "gitlab_token",
        "anthropic_key",
        "slack_token",
        "stripe_key",
        "huggingface_token",
    ];
    let mut planted = Planted::all();
    planted.retain(|p| classes.contains(&p.class.as_str()));
    assert_eq!(planted.len(), classes.len());
    let scratch = &mut Scratch::new();
    for seed in 1..=DOCUMENTS {
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut maker = Maker { random, planted: &planted };
        let messages = (maker.traces(), maker.logs(), maker.metrics(), maker.profiles());
        for schema in [Schema::Otlp, Schema::Unknown] {
            check(&messages.0, schema, &planted, scratch, seed);
        }
        check(&messages.0, Schema::OtlpTraces, &planted, scratch, seed);
        check(&messages.1, Schema::OtlpLogs, &planted, scratch, seed);
        check(&messages.2, Schema::OtlpMetrics, &planted, scratch, seed);
        check(&messages.3, Schema::OtlpProfiles, &planted, scratch, seed);
    }
}
