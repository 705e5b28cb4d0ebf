//! A playlist's text as lines, each with its number: tags, attributes, URIs. What they mean is `listing`'s and
//! `variants`' business. Every line is kept, so that what is wrong can be pointed at.

use std::borrow::Cow;

/// One line of a playlist (RFC 8216bis section 4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line<'a> {
    /// `#EXT…`, with what follows the colon.
    Tag {
        name: &'a str,
        value: Option<&'a str>,
    },
    Uri(&'a str),
    Comment,
    Blank,
}

/// The lines of `text` with their numbers, from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, Line<'_>)> {
    text.trim_start_matches('\u{feff}')
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate()
        .map(|(index, line)| (index + 1, read(line)))
}

fn read(line: &str) -> Line<'_> {
    if line.trim().is_empty() {
        return Line::Blank;
    }
    match line.strip_prefix('#') {
        None => Line::Uri(line),
        Some(tag) if tag.starts_with("EXT") => match tag.split_once(':') {
            Some((name, value)) => Line::Tag {
                name,
                value: Some(value),
            },
            None => Line::Tag {
                name: tag,
                value: None,
            },
        },
        Some(_) => Line::Comment,
    }
}

/// An attribute list (section 4.2), in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes<'a> {
    list: Vec<(&'a str, Value<'a>)>,
    /// What is wrong with it as a list.
    pub faults: Vec<Cow<'static, str>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Value<'a> {
    pub text: &'a str,
    pub quoted: bool,
}

impl<'a> Attributes<'a> {
    pub fn read(text: &'a str) -> Self {
        let mut all = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let Some((name, value)) = rest.split_once('=') else {
                all.fault(format!("{rest:?} is no NAME=VALUE"));
                break;
            };
            let named = name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
            if name.is_empty() || !named {
                all.fault(format!("attribute name {name:?} is not of A-Z, 0-9 and -"));
            }
            if all.get(name).is_some() {
                all.fault(format!("attribute {name} stands twice"));
            }
            let (value, after) = value_of(value);
            match value {
                Some(value) => all.list.push((name, value)),
                None => all.fault(format!("the quoted string of {name} does not end")),
            }
            rest = match after.strip_prefix(',') {
                Some(next) => next,
                None => {
                    if !after.is_empty() {
                        all.fault(format!("{after:?} follows the value of {name}"));
                    }
                    ""
                }
            };
        }
        all
    }

    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let mut found = self.list.iter().filter(|(known, _)| *known == name);
        found.next().map(|(_, value)| *value)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).map(|value| value.text)
    }

    pub fn yes(&self, name: &str) -> bool {
        self.text(name) == Some("YES")
    }

    /// A decimal-floating-point number.
    pub fn decimal(&self, name: &str) -> Option<f64> {
        decimal(self.text(name)?)
    }

    pub fn integer(&self, name: &str) -> Option<u64> {
        integer(self.text(name)?)
    }

    fn fault(&mut self, what: String) {
        self.faults.push(what.into());
    }
}

/// A value, and what follows it. No value if a quote is not closed.
fn value_of(text: &str) -> (Option<Value<'_>>, &str) {
    match text.strip_prefix('"') {
        Some(inside) => match inside.split_once('"') {
            Some((text, after)) => (Some(Value { text, quoted: true }), after),
            None => (None, ""),
        },
        None => {
            let end = text.find(',').unwrap_or(text.len());
            let value = Value {
                text: &text[..end],
                quoted: false,
            };
            (Some(value), &text[end..])
        }
    }
}

/// decimal-integer: digits, up to 2^64-1 (section 4.2).
pub fn integer(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// decimal-floating-point: digits and at most one dot; no sign, no exponent (section 4.2).
pub fn decimal(text: &str) -> Option<f64> {
    let digits = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    digits.then(|| text.parse().ok()).flatten()
}

/// `LENGTH[@OFFSET]` of a byte range (section 4.4.4.2).
pub fn byte_range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.split_once('@') {
        Some((length, offset)) => Some((integer(length)?, Some(integer(offset)?))),
        None => Some((integer(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_number() {
        let all: Vec<_> = lines("#EXTM3U\r\n\n#a comment\n#EXTINF:4,\nseg.ts").collect();
        assert_eq!(
            all,
            [
                (
                    1,
                    Line::Tag {
                        name: "EXTM3U",
                        value: None
                    }
                ),
                (2, Line::Blank),
                (3, Line::Comment),
                (
                    4,
                    Line::Tag {
                        name: "EXTINF",
                        value: Some("4,")
                    }
                ),
                (5, Line::Uri("seg.ts")),
            ]
        );
    }

    #[test]
    fn a_comma_in_quotes_ends_no_value() {
        let list =
            Attributes::read(r#"CODECS="avc1.64001F,mp4a.40.2",BANDWIDTH=800000,A=1920x1080"#);
        assert_eq!(list.text("CODECS"), Some("avc1.64001F,mp4a.40.2"));
        assert_eq!(list.integer("BANDWIDTH"), Some(800_000));
        assert_eq!(list.text("A"), Some("1920x1080"));
        assert!(list.faults.is_empty());
    }

    #[test]
    fn what_is_no_list_is_said() {
        for wrong in ["A", "A=1,A=2", "a=1", r#"A="open"#, r#"A="x"y"#] {
            assert_eq!(Attributes::read(wrong).faults.len(), 1, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(integer("12"), Some(12));
        assert_eq!(integer("+12"), None);
        assert_eq!(decimal("2.5"), Some(2.5));
        assert_eq!(decimal("1e3"), None);
        assert_eq!(decimal("."), None);
        assert_eq!(byte_range("100@20"), Some((100, Some(20))));
        assert_eq!(byte_range("100@"), None);
    }
}
