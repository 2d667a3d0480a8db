//! An output that somebody disturbs: one holding register, which takes another value as soon as what was written to it was
//! read. So whoever reads, writes and reads it goes as fast as it can, and the register counts how often. Blocking, with a
//! thread for each connection: nothing is cheaper.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;

/// The value that it is disturbed to; everything else that is written is taken as it is.
pub(super) const DISTURBED: u16 = 111;

/// The function that answers how often it was put back, in eight bytes.
pub const COUNT: u8 = 0x41;

#[derive(Debug, Default)]
struct Output {
    value: u16,
    was_written: bool,
    restored: u64,
}

pub(super) fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    let output = Arc::new(Mutex::new(Output {
        value: DISTURBED,
        ..Output::default()
    }));
    for stream in listener.incoming() {
        let (stream, output) = (stream?, output.clone());
        std::thread::spawn(move || converse(stream, &output));
    }
    Ok(())
}

/// Answers until the other end leaves.
fn converse(mut stream: TcpStream, output: &Mutex<Output>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut request = [0; 12];
    let mut answer = Vec::new();
    loop {
        stream.read_exact(&mut request).ok()?;
        output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(&request, &mut answer);
        stream.write_all(&answer).ok()?;
    }
}

impl Output {
    fn answer(&mut self, request: &[u8; 12], answer: &mut Vec<u8>) {
        const READ: u8 = 3;
        answer.clear();
        match request[7] {
            READ => {
                answer.extend_from_slice(&request[..4]);
                answer.extend_from_slice(&[0, 5, request[6], READ, 2]);
                answer.extend_from_slice(&self.value.to_be_bytes());
                if self.was_written {
                    self.was_written = false;
                    self.restored += 1;
                    self.value = DISTURBED;
                }
            }
            COUNT => answer.extend_from_slice(&self.restored.to_be_bytes()),
            _ => {
                self.value = u16::from_be_bytes([request[10], request[11]]);
                self.was_written = true;
                answer.extend_from_slice(request);
            }
        }
    }
}
