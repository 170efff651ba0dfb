//! Which devices move, and moving them.

use crate::Error;
use crate::link::{Address, Link};
use crate::route::Route;
use caller::Caller;
use kernel::clone::{self, NamespaceFlags};
use kernel::{Errno, link};
use spec::Container;
use spec::diagnostic::escape;
use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

/// CAP_NET_ADMIN, CAP_SYS_ADMIN: to move devices, and to enter the other namespace.
const NEEDED: [u8; 2] = [12, 21];

/// The devices that move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    devices: Vec<Device>,
}

/// Where the devices go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the network namespace that they are in.
    Own,
    /// To another one.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    /// In the runtime's namespace.
    host: String,
    /// In the container's; with `%d`, a template.
    name: String,
}

impl Device {
    fn pointer(&self) -> String {
        format!("/linux/netDevices/{}", escape(&self.host))
    }

    fn failed(&self, step: &'static str) -> impl Fn(Errno) -> Error {
        move |errno| Error::Device {
            pointer: self.pointer(),
            name: self.host.clone(),
            step,
            errno,
        }
    }
}

impl Plan {
    /// Decides. `None`: no device moves.
    pub fn lower(container: &Container, caller: &Caller) -> Result<Option<Self>, Error> {
        if container.net_devices.is_empty() {
            return Ok(None);
        }
        if !caller.has(NEEDED) {
            return Err(Error::Privilege);
        }
        let devices = container.net_devices.iter();
        let devices = devices.map(|device| Device {
            host: device.host.clone(),
            name: device.name.clone(),
        });
        let mut devices: Vec<_> = devices.collect();
        // The kernel might set a name for a template that another device is to have.
        devices.sort_by_key(|device| device.name.contains('%'));
        Ok(Some(Self { devices }))
    }

