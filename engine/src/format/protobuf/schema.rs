//! Which fields of a message are what: the tables of OTLP.
//!
//! Source: opentelemetry-proto 1.x, `opentelemetry/proto/{common,resource,trace,logs,metrics}/v1`, and
//! `profiles/v1development`, whose numbers still move: there only what all its versions agree on is listed. A field
//! that no table lists is read as one of an unknown message, so a new one is scanned before it is known here.
#![deny(clippy::indexing_slicing)]

/// What the messages of a body are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema {
    /// Not known: fields are told from their bytes.
    #[default]
    Unknown,
    /// A request of OTLP with a signal that is not known: its resources and scopes are read by the table.
    Otlp,
    /// `TracesData`, `ExportTraceServiceRequest`.
    OtlpTraces,
    /// `LogsData`, `ExportLogsServiceRequest`.
    OtlpLogs,
    /// `MetricsData`, `ExportMetricsServiceRequest`.
    OtlpMetrics,
    /// `ProfilesData`, `ExportProfilesServiceRequest`.
    OtlpProfiles,
}

impl Schema {
    /// The schema of the requests that are sent to a path (OTLP specification, "OTLP/HTTP Request" and "OTLP/gRPC").
    ///
    /// Responses have another: theirs is [`Schema::Unknown`].
    #[must_use]
    pub fn of_path(path: &str) -> Schema {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let is = |http: &str, grpc: &str| {
            path.ends_with(http)
                || path.strip_prefix("/opentelemetry.proto.collector.").is_some_and(|p| p == grpc)
        };
        if is("/v1/traces", "trace.v1.TraceService/Export") {
            Schema::OtlpTraces
        } else if is("/v1/logs", "logs.v1.LogsService/Export") {
            Schema::OtlpLogs
        } else if is("/v1/metrics", "metrics.v1.MetricsService/Export") {
            Schema::OtlpMetrics
        } else if is("/v1development/profiles", "profiles.v1development.ProfilesService/Export") {
            Schema::OtlpProfiles
        } else {
            Schema::Unknown
        }
    }

    pub(super) fn table(self) -> &'static Table {
        match self {
            Schema::Unknown => &UNKNOWN,
            Schema::Otlp => &ANY_DATA,
            Schema::OtlpTraces => &TRACES,
            Schema::OtlpLogs => &LOGS,
            Schema::OtlpMetrics => &METRICS,
            Schema::OtlpProfiles => &PROFILES,
        }
    }
}

/// What a length-delimited field is, or a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Text,
    /// The text that names the value beside it.
    Key,
    Message(&'static Table),
    /// An identifier where it has this many bytes: not a text.
    Id(u64),
    /// Packed numbers: no text.
    Numbers,
    /// A number that is a value of its own (`AnyValue`, the points of metrics).
    Integer,
    Double,
    /// A number that is none: a time, a count, a sum.
    Other,
}

/// The fields of a message, by number.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) fields: &'static [(u32, Field)],
}

impl Table {
    pub(super) fn field(&self, number: u32) -> Option<Field> {
        self.fields.iter().find(|(n, _)| *n == number).map(|(_, f)| *f)
    }

    /// Whether its values have their key beside them, always.
    pub(super) fn is_pair(&self) -> bool {
        std::ptr::eq(self, &KEY_VALUE)
    }
}

use Field::{Double, Id, Integer, Key, Message, Numbers, Other, Text};

/// `trace_id`, `profile_id`, and `span_id` (OTLP: 16 and 8 bytes).
const TRACE_ID: Field = Id(16);
const SPAN_ID: Field = Id(8);

static UNKNOWN: Table = Table { fields: &[] };

