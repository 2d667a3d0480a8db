//! The real clock, and real randomness.

use holdfast_ports::clock::{Clock, Entropy};
use jiff::Timestamp;
use uuid::Uuid;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn jitter(&self) -> u32 {
        getrandom::u32().expect("the system has randomness")
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .expect("the system has randomness: without it no secret can be made");
        secret
    }
}
