//! A connection: calls with their replies, and the signals that the client subscribed to. Every
//! wait has a deadline.

use crate::message::{PREFIX, length};
use crate::{Address, Error, Header, Kind, Malformed, Message, Value};
use kernel::errno::errno_of;
use kernel::{Errno, socket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The deadlines for a bus.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    whole: Duration,
}

impl Deadline {
    /// Starts now.
    pub fn after(whole: Duration) -> Self {
        Self {
            end: Instant::now() + whole,
            whole,
        }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// The kind of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The called service itself: no Hello, no names.
    Direct,
    /// A message bus, which forwards messages.
    Bus,
}

/// A call of a method.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The name of the called service on a bus.
    pub destination: &'a str,
    /// Its object.
    pub path: &'a str,
    /// The method's interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub body: &'a [Value],
}

/// A received signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The object.
    pub path: String,
    /// The signal's interface.
    pub interface: String,
    /// The signal.
    pub member: String,
    /// Its arguments.
    pub body: Vec<Value>,
}

/// The longest line of the greeting.
const LINE: usize = 1024;

/// The maximum number of signals kept for later.
const KEPT: usize = 10_000;

/// An authenticated connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    bus: String,
    peer: Peer,
    serial: u32,
    /// Interfaces and members of the signals that are kept.
    wanted: Vec<(String, String)>,
    /// The unique name of the service that answered the last call: on a bus every client may send
    /// signals, and only those of this service count.
    answered: String,
    /// With their senders.
    kept: VecDeque<(String, Signal)>,
}

impl Connection {
    /// Connects to `address`, and authenticates as the user that the kernel reports.
    ///
    /// # Errors
    /// The connection fails, the bus refuses the user, or the deadline has passed.
    pub fn open(address: &Address, peer: Peer, deadline: Deadline) -> Result<Self, Error> {
        let mut connection = Self {
            stream: connect(address, deadline)?,
            bus: address.to_string(),
            peer,
            serial: 0,
            wanted: Vec::new(),
            answered: String::new(),
            kept: VecDeque::new(),
        };
        connection.authenticate(deadline)?;
        if peer == Peer::Bus {
            connection.call_bus("Hello", &[], deadline)?;
        }
        Ok(connection)
    }

    /// The address.
    pub fn bus(&self) -> &str {
        &self.bus
    }

    /// The kind of the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The process that listens there, in this process' PID namespace: 0 if it is outside this
    /// namespace.
    pub fn peer_pid(&self) -> Result<i32, Error> {
        let peer = getsockopt(&self.stream, PeerCredentials);
        peer.map(|peer| peer.pid())
            .map_err(|source| self.failed(source))
    }

