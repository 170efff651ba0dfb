//! One rtnetlink request: bring a link up.
