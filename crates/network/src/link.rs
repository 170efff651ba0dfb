//! Links and their addresses: what is asked of the kernel, and what it answers.

use crate::message::{GET_ADDRESS, GET_LINK, Message, NEW_ADDRESS, NEW_LINK, SET_LINK};
use crate::route::Route;
use kernel::Errno;
use netlink_packet_core::{DefaultNla, Nla};
use std::os::fd::{AsRawFd, BorrowedFd};

// Attributes of links: linux/if_link.h.
const IFLA_IFNAME: u16 = 3;
/// The bridge, or another link, that it is a part of.
const IFLA_MASTER: u16 = 10;
const IFLA_NET_NS_FD: u16 = 28;
/// A list of properties, of which the kernel has one kind: [`IFLA_ALT_IFNAME`]. Linux 5.5.
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_EXT_MASK: u16 = 29;
/// The index in the other namespace. Linux 5.13.
const IFLA_NEW_IFINDEX: u16 = 49;
/// Without statistics.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// The link is up.
const IFF_UP: u32 = 1;

// Attributes of addresses: linux/if_addr.h.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
/// What an address keeps. Its label has the old name of the link.
const KEPT: [u16; 6] = [
    IFA_ADDRESS,
    IFA_LOCAL,
    IFA_BROADCAST,
    IFA_FLAGS,
    IFA_RT_PRIORITY,
    IFA_PROTO,
];
const IFA_F_PERMANENT: u32 = 0x80;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// A link of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Its further names (ip-link(8): altname), which move with it.
    pub(crate) further_names: Vec<String>,
    pub(crate) is_up: bool,
    /// The index of the link that it is a part of.
    pub(crate) master: Option<u32>,
}

impl Link {
    fn of(message: &Message) -> Option<Self> {
        let further = message.nested(IFLA_PROP_LIST)?.into_iter();
        Some(Self {
            index: message.word(4)?,
            name: text(&message.attribute(IFLA_IFNAME)?),
            further_names: further
                .filter(|(kind, _)| *kind == IFLA_ALT_IFNAME)
                .map(|(_, name)| text(&name))
                .collect(),
            is_up: message.word(8)? & IFF_UP != 0,
            master: message.attribute(IFLA_MASTER).and_then(number),
        })
    }

    /// The name and the further names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let further = self.further_names.iter();
        further.chain([&self.name]).map(String::as_str)
    }

    /// The link with this name.
    ///
    /// # Errors
    /// ENODEV: there is none.
    pub(crate) fn find(route: &Route, name: &str) -> Result<Self, Errno> {
        let found = route.ask(about(
            GET_LINK,
            0,
            0,
            vec![named(name), without_statistics()],
        ))?;
        found.iter().find_map(Self::of).ok_or(Errno::EBADMSG)
    }

    /// All links.
    pub(crate) fn all(route: &Route) -> Result<Vec<Self>, Errno> {
        let found = route.list(&about(GET_LINK, 0, 0, vec![without_statistics()]))?;
        let links = found.iter().filter(|message| message.kind == NEW_LINK);
        links
            .map(|link| Self::of(link).ok_or(Errno::EBADMSG))
            .collect()
    }

    /// Moves the link to another network namespace, with a new name and a new index there.
    pub(crate) fn rehome(
        route: &Route,
        index: u32,
        namespace: BorrowedFd<'_>,
        name: &str,
        new_index: u32,
    ) -> Result<(), Errno> {
        let namespace = namespace.as_raw_fd().to_ne_bytes();
        let attributes = vec![
            DefaultNla::new(IFLA_NET_NS_FD, namespace.to_vec()),
            named(name),
            DefaultNla::new(IFLA_NEW_IFINDEX, new_index.to_ne_bytes().to_vec()),
        ];
        route.ask(about(SET_LINK, index, 0, attributes)).map(drop)
    }

    /// Whether a link that [`Self::rehome`] could not move is no longer there: the kernel moves it
    /// first and names it afterwards, and may refuse the name.
    pub(crate) fn has_left(route: &Route, index: u32) -> bool {
        let asked = about(GET_LINK, index, 0, vec![without_statistics()]);
        matches!(route.ask(asked), Err(Errno::ENODEV))
    }

    /// Makes the link a part of `master`.
    pub(crate) fn join(route: &Route, index: u32, master: u32) -> Result<(), Errno> {
        let master = DefaultNla::new(IFLA_MASTER, master.to_ne_bytes().to_vec());
        route.ask(about(SET_LINK, index, 0, vec![master])).map(drop)
    }

    /// Brings the link up.
    pub(crate) fn bring_up(route: &Route, index: u32) -> Result<(), Errno> {
        route
            .ask(about(SET_LINK, index, IFF_UP, Vec::new()))
            .map(drop)
    }
}

/// `struct ifinfomsg`, which sets these flags and leaves the others.
fn about(kind: u16, index: u32, flags: u32, attributes: Vec<DefaultNla>) -> Message {
    let words = [0, index, flags, flags];
    Message {
        kind,
        fixed: words.into_iter().flat_map(u32::to_ne_bytes).collect(),
        attributes,
    }
}

/// The text before the NUL byte at the end.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: Vec<u8>) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn named(name: &str) -> DefaultNla {
    let mut value = name.as_bytes().to_vec();
    value.push(0);
    DefaultNla::new(IFLA_IFNAME, value)
}

fn without_statistics() -> DefaultNla {
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    DefaultNla::new(IFLA_EXT_MASK, mask.to_vec())
}

/// An address of a link, as the message that adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Message);

impl Address {
    /// The addresses of the link that move with it: permanent, of global scope.
    pub(crate) fn kept(route: &Route, index: u32) -> Result<Vec<Self>, Errno> {
        let request = Message {
            kind: GET_ADDRESS,
            fixed: vec![0; 8],
            attributes: Vec::new(),
        };
        let mut found = route.list(&request)?;
        found.retain(|message| message.word(4) == Some(index) && is_kept(message));
        for message in &mut found {
            message
                .attributes
                .retain(|kept| KEPT.contains(&kept.kind()));
        }
        Ok(found.into_iter().map(Self).collect())
    }

    /// Adds the address to the link with this index.
    pub(crate) fn add(&self, route: &Route, index: u32) -> Result<(), Errno> {
        let mut message = self.0.clone();
        message.kind = NEW_ADDRESS;
        let place = message.fixed.get_mut(4..8).ok_or(Errno::EBADMSG)?;
        place.copy_from_slice(&index.to_ne_bytes());
        route.ask(message).map(drop)
    }
}

fn is_kept(message: &Message) -> bool {
    let [_family, _prefix, flags, scope, ..] = message.fixed[..] else {
        return false;
    };
    let all = message.attribute(IFA_FLAGS).and_then(number);
    scope == RT_SCOPE_UNIVERSE && all.unwrap_or(flags.into()) & IFA_F_PERMANENT != 0
}
