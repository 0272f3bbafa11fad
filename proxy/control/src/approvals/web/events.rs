//! Live events: each transition as a server-sent event, from now on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::super::people::Account;
use super::Web;
use super::api::is_person;
use super::caller::Caller;
use super::problem::Problem;

/// Events that a listener may be behind before it misses some.
const BEHIND_MAX: usize = 64;
/// How long one proof keeps a stream open.
const OPEN_S_MAX: u64 = 3_600;
/// How often a silent stream shows that it lives.
const BEAT_S: u64 = 15;

pub(super) async fn stream(
    State(web): State<Arc<Web>>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let full = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many listen already");
    let permit = Arc::clone(&web.listeners).try_acquire_owned().map_err(|_| full())?;
    let mut live = web.approvals.live();
    let own = (!is_person(&caller.subject)).then(|| Account::of(&caller.subject));
    let (sender, receiver) = mpsc::channel(BEHIND_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let pump = async {
            loop {
                let event = match live.recv().await {
                    Ok(told) if own.as_ref().is_some_and(|own| *own != told.subject) => continue,
                    Ok(told) => {
                        let event = Event::default().event(told.step.name());
                        let id = format!("{}-{}", told.approval, told.seq);
                        event.id(id).json_data(told.as_ref()).unwrap_or_default()
                    }
                    Err(RecvError::Lagged(missed)) => {
                        Event::default().event("missed").data(missed.to_string())
                    }
                    Err(RecvError::Closed) => break,
                };
                if sender.send(Ok(event)).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = pump => {}
            () = sender.closed() => {}
            () = tokio::time::sleep(Duration::from_secs(OPEN_S_MAX)) => {}
        }
    });
    let beat = KeepAlive::new().interval(Duration::from_secs(BEAT_S));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(beat))
}
