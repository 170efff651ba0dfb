//! Every rule of the configuration, one row each.
