//! The event log: the latest, and as it grows.

use std::collections::BTreeMap;

use holdfast_domain::DeviceId;
use holdfast_hub_client::{EventQuery, Followed, Operator};
use holdfast_wire::EventView;

use super::{Session, get, resolve};
use crate::{
    CliError, Exit,
    args::{EventsArgs, EventsFilter},
    output::{Out, harmless},
    render::events::{self as words, EventLine},
};

async fn query(hub: &Operator, filter: &EventsFilter) -> Result<EventQuery, CliError> {
    let device = match &filter.device {
        Some(device) => Some(resolve::device(hub, device).await?.id),
        None => None,
    };
    Ok(EventQuery {
        device,
        kinds: filter.kinds.clone(),
    })
}

pub(super) async fn latest(
    session: Session<'_, '_>,
    filter: EventsFilter,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let query = query(&hub, &filter).await?;
    let mut events = hub.latest_events(&query, filter.limit).await?;
    if out.is_document() {
        return get::whole(out, events);
    }
    let names = get::names(&hub).await?;
    // The newest last, where a terminal's reader looks.
    events.reverse();
    let lines: Vec<EventLine> = events
        .iter()
        .map(|view| EventLine::of(&view.event, get::name_of(&names, view.event.device)))
        .collect();
    out.table(words::events(&lines, out.now()), "No events.")?;
    Ok(Exit::Good)
}

pub(super) async fn events(session: Session<'_, '_>, args: EventsArgs) -> Result<Exit, CliError> {
    if !args.follow {
        return latest(session, args.filter).await;
    }
    let Session { hub, out } = session;
    let query = query(&hub, &args.filter).await?;
    let mut names = get::names(&hub).await?;
    let mut follower = hub.follow(&query, args.after.as_deref());
    loop {
        match follower.next().await? {
            Followed::Connected => {}
            Followed::Lost { why, retry_in } => {
                out.note(&format!(
                    "the stream broke ({why}); it goes on in {:.1} s",
                    retry_in.as_secs_f32()
                ))?;
            }
            Followed::Event(event) => {
                if out.is_document() {
                    out.streamed(&*event)?;
                    continue;
                }
                if !names.contains_key(&event.event.device) {
                    // A device that is newer than this command, or gone; one that can't be asked for keeps its id.
                    names = get::names(&hub).await.unwrap_or(names);
                }
                show(out, &event, &names)?;
            }
        }
    }
}

/// One event on one line, with the time of day: relative times would grow old on the screen.
fn show(
    out: &mut Out<'_>,
    event: &EventView,
    names: &BTreeMap<DeviceId, String>,
) -> Result<(), CliError> {
    let name = get::name_of(names, event.event.device);
    let EventLine {
        at,
        device,
        kind,
        what,
        by,
    } = EventLine::of(&event.event, name);
    let second = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    out.line(&format!(
        "{second}  {device}  {kind}  {}  ({})",
        harmless(&what),
        harmless(&by)
    ))?;
    out.results.flush()?;
    Ok(())
}
