//! One publisher's connection without its socket: octets in, events and octets out. What it may publish is
//! asked of whoever drives it; before the answer nothing of media is taken.

use bytes::{Bytes, BytesMut};

use super::{
    amf::{self, AmfError, Value},
    chunk::{self, ChunkError, Message, Reader},
    handshake::{Handshake, NotRtmp},
};

/// What a publisher does that somebody has to decide or to take.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It names an application; answer with [`Session::connect`] or [`Session::refuse`].
    Connect {
        app: String,
    },
    /// It names what it publishes; answer with [`Session::publish`] or [`Session::refuse`].
    Publish {
        key: String,
    },
    /// What it says of its media: the values, and the octets that they were read from.
    Metadata {
        values: Value,
        octets: Bytes,
    },
    Video {
        timestamp: u32,
        octets: Bytes,
    },
    Audio {
        timestamp: u32,
        octets: Bytes,
    },
    /// It has said that it is done.
    Ended,
}

/// Why a connection is of no use any more.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Handshake(#[from] NotRtmp),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error("{command}: {error}")]
    Amf { command: String, error: AmfError },
    #[error("it sends {0} before it may publish")]
    Early(&'static str),
    #[error("it asks to play; this port takes publishers only")]
    Plays,
    #[error("{0} octets, and it does not publish yet")]
    Talk(usize),
    #[error("it speaks AMF3, which is not supported; its encoder has to be set to AMF0")]
    Amf3,
}

#[derive(Debug)]
pub struct Session {
    handshake: Handshake,
    /// For the handshake only; then it is the reader's.
    input: BytesMut,
    reader: Reader,
    output: BytesMut,
    /// Length of our chunks.
    chunk: usize,
    stage: Stage,
    /// Octets that have come, and of how many of them the peer wants to hear.
    received: usize,
    acknowledged: usize,
    window: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Nothing is agreed on.
    New,
    /// The command `connect` with this transaction waits for an answer.
    Connecting(f64),
    Connected,
    /// The command `publish` on this message stream waits for an answer.
    Asking(u32),
    Publishing,
    Over,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            handshake: Handshake::Hello,
            input: BytesMut::new(),
            reader: Reader::new(EARLY_MESSAGE),
            output: BytesMut::new(),
            chunk: FIRST_CHUNK,
            stage: Stage::New,
            received: 0,
            acknowledged: 0,
            window: None,
        }
    }
}

impl Session {
    /// Takes what has come from the peer.
    pub fn put(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.received = self.received.wrapping_add(octets.len());
        if self.stage != Stage::Publishing && self.received > EARLY {
            return Err(Fault::Talk(self.received));
        }
        if self.handshake.is_done() {
            self.reader.put(octets);
        } else {
            self.input.extend_from_slice(octets);
            self.handshake.go_on(&mut self.input, &mut self.output)?;
            if self.handshake.is_done() {
                self.reader.put(&std::mem::take(&mut self.input));
            }
        }
        let unheard = self.received.wrapping_sub(self.acknowledged);
        if self.handshake.is_done() && self.window.is_some_and(|window| unheard >= window) {
            self.acknowledged = self.received;
            // As everywhere, it wraps after 4 GiB.
            self.control(ACKNOWLEDGEMENT, &(self.received as u32).to_be_bytes());
        }
        Ok(())
    }

