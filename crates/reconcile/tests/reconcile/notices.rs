//! Who is told of trouble: once, in order, whatever happens to receivers and reconcilers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use holdfast_domain::event::{Event, EventKind};
use holdfast_ports::notices::{NotTold, Notifier};
use holdfast_reconcile::notices::{Looked, NoticeParts, Way};
use uuid::Uuid;

use crate::support::{Fleet, seconds};

/// A receiver that writes down what it was told.
#[derive(Default)]
struct Pager {
    told: Mutex<Vec<(EventKind, String)>>,
    refusing: Mutex<bool>,
    asked: Mutex<u32>,
}

#[async_trait]
impl Notifier for Pager {
    fn name(&self) -> &str {
        "pager"
    }

    async fn notify(&self, event: &Event) -> Result<(), NotTold> {
        *self.asked.lock().expect("nobody panics") += 1;
        if *self.refusing.lock().expect("nobody panics") {
            return Err(NotTold("expected a success, found 503".to_owned()));
        }
        let kind = event.payload["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.told
            .lock()
            .expect("nobody panics")
            .push((event.kind, kind));
        Ok(())
    }
}

impl Pager {
    fn told(&self) -> Vec<(EventKind, String)> {
        self.told.lock().expect("nobody panics").clone()
    }

    fn refuse(&self, refusing: bool) {
        *self.refusing.lock().expect("nobody panics") = refusing;
    }
}

fn way(fleet: &Fleet, holder: u128, pager: &Arc<Pager>) -> Way {
    let parts = NoticeParts {
        events: Arc::new(fleet.store.clone()),
        places: Arc::new(fleet.store.clone()),
        clock: fleet.clock.clone(),
        holder: Uuid::from_u128(holder),
        give_up_after: seconds(86_400),
    };
    Way::new(parts, pager.clone())
}

async fn look(way: &mut Way) -> Looked {
    way.look().await.expect("memory works")
}

/// The agents say nothing for so long that it is told of.
async fn fall_silent(fleet: &Fleet) {
    let reconciler = fleet.reconciler();
    for _ in 0..5 {
        fleet.later(seconds(100));
        reconciler.pass().await;
    }
}

fn began(kind: &str) -> (EventKind, String) {
    (EventKind::TroubleBegan, kind.to_owned())
}

#[tokio::test]
async fn trouble_is_told_once_and_so_is_its_end() {
    let mut fleet = Fleet::new(1).await;
    let pager = Arc::new(Pager::default());
    let mut one = way(&fleet, 1, &pager);
    assert_eq!(look(&mut one).await, Looked::Done(0), "it begins with news");
    fall_silent(&fleet).await;
    assert_eq!(look(&mut one).await, Looked::Done(1));
    assert_eq!(look(&mut one).await, Looked::Done(0));
    assert_eq!(pager.told(), [began("agentSilent")]);
    // Another process goes on where this one was.
    fleet.later(seconds(60));
    let mut other = way(&fleet, 2, &pager);
    assert_eq!(look(&mut other).await, Looked::Done(0));
    fleet.establish(fleet.first()).await;
    fleet.reconciler().pass().await;
    assert_eq!(look(&mut other).await, Looked::Done(1));
    let ended = (EventKind::TroubleEnded, "agentSilent".to_owned());
    assert_eq!(pager.told(), [began("agentSilent"), ended]);
}

#[tokio::test]
async fn of_two_reconcilers_one_tells() {
    let fleet = Fleet::new(3).await;
    let pager = Arc::new(Pager::default());
    let (mut one, mut other) = (way(&fleet, 1, &pager), way(&fleet, 2, &pager));
    look(&mut one).await;
    fall_silent(&fleet).await;
    // Its lease has run out meanwhile: who comes first has the way.
    assert_eq!(look(&mut other).await, Looked::Done(3));
    assert_eq!(look(&mut one).await, Looked::TakenByOthers);
    assert_eq!(pager.told(), vec![began("agentSilent"); 3]);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told_later_and_is_left_alone_meanwhile() {
    let fleet = Fleet::new(2).await;
    let pager = Arc::new(Pager::default());
    let (mut one, mut other) = (way(&fleet, 1, &pager), way(&fleet, 2, &pager));
    look(&mut one).await;
    pager.refuse(true);
    fall_silent(&fleet).await;
    let mut waits = Vec::new();
    for attempt in 1..=12 {
        let looked = look(&mut one).await;
        let Looked::Again(wait) = looked else {
            panic!("{looked:?} at attempt {attempt}");
        };
        assert_eq!(
            look(&mut other).await,
            Looked::TakenByOthers,
            "it is left alone"
        );
        fleet.later(seconds(1));
        waits.push(wait);
    }
    assert_eq!(*pager.asked.lock().expect("nobody panics"), 12);
    assert!(waits[0] <= Duration::from_secs(1), "{waits:?}");
    assert!(
        waits[11] > Duration::from_secs(60),
        "ever more slowly: {waits:?}"
    );
    assert!(waits[11] <= Duration::from_secs(300), "{waits:?}");
    pager.refuse(false);
    assert_eq!(look(&mut one).await, Looked::Done(2));
    assert_eq!(pager.told(), vec![began("agentSilent"); 2]);
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_the_next_is_told() {
    let mut fleet = Fleet::new(1).await;
    let pager = Arc::new(Pager::default());
    let mut one = way(&fleet, 1, &pager);
    look(&mut one).await;
    pager.refuse(true);
    fall_silent(&fleet).await;
    assert!(matches!(look(&mut one).await, Looked::Again(_)));
    fleet.later(seconds(86_400));
    assert_eq!(look(&mut one).await, Looked::Done(1), "given up");
    pager.refuse(false);
    fleet.establish(fleet.first()).await;
    fleet.reconciler().pass().await;
    assert_eq!(look(&mut one).await, Looked::Done(1));
    assert_eq!(
        pager.told(),
        [(EventKind::TroubleEnded, "agentSilent".to_owned())]
    );
}
