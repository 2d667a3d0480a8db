//! There and back, over all data types and orders; and against the simulator's codec, which was written apart.

use holdfast_device_sim::modbus as sim;
use holdfast_domain::protocol::modbus::Table;
use proptest::prelude::*;

use super::*;

fn address(data_type: DataType, orders: (Order, Order), scale: f64, offset: f64) -> Address {
    let (byte_order, word_order) = orders;
    Address {
        table: Table::Holding,
        address: 0,
        data_type,
        byte_order,
        word_order,
        scale,
        offset,
    }
}

fn plain(data_type: DataType, orders: (Order, Order)) -> Decoder {
    Decoder::new(&address(data_type, orders, 1.0, 0.0))
}

fn orders() -> impl Strategy<Value = (Order, Order)> {
    let order = || prop::sample::select(vec![Order::Big, Order::Little]);
    (order(), order())
}

/// Bytes, most significant first, as the registers of an instrument with these orders.
fn encode(bytes: &[u8], (byte_order, word_order): (Order, Order)) -> Vec<u16> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let word = |pair: &[u8]| match byte_order {
        Order::Big => u16::from_be_bytes([pair[0], pair[1]]),
        Order::Little => u16::from_le_bytes([pair[0], pair[1]]),
    };
    let mut words: Vec<u16> = bytes.chunks(2).map(word).collect();
    if word_order == Order::Little {
        words.reverse();
    }
    words
}

proptest! {
    #[test]
    fn whole_numbers_come_back(raw: i64, orders in orders()) {
        let back = |data_type, bytes: &[u8]| plain(data_type, orders).value(&encode(bytes, orders));
        prop_assert_eq!(back(DataType::Int64, &raw.to_be_bytes()), Ok(PointValue::from_i64(raw)));
        let unsigned = raw as u64;
        prop_assert_eq!(back(DataType::Uint64, &unsigned.to_be_bytes()), Ok(PointValue::from_u64(unsigned)));
        let half = raw as i32;
        prop_assert_eq!(back(DataType::Int32, &half.to_be_bytes()), Ok(PointValue::Integer(half.into())));
        let half = raw as u32;
        prop_assert_eq!(back(DataType::Uint32, &half.to_be_bytes()), Ok(PointValue::Integer(half.into())));
        let quarter = raw as i16;
        prop_assert_eq!(back(DataType::Int16, &quarter.to_be_bytes()), Ok(PointValue::Integer(quarter.into())));
        let quarter = raw as u16;
        prop_assert_eq!(back(DataType::Uint16, &quarter.to_be_bytes()), Ok(PointValue::Integer(quarter.into())));
    }

    #[test]
    fn floats_come_back_or_are_no_value(double: f64, single: f32, orders in orders()) {
        let expected = |value: f64| PointValue::from_f64(value);
        let words = encode(&double.to_bits().to_be_bytes(), orders);
        prop_assert_eq!(plain(DataType::Float64, orders).value(&words).ok(), expected(double));
        let words = encode(&single.to_bits().to_be_bytes(), orders);
        prop_assert_eq!(plain(DataType::Float32, orders).value(&words).ok(), expected(single.into()));
    }

    #[test]
    fn every_bit_is_found(word: u16, bit in 0_u8..16, orders in orders()) {
        let words = encode(&word.to_be_bytes(), orders);
        let value = plain(DataType::Bit(bit), orders).value(&words);
        prop_assert_eq!(value, Ok(PointValue::Bool(word & (1 << bit) != 0)));
        prop_assert_eq!(plain(DataType::Bool, orders).value(&words), Ok(PointValue::Bool(word != 0)));
    }

    #[test]
    fn texts_come_back(text in "[^\0]{0,60}", spare in 0_usize..4, orders in orders()) {
        let length = (text.len() + spare).clamp(1, 250);
        prop_assume!(text.len() <= length);
        let mut bytes = text.clone().into_bytes();
        bytes.resize(length, 0);
        let decoder = plain(DataType::Text(u8::try_from(length).expect("at most 250")), orders);
        prop_assert_eq!(decoder.value(&encode(&bytes, orders)), Ok(PointValue::Text(text)));
    }

    #[test]
    fn the_simulator_which_was_written_apart_agrees(
        steps in -30_000_i32..30_000, orders in orders(), scale in prop::sample::select(vec![1.0, 0.1, 0.25, -0.5, 12.5]),
        offset in prop::sample::select(vec![0.0, -40.0, 0.5]),
    ) {
        let types = [
            (DataType::Int16, sim::DataType::Int16), (DataType::Int32, sim::DataType::Int32),
            (DataType::Int64, sim::DataType::Int64), (DataType::Float32, sim::DataType::Float32),
            (DataType::Float64, sim::DataType::Float64),
        ];
        let order = |order| match order { Order::Big => sim::Order::Big, Order::Little => sim::Order::Little };
        let value = f64::from(steps) * scale + offset;
        for (ours, theirs) in types {
            let encoding = sim::Encoding::new(theirs).byte_order(order(orders.0)).word_order(order(orders.1))
                .scaled(scale, offset);
            let read = match Decoder::new(&address(ours, orders, scale, offset)).value(&encoding.encode(value)) {
                Ok(PointValue::Number(read)) => read,
                Ok(PointValue::Integer(read)) => read as f64,
                other => return Err(TestCaseError::fail(format!("{ours}: {other:?}"))),
            };
            prop_assert!((read - value).abs() <= value.abs() * 1e-6 + 1e-9, "{ours}: {read} for {value}");
        }
    }
}

