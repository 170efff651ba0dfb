//! The container's state, as hooks get it on standard input and seccomp listeners get it in a
//! message.
//!
//! Decides the bytes of that one JSON object. It is made before the clone, in two pieces around the
//! pid, because init must not allocate and does not know its pid earlier. Source: runtime.md#state.

use std::fmt;

use serde::Serialize;

use crate::container::Container;

/// `status`: the states of runtime.md#state, and paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The container is being created: the hooks of create run.
    Creating,
    /// Its program waits for `start`. The startContainer hooks run.
    Created,
    /// Its program runs. The poststart hooks run.
    Running,
    /// Its cgroup is frozen. No hook runs then.
    Paused,
    /// Its first process has ended. For the poststop hooks the pid is 0.
    Stopped,
}

impl Status {
    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state without the pid: prefix, decimal pid and suffix are the JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateText {
    /// The text before the pid.
    pub prefix: String,
    /// The text after the pid.
    pub suffix: String,
}

impl StateText {
    /// The state of `container` under the id `id`.
    pub fn new(container: &Container, id: &str, status: Status) -> Self {
        let prefix = format!(
            "{{\"ociVersion\":{},\"id\":{},\"status\":{},\"pid\":",
            json(&container.version),
            json(id),
            json(status.as_str()),
        );
        let bundle = container.bundle.to_string_lossy();
        let mut suffix = format!(",\"bundle\":{}", json(&bundle));
        if !container.annotations.is_empty() {
            suffix.push_str(",\"annotations\":");
            suffix.push_str(&json(&container.annotations));
        }
        suffix.push('}');
        Self { prefix, suffix }
    }
}

/// Serializing strings and maps of strings cannot fail.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oci_spec::runtime::{ContainerState, State as OciState};

    use super::*;
    use crate::load::{Host, parse};

    fn container(annotations: &str) -> Container {
        let text = format!(
            "{{\"ociVersion\":\"1.2.1\",\"root\":{{\"path\":\"r\"}},\"annotations\":{annotations}}}"
        );
        *parse(text.as_bytes(), Path::new("/a \"b\"\n"), Host::Ignore)
            .unwrap()
            .container
    }

    impl StateText {
        fn with_pid(&self, pid: i32) -> Vec<u8> {
            format!("{}{pid}{}", self.prefix, self.suffix).into_bytes()
        }
    }

    #[test]
    fn the_state_is_that_of_the_specification() {
        let container = container(r#"{"a\nb":"\"c\""}"#);
        let bytes = StateText::new(&container, "id", Status::Creating).with_pid(17);
        let state: OciState = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(state.version(), "1.2.1");
        assert_eq!(state.id(), "id");
        assert_eq!(*state.status(), ContainerState::Creating);
        assert_eq!(*state.pid(), Some(17));
        assert_eq!(state.bundle(), Path::new("/a \"b\"\n"));
        assert_eq!(state.annotations().as_ref().unwrap()["a\nb"], "\"c\"");
    }

    #[test]
    fn every_status_is_one_of_the_specification() {
        let container = container("{}");
        for status in [
            Status::Creating,
            Status::Created,
            Status::Running,
            Status::Stopped,
        ] {
            let bytes = StateText::new(&container, "id", status).with_pid(0);
            let state: OciState = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(state.status().to_string(), status.as_str());
        }
    }

    #[test]
    fn no_annotations_are_left_out() {
        let text = StateText::new(&container("{}"), "x", Status::Stopped).with_pid(0);
        let expected =
            r#"{"ociVersion":"1.2.1","id":"x","status":"stopped","pid":0,"bundle":"/a \"b\"\n"}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