    /// SASL with the mechanism EXTERNAL, without a user id: the other end gets it from the kernel.
    /// Inside a user namespace this process would send the wrong number.
    ///
    /// The client sends all of it at once, but no message with it: systemd does not read a message
    /// that arrives together with BEGIN until another one follows. Its own clients never send a
    /// message before they have read OK.
    fn authenticate(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)?;
        loop {
            let line = self.line(deadline)?;
            match line.split(' ').next() {
                Some("DATA") => {}
                Some("OK") => return Ok(()),
                _ => {
                    return Err(Error::Refused {
                        bus: self.bus.clone(),
                        answer: line,
                    });
                }
            }
        }
    }

    /// A line of the greeting. It reads byte by byte, since the bytes after the last line belong to
    /// messages.
    fn line(&mut self, deadline: Deadline) -> Result<String, Error> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() >= LINE {
                return Err(self.malformed(Malformed("a line of the greeting is too long")));
            }
            let mut byte = [0];
            self.fill(&mut byte, "greeting", deadline)?;
            line.extend_from_slice(&byte);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Subscribes to the signals `member` of `interface`, for [`Self::next_signal`].
    ///
    /// # Errors
    /// As for a call: on a bus this is a request to the bus.
    pub fn listen(
        &mut self,
        interface: &str,
        member: &str,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.peer == Peer::Bus {
            let rule = format!("type='signal',interface='{interface}',member='{member}'");
            self.call_bus("AddMatch", &[Value::Str(rule)], deadline)?;
        }
        self.wanted.push((interface.to_owned(), member.to_owned()));
        Ok(())
    }

    fn call_bus(
        &mut self,
        member: &str,
        body: &[Value],
        deadline: Deadline,
    ) -> Result<Vec<Value>, Error> {
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            body,
        };
        self.call(&call, deadline)
    }

    /// Calls a method and waits for its result.
    ///
    /// # Errors
    /// [`Error::Answer`] if the method returns an error; any other error is one of the bus.
    pub fn call(&mut self, call: &Call<'_>, deadline: Deadline) -> Result<Vec<Value>, Error> {
        self.serial += 1;
        let serial = self.serial;
        let mut header = Header::new(Kind::Call, serial);
        header.path = call.path.to_owned();
        header.interface = call.interface.to_owned();
        header.member = call.member.to_owned();
        header.destination = call.destination.to_owned();
        self.send(&Message::encode(header, call.body), deadline)?;
        loop {
            let message = self.message(call.member, deadline)?;
            let is_answer = message.header.reply_to == serial;
            match message.header.kind {
                Kind::Reply if is_answer => {
                    self.answered.clone_from(&message.header.sender);
                    return message.body().map_err(|why| self.malformed(why));
                }
                Kind::Error if is_answer => return Err(self.refusal(message)),
                Kind::Signal => self.keep(&message)?,
                // Answers to abandoned calls, and messages for other clients.
                Kind::Call | Kind::Reply | Kind::Error | Kind::Other(_) => {}
            }
        }
    }

    fn refusal(&self, message: Message) -> Error {
        let body = match message.body() {
            Ok(body) => body,
            Err(why) => return self.malformed(why),
        };
        let text = body.first().and_then(Value::as_text);
        Error::Answer {
            name: message.header.error,
            message: text.unwrap_or("without a reason").to_owned(),
        }
    }

    fn keep(&mut self, message: &Message) -> Result<(), Error> {
        let header = &message.header;
        let is_wanted = self
            .wanted
            .iter()
            .any(|(interface, member)| *interface == header.interface && *member == header.member);
        if !is_wanted {
            return Ok(());
        }
        if self.kept.len() >= KEPT {
            return Err(self.malformed(Malformed("it sends too many signals")));
        }
        let body = message.body().map_err(|why| self.malformed(why))?;
        let signal = Signal {
            path: header.path.clone(),
            interface: header.interface.clone(),
            member: header.member.clone(),
            body,
        };
        self.kept.push_back((header.sender.clone(), signal));
        Ok(())
    }

    /// The next signal of a subscription; `what` says for messages what the caller waits for. On a
    /// bus, only signals of the service that answered the last call count.
    ///
    /// # Errors
    /// No signal arrives in time, or the bus does not work.
    pub fn next_signal(&mut self, what: &str, deadline: Deadline) -> Result<Signal, Error> {
        loop {
            if let Some((sender, signal)) = self.kept.pop_front() {
                if self.peer == Peer::Bus && sender != self.answered {
                    continue;
                }
                return Ok(signal);
            }
            let message = self.message(what, deadline)?;
            if message.header.kind == Kind::Signal {
                self.keep(&message)?;
            }
        }
    }

    /// The next message. The deadline also applies to a bus that sends without a pause.
    fn message(&mut self, what: &str, deadline: Deadline) -> Result<Message, Error> {
        if deadline.left().is_zero() {
            return Err(stuck(&self.bus, what, deadline));
        }
        let mut prefix = [0; PREFIX];
        self.fill(&mut prefix, what, deadline)?;
        let whole = length(&prefix).map_err(|why| self.malformed(why))?;
        let mut bytes = vec![0; whole];
        let (front, rest) = bytes.split_at_mut(PREFIX);
        front.copy_from_slice(&prefix);
        self.fill(rest, what, deadline)?;
        Message::decode(&bytes).map_err(|why| self.malformed(why))
    }

    /// Reads until `buffer` is full.
    fn fill(&mut self, mut buffer: &mut [u8], what: &str, deadline: Deadline) -> Result<(), Error> {
        while !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => {
                    return Err(Error::Closed {
                        bus: self.bus.clone(),
                        what: what.to_owned(),
                    });
                }
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) => self.wait_or_fail(&error, PollFlags::POLLIN, what, deadline)?,
            }
        }
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => self.wait_or_fail(&error, PollFlags::POLLOUT, "sending", deadline)?,
            }
        }
        Ok(())
    }

    fn wait_or_fail(
        &self,
        error: &std::io::Error,
        wait: PollFlags,
        what: &str,
        deadline: Deadline,
    ) -> Result<(), Error> {
        match error.kind() {
            ErrorKind::WouldBlock => {}
            ErrorKind::Interrupted => return Ok(()),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                return Err(Error::Closed {
                    bus: self.bus.clone(),
                    what: what.to_owned(),
                });
            }
            _ => return Err(self.failed(errno_of(error))),
        }
        let left = deadline.left();
        if left.is_zero() {
            return Err(stuck(&self.bus, what, deadline));
        }
        let mut fds = [PollFd::new(self.stream.as_fd(), wait)];
        let whole = left.as_millis().saturating_add(1);
        match poll(
            &mut fds,
            PollTimeout::try_from(whole).unwrap_or(PollTimeout::MAX),
        ) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn failed(&self, source: Errno) -> Error {
        Error::Socket {
            bus: self.bus.clone(),
            source,
        }
    }

    fn malformed(&self, why: Malformed) -> Error {
        Error::Malformed {
            bus: self.bus.clone(),
            why,
        }
    }
}

fn stuck(bus: &str, what: &str, deadline: Deadline) -> Error {
    Error::Stuck {
        bus: bus.to_owned(),
        what: what.to_owned(),
        waited: deadline.whole,
    }
}

/// A listener whose queue is full causes EAGAIN: it no longer accepts connections.
fn connect(address: &Address, deadline: Deadline) -> Result<UnixStream, Error> {
    loop {
        match socket::connect_stream(&address.name, address.is_abstract) {
            Ok(fd) => return Ok(UnixStream::from(fd)),
            Err(Errno::EAGAIN) if deadline.left().is_zero() => {
                return Err(stuck(&address.to_string(), "connecting", deadline));
            }
            Err(Errno::EAGAIN) => sleep(Duration::from_millis(20).min(deadline.left())),
            Err(Errno::EINTR) => {}
            Err(source) => {
                return Err(Error::Connect {
                    bus: address.to_string(),
                    source,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