#[test]
fn what_is_no_value_says_why() {
    let big = (Order::Big, Order::Big);
    let single = |value: f32| {
        plain(DataType::Float32, big).value(&encode(&value.to_bits().to_be_bytes(), big))
    };
    assert_eq!(single(f32::NAN), Err(NoValue::NotANumber));
    assert_eq!(single(f32::NEG_INFINITY), Err(NoValue::Infinite));
    let scaled = Decoder::new(&address(DataType::Float64, big, 1e300, 0.0));
    assert_eq!(
        scaled.value(&encode(&1e300_f64.to_bits().to_be_bytes(), big)),
        Err(NoValue::Infinite)
    );
    assert_eq!(
        plain(DataType::Text(2), big).value(&[0xFFFE]),
        Err(NoValue::NotText)
    );
    assert_eq!(&*NoValue::NotText.reason(), "a text that is not UTF-8");
}

#[test]
fn decimal_scales_give_decimal_values() {
    let tenth = Decoder::new(&address(
        DataType::Int16,
        (Order::Big, Order::Big),
        0.1,
        0.0,
    ));
    assert_eq!(tenth.value(&[723]), Ok(PointValue::Number(72.3)));
    assert_eq!(tenth.value(&[-3_i16 as u16]), Ok(PointValue::Number(-0.3)));
}

#[test]
fn whole_numbers_beyond_the_exact_ones_are_text() {
    let big = (Order::Big, Order::Big);
    let value = plain(DataType::Uint64, big).value(&[0xFFFF; 4]);
    assert_eq!(value, Ok(PointValue::Text("18446744073709551615".into())));
    let value = plain(DataType::Int64, big).value(&[0x0020, 0, 0, 1]);
    assert_eq!(value, Ok(PointValue::Text("9007199254740993".into())));
}

const NUMBERS: [DataType; 8] = [
    DataType::Int16,
    DataType::Uint16,
    DataType::Int32,
    DataType::Uint32,
    DataType::Int64,
    DataType::Uint64,
    DataType::Float32,
    DataType::Float64,
];

/// A value of every type, as it can stand in a register.
fn typed_value() -> impl Strategy<Value = (DataType, PointValue)> {
    let number = |data_type| {
        let words =
            prop::collection::vec(any::<u16>(), usize::from(DataType::registers(data_type)));
        let big = (Order::Big, Order::Big);
        words.prop_filter_map("no value", move |words| {
            Some((data_type, plain(data_type, big).value(&words).ok()?))
        })
    };
    let text = ("[^\0]{0,60}", 0_usize..4).prop_filter_map("too long", |(text, spare)| {
        let length = u8::try_from((text.len() + spare).max(1)).ok()?;
        (length <= 250).then_some((DataType::Text(length), PointValue::Text(text)))
    });
    prop_oneof![
        8 => prop::sample::select(NUMBERS.to_vec()).prop_flat_map(number),
        1 => text,
        1 => any::<bool>().prop_map(|on| (DataType::Bool, PointValue::Bool(on))),
    ]
}

