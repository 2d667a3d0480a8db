//! The event log: pages of it, and as server-sent events.
//!
//! A stream reads the log from its own cursor, as any other reader does, so that it can be resumed anywhere and skips
//! nothing. [`Feed`] only says cheaply whether there may be something new.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt as _, stream};
use holdfast_domain::{Choice as _, DeviceId, event::EventKind};
use holdfast_ports::{
    StoreError,
    events::{Cursor, EventFilter, EventPage, EventStore},
};
use holdfast_wire::{EventView, Listed, routes::STREAM_EVENT};
use tokio::sync::Mutex;

use crate::{
    App,
    auth::{Caller, Viewer},
    bounds::Place,
    extract::Query,
    problem::{ApiProblem, ApiResult},
};

/// List events
///
/// In the order of the log, from its beginning or behind `after`; there is always a `next`, behind which later events
/// come. With `order=newest` the last ones, newest first, and no `next`.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", security(("bearer" = ["viewer"])),
    params(
        ("device" = Option<DeviceId>, Query, description = "Only events of this device"),
        ("type" = Option<Vec<String>>, Query, description = "Only events of these types; may be repeated"),
        ("order" = Option<String>, Query, description = "`oldest` (unless stated) or `newest`"),
        ("after" = Option<String>, Query, description = "`next` of the page before, or an event's cursor"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of events", body = Listed<EventView>))
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<EventView>>> {
    let page = query.page();
    let filter = filter(&mut query);
    let newest = query.one("order", "one of oldest, newest", |word| match word {
        "oldest" => Some(false),
        "newest" => Some(true),
        _ => None,
    });
    let newest = newest.unwrap_or(false);
    if newest && page.after.is_some() {
        query.problem(
            "after",
            "nothing together with order=newest",
            page.after.as_deref().unwrap_or_default(),
        );
    }
    query.finish()?;
    let events = &app.hub.parts().events;
    if newest {
        let latest = events.latest(&filter, page.limit).await?;
        let items = latest
            .into_iter()
            .map(|event| EventView {
                cursor: None,
                event,
            })
            .collect();
        return Ok(Json(Listed { items, next: None }));
    }
    let after = page.after.map(Cursor);
    let EventPage { events, next } = events.read(&filter, after.as_ref(), page.limit).await?;
    Ok(Json(Listed {
        items: events.into_iter().map(view).collect(),
        next: Some(next.0),
    }))
}

fn view((cursor, event): (Cursor, holdfast_domain::event::Event)) -> EventView {
    EventView {
        cursor: Some(cursor.0),
        event,
    }
}

fn filter(query: &mut Query) -> EventFilter {
    let device = query.parsed("device", "a device's UUID");
    let mut kinds = Vec::new();
    for word in query.many("type") {
        match EventKind::from_word(&word) {
            Some(kind) => kinds.push(kind),
            None => query.problem("type", &EventKind::words(), &word),
        }
    }
    EventFilter { device, kinds }
}

/// Follow events
///
/// Server-sent events: each `data` is an event, each `id` the place behind it. Goes on behind `Last-Event-ID`, else behind
/// `after`, else with what happens from now on; begins with a message that has an `id` alone, the place where it begins.
/// Skips nothing. Ends when the token does.
#[utoipa::path(
    get, path = "/api/v1/events/stream", tag = "events", security(("bearer" = ["viewer"])),
    params(
        ("device" = Option<DeviceId>, Query, description = "Only events of this device"),
        ("type" = Option<Vec<String>>, Query, description = "Only events of these types; may be repeated"),
        ("after" = Option<String>, Query, description = "An event's cursor; `start`: the beginning of the log"),
        ("Last-Event-ID" = Option<String>, Header, description = "An event's cursor; goes before `after`"),
    ),
    responses((status = 200, description = "Events as they happen", body = EventView, content_type = "text/event-stream"))
)]
pub(crate) async fn stream(
    Viewer(caller): Viewer,
    State(app): State<App>,
    mut query: Query,
    headers: HeaderMap,
) -> ApiResult<impl IntoResponse> {
    const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
    /// Below what proxies take for a dead connection.
    const KEEP_ALIVE: Duration = Duration::from_secs(15);
    let places = &app.bounds.event_streams;
    let place = places.take().ok_or_else(|| {
        ApiProblem::full(format!(
            "there are {} event streams already, which is the limit: poll /api/v1/events",
            places.most()
        ))
    })?;
    let filter = filter(&mut query);
    let after = query.one("after", "an event's cursor, or start", |cursor| {
        Some(cursor.to_owned())
    });
    query.finish()?;
    let last = headers
        .get(LAST_EVENT_ID)
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let from = match last.filter(|id| !id.is_empty()).or(after) {
        None => Some(app.hub.parts().events.end().await?),
        Some(start) if start == "start" => None,
        Some(cursor) => Some(Cursor(cursor)),
    };
    let first = app
        .hub
        .parts()
        .events
        .read(&filter, from.as_ref(), Follower::BATCH)
        .await?;
    let place_of = |cursor: Cursor| sse::Event::default().id(cursor.0);
    let begin = stream::iter(from.map(place_of).map(Ok::<_, Infallible>));
    let follower = Follower {
        app,
        caller,
        filter,
        next: first.next.clone(),
        looked_at: None,
        _place: place,
    };
    let messages = stream::iter([first.events])
        .chain(follower.follow())
        .flat_map(|events| {
            stream::iter(
                events
                    .into_iter()
                    .map(|event| Ok::<_, Infallible>(message(&view(event)))),
            )
        });
    Ok((
        [(X_ACCEL_BUFFERING, "no")],
        Sse::new(begin.chain(messages)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)),
    ))
}

