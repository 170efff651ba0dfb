//! Where in the plan something failed, in eight bytes.

use kernel::{Call, Errno};

/// A list of the plan, or a step that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum List {
    /// The propagation of the new mount namespace and the place of the root.
    Attach,
    /// The sources that init opens.
    Source,
    /// The mounts.
    Mount,
    /// The device nodes.
    Device,
    /// The links in /dev.
    Link,
    /// What pivot covers or takes away, and the pivot.
    Pivot,
    /// `linux.readonlyPaths`.
    ReadOnlyPath,
    /// `linux.maskedPaths`.
    MaskedPath,
    /// The mounts that turn read-only at the end.
    LateReadOnly,
    /// The read-only root and its final propagation.
    Root,
    /// `linux.sysctl`.
    Sysctl,
    /// The private procfs.
    Procfs,
}

impl List {
    const ALL: [Self; 12] = [
        Self::Attach,
        Self::Source,
        Self::Mount,
        Self::Device,
        Self::Link,
        Self::Pivot,
        Self::ReadOnlyPath,
        Self::MaskedPath,
        Self::LateReadOnly,
        Self::Root,
        Self::Sysctl,
        Self::Procfs,
    ];
}

/// What failed: the call, on which element of which list, and why. [`crate::Plan::describe`] makes
/// a sentence of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The list.
    pub list: List,
    /// The call.
    pub call: Call,
    /// The element's index.
    pub index: u16,
    /// For a parameter of a file system: its index; else 0.
    pub detail: u16,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Place {
    /// As a frame between processes of one program.
    pub fn to_bytes(self) -> [u8; 8] {
        let [i0, i1] = self.index.to_ne_bytes();
        let [d0, d1] = self.detail.to_ne_bytes();
        let errno = u16::try_from(self.errno as i32).unwrap_or(0);
        let [e0, e1] = errno.to_ne_bytes();
        [self.list as u8, self.call as u8, i0, i1, d0, d1, e0, e1]
    }

    /// The inverse of [`Place::to_bytes`]; `None` if the bytes are not valid.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [list, call, i0, i1, d0, d1, e0, e1] = bytes;
        Some(Self {
            list: *List::ALL.get(usize::from(list))?,
            call: Call::from_u8(call)?,
            index: u16::from_ne_bytes([i0, i1]),
            detail: u16::from_ne_bytes([d0, d1]),
            errno: Errno::from_raw(u16::from_ne_bytes([e0, e1]).into()),
        })
    }
}

/// A failed call, without its list yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) detail: u16,
    pub(crate) errno: Errno,
}

impl Fault {
    /// Names the call: `.map_err(Fault::of(Call::Mkdir))`.
    pub(crate) fn of(call: Call) -> impl Fn(Errno) -> Self {
        Self::within(call, 0)
    }

    /// Names the call and the part of the element.
    pub(crate) fn within(call: Call, detail: usize) -> impl Fn(Errno) -> Self {
        let detail = u16::try_from(detail).unwrap_or(u16::MAX);
        move |errno| Self {
            call,
            detail,
            errno,
        }
    }

    /// Adds the list and the element: `.map_err(Fault::at(List::Mount, 3))`.
    pub(crate) fn at(list: List, index: usize) -> impl Fn(Self) -> Place {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        move |fault| Place {
            list,
            call: fault.call,
            index,
            detail: fault.detail,
            errno: fault.errno,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_bytes() {
        for list in List::ALL {
            let place = Place {
                list,
                call: Call::FsconfigSet,
                index: 513,
                detail: 7,
                errno: Errno::EHWPOISON,
            };
            assert_eq!(Place::from_bytes(place.to_bytes()), Some(place));
        }
    }

    #[test]
    fn unknown_numbers_make_no_place() {
        assert_eq!(
            Place::from_bytes([u8::try_from(List::ALL.len()).unwrap(), 0, 0, 0, 0, 0, 0, 0]),
            None
        );
        assert_eq!(Place::from_bytes([0, 255, 0, 0, 0, 0, 0, 0]), None);
    }
}
