//! Where a bus is: `unix:path=/run/dbus/system_bus_socket`, or a list of addresses. In a list, the
//! first address of a Unix socket counts.

use crate::Error;
use std::fmt;
use std::path::Path;

/// A Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The path, or the name in the abstract name space.
    pub(crate) name: Vec<u8>,
    pub(crate) is_abstract: bool,
    text: String,
}

impl Address {
    /// The socket at `path`.
    pub fn of_path(path: &Path) -> Self {
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        let escaped: String = name.iter().map(|byte| escape(*byte)).collect();
        Self {
            name,
            is_abstract: false,
            text: format!("unix:path={escaped}"),
        }
    }

    /// Reads an address, as of DBUS_SESSION_BUS_ADDRESS.
    ///
    /// # Errors
    /// It has neither the path nor the abstract name of a Unix socket.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let found = text.split(';').find_map(|one| {
            let pairs = one.strip_prefix("unix:")?;
            pairs.split(',').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                let is_abstract = match key {
                    "path" => false,
                    "abstract" => true,
                    _ => return None,
                };
                let name = unescape(value).filter(|name| !name.is_empty() && !name.contains(&0))?;
                Some(Self {
                    name,
                    is_abstract,
                    text: one.to_owned(),
                })
            })
        });
        found.ok_or_else(|| Error::Address {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The bytes that need no escape in an address.
fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02x}")
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unix_socket_counts() {
        let address =
            Address::parse("tcp:host=x;unix:guid=1,path=/run/a%20b;unix:path=/c").unwrap();
        assert_eq!(address.name, b"/run/a b");
        assert!(!address.is_abstract);
        assert_eq!(address.to_string(), "unix:guid=1,path=/run/a%20b");
        let address = Address::parse("unix:abstract=/tmp/dbus-1").unwrap();
        assert!(address.is_abstract);
    }

    #[test]
    fn an_address_of_a_path_reads_as_that_path() {
        for path in ["/run/user/1000/bus", "/tmp/a b;c,d=e%", "/ä"] {
            let address = Address::of_path(Path::new(path));
            assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
        }
    }

    #[test]
    fn what_names_no_unix_socket_is_refused() {
        for text in [
            "",
            "unix:",
            "unix:path=",
            "unix:path=%0",
            "unix:path=a%00b",
            "tcp:host=x,port=1",
            "autolaunch:",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