    /// What is to be sent to the peer; whoever sends it takes it off.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// The next event, if there is one in what has come.
    pub fn event(&mut self) -> Result<Option<Event>, Fault> {
        // What comes behind a question has to wait for its answer.
        if matches!(
            self.stage,
            Stage::Connecting(_) | Stage::Asking(_) | Stage::Over
        ) {
            return Ok(None);
        }
        while let Some(message) = self.reader.message()? {
            if let Some(event) = self.take(message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The application is one of ours.
    pub fn connect(&mut self) {
        let Stage::Connecting(transaction) = self.stage else {
            return;
        };
        self.control(WINDOW, &WINDOW_SIZE.to_be_bytes());
        self.control(
            BANDWIDTH,
            &[&WINDOW_SIZE.to_be_bytes()[..], &[DYNAMIC]].concat(),
        );
        self.control(CHUNK_SIZE, &OUR_CHUNK.to_be_bytes());
        self.chunk = OUR_CHUNK as usize;
        let server = object([
            ("fmsVer", Value::Text("FMS/3,5,7,7009".into())),
            ("capabilities", Value::Number(31.0)),
        ]);
        let told = status("status", "NetConnection.Connect.Success", "connected");
        self.command(0, "_result", transaction, [server, told]);
        self.stage = Stage::Connected;
    }

    /// It may publish; from now on media is taken.
    pub fn publish(&mut self) {
        let Stage::Asking(stream) = self.stage else {
            return;
        };
        self.control(
            USER,
            &[&STREAM_BEGIN.to_be_bytes()[..], &stream.to_be_bytes()].concat(),
        );
        let told = status("status", "NetStream.Publish.Start", "publishing");
        self.command(stream, "onStatus", 0.0, [Value::Nothing, told]);
        self.reader.take_up_to(MESSAGE);
        self.stage = Stage::Publishing;
    }

    /// The answer to what it asked, or the end of what it was allowed: no, and `why`, as OBS and ffmpeg show it.
    pub fn refuse(&mut self, code: &str, why: &str) {
        let told = status("error", code, why);
        match self.stage {
            Stage::Connecting(transaction) => {
                self.command(0, "_error", transaction, [Value::Nothing, told]);
            }
            Stage::Asking(stream) => {
                self.command(stream, "onStatus", 0.0, [Value::Nothing, told]);
            }
            _ => self.command(1, "onStatus", 0.0, [Value::Nothing, told]),
        }
        self.stage = Stage::Over;
    }

    fn take(&mut self, message: Message) -> Result<Option<Event>, Fault> {
        let payload = &message.payload[..];
        match message.kind {
            CHUNK_SIZE => self.reader.set_chunk_size(number(payload))?,
            ABORT => self.reader.abort(number(payload)),
            WINDOW => {
                // A window of nothing would have each octet acknowledged.
                self.window = Some((number(payload) as usize).max(LEAST_WINDOW));
            }
            USER => {
                if let Some(asked) = payload.strip_prefix(&PING.to_be_bytes()) {
                    let answer = [&PONG.to_be_bytes()[..], &asked[..asked.len().min(4)]].concat();
                    self.control(USER, &answer);
                }
            }
            COMMAND => return self.asked(&message, 0),
            // An AMF3 command begins with an octet that says that AMF0 follows, which it always does.
            COMMAND_AMF3 if payload.first() == Some(&0) => return self.asked(&message, 1),
            COMMAND_AMF3 => return Err(Fault::Amf3),
            DATA => return self.told(&message, 0),
            DATA_AMF3 if payload.first() == Some(&0) => return self.told(&message, 1),
            VIDEO | AUDIO if self.stage != Stage::Publishing => return Err(Fault::Early("media")),
            VIDEO => {
                return Ok(Some(Event::Video {
                    timestamp: message.timestamp,
                    octets: message.payload,
                }));
            }
            AUDIO => {
                return Ok(Some(Event::Audio {
                    timestamp: message.timestamp,
                    octets: message.payload,
                }));
            }
            // Acknowledgements, bandwidths, shared objects: nothing that a publisher is taken at.
            _ => {}
        }
        Ok(None)
    }

    /// A command.
    fn asked(&mut self, message: &Message, skip: usize) -> Result<Option<Event>, Fault> {
        let values = amf::read(&message.payload[skip..]).map_err(|error| Fault::Amf {
            command: "a command".into(),
            error,
        })?;
        let mut values = values.into_iter();
        let name = values.next();
        let name = name.as_ref().and_then(Value::text).unwrap_or_default();
        let transaction = values
            .next()
            .and_then(|value| value.number())
            .unwrap_or(0.0);
        let about = values.next().unwrap_or(Value::Nothing);
        let argument = values.next().unwrap_or(Value::Nothing);
        match name {
            "connect" if self.stage == Stage::New => {
                let app = about.get("app").and_then(Value::text).unwrap_or_default();
                // Some send what is behind the host as it stands, and some with a slash at the end.
                let app = app.trim_matches('/').to_owned();
                self.stage = Stage::Connecting(transaction);
                return Ok(Some(Event::Connect { app }));
            }
            "createStream" => {
                // One stream is all that a connection may publish, so all are the same.
                self.command(
                    0,
                    "_result",
                    transaction,
                    [Value::Nothing, Value::Number(1.0)],
                );
            }
            "publish" if self.stage == Stage::Connected => {
                let key = argument.text().unwrap_or_default().to_owned();
                self.stage = Stage::Asking(message.stream);
                return Ok(Some(Event::Publish { key }));
            }
            "publish" if self.stage == Stage::New => return Err(Fault::Early("publish")),
            "FCPublish" => {
                let told = status("status", "NetStream.Publish.Start", "");
                self.command(0, "onFCPublish", 0.0, [Value::Nothing, told]);
            }
            "releaseStream" | "_checkbw" if transaction > 0.0 => {
                self.command(0, "_result", transaction, [Value::Nothing, Value::Nothing]);
            }
            "FCUnpublish" | "deleteStream" | "closeStream" if self.stage == Stage::Publishing => {
                self.stage = Stage::Over;
                return Ok(Some(Event::Ended));
            }
            "play" | "play2" => return Err(Fault::Plays),
            _ => {}
        }
        Ok(None)
    }

    /// A data message: metadata, and much that nobody here needs.
    fn told(&mut self, message: &Message, skip: usize) -> Result<Option<Event>, Fault> {
        if self.stage != Stage::Publishing {
            return Err(Fault::Early("metadata"));
        }
        let octets = message.payload.slice(skip..);
        // `@setDataFrame` is a word to the server; behind it is what players are to see.
        let octets = match octets.strip_prefix(SET_DATA_FRAME) {
            Some(rest) => octets.slice_ref(rest),
            None => octets,
        };
        let values = amf::read(&octets).map_err(|error| Fault::Amf {
            command: "metadata".into(),
            error,
        })?;
        let is_metadata = values.first().and_then(Value::text) == Some("onMetaData");
        let said = values.into_iter().nth(1).filter(|_| is_metadata);
        Ok(said.map(|values| Event::Metadata { values, octets }))
    }

    fn control(&mut self, kind: u8, payload: &[u8]) {
        let message = Message {
            kind,
            stream: 0,
            timestamp: 0,
            payload: Bytes::copy_from_slice(payload),
        };
        chunk::write(&message, CONTROL_CHUNKS, self.chunk, &mut self.output);
    }

    fn command<const N: usize>(
        &mut self,
        stream: u32,
        name: &str,
        transaction: f64,
        values: [Value; N],
    ) {
        let mut payload = BytesMut::new();
        Value::Text(name.into()).write(&mut payload);
        Value::Number(transaction).write(&mut payload);
        values.iter().for_each(|value| value.write(&mut payload));
        let message = Message {
            kind: COMMAND,
            stream,
            timestamp: 0,
            payload: payload.freeze(),
        };
        chunk::write(&message, COMMAND_CHUNKS, self.chunk, &mut self.output);
    }
}

fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    let named = properties.map(|(name, value)| (name.to_owned(), value));
    Value::Object(named.into())
}

fn status(level: &str, code: &str, description: &str) -> Value {
    object([
        ("level", Value::Text(level.into())),
        ("code", Value::Text(code.into())),
        ("description", Value::Text(description.into())),
    ])
}

/// The first four octets; fewer are a number as well.
fn number(payload: &[u8]) -> u32 {
    let four = payload.iter().take(4);
    four.fold(0, |number, octet| number << 8 | u32::from(*octet))
}

// Kinds of messages.
const CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 3;
const USER: u8 = 4;
const WINDOW: u8 = 5;
const BANDWIDTH: u8 = 6;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const DATA_AMF3: u8 = 15;
const COMMAND_AMF3: u8 = 17;
const DATA: u8 = 18;
const COMMAND: u8 = 20;

// Kinds of user control messages.
const STREAM_BEGIN: u16 = 0;
const PING: u16 = 6;
const PONG: u16 = 7;

const CONTROL_CHUNKS: u8 = 2;
const COMMAND_CHUNKS: u8 = 3;

const FIRST_CHUNK: usize = 128;
const OUR_CHUNK: u32 = 4096;
const WINDOW_SIZE: u32 = 5_000_000;
const LEAST_WINDOW: usize = 4096;
const DYNAMIC: u8 = 2;

const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// What a connection may say in all before it publishes: a handshake and five commands are 5 kB.
const EARLY: usize = 64 * 1024;
const EARLY_MESSAGE: usize = 16 * 1024;

/// The largest picture that is taken: a second of 80 Mbit/s.
const MESSAGE: usize = 10_000_000;

#[cfg(test)]
mod tests;