// common/v1
static ANY_VALUE: Table = Table {
    fields: &[
        (1, Text),
        (3, Integer),
        (4, Double),
        (5, Message(&ARRAY_VALUE)),
        (6, Message(&KEY_VALUE_LIST)),
        (7, Text),
    ],
};
static ARRAY_VALUE: Table = Table { fields: &[(1, Message(&ANY_VALUE))] };
static KEY_VALUE_LIST: Table = Table { fields: &[(1, Message(&KEY_VALUE))] };
static KEY_VALUE: Table = Table { fields: &[(1, Key), (2, Message(&ANY_VALUE))] };
static SCOPE: Table = Table { fields: &[(1, Text), (2, Text), (3, Message(&KEY_VALUE))] };
static ENTITY_REF: Table = Table { fields: &[(1, Text), (2, Text), (3, Text), (4, Text)] };

// resource/v1
static RESOURCE: Table = Table { fields: &[(1, Message(&KEY_VALUE)), (3, Message(&ENTITY_REF))] };

// trace/v1
static TRACES: Table = Table { fields: &[(1, Message(&RESOURCE_SPANS))] };
static RESOURCE_SPANS: Table =
    Table { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_SPANS)), (3, Text)] };
static SCOPE_SPANS: Table = Table { fields: &[(1, Message(&SCOPE)), (2, Message(&SPAN)), (3, Text)] };
static SPAN: Table = Table {
    fields: &[
        (1, TRACE_ID),
        (2, SPAN_ID),
        (3, Text),
        (4, SPAN_ID),
        (5, Text),
        (7, Other),
        (8, Other),
        (9, Message(&KEY_VALUE)),
        (11, Message(&SPAN_EVENT)),
        (13, Message(&SPAN_LINK)),
        (15, Message(&STATUS)),
    ],
};
static SPAN_EVENT: Table = Table { fields: &[(1, Other), (2, Text), (3, Message(&KEY_VALUE))] };
static SPAN_LINK: Table =
    Table { fields: &[(1, TRACE_ID), (2, SPAN_ID), (3, Text), (4, Message(&KEY_VALUE))] };
static STATUS: Table = Table { fields: &[(2, Text)] };

// logs/v1
static LOGS: Table = Table { fields: &[(1, Message(&RESOURCE_LOGS))] };
static RESOURCE_LOGS: Table =
    Table { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_LOGS)), (3, Text)] };
static SCOPE_LOGS: Table = Table { fields: &[(1, Message(&SCOPE)), (2, Message(&LOG_RECORD)), (3, Text)] };
static LOG_RECORD: Table = Table {
    fields: &[
        (1, Other),
        (3, Text),
        (5, Message(&ANY_VALUE)),
        (6, Message(&KEY_VALUE)),
        (9, TRACE_ID),
        (10, SPAN_ID),
        (11, Other),
        (12, Text),
    ],
};

// metrics/v1
static METRICS: Table = Table { fields: &[(1, Message(&RESOURCE_METRICS))] };
static RESOURCE_METRICS: Table =
    Table { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS)), (3, Text)] };
