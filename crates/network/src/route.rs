//! A conversation with the kernel about one network namespace: rtnetlink(7).

use crate::message::Message;
use kernel::{Errno, link, socket};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How often a list is asked for that changes while the kernel makes it.
const TRIES: u32 = 10;
/// The kernel's datagrams are at most this long: NLMSG_GOODSIZE, or 32 KiB for dumps.
const DATAGRAM: usize = 1 << 16;

/// One end.
#[derive(Debug)]
pub(crate) struct Route {
    socket: OwnedFd,
    sequence: Cell<u32>,
}

impl Route {
    /// About the network namespace of this process.
    pub(crate) fn open() -> Result<Self, Errno> {
        Ok(Self {
            socket: link::route_socket()?,
            sequence: Cell::new(0),
        })
    }

    /// The network namespace that it is about.
    pub(crate) fn namespace(&self) -> Result<OwnedFd, Errno> {
        link::namespace_of(self.as_fd())
    }

    /// Asks for a change or for one object. Returns the objects of the answer.
    pub(crate) fn ask(&self, message: Message) -> Result<Vec<Message>, Errno> {
        self.talk(message, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// Asks for all objects of a kind.
    ///
    /// # Errors
    /// The kernel's answer; EAGAIN: the list does not stay the same.
    pub(crate) fn list(&self, message: &Message) -> Result<Vec<Message>, Errno> {
        for _try in 0..TRIES {
            match self.talk(message.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(Errno::EAGAIN) => {}
                answer => return answer,
            }
        }
        Err(Errno::EAGAIN)
    }

    fn talk(&self, message: Message, flags: u16) -> Result<Vec<Message>, Errno> {
        let mut request = NetlinkMessage::new(NetlinkHeader::default(), message.into());
        self.sequence.set(self.sequence.get().wrapping_add(1));
        request.header.sequence_number = self.sequence.get();
        request.header.flags = flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        socket::send(self.socket.as_fd(), &bytes)?;
        let mut found = Vec::new();
        let mut interrupted = false;
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let length = socket::receive(self.socket.as_fd(), &mut datagram)?;
            let mut rest = datagram.get(..length).ok_or(Errno::EMSGSIZE)?;
            while !rest.is_empty() {
                let answer = NetlinkMessage::<Message>::deserialize(rest)
                    .map_err(|_not_understood| Errno::EBADMSG)?;
                let length = usize::try_from(answer.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence.get() {
                    continue;
                }
                interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Error(error) => return ended(error.raw_code(), found, false),
                    NetlinkPayload::Done(done) => return ended(done.code, found, interrupted),
                    _ => return Err(Errno::EBADMSG),
                }
            }
        }
    }
}

/// The answer as a whole: `code` is 0 or a negative errno.
fn ended(code: i32, found: Vec<Message>, interrupted: bool) -> Result<Vec<Message>, Errno> {
    match code {
        0 if interrupted => Err(Errno::EAGAIN),
        0 => Ok(found),
        code => Err(Errno::from_raw(code.wrapping_neg())),
    }
}

impl AsFd for Route {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
