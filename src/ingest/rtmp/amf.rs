//! AMF0, the values in which RTMP's commands and metadata are written. Whoever connects can send any octets,
//! so values nest no deeper and are no more than a publisher needs.

use bytes::{BufMut, BytesMut};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    Text(String),
    /// An object or an associative array.
    Object(Vec<(String, Value)>),
    List(Vec<Value>),
    /// Null, undefined, and what nobody asks for: dates, references, XML.
    Nothing,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AmfError {
    #[error("AMF0 ends in the middle of a value")]
    Short,
    #[error("AMF0 value of kind {0}, which nobody sends")]
    Kind(u8),
    #[error("AMF0 values nest deeper than {DEPTH}")]
    Deep,
    #[error("more than {MOST} AMF0 values in one message")]
    Many,
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A property of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Self::Object(properties) = self else {
            return None;
        };
        let found = properties.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                out.put_u8(NUMBER);
                out.put_f64(*number);
            }
            Self::Boolean(value) => out.put_slice(&[BOOLEAN, u8::from(*value)]),
            Self::Text(text) => {
                out.put_u8(TEXT);
                label(text, out);
            }
            Self::Object(properties) => {
                out.put_u8(OBJECT);
                for (name, value) in properties {
                    label(name, out);
                    value.write(out);
                }
                out.put_slice(&[0, 0, OBJECT_END]);
            }
            Self::List(values) => {
                out.put_u8(STRICT_ARRAY);
                out.put_u32(values.len() as u32);
                values.iter().for_each(|value| value.write(out));
            }
            Self::Nothing => out.put_u8(NULL),
        }
    }
}

/// All values that `octets` are.
pub fn read(octets: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut reader = Reader { octets, left: MOST };
    let mut values = Vec::new();
    while !reader.octets.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    octets: &'a [u8],
    /// Values that may still come.
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        if depth > DEPTH {
            return Err(AmfError::Deep);
        }
        self.left = self.left.checked_sub(1).ok_or(AmfError::Many)?;
        let [kind] = self.array()?;
        Ok(match kind {
            NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            TEXT => Value::Text(self.label()?),
            LONG_TEXT | XML => {
                let length = u32::from_be_bytes(self.array()?) as usize;
                Value::Text(lossy(self.take(length)?))
            }
            OBJECT => Value::Object(self.properties(depth)?),
            TYPED_OBJECT => {
                self.label()?;
                Value::Object(self.properties(depth)?)
            }
            ECMA_ARRAY => {
                // How many there are is not to be relied on; the end says it.
                self.take(4)?;
                Value::Object(self.properties(depth)?)
            }
            STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array()?);
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::List(values)
            }
            NULL | UNDEFINED | UNSUPPORTED => Value::Nothing,
            REFERENCE => self.take(2).map(|_| Value::Nothing)?,
            DATE => self.take(10).map(|_| Value::Nothing)?,
            kind => return Err(AmfError::Kind(kind)),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut properties = Vec::new();
        loop {
            // Some encoders leave out the end of the last object.
            if self.octets.is_empty() {
                return Ok(properties);
            }
            if let Some(rest) = self.octets.strip_prefix(&[0, 0, OBJECT_END]) {
                self.octets = rest;
                return Ok(properties);
            }
            let name = self.label()?;
            properties.push((name, self.value(depth + 1)?));
        }
    }

    fn label(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.array()?);
        Ok(lossy(self.take(length.into())?))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let (taken, rest) = self
            .octets
            .split_at_checked(length)
            .ok_or(AmfError::Short)?;
        self.octets = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| AmfError::Short)
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Nobody but us writes these, and none is near 64 KiB.
fn label(text: &str, out: &mut BytesMut) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(&text.as_bytes()[..length.into()]);
}

const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const TEXT: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const REFERENCE: u8 = 7;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;
const DATE: u8 = 11;
const LONG_TEXT: u8 = 12;
const UNSUPPORTED: u8 = 13;
const XML: u8 = 15;
const TYPED_OBJECT: u8 = 16;

/// Metadata nests two deep.
const DEPTH: usize = 8;

/// Metadata has some thirty.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let values = [
            Value::Text("connect".into()),
            Value::Number(1.0),
            Value::Object(vec![
                ("app".into(), Value::Text("live".into())),
                ("audio".into(), Value::Boolean(true)),
                (
                    "fourCcList".into(),
                    Value::List(vec![Value::Text("av01".into())]),
                ),
            ]),
            Value::Nothing,
        ];
        let mut out = BytesMut::new();
        values.iter().for_each(|value| value.write(&mut out));
        assert_eq!(read(&out).unwrap(), values);
        for end in 0..out.len() {
            // Whatever is cut off is an error or fewer values, never a panic.
            let _ = read(&out[..end]);
        }
    }

    #[test]
    fn a_metadata_array_with_a_wrong_count_and_a_date_is_read() {
        let mut octets = vec![ECMA_ARRAY, 0, 0, 0, 99, 0, 1, b'd', DATE];
        octets.extend([0; 10]);
        octets.extend([
            0, 1, b'w', NUMBER, 0x40, 0x94, 0, 0, 0, 0, 0, 0, 0, 0, OBJECT_END,
        ]);
        let values = read(&octets).unwrap();
        assert_eq!(values[0].get("w").and_then(Value::number), Some(1280.0));
    }

    #[test]
    fn neither_depth_nor_number_is_the_peers_to_choose() {
        let deep = [STRICT_ARRAY, 0, 0, 0, 1].repeat(10_000);
        assert_eq!(read(&deep), Err(AmfError::Deep));
        assert_eq!(read(&[NULL; 5000]), Err(AmfError::Many));
        let mut endless = vec![STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff];
        endless.extend([NULL; 5000]);
        assert_eq!(read(&endless), Err(AmfError::Many));
        assert_eq!(
            read(&[LONG_TEXT, 0xff, 0xff, 0xff, 0xff]),
            Err(AmfError::Short)
        );
    }
}
