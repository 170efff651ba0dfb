//! The messages between the two stages: see the diagram in `docs/protocol.md`.
//!
//! One sequenced-packet socket pair, frames of one size, a message set for each direction. Init
//! sends requests. The runtime has one answer for all of them, which its code cannot leave out. A
//! closed socket means that the other side has ended. After the pivot the runtime does not trust
//! init: every byte of a frame is checked.

use crate::failure::{Failure, Phase};
use crate::hooks::{Cause, TAIL, Tail};
use kernel::clone::Exit;
use kernel::signal::SignalFd;
use kernel::{Call, Errno, fs, process, socket};
use seccomp::HandOver;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A request of init to the runtime. Init waits for the answer. For `Relayed` and `Born` the new
/// process waits for it, and `Exec` has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Put me into my cgroups.
    JoinCgroup,
    /// Write the id maps of my user namespace.
    MapIds,
    /// This process continues in my place.
    Relayed(i32),
    /// This process continues in my place, and everything is set up: [`Self::Relayed`] and
    /// [`Self::Ready`] in one.
    Born(i32),
    /// The mounts are made: run the hooks of the runtime's namespaces.
    RunHooks,
    /// Give this descriptor, which comes with the frame, to the seccomp listener.
    Notify,
    /// Take the descriptor that has this number here, and give it to the seccomp listener.
    TakeListener(i32),
    /// Take the master of my terminal, which comes with the frame.
    Terminal,
    /// Move the network devices into the network namespace of the socket that comes with the frame.
    MoveDevices,
    /// Everything is set up and verified; only the start is missing.
    Ready,
    /// The hooks of the start have run: what follows is the container's program.
    Exec,
}

/// What the runtime receives.
#[derive(Debug)]
pub(crate) enum Message {
    /// A request of init, and the descriptor that has come with it.
    Request(Request, Option<OwnedFd>),
    /// Init has reported a failure.
    Failure(Failure),
    /// Init has ended, or has become the container's program.
    Closed,
}

/// How a start has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Init has become the container's program.
    Program,
    /// Init has reported a failure.
    Failure(Failure),
    /// Init was killed before it became the program.
    Lost,
    /// A signal asks the runtime to stop; init continues.
    Interrupted(i32),
    /// Init did not become the program within the time limit.
    Silent,
}

/// The runtime's end.
#[derive(Debug)]
pub(crate) enum Runtime {}
/// Init's end.
#[derive(Debug)]
pub(crate) enum Init {}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Link<Side> {
    socket: OwnedFd,
    side: PhantomData<Side>,
}

/// The length of every frame.
const FRAME: usize = HEADER + TAIL;
const HEADER: usize = 20;
const GO: [u8; 1] = *b"g";

const REQUEST: u8 = 1;
const FAILURE: u8 = 2;

/// Both ends.
pub(crate) fn pair() -> Result<(Link<Runtime>, Link<Init>), Errno> {
    let (runtime, init) = socket::pair()?;
    Ok((Link::over(runtime), Link::over(init)))
}

impl<Side> Link<Side> {
    /// An end of this connection, also of the one that `start` makes to a created container.
    pub(crate) fn over(socket: OwnedFd) -> Self {
        let side = PhantomData;
        Self { socket, side }
    }
}

/// The other side has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost;

impl Link<Init> {
    /// Sends the request and waits for the answer.
    pub(crate) fn ask(&self, request: Request) -> Result<(), Lost> {
        self.ask_and(request, || ())
    }

    /// Sends the request, calls `work` while the runtime serves it, and waits for the answer.
    pub(crate) fn ask_and<T>(&self, request: Request, work: impl FnOnce() -> T) -> Result<T, Lost> {
        self.announce(request)?;
        let done = work();
        self.wait_for_go()?;
        Ok(done)
    }

