//! What is doubtful in a target: valid sensor by sensor, and yet unlikely to be what was meant.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{
    document::{
        point::Point,
        sensor::{Binding, Item, Sensor},
    },
    ids::SensorId,
    protocol::{can, modbus},
};

/// Something doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Doubt {
    /// The sensors concerned.
    pub sensors: Vec<SensorId>,
    /// What is doubtful about them, for a person.
    pub what: String,
}

/// So many doubts are enough to see that something is wrong: a thousand copies of a sensor would give half a million.
const MOST: usize = 100;

/// Everything doubtful in `items`, the first of it if there is very much.
#[must_use]
pub fn doubts(items: &[Item]) -> Vec<Doubt> {
    let sensors: Vec<&Sensor> = items
        .iter()
        .map(|item| item.sensor.as_ref())
        .filter(|s| s.enabled())
        .collect();
    let mut doubts = conflicting_links(&sensors);
    doubts.append(&mut shared_registers(&sensors));
    doubts
}

/// One writable range of registers or coils.
struct Range<'a> {
    first: u32,
    last: u32,
    sensor: &'a Sensor,
    point: &'a Point<modbus::Address>,
}

impl Range<'_> {
    /// Would writing one of two that overlap undo the other? Other bits of the same register would not.
    fn undoes(&self, other: &Self) -> bool {
        let [one, two] = [self, other].map(|range| range.point.address.data_type);
        let are_bits = matches!(
            (one, two),
            (modbus::DataType::Bit(_), modbus::DataType::Bit(_))
        );
        one == two || !are_bits
    }
}

/// Two writable points on the same registers of the same unit would undo each other's writes.
fn shared_registers(sensors: &[&Sensor]) -> Vec<Doubt> {
    let mut units: BTreeMap<(String, u8, modbus::Table), Vec<Range<'_>>> = BTreeMap::new();
    for sensor in sensors {
        let Binding::Modbus { connection, points } = &sensor.content().binding else {
            continue;
        };
        for point in points.iter().filter(|point| point.writable) {
            let first = u32::from(point.address.address);
            let last = first + u32::from(point.address.data_type.registers()) - 1;
            let unit = (
                place(&connection.link),
                connection.unit_id,
                point.address.table,
            );
            units.entry(unit).or_default().push(Range {
                first,
                last,
                sensor,
                point,
            });
        }
    }
    let mut doubts = Vec::new();
    for ((link, unit, table), mut ranges) in units {
        ranges.sort_by_key(|range| range.first);
        for (index, left) in ranges.iter().enumerate() {
            // Sorted by where they begin: those that overlap follow at once.
            let behind = ranges[index + 1..].iter();
            for right in behind.take_while(|right| right.first <= left.last) {
                if left.undoes(right) {
                    doubts.push(Doubt {
                        sensors: named([left.sensor, right.sensor]),
                        what: format!(
                            "{}/{} and {}/{} both write {table} {} of unit {unit} at {link}: each would undo the other",
                            left.sensor.name(), left.point.name, right.sensor.name(), right.point.name, right.first,
                        ),
                    });
                }
            }
            if doubts.len() >= MOST {
                return doubts;
            }
        }
    }
    doubts
}

fn named<const N: usize>(sensors: [&Sensor; N]) -> Vec<SensorId> {
    let mut ids: Vec<SensorId> = sensors.iter().map(|sensor| sensor.id()).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Where a link is, whatever is spoken on it.
fn place(link: &modbus::Link) -> String {
    match link {
        modbus::Link::Tcp { host, port } | modbus::Link::RtuOverTcp { host, port } => {
            format!("{host}:{port}")
        }
        modbus::Link::Rtu { serial_port, .. } => serial_port.clone(),
    }
}

/// Sensors that share a link must agree on its settings.
fn conflicting_links(sensors: &[&Sensor]) -> Vec<Doubt> {
    let mut links: BTreeMap<String, (&Sensor, String)> = BTreeMap::new();
    let mut doubts = Vec::new();
    for sensor in sensors {
        let Some((place, settings)) = settings(sensor) else {
            continue;
        };
        match links.get(&place) {
            None => {
                links.insert(place, (sensor, settings));
            }
            Some((first, other)) if *other != settings => doubts.push(Doubt {
                sensors: named([first, sensor]),
                what: format!(
                    "{} and {} share {place} but not its settings: {other} and {settings}",
                    first.name(),
                    sensor.name(),
                ),
            }),
            Some(_) => {}
        }
    }
    doubts
}

fn settings(sensor: &Sensor) -> Option<(String, String)> {
    match &sensor.content().binding {
        Binding::Modbus { connection, .. } => {
            let settings = match &connection.link {
                modbus::Link::Tcp { .. } => "tcp".to_string(),
                modbus::Link::RtuOverTcp { .. } => "rtuOverTcp".to_string(),
                modbus::Link::Rtu { line, .. } => format!(
                    "rtu {} baud, {} data bits, parity {}, {} stop bits",
                    line.baud_rate, line.data_bits, line.parity, line.stop_bits
                ),
            };
            Some((place(&connection.link), settings))
        }
        Binding::Can { connection, .. } => {
            let can::Connection {
                kind: _,
                interface,
                dbc: _,
                fd,
                extra: _,
            } = connection;
            Some((
                interface.clone(),
                format!("{}CAN FD", if *fd { "" } else { "no " }),
            ))
        }
        Binding::Opcua { .. } | Binding::Mqtt { .. } => None,
    }
}
