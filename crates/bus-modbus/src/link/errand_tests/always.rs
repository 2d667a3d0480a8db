//! What holds whatever happens.

use std::time::Duration;

use holdfast_domain::hold::WriteOutcome;
use proptest::prelude::*;

use crate::link::desk::Key;
use crate::link::stage::Stage;

use super::{add, document};

#[derive(Debug, Clone)]
enum Deed {
    Write(Key, u64, bool),
    Read(Key, Vec<u64>),
    Go(u8),
    Kill(u8),
    Heal,
    Refuse(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    let unit = || 1_u8..=3;
    prop_oneof![
        6 => (unit(), 0_u64..4, prop::bool::weighted(0.1)).prop_map(|(unit, point, drop)| Deed::Write(unit.into(), point, drop)),
        4 => (unit(), prop::collection::vec(0_u64..4, 0..4)).prop_map(|(unit, points)| Deed::Read(unit.into(), points)),
        6 => (1_u8..20).prop_map(Deed::Go),
        1 => unit().prop_map(Deed::Kill),
        1 => Just(Deed::Heal),
        1 => any::<bool>().prop_map(Deed::Refuse),
    ]
}

proptest! {
    /// Whatever happens: every write is sent at most once, in the order of the unit's calls, and everybody is answered.
    #[test]
    fn writes_are_sent_at_most_once_and_all_are_answered(deeds in prop::collection::vec(deed(), 1..60)) {
        let mut stage = Stage::new(1);
        for unit in 1..=3 {
            add(&mut stage, &document(unit, 4), unit);
        }
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for deed in deeds {
            match deed {
                Deed::Write(key, point, is_dropped) => {
                    // The value is the number of the call.
                    let outcome = stage.write(key, point, i64::try_from(writes.len()).expect("few"));
                    writes.push((key, (!is_dropped).then_some(outcome)));
                }
                Deed::Read(key, points) => {
                    let fresh = stage.read(key, &points);
                    reads.push((points.len(), fresh));
                }
                Deed::Go(ms) => stage.run_until(stage.elapsed() + u64::from(ms)),
                Deed::Kill(unit) => { stage.dead.insert(unit); }
                Deed::Heal => stage.dead.clear(),
                Deed::Refuse(refused) => stage.refused = refused,
            }
        }
        stage.run_until(stage.elapsed() + 10_000);
        for (count, mut fresh) in reads {
            prop_assert_eq!(fresh.try_recv().map(|fresh| fresh.len()), Ok(count));
        }
        for unit in 1..=3_u8 {
            let sent: Vec<u16> = stage.words.iter().filter(|(of, _)| *of == unit).map(|(_, word)| *word).collect();
            prop_assert!(sent.is_sorted_by(|one, next| one < next), "sent twice, or out of order: {sent:?}");
            for (number, (key, outcome)) in writes.iter_mut().enumerate() {
                let (true, Some(outcome)) = (*key == Key::from(unit), outcome) else { continue };
                let outcome = outcome.try_recv();
                let was_sent = sent.contains(&u16::try_from(number).expect("few"));
                match outcome {
                    Ok(WriteOutcome::Acknowledged | WriteOutcome::Unknown(_)) => prop_assert!(was_sent),
                    Ok(WriteOutcome::NotSent(_)) => prop_assert!(!was_sent),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        prop_assert!(stage.elapsed() < Duration::from_secs(3_600).as_millis() as u64);
    }
}
