//! A bus for tests: a thread that accepts every client and answers each call with a given reaction.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "only tests are built with this; a failure here is a failure of the test"
)]

use crate::message::{PREFIX, length};
use crate::{Address, Header, Kind, Message, Value};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::{env, fs, process};

/// The reaction of a fake bus to a call.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Returns these values.
    Reply(Vec<Value>),
    /// Returns an error, with a name and a text.
    Error(&'static str, &'static str),
    /// Sends a signal: path, interface, member, values.
    Signal(&'static str, &'static str, &'static str, Vec<Value>),
    /// Sends these bytes.
    Raw(Vec<u8>),
    /// Sends these bytes again and again, until the other end closes the connection.
    Endless(Vec<u8>),
    /// Closes the connection.
    Close,
}

/// A bus of a test. Dropping it removes its socket.
#[derive(Debug)]
pub struct FakeBus {
    path: PathBuf,
}

impl Drop for FakeBus {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

impl FakeBus {
    fn listen() -> (Self, UnixListener) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("locule-bus-{}-{number}", process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        (Self { path }, listener)
    }

    /// A bus that reacts to each call with the result of `react`.
    pub fn reacting(mut react: impl FnMut(&Message) -> Vec<Reaction> + Send + 'static) -> Self {
        let (bus, listener) = Self::listen();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The end of a connection is not an error.
                let _end = serve(stream.unwrap(), &mut react);
            }
        });
        bus
    }

    /// A bus that accepts, sends `greeting` and then nothing more.
    pub fn saying(greeting: &'static [u8]) -> Self {
        let (bus, listener) = Self::listen();
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _gone = stream.write_all(greeting);
                held.push(stream);
            }
        });
        bus
    }

    /// A bus that accepts and closes at once.
    pub fn closing() -> Self {
        let (bus, listener) = Self::listen();
        thread::spawn(move || listener.incoming().for_each(drop));
        bus
    }

    /// Its address.
    pub fn address(&self) -> Address {
        Address::of_path(&self.path)
    }
}

fn serve(
    mut stream: UnixStream,
    react: &mut impl FnMut(&Message) -> Vec<Reaction>,
) -> std::io::Result<()> {
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"BEGIN\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        greeting.push(byte[0]);
    }
    // As in systemd: it answers after BEGIN.
    stream.write_all(b"DATA\r\nOK 0123\r\n")?;
    let mut serial = 0;
    loop {
        let mut bytes = vec![0; PREFIX];
        stream.read_exact(&mut bytes)?;
        let whole = length(bytes.first_chunk().unwrap()).unwrap();
        bytes.resize(whole, 0);
        stream.read_exact(&mut bytes[PREFIX..])?;
        let message = Message::decode(&bytes).unwrap();
        for reaction in react(&message) {
            serial += 1;
            let answer = |kind| {
                let mut header = Header::new(kind, serial);
                header.reply_to = message.header.serial;
                header
            };
            match reaction {
                Reaction::Reply(values) => {
                    stream.write_all(&Message::encode(answer(Kind::Reply), &values))?;
                }
                Reaction::Error(name, sentence) => {
                    let mut header = answer(Kind::Error);
                    header.error = name.to_owned();
                    stream.write_all(&Message::encode(header, &[Value::text(sentence)]))?;
                }
                Reaction::Signal(path, interface, member, values) => {
                    let mut header = Header::new(Kind::Signal, serial);
                    header.path = path.to_owned();
                    header.interface = interface.to_owned();
                    header.member = member.to_owned();
                    stream.write_all(&Message::encode(header, &values))?;
                }
                Reaction::Raw(bytes) => stream.write_all(&bytes)?,
                Reaction::Endless(bytes) => loop {
                    stream.write_all(&bytes)?;
                },
                Reaction::Close => return Ok(()),
            }
        }
    }
}
