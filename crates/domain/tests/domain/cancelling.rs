//! Cancelling: recorded with who and why, and decided by whether the command was begun, which its agent alone knows.

use holdfast_domain::{
    CommandId,
    docket::{Came, Docket},
    document::command::{Command, CommandOutcome, Commands},
    event::EventKind,
    wish::{WishError, cancel},
};
use serde_json::json;

use crate::{
    commanding::{give, given, one, says, started, told, word},
    support::{documents::uuid, life::Life},
};

#[test]
fn cancelling_is_recorded_and_the_agent_says_whether_it_came_in_time() {
    for (outcome, kind) in [
        (CommandOutcome::Cancelled, EventKind::CommandCancelled),
        (CommandOutcome::Verified, EventKind::CommandVerified),
    ] {
        let (mut life, mut agent, pulse) = started();
        let id = give(&mut life, pulse, one(1)).expect("it can be given");
        let ask = |life: &mut Life, why: &str| {
            let context = life.context("ben");
            cancel(&life.state, id, Some(why.into()), &context)
        };
        let (etag, from) = (life.state.target.etag(), life.log.len());
        let change = ask(&mut life, "not now")
            .expect("it waits")
            .expect("a change");
        assert!(change.changes_desired(), "the agent waits for it");
        life.commit(change);
        assert_ne!(life.state.target.etag(), etag);
        assert!(told(&life).items[0].cancelled);
        let event = &life.log[from];
        assert_eq!(event.kind, EventKind::CommandCancelRequested);
        assert_eq!(
            (
                event.actor.as_str(),
                &event.payload["reason"],
                &event.payload["id"]
            ),
            ("ben", &json!("not now"), &json!(id))
        );
        assert_eq!(
            ask(&mut life, "again"),
            Ok(None),
            "it was asked for already"
        );

        let from = life.log.len();
        says(&mut life, &mut agent, &[word(id, outcome)]);
        let event = &life.log[from];
        assert_eq!(event.kind, kind);
        let by = &event.payload["cancelling"];
        assert_eq!(
            (&by["by"], &by["reason"]),
            (&json!("ben"), &json!("not now"))
        );
        let again = ask(&mut life, "again");
        if outcome == CommandOutcome::Cancelled {
            assert_eq!(again, Ok(None), "it is so");
        } else {
            assert_eq!(again, Err(WishError::CommandEnded(outcome)));
        }
    }
    let (mut life, ..) = started();
    let nobody = CommandId(uuid(77));
    let context = life.context("ben");
    assert_eq!(
        cancel(&life.state, nobody, None, &context),
        Err(WishError::NoSuchCommand(nobody))
    );
}

#[test]
fn what_was_begun_is_not_cancelled_and_what_another_may_have_begun_is_unknown() {
    let mut docket = Docket::default();
    let offer = |docket: &mut Docket, cancelled: bool, came: Came| {
        let items = [1, 2].map(|id| Command {
            cancelled,
            ..given(id, id, 3_000)
        });
        let commands = Commands {
            revision: 1,
            items: items.into(),
        };
        let over = docket.offer(&commands, 0, came);
        over.iter()
            .map(|ending| (ending.id, ending.outcome))
            .collect::<Vec<_>>()
    };
    assert_eq!(offer(&mut docket, false, Came::Live), []);
    assert!(docket.begin(CommandId(uuid(1)), 10).is_some());
    let waited = CommandId(uuid(2));
    assert_eq!(
        offer(&mut docket, true, Came::Live),
        [(waited, CommandOutcome::Cancelled)]
    );
    docket.end(word(waited, CommandOutcome::Cancelled));
    assert!(docket.begin(waited, 10).is_none());
    for (came, outcome) in [
        (Came::AfterRestart, CommandOutcome::Cancelled),
        (Came::ToAnotherDisk, CommandOutcome::OutcomeUnknown),
    ] {
        let over = offer(&mut Docket::default(), true, came);
        assert!(over.iter().all(|(_, said)| *said == outcome), "{over:?}");
        assert_eq!(over.len(), 2);
    }
}
