//! What the API answers where something was not done (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::approval::Forbidden;
use super::super::error::ApprovalError;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into() }
    }

    pub(super) fn not_found() -> Problem {
        ApprovalError::NotFound.into()
    }
}

impl From<ApprovalError> for Problem {
    fn from(error: ApprovalError) -> Problem {
        let (status, code) = match &error {
            ApprovalError::Unavailable(_) | ApprovalError::Random => (503, "store_unavailable"),
            ApprovalError::Unrecorded => (503, "unrecorded"),
            ApprovalError::Overloaded => (503, "overloaded"),
            ApprovalError::TooManyOfSubject => (429, "too_many"),
            ApprovalError::Anonymous => (401, "unauthenticated"),
            ApprovalError::NotFound => (404, "not_found"),
            ApprovalError::Terms | ApprovalError::Uncanonical(_) | ApprovalError::Invalid(_) => {
                (422, "invalid")
            }
            ApprovalError::Forbidden(Forbidden::NotNow(_) | Forbidden::Expired | Forbidden::NoReview) => {
                (409, "not_now")
            }
            ApprovalError::Forbidden(Forbidden::Reason) => (422, "reason"),
            ApprovalError::Forbidden(_) => (403, "denied"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Problem::new(status, code, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "code": self.code,
            "detail": self.detail,
        });
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
