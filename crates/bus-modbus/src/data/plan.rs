//! The planner: as few requests as the protocol's limits and the sensor's gap allow.
//!
//! Points are put in order of their addresses, and each goes into the request of the one before it if it fits. Tables
//! never share a request, and a point is never split over two.

use std::ops::Range;

use holdfast_domain::PointId;
use holdfast_domain::document::point::Point;
use holdfast_domain::protocol::modbus::Address;

use super::Place;
use crate::codec::Decoder;

/// A point, as it is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedPoint {
    pub(crate) id: PointId,
    pub(crate) place: Place,
    pub(crate) decoder: Decoder,
    /// Where it stands in the document.
    pub(crate) document_index: usize,
}

/// One request, and the points (by their order in the plan) that it fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) place: Place,
    pub(crate) points: Range<usize>,
}

/// The points of a document in the order of their addresses.
pub(crate) fn in_order(points: &[Point<Address>]) -> Vec<PlannedPoint> {
    let mut planned: Vec<PlannedPoint> = points
        .iter()
        .enumerate()
        .map(|(document_index, point)| {
            let Address {
                table,
                address,
                data_type,
                ..
            } = point.address;
            let place = Place {
                table,
                first: address,
                count: data_type.registers(),
            };
            let decoder = Decoder::new(&point.address);
            PlannedPoint {
                id: point.id,
                place,
                decoder,
                document_index,
            }
        })
        .collect();
    planned.sort_by_key(|point| point.place);
    planned
}

/// The requests for points in order, with at most `max_gap` unwanted addresses between two wanted ones.
pub(crate) fn blocks(points: &[PlannedPoint], max_gap: u16) -> Vec<Block> {
    blocks_of(points, max_gap, |_, _| true)
}

/// The same; two points, next to each other in order, share a request only if they `may`.
pub(crate) fn blocks_of(
    points: &[PlannedPoint],
    max_gap: u16,
    may: impl Fn(usize, usize) -> bool,
) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (index, point) in points.iter().enumerate() {
        match blocks
            .last_mut()
            .filter(|_| may(index - 1, index))
            .and_then(|last| Some((joined(last.place, point.place, max_gap)?, last)))
        {
            Some((place, last)) => {
                last.place = place;
                last.points.end = index + 1;
            }
            None => blocks.push(Block {
                place: point.place,
                points: index..index + 1,
            }),
        }
    }
    blocks
}

fn joined(block: Place, point: Place, max_gap: u16) -> Option<Place> {
    (block.table == point.table && block.gap_to(point) <= u32::from(max_gap))
        .then(|| block.with(point))
        .flatten()
}

#[cfg(test)]
mod tests {
    use holdfast_domain::protocol::modbus::{DataType, Order, Table};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn point(table: Table, address: u16, data_type: DataType) -> PlannedPoint {
        let at = Address {
            table,
            address,
            data_type,
            byte_order: Order::Big,
            word_order: Order::Big,
            scale: 1.0,
            offset: 0.0,
        };
        PlannedPoint {
            id: PointId(Uuid::nil()),
            place: Place {
                table,
                first: address,
                count: data_type.registers(),
            },
            decoder: Decoder::new(&at),
            document_index: 0,
        }
    }

    fn any_point() -> impl Strategy<Value = PlannedPoint> {
        let table = prop::sample::select(vec![
            Table::Coil,
            Table::Discrete,
            Table::Input,
            Table::Holding,
        ]);
        let data_type = prop_oneof![
            4 => Just(DataType::Int16),
            4 => Just(DataType::Float32),
            1 => Just(DataType::Uint64),
            1 => (0_u8..16).prop_map(DataType::Bit),
            1 => (1_u8..=250).prop_map(DataType::Text),
        ];
        // Crowded, so that points touch and overlap; and both ends of the address space.
        let address = prop_oneof![4 => 0_u16..600, 1 => 0_u16..=65_535, 1 => 65_300_u16..=65_535];
        (table, address, data_type).prop_map(|(table, address, data_type)| {
            let data_type = if table.is_bits() {
                DataType::Bool
            } else {
                data_type
            };
            let highest = 65_536 - u32::from(data_type.registers());
            let address = u32::from(address).min(highest);
            point(
                table,
                u16::try_from(address).expect("below 65536"),
                data_type,
            )
        })
    }

    proptest! {
        #[test]
        fn every_point_is_fetched_once_whole_and_within_the_limits(
            mut points in prop::collection::vec(any_point(), 0..200),
            max_gap in prop_oneof![Just(0_u16), 0_u16..=124],
        ) {
            points.sort_by_key(|point| point.place);
            let blocks = blocks(&points, max_gap);

            let covered: Vec<usize> = blocks.iter().flat_map(|block| block.points.clone()).collect();
            prop_assert_eq!(covered, (0..points.len()).collect::<Vec<_>>());
            for block in &blocks {
                prop_assert!(block.place.count <= block.place.table.max_read());
                let mut wanted_until = u32::from(block.place.first);
                for point in &points[block.points.clone()] {
                    prop_assert_eq!(point.place.table, block.place.table);
                    prop_assert!(block.place.first <= point.place.first && point.place.end() <= block.place.end());
                    prop_assert!(u32::from(point.place.first) <= wanted_until + u32::from(max_gap), "a gap too wide");
                    wanted_until = wanted_until.max(point.place.end());
                }
                prop_assert_eq!(wanted_until, block.place.end(), "nothing is read behind the last point");
            }
            for pair in blocks.windows(2) {
                let next = points[pair[1].points.start].place;
                prop_assert_eq!(joined(pair[0].place, next, max_gap), None, "one request would have done");
            }
        }
    }

    #[test]
    fn the_limits_are_the_protocols() {
        let registers: Vec<_> = (0..300)
            .map(|at| point(Table::Holding, at, DataType::Int16))
            .collect();
        let counts: Vec<u16> = blocks(&registers, 0)
            .iter()
            .map(|block| block.place.count)
            .collect();
        assert_eq!(counts, [125, 125, 50]);
        let coils: Vec<_> = (0..4100)
            .map(|at| point(Table::Coil, at, DataType::Bool))
            .collect();
        let counts: Vec<u16> = blocks(&coils, 0)
            .iter()
            .map(|block| block.place.count)
            .collect();
        assert_eq!(counts, [2000, 2000, 100]);
    }

    #[test]
    fn nothing_unwanted_is_read_unless_a_gap_is_declared() {
        let points: Vec<_> = [0, 1, 3, 6]
            .map(|at| point(Table::Input, at, DataType::Int16))
            .into();
        assert_eq!(blocks(&points, 0).len(), 3);
        assert_eq!(blocks(&points, 1).len(), 2);
        assert_eq!(blocks(&points, 2).len(), 1);
    }
}
