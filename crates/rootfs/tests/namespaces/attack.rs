use crate::Fact;
pub(crate) const FACTS: &[Fact] = &[];
