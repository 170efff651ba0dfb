//! Lists of CPUs and memory nodes, such as `0-3,7`: cpuset(7), "List format".

use std::fmt;

/// A set of numbers: bit n % 64 of element n / 64 is number n. The last element is not 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberSet(pub Vec<u64>);

/// Why a text is not a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong<'t> {
    /// This part is neither a number nor a range.
    Part(&'t str),
    /// This range is descending.
    Downwards(&'t str),
    /// This number is too large for every kernel.
    TooLarge(&'t str),
}

impl NumberSet {
    /// Reads a list of numbers up to `largest`. White space around a part and empty parts are
    /// ignored, as in runc.
    pub(crate) fn parse(text: &str, largest: u32) -> Result<Self, Wrong<'_>> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                match text.parse::<u32>() {
                    _ if !digits => Err(Wrong::Part(part)),
                    Ok(number) if number <= largest => Ok(number),
                    _ => Err(Wrong::TooLarge(part)),
                }
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(Wrong::Downwards(part));
            }
            (first..=last).for_each(|number| set.insert(number));
        }
        Ok(set)
    }

    fn insert(&mut self, number: u32) {
        let (element, bit) = (number as usize / 64, number % 64);
        if self.0.len() <= element {
            self.0.resize(element + 1, 0);
        }
        self.0[element] |= 1 << bit;
    }

    /// Whether it has this number.
    fn has(&self, number: usize) -> bool {
        let element = self.0.get(number / 64);
        element.is_some_and(|element| element >> (number % 64) & 1 == 1)
    }

    /// How many numbers it has.
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|element| element.count_ones()).sum()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The set as a list.
impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = 0..self.0.len() * 64;
        let mut comma = "";
        for first in all.clone().filter(|n| self.has(*n)) {
            if first > 0 && self.has(first - 1) {
                continue;
            }
            let last = all.clone().skip(first).take_while(|n| self.has(*n)).last();
            match last.filter(|last| *last > first) {
                Some(last) => write!(f, "{comma}{first}-{last}")?,
                None => write!(f, "{comma}{first}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_set_of_numbers() {
        for (text, elements, list) in [
            ("0", vec![1], "0"),
            ("0-3,7", vec![0x8f], "0-3,7"),
            (" 1 , ,3-3, ", vec![0b1010], "1,3"),
            ("5,1,1-2", vec![0b10_0110], "1-2,5"),
            ("63-64", vec![1 << 63, 1], "63-64"),
            ("007", vec![0x80], "7"),
            ("", vec![], ""),
            (",", vec![], ""),
        ] {
            let set = NumberSet::parse(text, 8191).unwrap();
            assert_eq!(set.0, elements, "{text:?}");
            assert_eq!(set.to_string(), list, "{text:?}");
        }
        // Beyond the 1024 CPUs of the C library's set.
        let far = NumberSet::parse("1023-1025,8191", 8191).unwrap();
        assert_eq!(far.0.len(), 128);
        assert_eq!(far.to_string(), "1023-1025,8191");
    }

    #[test]
    fn what_is_no_list_is_refused_by_its_part() {
        for (text, wrong) in [
            ("a", Wrong::Part("a")),
            ("1,-", Wrong::Part("-")),
            ("1-", Wrong::Part("1-")),
            ("-1", Wrong::Part("-1")),
            ("+1", Wrong::Part("+1")),
            ("1-2-3", Wrong::Part("1-2-3")),
            ("1 2", Wrong::Part("1 2")),
            ("0x1", Wrong::Part("0x1")),
            ("0-15:2", Wrong::Part("0-15:2")),
            ("\u{661}", Wrong::Part("\u{661}")),
            ("3-1", Wrong::Downwards("3-1")),
            ("0,8192", Wrong::TooLarge("8192")),
            ("0-4294967295", Wrong::TooLarge("0-4294967295")),
            (
                "99999999999999999999",
                Wrong::TooLarge("99999999999999999999"),
            ),
        ] {
            assert_eq!(NumberSet::parse(text, 8191), Err(wrong), "{text:?}");
        }
    }
}