    /// Sends the request and does not wait for the answer: another process does
    /// ([`Request::Relayed`]), or there is none ([`Request::Exec`]).
    pub(crate) fn announce(&self, request: Request) -> Result<(), Lost> {
        socket::send(self.socket.as_fd(), &request_frame(request)).map_err(|_gone| Lost)
    }

    /// Sends the descriptor of the filter's notifications and waits for the answer. This process
    /// keeps no copy: with one, it would not notice that the listener has ended.
    pub(crate) fn hand_over(&self, listener: OwnedFd, way: HandOver) -> Result<(), Lost> {
        match way {
            HandOver::WithMessage => self.send_with(Request::Notify, listener),
            HandOver::ByNumber => {
                let request = Request::TakeListener(listener.as_raw_fd());
                fs::write(self.socket.as_fd(), &request_frame(request)).map_err(|_gone| Lost)?;
                // Open until it has been taken.
                let answer = self.wait_for_go();
                drop(listener);
                answer
            }
        }
    }

    /// Hands the master of the terminal over and waits for the answer. This process keeps no copy:
    /// the terminal would not hang up.
    pub(crate) fn hand_over_terminal(&self, master: OwnedFd) -> Result<(), Lost> {
        self.send_with(Request::Terminal, master)
    }

    /// Sends a socket of this network namespace and waits until the devices have moved.
    pub(crate) fn take_devices(&self, socket: OwnedFd) -> Result<(), Lost> {
        self.send_with(Request::MoveDevices, socket)
    }

    fn send_with(&self, request: Request, fd: OwnedFd) -> Result<(), Lost> {
        let frame = request_frame(request);
        socket::send_fds(self.socket.as_fd(), &frame, &[fd.as_fd()]).map_err(|_gone| Lost)?;
        drop(fd);
        self.wait_for_go()
    }

    /// Waits for the runtime's answer.
    pub(crate) fn wait_for_go(&self) -> Result<(), Lost> {
        let mut word = [0];
        match socket::receive(self.socket.as_fd(), &mut word) {
            Ok(1) if word == GO => Ok(()),
            Ok(_) | Err(_) => Err(Lost),
        }
    }

    /// Sends the failure, if the other side still listens.
    pub(crate) fn tell(&self, failure: &Failure) {
        let _nobody_listens = socket::send(self.socket.as_fd(), &failure_frame(failure));
    }
}