/// Tells reverse proxies that hold answers back not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

fn message(event: &EventView) -> sse::Event {
    let message = sse::Event::default()
        .event(STREAM_EVENT)
        .id(event.cursor.clone().unwrap_or_default());
    message.json_data(event).expect("an event is JSON")
}

type Batch = Vec<(Cursor, holdfast_domain::event::Event)>;

/// One stream's place in the log.
struct Follower {
    app: App,
    caller: Caller,
    filter: EventFilter,
    next: Cursor,
    looked_at: Option<Cursor>,
    _place: Place,
}

impl Follower {
    /// Events of one look at the log: bounds what a slow reader makes the server hold.
    const BATCH: u32 = 200;

    /// Batch after batch, until the token or the process ends or the store fails; the reader then comes back with its last
    /// cursor.
    fn follow(self) -> impl Stream<Item = Batch> {
        stream::unfold(self, async |mut this| {
            loop {
                if !this.caller.is_in_force(&this.app).await {
                    return None;
                }
                let end = this.app.feed.end().await.ok()?;
                if end == this.next || this.looked_at.as_ref() == Some(&end) {
                    let ending = &this.app.settings.ending;
                    let pause = tokio::time::sleep(Feed::EVERY);
                    ending.run_until_cancelled(pause).await?;
                    continue;
                }
                let read = this
                    .app
                    .hub
                    .parts()
                    .events
                    .read(&this.filter, Some(&this.next), Self::BATCH)
                    .await;
                let page = read
                    .inspect_err(|error| tracing::warn!(%error, "an event stream ends"))
                    .ok()?;
                let is_whole = page.events.len() < Self::BATCH as usize;
                this.looked_at = is_whole.then_some(end);
                this.next = page.next;
                if !page.events.is_empty() {
                    return Some((page.events, this));
                }
            }
        })
    }
}

/// The end of the log, asked of the store at most once in a while however many streams there are.
pub(crate) struct Feed {
    events: Arc<dyn EventStore>,
    last: Mutex<Option<(Instant, Cursor)>>,
}

impl Feed {
    /// How often the log is looked at: what a person takes for at once.
    const EVERY: Duration = Duration::from_millis(150);

    pub(crate) fn new(events: Arc<dyn EventStore>) -> Self {
        Self {
            events,
            last: Mutex::new(None),
        }
    }

    async fn end(&self) -> Result<Cursor, StoreError> {
        let mut last = self.last.lock().await;
        if let Some((at, end)) = last.as_ref()
            && at.elapsed() < Self::EVERY
        {
            return Ok(end.clone());
        }
        let end = self.events.end().await?;
        *last = Some((Instant::now(), end.clone()));
        Ok(end)
    }
}

/// The last events, for the pages.
pub(crate) async fn latest(
    app: &App,
    filter: &EventFilter,
    limit: u32,
) -> ApiResult<Vec<holdfast_domain::event::Event>> {
    app.hub
        .parts()
        .events
        .latest(filter, limit)
        .await
        .map_err(ApiProblem::from)
}
