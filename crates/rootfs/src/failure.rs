//! What failed in the plan, in eight bytes.

use kernel::{Call, Errno, Failed, numbered};

numbered! {
    /// A list of the plan, or a step that stands alone.
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
}

/// A failed call at an element of a list. [`crate::Plan::describe`] makes a sentence of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The list.
    pub list: List,
    /// The element's index.
    pub element: u16,
    /// The call. Its index is that of a parameter of the file system, if the element has some.
    pub failed: Failed,
}

impl Failure {
    /// Adds the list and the element: `.map_err(Failure::at(List::Mount, 3))`.
    pub(crate) fn at(list: List, element: usize) -> impl Fn(Failed) -> Self {
        let element = u16::try_from(element).unwrap_or(u16::MAX);
        move |failed| Self {
            list,
            element,
            failed,
        }
    }

    /// As a frame between processes of one program.
    pub fn to_bytes(self) -> [u8; 8] {
        let Failed { call, index, errno } = self.failed;
        let [e0, e1] = self.element.to_ne_bytes();
        let [i0, i1] = index.to_ne_bytes();
        let [n0, n1] = u16::try_from(errno as i32).unwrap_or(0).to_ne_bytes();
        [self.list as u8, call as u8, e0, e1, i0, i1, n0, n1]
    }

    /// The inverse of [`Failure::to_bytes`]; `None` if the bytes are not valid.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [list, call, e0, e1, i0, i1, n0, n1] = bytes;
        let failed = Failed {
            call: Call::from_u8(call)?,
            index: u16::from_ne_bytes([i0, i1]),
            errno: Errno::from_raw(u16::from_ne_bytes([n0, n1]).into()),
        };
        let element = u16::from_ne_bytes([e0, e1]);
        List::from_u8(list).map(|list| Self {
            list,
            element,
            failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_its_bytes() {
        for list in List::ALL {
            let failed = Failed::at(Call::FsconfigSet, 7)(Errno::EHWPOISON);
            let failure = Failure::at(*list, 513)(failed);
            assert_eq!(Failure::from_bytes(failure.to_bytes()), Some(failure));
        }
    }

    #[test]
    fn unknown_numbers_make_no_failure() {
        let unknown = u8::try_from(List::ALL.len()).unwrap();
        assert_eq!(Failure::from_bytes([unknown, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Failure::from_bytes([0, 255, 0, 0, 0, 0, 0, 0]), None);
    }
}