impl Link<Runtime> {
    /// Waits for the next message.
    ///
    /// # Errors
    /// EPROTO: the frame is not valid.
    pub(crate) fn next(&self) -> Result<Message, Errno> {
        let mut frame = [0; FRAME];
        match socket::receive_with_fd(self.socket.as_fd(), &mut frame) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok(Message::Closed),
            Ok((FRAME, fd)) => decode(&frame, fd).ok_or(Errno::EPROTO),
            Ok(_) => Err(Errno::EPROTO),
            Err(errno) => Err(errno),
        }
    }

    /// Waits until init has closed its end: it has become the program, or has ended. The frames
    /// that it has sent say which. A signal at `interrupts` ends the wait, and so does the end of
    /// `patience`.
    pub(crate) fn end(
        &self,
        interrupts: Option<&SignalFd>,
        patience: Option<Duration>,
    ) -> Result<End, Errno> {
        let until = patience.map(process::in_monotonic_ms);
        // One wake-up for all of them.
        loop {
            let left = until.map(|until| until.saturating_sub(process::monotonic_ms()));
            let signals = interrupts.map(AsFd::as_fd);
            match process::wait_for_hang_up(self.socket.as_fd(), signals, left) {
                Ok(true) => break,
                Ok(false) => {
                    if let Some(signal) = interrupts.map(SignalFd::next).transpose()?.flatten() {
                        return Ok(End::Interrupted(signal));
                    }
                    if left == Some(0) {
                        return Ok(End::Silent);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let mut end = End::Lost;
        loop {
            match self.next()? {
                Message::Closed => return Ok(end),
                Message::Request(Request::Exec, _) => end = End::Program,
                Message::Request(..) => return Err(Errno::EPROTO),
                Message::Failure(failure) => return Ok(End::Failure(failure)),
            }
        }
    }

    /// Answers the request. If init has ended, the next [`Self::next`] reports it.
    pub(crate) fn go(&self) -> Result<(), Errno> {
        match socket::send(self.socket.as_fd(), &GO) {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            answer => answer,
        }
    }
}

impl<Side> AsFd for Link<Side> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes: kind, request or phase, call, cause; index; tail length; value; room detail; tail.
fn frame(parts: &[(usize, &[u8])]) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    for (at, bytes) in parts {
        if let Some(place) = frame.get_mut(*at..*at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    frame
}

fn request_frame(request: Request) -> [u8; FRAME] {
    let (number, value) = match request {
        Request::JoinCgroup => (1, 0),
        Request::MapIds => (2, 0),
        Request::Relayed(pid) => (3, pid),
        Request::RunHooks => (4, 0),
        Request::Ready => (5, 0),
        Request::Notify => (6, 0),
        Request::Exec => (7, 0),
        Request::TakeListener(number) => (8, number),
        Request::Terminal => (9, 0),
        Request::MoveDevices => (10, 0),
        Request::Born(pid) => (11, pid),
    };
    frame(&[(0, &[REQUEST, number]), (8, &value.to_ne_bytes())])
}

fn failure_frame(failure: &Failure) -> [u8; FRAME] {
    let (cause, value) = match failure.cause {
        Cause::Call(errno) => (0, errno as i32),
        Cause::Exit(Exit::Code(code)) => (1, code),
        Cause::Exit(Exit::Signal(signal)) => (2, signal),
        Cause::Timeout => (3, 0),
        Cause::Interrupted(signal) => (4, signal),
    };
    let tail = failure.tail.as_bytes();
    frame(&[
        (
            0,
            &[FAILURE, failure.phase as u8, failure.call as u8, cause],
        ),
        (4, &failure.index.to_ne_bytes()),
        (6, &u16::try_from(tail.len()).unwrap_or(0).to_ne_bytes()),
        (8, &value.to_ne_bytes()),
        (12, &failure.detail),
        (HEADER, tail),
    ])
}

fn decode(frame: &[u8; FRAME], fd: Option<OwnedFd>) -> Option<Message> {
    let [kind, number, call, cause, rest @ ..] = frame;
    let (index, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_first_chunk::<4>()?;
    let (detail, tail) = rest.split_first_chunk::<8>()?;
    let value = i32::from_ne_bytes(*value);
    match *kind {
        REQUEST => {
            let request = match *number {
                1 => Request::JoinCgroup,
                2 => Request::MapIds,
                3 if value > 0 => Request::Relayed(value),
                4 => Request::RunHooks,
                5 => Request::Ready,
                6 => Request::Notify,
                7 => Request::Exec,
                8 if value >= 0 => Request::TakeListener(value),
                9 => Request::Terminal,
                10 => Request::MoveDevices,
                11 if value > 0 => Request::Born(value),
                _ => return None,
            };
            Some(Message::Request(request, fd))
        }
        FAILURE => Some(Message::Failure(Failure {
            phase: Phase::from_u8(*number)?,
            call: Call::from_u8(*call)?,
            index: u16::from_ne_bytes(*index),
            cause: match *cause {
                0 => Cause::Call(Errno::from_raw(value)),
                1 => Cause::Exit(Exit::Code(value)),
                2 => Cause::Exit(Exit::Signal(value)),
                3 => Cause::Timeout,
                4 => Cause::Interrupted(value),
                _ => return None,
            },
            detail: *detail,
            tail: Tail::of(tail.get(..usize::from(u16::from_ne_bytes(*length)))?),
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arbitrary_failure() -> impl Strategy<Value = Failure> {
        let cause = prop_oneof![
            (1_i32..130).prop_map(|number| Cause::Call(Errno::from_raw(number))),
            (0_i32..256).prop_map(|code| Cause::Exit(Exit::Code(code))),
            (1_i32..64).prop_map(|signal| Cause::Exit(Exit::Signal(signal))),
            Just(Cause::Timeout),
        ];
        let parts = (0_u8..200, 0_u8..200, any::<u16>(), any::<[u8; 8]>());
        (
            cause,
            parts,
            prop::collection::vec(any::<u8>(), 0..TAIL + 50),
        )
            .prop_filter_map(
                "no such phase or call",
                |(cause, (phase, call, index, detail), tail)| {
                    Some(Failure {
                        phase: Phase::from_u8(phase)?,
                        call: Call::from_u8(call)?,
                        index,
                        cause,
                        detail,
                        tail: Tail::of(&tail),
                    })
                },
            )
    }

    proptest! {
        #[test]
        fn a_failure_survives_its_journey(failure in arbitrary_failure()) {
            let frame = failure_frame(&failure);
            let Some(Message::Failure(back)) = decode(&frame, None) else {
                panic!("not a failure")
            };
            prop_assert_eq!(format!("{back:?}"), format!("{failure:?}"));
        }

        #[test]
        fn any_frame_is_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), FRAME)) {
            let frame: [u8; FRAME] = bytes.try_into().unwrap();
            let _message_or_none = decode(&frame, None);
        }
    }

    #[test]
    fn requests_survive_their_journey() {
        for request in [
            Request::JoinCgroup,
            Request::MapIds,
            Request::Relayed(77),
            Request::RunHooks,
            Request::Notify,
            Request::TakeListener(7),
            Request::Terminal,
            Request::MoveDevices,
            Request::Ready,
            Request::Exec,
        ] {
            let Some(Message::Request(back, None)) = decode(&request_frame(request), None) else {
                panic!("{request:?} became something else");
            };
            assert_eq!(back, request);
        }
    }

    #[test]
    fn a_listener_arrives_with_its_frame_and_not_without() {
        let (runtime, init) = pair().unwrap();
        let pipe = kernel::pipe::pipe().unwrap();
        let frame = request_frame(Request::Notify);
        socket::send_fds(init.as_fd(), &frame, &[pipe.write.as_fd()]).unwrap();
        let Ok(Message::Request(Request::Notify, Some(fd))) = runtime.next() else {
            panic!("no listener")
        };
        kernel::fs::write(fd.as_fd(), b"x").unwrap();
        assert_eq!(kernel::fs::read(pipe.read.as_fd(), &mut [0; 2]), Ok(1));
        socket::send(init.as_fd(), &frame).unwrap();
        let without = runtime.next().unwrap();
        assert!(matches!(without, Message::Request(Request::Notify, None)));
    }

    #[test]
    fn the_end_says_whether_the_program_was_reached() {
        let ended = |requests: &[Request]| {
            let (runtime, init) = pair().unwrap();
            for request in requests {
                init.announce(*request).unwrap();
            }
            drop(init);
            runtime.end(None, None)
        };
        assert!(matches!(ended(&[Request::Exec]), Ok(End::Program)));
        assert!(matches!(ended(&[]), Ok(End::Lost)));
        assert!(matches!(ended(&[Request::Ready]), Err(Errno::EPROTO)));
    }

    #[test]
    fn an_init_that_does_not_go_on_is_not_waited_for_longer_than_that() {
        let (runtime, _init) = pair().unwrap();
        let ended = runtime.end(None, Some(Duration::from_millis(5)));
        assert!(matches!(ended, Ok(End::Silent)));
    }

    #[test]
    fn a_dead_runtime_is_seen_by_the_asking_init() {
        let (runtime, init) = pair().unwrap();
        drop(runtime);
        assert!(init.ask(Request::Ready).is_err());
    }

    #[test]
    fn a_short_frame_is_a_protocol_error() {
        let (runtime, init) = pair().unwrap();
        socket::send(init.as_fd(), b"short").unwrap();
        assert_eq!(runtime.next().unwrap_err(), Errno::EPROTO);
    }
}
