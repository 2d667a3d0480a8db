//! Applying a plan reaches the target, a second plan is empty, and only what changed is touched.

use std::collections::BTreeMap;

use holdfast_domain::{
    Item, Sensor, SensorId,
    plan::{Running, Step, apply, plan},
};
use proptest::{collection::btree_map, prelude::*};
use serde_json::{Value, json};

use crate::support::{
    documents::{Numbers, uuid},
    life,
};

/// What distinguishes the contents of one sensor in these tests.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Variant {
    host: u8,
    protocol: bool,
    enabled: bool,
    poll: u8,
    name: u8,
    point: u8,
    version: u64,
}

prop_compose! {
    fn variant()(
        host in 0..2_u8, protocol in prop::bool::weighted(0.8), enabled in prop::bool::weighted(0.8),
        poll in 0..2_u8, name in 0..2_u8, point in 0..3_u8, version in 0..3_u64,
    ) -> Variant {
        Variant { host, protocol, enabled, poll, name, point, version }
    }
}

impl Variant {
    fn item(self, number: u128) -> Item {
        let Self {
            host,
            protocol,
            enabled,
            poll,
            name,
            point,
            version,
        } = self;
        let mut document = life::sensor(number, &format!("s{number}-{name}")).to_json();
        document["enabled"] = json!(enabled);
        document["pollInterval"] = json!(1_000 + u32::from(poll));
        if protocol {
            document["connection"]["host"] = json!(format!("10.0.0.{host}"));
            document["dataPoints"][0]["address"] = json!(point);
            if point == 2 {
                document["dataPoints"] = json!([]);
            }
        } else {
            document["protocol"] = json!("mqtt");
            document["connection"] = json!({ "host": format!("broker-{host}") });
            let topic = format!("t/{point}");
            document["dataPoints"] =
                json!([{ "id": uuid(0x1000 + number), "name": "t", "topic": topic }]);
        }
        life::item(
            version,
            &Sensor::from_json(document).expect("a valid sensor"),
        )
    }
}

type Variants = BTreeMap<u128, Variant>;

fn items(variants: &Variants) -> Vec<Item> {
    variants
        .iter()
        .map(|(number, variant)| variant.item(*number))
        .collect()
}

fn running(variants: &Variants) -> Running {
    items(variants)
        .into_iter()
        .map(|item| (item.sensor.id(), item))
        .collect()
}

proptest! {
    #[test]
    fn a_plan_reaches_the_target_and_a_second_one_is_empty(
        wanted in btree_map(0..8_u128, variant(), 0..8),
        runs in btree_map(0..8_u128, variant(), 0..8),
        seed: u64,
    ) {
        let target = items(&wanted);
        let steps = plan(&target, &running(&runs));
        let after = apply(&steps, running(&runs));
        prop_assert_eq!(&after, &running(&wanted));
        prop_assert_eq!(plan(&target, &after), vec![]);

        let mut shuffled = target.clone();
        Numbers(seed).shuffle(&mut shuffled);
        prop_assert_eq!(plan(&shuffled, &running(&runs)), steps, "the order of sensors does not matter");
    }

    #[test]
    fn only_what_changed_is_touched(
        wanted in btree_map(0..8_u128, variant(), 0..8),
        runs in btree_map(0..8_u128, variant(), 0..8),
    ) {
        let steps: BTreeMap<SensorId, Step> =
            plan(&items(&wanted), &running(&runs)).into_iter().map(|step| (step.sensor(), step)).collect();
        for number in 0..8 {
            let step = steps.get(&SensorId(uuid(number)));
            let (wants, has) = (wanted.get(&number).copied(), runs.get(&number).copied());
            let same_content = |a: Variant, b: Variant| a.item(number).sensor == b.item(number).sensor;
            match (has, wants) {
                (None, None) => prop_assert_eq!(step, None),
                (Some(_), None) => prop_assert!(matches!(step, Some(Step::Stop(_)))),
                (None, Some(_)) => prop_assert!(matches!(step, Some(Step::Start(_)))),
                (Some(has), Some(wants)) if same_content(has, wants) => {
                    let is_other_version = has.version != wants.version;
                    prop_assert_eq!(matches!(step, Some(Step::Relabel(_))), is_other_version);
                    prop_assert_eq!(step.is_some(), is_other_version);
                }
                (Some(has), Some(wants)) => {
                    let link = |of: Variant| (of.host, of.protocol, of.enabled);
                    let restarts = link(has) != link(wants);
                    prop_assert_eq!(matches!(step, Some(Step::Restart(_))), restarts);
                    prop_assert_eq!(matches!(step, Some(Step::Update(_))), !restarts);
                }
            }
        }
    }

    #[test]
    fn each_step_is_of_another_sensor_and_what_frees_comes_first(
        wanted in btree_map(0..8_u128, variant(), 0..8),
        runs in btree_map(0..8_u128, variant(), 0..8),
    ) {
        let steps = plan(&items(&wanted), &running(&runs));
        let mut sensors: Vec<SensorId> = steps.iter().map(Step::sensor).collect();
        sensors.sort();
        sensors.dedup();
        prop_assert_eq!(sensors.len(), steps.len());
        let rank = |step: &Step| match step {
            Step::Stop(_) => 0,
            Step::Restart(_) | Step::Update(_) | Step::Relabel(_) => 1,
            Step::Start(_) => 2,
        };
        prop_assert!(steps.is_sorted_by_key(rank));
    }
}

#[test]
fn an_unknown_field_in_the_connection_restarts_and_one_in_a_point_does_not() {
    let with = |path: &str| -> Value {
        let mut document = life::sensor(1, "a").to_json();
        document.pointer_mut(path).expect("a place")["newer"] = json!(1);
        document
    };
    let runs = running(&BTreeMap::new());
    let runs = apply(&plan(&[life::item(1, &life::sensor(1, "a"))], &runs), runs);
    let step = |path: &str| {
        let sensor = Sensor::from_json(with(path)).expect("a sensor");
        plan(&[life::item(2, &sensor)], &runs).remove(0)
    };
    assert!(matches!(step("/connection"), Step::Restart(_)));
    assert!(matches!(step("/dataPoints/0"), Step::Update(_)));
    assert!(matches!(step(""), Step::Restart(_)));
}