fn encoded(address: &Address, value: &PointValue) -> Vec<u16> {
    match Encoder::new(address).encode(value) {
        Ok(Encoded::Words(words)) => words,
        other => panic!("{value:?} at {address:?}: {other:?}"),
    }
}

proptest! {
    #[test]
    fn every_value_of_every_type_and_order_comes_back((data_type, value) in typed_value(), orders in orders()) {
        let address = address(data_type, orders, 1.0, 0.0);
        let words = encoded(&address, &value);
        prop_assert_eq!(words.len(), usize::from(data_type.registers()));
        prop_assert_eq!(Decoder::new(&address).value(&words), Ok(value));
    }

    #[test]
    fn scaled_values_come_back(
        data_type in prop::sample::select(NUMBERS.to_vec()), steps in -30_000_i32..30_000, orders in orders(),
        scale in prop::sample::select(vec![0.1, 0.01, 0.001, -0.5, 12.5, 1.0]),
        offset in prop::sample::select(vec![0.0, -40.0, 0.5]),
    ) {
        let address = address(data_type, orders, scale, offset);
        let decoder = Decoder::new(&address);
        let steps = match data_type {
            DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => steps.abs(),
            _ => steps,
        };
        // What the decoder makes of a raw number is what an operator sees, and may ask for.
        let plain_address = Address { scale: 1.0, offset: 0.0, ..address.clone() };
        let words = encoded(&plain_address, &PointValue::Number(steps.into()));
        let value = decoder.value(&words).expect("a number");
        prop_assert_eq!(decoder.value(&encoded(&address, &value)), Ok(value.clone()));
        if !matches!(data_type, DataType::Float32 | DataType::Float64) {
            prop_assert_eq!(encoded(&address, &value), words);
        }
    }

    #[test]
    fn a_bit_lies_where_it_is_read(bit in 0_u8..16, on: bool, before: u16, orders in orders()) {
        let address = address(DataType::Bit(bit), orders, 1.0, 0.0);
        let Ok(Encoded::Bit { mask, on: wanted }) = Encoder::new(&address).encode(&PointValue::Bool(on)) else {
            return Err(TestCaseError::fail("no bit"));
        };
        prop_assert_eq!((mask.count_ones(), wanted), (1, on));
        let after = before & !mask | if on { mask } else { 0 };
        prop_assert_eq!(Decoder::new(&address).value(&[after]), Ok(PointValue::Bool(on)));
    }

    #[test]
    fn the_simulator_reads_what_is_written(
        steps in -30_000_i32..30_000, orders in orders(), scale in prop::sample::select(vec![1.0, 0.1, 0.25, -0.5]),
    ) {
        let order = |order| match order { Order::Big => sim::Order::Big, Order::Little => sim::Order::Little };
        let value = f64::from(steps) * scale;
        for (ours, theirs) in [
            (DataType::Int16, sim::DataType::Int16), (DataType::Int32, sim::DataType::Int32),
            (DataType::Int64, sim::DataType::Int64), (DataType::Float32, sim::DataType::Float32),
            (DataType::Float64, sim::DataType::Float64),
        ] {
            let encoding = sim::Encoding::new(theirs).byte_order(order(orders.0)).word_order(order(orders.1)).scaled(scale, 0.0);
            let words = encoded(&address(ours, orders, scale, 0.0), &PointValue::Number(value));
            prop_assert!((encoding.decode(&words) - value).abs() <= value.abs() * 1e-6 + 1e-9, "{ours}: {words:?} for {value}");
        }
    }
}

#[test]
fn texts_fill_all_of_their_registers() {
    let big = (Order::Big, Order::Big);
    let five = address(DataType::Text(5), big, 1.0, 0.0);
    let words = encoded(&five, &PointValue::Text("ab".into()));
    assert_eq!(words, [0x6162, 0, 0]);
    let little = address(DataType::Text(4), (Order::Little, Order::Little), 1.0, 0.0);
    assert_eq!(
        encoded(&little, &PointValue::Text("abcd".into())),
        [0x6463, 0x6261]
    );
    let swapped = address(DataType::Bool, (Order::Little, Order::Big), 1.0, 0.0);
    assert_eq!(encoded(&swapped, &PointValue::Bool(true)), [0x0100]);
}
