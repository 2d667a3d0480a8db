use holdfast_domain::{document::point::Point, protocol::*};
use utoipa::{PartialSchema, ToSchema};
fn show<T: ToSchema>() {
    let mut all = vec![(T::name().to_string(), T::schema())];
    T::schemas(&mut all);
    for (n, s) in all { println!("{n}: {}", serde_json::to_string_pretty(&s).unwrap()); }
}
#[test]
fn dump() {
    show::<modbus::Connection>(); show::<Point<modbus::Address>>();
    show::<can::Connection>(); show::<Point<can::Address>>();
    show::<opcua::Connection>(); show::<mqtt::Connection>(); show::<Point<mqtt::Address>>();
}