    /// Finds the devices in the network namespace of this process.
    ///
    /// # Errors
    /// [`Error::OwnNamespace`]; [`Error::Missing`]; the kernel's answer.
    pub fn open(&self, target: Target) -> Result<Handles, Error> {
        if target == Target::Own {
            return Err(Error::OwnNamespace);
        }
        let failed = |errno| Error::Netlink {
            step: "open a socket of rtnetlink",
            errno,
        };
        let host = Route::open().map_err(failed)?;
        let find = |device: &Device| match Link::find(&host, &device.host) {
            Err(Errno::ENODEV) => Err(Error::Missing {
                pointer: device.pointer(),
                name: device.host.clone(),
            }),
            answer => answer.map_err(device.failed("find")),
        };
        let links = self.devices.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Handles { host, links })
    }

    /// Moves the devices into the network namespace that `socket` was made in, with the addresses
    /// that they keep, and brings them up. If one cannot be moved, all come back.
    pub fn move_to(&self, handles: Handles, socket: &OwnedFd) -> Result<Moved, Error> {
        let there = There::reach(socket)?;
        let mut taken = there.links()?;
        self.refuse_clashes(&taken, &handles.links)?;
        let mut moved = Moved {
            host: handles.host,
            there,
            devices: Vec::new(),
        };
        for (device, link) in self.devices.iter().zip(handles.links) {
            let index = free_index(&taken, link.index);
            if let Err(error) = moved.take(device, link, index) {
                return Err(match moved.give_back() {
                    Ok(()) => error,
                    Err(left) => Error::Stuck {
                        error: Box::new(error),
                        left: Box::new(left),
                    },
                });
            }
            taken.push(Link {
                index,
                name: device.name.clone(),
                further_names: Vec::new(),
                is_up: true,
                master: None,
            });
        }
        Ok(moved)
    }

    /// Compares the names that the devices will have there with those that are taken. All names of
    /// a namespace differ, the further ones too.
    fn refuse_clashes(&self, taken: &[Link], moving: &[Link]) -> Result<(), Error> {
        let mut names: BTreeSet<_> = taken.iter().flat_map(Link::names).collect();
        let further = self.devices.iter().zip(moving).flat_map(|(device, link)| {
            let further = link.further_names.iter();
            further.map(move |name| (device, name.as_str()))
        });
        let new = self.devices.iter().map(|device| (device, &*device.name));
        for (device, name) in further.chain(new) {
            if !names.insert(name) && !name.contains('%') {
                return Err(Error::Clash {
                    pointer: device.pointer(),
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The old index, unless a device of the other namespace has it.
fn free_index(taken: &[Link], old: u32) -> u32 {
    match taken.iter().any(|link| link.index == old) {
        true => taken.iter().map(|link| link.index).max().unwrap_or(0) + 1,
        false => old,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |device: &Device| {
            let Device { host, name } = device;
            writeln!(f, "device {host:?} moves into the container as {name:?}")
        };
        self.devices.iter().try_for_each(each)
    }
}

/// The devices, found in the runtime's namespace.
#[derive(Debug)]
pub struct Handles {
    host: Route,
    links: Vec<Link>,
}

/// The network namespace of the container.
#[derive(Debug)]
struct There {
    route: Route,
    namespace: OwnedFd,
}

impl There {
    /// Takes the namespace from a socket that was made in it. A socket of this process's own is
    /// needed to bring devices back: the kernel looks at the rights of the process that made it.
    fn reach(socket: &OwnedFd) -> Result<Self, Error> {
        let failed = |step| move |errno| Error::Netlink { step, errno };
        let enter = failed("enter the container's network namespace");
        let back = failed("return to the runtime's network namespace");
        let namespace = link::namespace_of(socket.as_fd()).map_err(&enter)?;
        let own = link::route_socket().and_then(|own| link::namespace_of(own.as_fd()));
        let own = own.map_err(&back)?;
        clone::setns(namespace.as_fd(), NamespaceFlags::NETWORK).map_err(&enter)?;
        let route = Route::open();
        // This comes first: hooks run in the namespace of this process.
        clone::setns(own.as_fd(), NamespaceFlags::NETWORK).map_err(&back)?;
        let route = route.map_err(&enter)?;
        Ok(Self { route, namespace })
    }

    fn links(&self) -> Result<Vec<Link>, Error> {
        Link::all(&self.route).map_err(|errno| Error::Netlink {
            step: "list the devices of the container's network namespace",
            errno,
        })
    }
}

/// Devices that have moved. While this value lives, so does the container's network namespace.
#[derive(Debug)]
pub struct Moved {
    host: Route,
    there: There,
    devices: Vec<Arrived>,
}

#[derive(Debug)]
struct Arrived {
    device: Device,
    before: Link,
    index: u32,
    addresses: Vec<Address>,
}

impl Moved {
    fn take(&mut self, device: &Device, before: Link, index: u32) -> Result<(), Error> {
        let addresses = Address::kept(&self.host, before.index);
        let addresses = addresses.map_err(device.failed("list the addresses of"))?;
        let namespace = self.there.namespace.as_fd();
        let old = before.index;
        let answer = Link::rehome(&self.host, old, namespace, &device.name, index);
        if answer.is_ok() || Link::has_left(&self.host, old) {
            self.devices.push(Arrived {
                device: device.clone(),
                before,
                index,
                addresses: addresses.clone(),
            });
        }
        answer.map_err(device.failed("move"))?;
        for address in &addresses {
            let added = address.add(&self.there.route, index);
            added.map_err(device.failed("keep an address of"))?;
        }
        Link::bring_up(&self.there.route, index).map_err(device.failed("bring up"))
    }

    /// Moves the devices back, for a container that is not made after all. All are tried,
    /// and for each as much as the kernel accepts.
    pub fn give_back(self) -> Result<(), Error> {
        let failed = |errno| Error::Netlink {
            step: "find the runtime's network namespace",
            errno,
        };
        let home = self.host.namespace().map_err(failed)?;
        let back = |arrived: &Arrived| {
            let Arrived { device, before, .. } = arrived;
            let (route, index) = (&self.there.route, before.index);
            let mut answer = Link::rehome(route, arrived.index, home.as_fd(), &before.name, index);
            if answer.is_ok() || Link::has_left(route, arrived.index) {
                // Each step is tried, also after one that the kernel has refused.
                for address in &arrived.addresses {
                    answer = answer.and(address.add(&self.host, index));
                }
                if let Some(master) = before.master {
                    answer = answer.and(Link::join(&self.host, index, master));
                }
                if before.is_up {
                    answer = answer.and(Link::bring_up(&self.host, index));
                }
            }
            answer.map_err(device.failed("move back"))
        };
        let results: Vec<_> = self.devices.iter().map(back).collect();
        results.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, further_names: &[&str]) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            further_names: further_names.iter().copied().map(str::to_owned).collect(),
            is_up: false,
            master: None,
        }
    }

    #[test]
    fn a_clash_of_any_name_is_found_before_anything_moves() {
        let taken = [link("lo", &["loop"])];
        let clash = |moving: &[(Link, &str)]| {
            let (links, names): (Vec<_>, Vec<_>) = moving.iter().cloned().unzip();
            let devices = links.iter().zip(names).map(|(link, name)| Device {
                host: link.name.clone(),
                name: name.to_owned(),
            });
            let plan = Plan {
                devices: devices.collect(),
            };
            match plan.refuse_clashes(&taken, &links) {
                Ok(()) => None,
                Err(Error::Clash { pointer, name }) => Some((pointer, name)),
                Err(other) => panic!("{other}"),
            }
        };
        let found = |device: &str, name: &str| {
            Some((format!("/linux/netDevices/{device}"), name.to_owned()))
        };
        let plain = |host, name| (link(host, &[]), name);
        assert_eq!(clash(&[plain("a", "eth0"), plain("b", "b")]), None);
        assert_eq!(clash(&[plain("a", "eth%d"), plain("b", "eth%d")]), None);
        assert_eq!(clash(&[plain("a", "lo")]), found("a", "lo"));
        assert_eq!(clash(&[plain("a", "loop")]), found("a", "loop"));
        let named = |further: &[&str], name| (link("a", further), name);
        assert_eq!(clash(&[named(&["x"], "eth0")]), None);
        assert_eq!(clash(&[named(&["lo"], "eth0")]), found("a", "lo"));
        assert_eq!(clash(&[named(&["eth0"], "eth0")]), found("a", "eth0"));
        let both = [named(&["eth0"], "eth1"), plain("b", "eth0")];
        assert_eq!(clash(&both), found("b", "eth0"));
    }

    #[test]
    fn an_index_that_is_taken_is_replaced_by_a_new_one() {
        let link = |index| Link {
            index,
            ..link("", &[])
        };
        let taken = [1, 4, 9].map(link);
        assert_eq!(free_index(&taken, 5), 5);
        assert_eq!(free_index(&taken, 4), 10);
        assert_eq!(free_index(&[], 4), 4);
    }
}
