//! Calls of S3's API, by method, path and query (Amazon S3 API reference, "Actions").

use std::borrow::Cow;

use super::http::is_read;
use super::{BucketIn, Name};
use crate::Facts;

/// Names what is copied: a read beside the write.
pub(crate) const COPY_SOURCE: &str = "x-amz-copy-source";

/// All names that are given here.
pub(super) const NAMES: &[&str] = &[
    "s3.list",
    "s3.get",
    "s3.put",
    "s3.copy",
    "s3.delete_object",
    "s3.delete_bucket",
    "s3.create_bucket",
    "s3.config_read",
    "s3.config_write",
    "s3.read",
    "s3.write",
];

/// Parameters that belong to listing, reading, writing in parts and signing; each other one without a value names a
/// setting of the bucket or object.
const PLAIN: &[&str] = &[
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "max-uploads",
    "max-parts",
    "max-buckets",
    "bucket-region",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "encoding-type",
    "key-marker",
    "upload-id-marker",
    "version-id-marker",
    "part-number-marker",
    "partNumber",
    "uploadId",
    "uploads",
    "versionId",
    "versions",
    "x-id",
    "delete",
    "select",
    "select-type",
    "append",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Service,
    Bucket,
    Object,
}

/// What the call does. A path with empty segments is read in both ways that stores do: as it is, and without them.
pub(super) fn acts(method: &str, facts: &Facts, bucket: BucketIn) -> Vec<Vec<Name>> {
    let path = facts.path.strip_prefix('/').unwrap_or(&facts.path);
    let plain: Vec<&str> = path.split('/').collect();
    let merged: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut acts = Vec::new();
    for on in [target(&plain, bucket), target(&merged, bucket)] {
        let exact = name(method, on, facts);
        let is_write = !is_read(method) || matches!(exact, "s3.config_write");
        let class = if is_write { "s3.write" } else { "s3.read" };
        acts.push(vec![Cow::Borrowed(exact), Cow::Borrowed(class)]);
    }
    if facts.headers.contains_key(COPY_SOURCE) {
        acts.push(vec![Cow::Borrowed("s3.copy"), Cow::Borrowed("s3.write")]);
    }
    acts
}

fn target(segments: &[&str], bucket: BucketIn) -> On {
    let has_key = |key: &[&str]| key.iter().any(|segment| !segment.is_empty());
    match (bucket, segments) {
        (BucketIn::Path, [] | [""]) => On::Service,
        (BucketIn::Path, [_, key @ ..]) if has_key(key) => On::Object,
        (BucketIn::Host, key) if has_key(key) => On::Object,
        (BucketIn::Path | BucketIn::Host, _) => On::Bucket,
    }
}

fn name(method: &str, on: On, facts: &Facts) -> &'static str {
    let has = |name: &str| facts.query.iter().any(|(n, _)| n == name);
    let is_plain = |name: &str| {
        PLAIN.contains(&name)
            || name.starts_with("X-Amz-")
            || name.starts_with("response-")
            || name.starts_with("x-amz-")
    };
    // What is not known to be plain counts as a setting: nothing that could be one is taken for a read or a put.
    let is_setting = facts.query.iter().any(|(name, _)| !is_plain(name));
    match (method, on) {
        ("GET" | "HEAD" | "OPTIONS", _) if is_setting => "s3.config_read",
        ("GET" | "HEAD" | "OPTIONS", On::Object) if has("uploadId") => "s3.list",
        ("GET" | "HEAD" | "OPTIONS", On::Object) => "s3.get",
        ("GET" | "HEAD" | "OPTIONS", On::Service | On::Bucket) => "s3.list",
        ("POST", On::Bucket) if has("delete") => "s3.delete_object",
        ("POST", On::Object) if has("select") && !is_setting => "s3.get",
        ("DELETE", On::Bucket) if !is_setting => "s3.delete_bucket",
        ("DELETE", On::Object) if !is_setting => "s3.delete_object",
        ("PUT", On::Bucket) if !is_setting => "s3.create_bucket",
        ("PUT" | "POST", On::Object) if !is_setting => "s3.put",
        ("POST", On::Bucket) if !is_setting => "s3.put",
        _ => "s3.config_write",
    }
}
