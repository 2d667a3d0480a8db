//! Serves simulated boilers over Modbus TCP, RTU over TCP, or on a serial line without a port, for commissioning without a
//! plant.
//!
//! `cargo run -p holdfast-device-sim --example instrument -- --listen 127.0.0.1:5020 --units 3`, and from
//! another terminal `mbpoll -m tcp -p 5020 -a 1 -0 -t 3:float -B -r 0 -c 1 127.0.0.1`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use holdfast_device_sim::demo;
use holdfast_device_sim::modbus::{Faults, Framing, ModbusInstrument, UnknownUnit};

/// Simulated boilers behind one Modbus listener, or on one line.
#[derive(Parser)]
struct Options {
    /// Where to listen; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:5020")]
    listen: String,
    /// RTU frames over TCP.
    #[arg(long)]
    rtu: bool,
    /// Make a serial line with this path instead of listening.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["listen", "rtu"])]
    serial: Option<PathBuf>,
    /// How many units, from id 1 on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=247))]
    units: u8,
    /// Unit ids that never answer.
    #[arg(long, value_delimiter = ',')]
    silent: Vec<u8>,
    /// Milliseconds that each request takes.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let builder = (1..=options.units).fold(ModbusInstrument::builder(), |builder, id| {
        builder.unit(id, demo::boiler(u64::from(id)))
    });
    let (instrument, place) = match options.serial {
        Some(path) => {
            let builder = builder.unknown_unit(UnknownUnit::Silent);
            (builder.on_line(&path).await?, path.display().to_string())
        }
        None => {
            let framing = if options.rtu {
                Framing::Rtu
            } else {
                Framing::Tcp
            };
            let bound = builder.framing(framing).bind(options.listen.as_str());
            let bound = bound.await?;
            let place = bound.local_addr().to_string();
            (bound, place)
        }
    };
    instrument.set_faults(Faults::slow(Duration::from_millis(options.delay_ms)));
    for unit in options.silent {
        instrument.set_unit_faults(unit, Faults::silent());
    }
    println!("{} boilers on {place}; Ctrl-C ends", options.units);
    println!(
        "input: 0 flow °C float32, 2 return °C float32 (little word first), 4 pressure 0.01 bar uint16,"
    );
    println!("       5 burner hours uint32, 7 outside 0.1 °C int16");
    println!(
        "holding: 100 room °C float32, 200 target 0.1 °C int16, 201 pump % uint16, 300-399 spare"
    );
    println!("coil 0 burner enabled; discrete 0 flame, 1 fault");

    let mut ended = Box::pin(tokio::signal::ctrl_c());
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    let mut shown = instrument.totals();
    loop {
        tokio::select! {
            end = &mut ended => {
                end?;
                break;
            }
            _ = ticks.tick() => {
                let totals = instrument.totals();
                if totals != shown {
                    println!(
                        "{} connections open, {} requests, {} of them writes, {} exceptions",
                        totals.connections_open, totals.requests, totals.write_requests, totals.exceptions
                    );
                    shown = totals;
                }
            }
        }
    }
    instrument.unplug().await?;
    println!("ended after {} requests", instrument.totals().requests);
    Ok(())
}
