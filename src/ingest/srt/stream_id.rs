//! What a caller says in SRT's `streamid`: which stream, and perhaps its key. The plain form is what RTMP calls a
//! stream key; the other is that of SRT's access control, `#!::r=NAME,m=publish`.

use crate::ingest::keys::Claim;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamId {
    /// It says a key.
    Keyed(Claim),
    /// It says one word, which is a name or a key.
    Word(String),
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StreamIdError {
    #[error("it says no streamid; one is NAME, NAME?key=SECRET or #!::r=NAME,m=publish")]
    Missing,
    #[error("its streamid names no stream (r=NAME)")]
    Nameless,
    #[error("it asks to {0:?}; this port takes publishers only (m=publish)")]
    Mode(String),
}

impl StreamId {
    pub fn read(text: &str) -> Result<Self, StreamIdError> {
        // Some pad it to whole words.
        let text = text.trim_end_matches('\0');
        if text.is_empty() {
            return Err(StreamIdError::Missing);
        }
        let Some(fields) = text.strip_prefix("#!::") else {
            return Ok(match text.contains('?') {
                true => Self::Keyed(Claim::of_stream_key(text)),
                false => Self::Word(text.to_owned()),
            });
        };
        let field = |name: &str| {
            let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
            fields
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_owned())
        };
        // Whoever says nothing of it calls a listener, which is what publishers do.
        if let Some(mode) = field("m").filter(|mode| mode != "publish") {
            return Err(StreamIdError::Mode(mode.chars().take(20).collect()));
        }
        // Applications are RTMP's, and some say them here as well.
        let name = field("r").ok_or(StreamIdError::Nameless)?;
        let name = name.rsplit('/').next().unwrap_or_default();
        if name.is_empty() {
            return Err(StreamIdError::Nameless);
        }
        let name = name.to_owned();
        Ok(match field("key") {
            Some(key) => Self::Keyed(Claim {
                name: Some(name),
                key,
            }),
            None => Self::Word(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(name: &str, key: &str) -> Result<StreamId, StreamIdError> {
        let (name, key) = (Some(name.to_owned()), key.to_owned());
        Ok(StreamId::Keyed(Claim { name, key }))
    }

    #[test]
    fn both_forms_say_the_same() {
        assert_eq!(StreamId::read("talk"), Ok(StreamId::Word("talk".into())));
        assert_eq!(StreamId::read("talk?key=k"), keyed("talk", "k"));
        assert_eq!(
            StreamId::read("#!::r=talk,m=publish"),
            Ok(StreamId::Word("talk".into()))
        );
        assert_eq!(
            StreamId::read("#!::m=publish,u=me,r=live/talk,key=k"),
            keyed("talk", "k")
        );
        assert_eq!(
            StreamId::read("#!::r=talk\0\0"),
            Ok(StreamId::Word("talk".into()))
        );
    }

    #[test]
    fn what_it_lacks_is_named() {
        assert_eq!(StreamId::read(""), Err(StreamIdError::Missing));
        assert_eq!(
            StreamId::read("#!::m=publish"),
            Err(StreamIdError::Nameless)
        );
        assert_eq!(
            StreamId::read("#!::r=,m=publish"),
            Err(StreamIdError::Nameless)
        );
        let mode = StreamIdError::Mode("request".into());
        assert_eq!(StreamId::read("#!::r=talk,m=request"), Err(mode));
    }
}