static SCOPE_METRICS: Table = Table { fields: &[(1, Message(&SCOPE)), (2, Message(&METRIC)), (3, Text)] };
static METRIC: Table = Table {
    fields: &[
        (1, Text),
        (2, Text),
        (3, Text),
        (5, Message(&NUMBERS)),
        (7, Message(&NUMBERS)),
        (9, Message(&HISTOGRAM)),
        (10, Message(&EXPONENTIAL)),
        (11, Message(&SUMMARY)),
        (12, Message(&KEY_VALUE)),
    ],
};
/// `Gauge` and `Sum`.
static NUMBERS: Table = Table { fields: &[(1, Message(&NUMBER_POINT))] };
static HISTOGRAM: Table = Table { fields: &[(1, Message(&HISTOGRAM_POINT))] };
static EXPONENTIAL: Table = Table { fields: &[(1, Message(&EXPONENTIAL_POINT))] };
static SUMMARY: Table = Table { fields: &[(1, Message(&SUMMARY_POINT))] };
static NUMBER_POINT: Table = Table {
    fields: &[
        (2, Other),
        (3, Other),
        (4, Double),
        (5, Message(&EXEMPLAR)),
        (6, Integer),
        (7, Message(&KEY_VALUE)),
    ],
};
static HISTOGRAM_POINT: Table = Table {
    fields: &[
        (2, Other),
        (3, Other),
        (4, Other),
        (5, Other),
        (6, Numbers),
        (7, Numbers),
        (8, Message(&EXEMPLAR)),
        (9, Message(&KEY_VALUE)),
        (11, Other),
        (12, Other),
    ],
};
static EXPONENTIAL_POINT: Table = Table {
    fields: &[
        (1, Message(&KEY_VALUE)),
        (2, Other),
        (3, Other),
        (4, Other),
        (5, Other),
        (7, Other),
        (8, Message(&BUCKETS)),
        (9, Message(&BUCKETS)),
        (11, Message(&EXEMPLAR)),
        (12, Other),
        (13, Other),
        (14, Other),
    ],
};
static BUCKETS: Table = Table { fields: &[(2, Numbers)] };
/// Its quantiles (6) are messages of two doubles, read as unknown ones.
static SUMMARY_POINT: Table = Table {
    fields: &[
        (2, Other),
        (3, Other),
        (4, Other),
        (5, Other),
        (6, Message(&UNKNOWN)),
        (7, Message(&KEY_VALUE)),
    ],
};
static EXEMPLAR: Table = Table {
    fields: &[(2, Other), (3, Double), (4, SPAN_ID), (5, TRACE_ID), (6, Integer), (7, Message(&KEY_VALUE))],
};

// profiles/v1development
static PROFILES: Table = Table { fields: &[(1, Message(&RESOURCE_PROFILES)), (2, Message(&DICTIONARY))] };
static RESOURCE_PROFILES: Table =
    Table { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_PROFILES)), (3, Text)] };
static SCOPE_PROFILES: Table = Table { fields: &[(1, Message(&SCOPE)), (2, Message(&PROFILE)), (3, Text)] };
static PROFILE: Table = Table { fields: &[(2, Message(&SAMPLE)), (7, TRACE_ID)] };
/// Values, times and indexes, packed; which is which depends on the version.
static SAMPLE: Table =
    Table { fields: &[(2, Numbers), (3, Numbers), (4, Numbers), (5, Numbers), (6, Numbers)] };
/// Mappings, locations, functions and stacks are read as unknown messages.
static DICTIONARY: Table = Table {
    fields: &[
        (1, Message(&UNKNOWN)),
        (2, Message(&UNKNOWN)),
        (3, Message(&UNKNOWN)),
        (4, Message(&PROFILE_LINK)),
        (5, Text),
        (6, Message(&ATTRIBUTE)),
        (7, Message(&UNKNOWN)),
    ],
};
static PROFILE_LINK: Table = Table { fields: &[(1, TRACE_ID), (2, SPAN_ID)] };
/// A `KeyValue`, or in later versions one whose key is an index.
static ATTRIBUTE: Table = Table { fields: &[(1, Key), (2, Message(&ANY_VALUE))] };

// Any signal: their requests differ below the scope only.
static ANY_DATA: Table = Table { fields: &[(1, Message(&ANY_RESOURCE)), (2, Message(&UNKNOWN))] };
static ANY_RESOURCE: Table =
    Table { fields: &[(1, Message(&RESOURCE)), (2, Message(&ANY_SCOPE)), (3, Text)] };
static ANY_SCOPE: Table = Table { fields: &[(1, Message(&SCOPE)), (2, Message(&UNKNOWN)), (3, Text)] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, schema) in [
            ("/v1/traces", Schema::OtlpTraces),
            ("/otel/v1/logs?x=1", Schema::OtlpLogs),
            ("/v1development/profiles", Schema::OtlpProfiles),
            ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Schema::OtlpMetrics),
            ("/opentelemetry.proto.collector.trace.v1.TraceService/Other", Schema::Unknown),
            ("/v1/chat/completions", Schema::Unknown),
        ] {
            assert_eq!(Schema::of_path(path), schema, "{path}");
        }
    }
}
