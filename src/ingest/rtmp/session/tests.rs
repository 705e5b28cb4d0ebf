//! What publishers say, well or badly, and what they are answered.

use super::*;

/// A publisher in octets: what it says goes into a session, what it is answered comes out as messages.
struct Peer {
    session: Session,
    answers: Reader,
    heard: Vec<Message>,
}

impl Peer {
    fn new() -> Self {
        let mut peer = Self {
            session: Session::default(),
            answers: Reader::new(100_000),
            heard: Vec::new(),
        };
        let mut hello = vec![3];
        hello.extend((0..1536).map(|place| place as u8));
        peer.session.put(&hello).unwrap();
        let told = peer.session.output().split();
        assert_eq!((told[0], told.len()), (3, 1 + 1536 * 2));
        assert_eq!(told[1 + 1536..], hello[1..], "its octets come back");
        peer.session.put(&told[1..1 + 1536]).unwrap();
        peer
    }

    fn say(&mut self, kind: u8, stream: u32, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let message = Message {
            kind,
            stream,
            timestamp: 7,
            payload: Bytes::copy_from_slice(payload),
        };
        let mut octets = BytesMut::new();
        chunk::write(&message, 5, 128, &mut octets);
        self.session.put(&octets)?;
        self.session.event()
    }

    fn command(&mut self, values: &[Value]) -> Result<Option<Event>, Fault> {
        let mut payload = BytesMut::new();
        values.iter().for_each(|value| value.write(&mut payload));
        self.say(COMMAND, 1, &payload)
    }

    /// The answers since this was last asked, as their kinds and the texts in them.
    fn answers(&mut self) -> Vec<(u8, String)> {
        let octets = self.session.output().split();
        self.answers.put(&octets);
        let mut seen = Vec::new();
        while let Some(message) = self.answers.message().unwrap() {
            if message.kind == CHUNK_SIZE {
                self.answers
                    .set_chunk_size(number(&message.payload))
                    .unwrap();
            }
            let text = match message.kind {
                COMMAND => format!("{:?}", amf::read(&message.payload).unwrap()),
                _ => String::new(),
            };
            seen.push((message.kind, text));
            self.heard.push(message);
        }
        seen
    }

    fn publishing() -> Self {
        let mut peer = Self::new();
        peer.command(&connect("live")).unwrap();
        peer.session.connect();
        assert_eq!(peer.session.event(), Ok(None));
        peer.command(&publish("secret")).unwrap();
        peer.session.publish();
        peer.answers();
        peer
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn connect(app: &str) -> [Value; 3] {
    let about = Value::Object(vec![("app".into(), text(app))]);
    [text("connect"), Value::Number(1.0), about]
}

fn publish(key: &str) -> [Value; 5] {
    let number = Value::Number(5.0);
    [
        text("publish"),
        number,
        Value::Nothing,
        text(key),
        text("live"),
    ]
}

#[test]
fn a_publisher_names_application_and_key_and_media_follows() {
    let mut peer = Peer::new();
    let asked = peer.command(&connect("live/")).unwrap();
    assert_eq!(asked, Some(Event::Connect { app: "live".into() }));
    peer.session.connect();
    let told = peer.answers();
    assert_eq!(
        told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [5, 6, 1, 20]
    );
    assert!(
        told[3].1.contains("NetConnection.Connect.Success"),
        "{told:?}"
    );

    peer.command(&[
        text("releaseStream"),
        Value::Number(2.0),
        Value::Nothing,
        text("secret"),
    ])
    .unwrap();
    peer.command(&[
        text("FCPublish"),
        Value::Number(3.0),
        Value::Nothing,
        text("secret"),
    ])
    .unwrap();
    peer.command(&[text("createStream"), Value::Number(4.0), Value::Nothing])
        .unwrap();
    let told = peer.answers();
    assert_eq!(told.len(), 3);
    assert!(
        told[2].1.contains("Number(4.0), Nothing, Number(1.0)"),
        "{told:?}"
    );

    let asked = peer.command(&publish("talk?key=secret")).unwrap();
    assert_eq!(
        asked,
        Some(Event::Publish {
            key: "talk?key=secret".into()
        })
    );
    peer.session.publish();
    assert!(peer.answers()[1].1.contains("NetStream.Publish.Start"));

    let video = peer.say(VIDEO, 1, &[0x17, 1, 0, 0, 0]).unwrap();
    let octets = Bytes::from_static(&[0x17, 1, 0, 0, 0]);
    assert_eq!(
        video,
        Some(Event::Video {
            timestamp: 7,
            octets
        })
    );
    let done = peer
        .command(&[text("deleteStream"), Value::Number(6.0), Value::Nothing])
        .unwrap();
    assert_eq!(done, Some(Event::Ended));
}

#[test]
fn metadata_comes_without_the_word_to_the_server() {
    let mut peer = Peer::publishing();
    let mut payload = BytesMut::new();
    text("@setDataFrame").write(&mut payload);
    let start = payload.len();
    text("onMetaData").write(&mut payload);
    Value::Object(vec![("width".into(), Value::Number(640.0))]).write(&mut payload);
    let Some(Event::Metadata { values, octets }) = peer.say(DATA, 1, &payload).unwrap() else {
        panic!("no metadata");
    };
    assert_eq!(values.get("width").and_then(Value::number), Some(640.0));
    assert_eq!(octets, payload[start..]);
    // Captions, cue points: nobody asks for them.
    let mut other = BytesMut::new();
    text("onTextData").write(&mut other);
    assert_eq!(peer.say(DATA, 1, &other), Ok(None));
}

#[test]
fn media_before_the_key_is_the_end() {
    let mut peer = Peer::new();
    assert_eq!(peer.say(VIDEO, 1, &[0x17]), Err(Fault::Early("media")));
    let mut peer = Peer::new();
    peer.command(&connect("live")).unwrap();
    // Not looked at before the answer.
    assert_eq!(peer.say(AUDIO, 1, &[0xaf]), Ok(None));
    peer.session.connect();
    assert_eq!(peer.session.event(), Err(Fault::Early("media")));
    let mut peer = Peer::new();
    assert_eq!(
        peer.command(&publish("secret")),
        Err(Fault::Early("publish"))
    );
    assert_eq!(Peer::new().say(DATA, 1, &[]), Err(Fault::Early("metadata")));
}

#[test]
fn who_is_refused_hears_why_and_nothing_of_it_is_taken_any_more() {
    let mut peer = Peer::new();
    peer.command(&connect("nope")).unwrap();
    peer.session.refuse(
        "NetConnection.Connect.Rejected",
        &"there is no such application ".repeat(8),
    );
    let told = peer.answers();
    assert!(
        told[0].1.contains("_error") && told[0].1.contains("Connect.Rejected"),
        "{told:?}"
    );
    assert_eq!(peer.command(&publish("secret")), Ok(None));

    let mut peer = Peer::new();
    peer.command(&connect("live")).unwrap();
    peer.session.connect();
    peer.command(&publish("wrong")).unwrap();
    peer.answers();
    peer.session
        .refuse("NetStream.Publish.Denied", "wrong stream key");
    let told = peer.answers();
    assert!(
        told[0].1.contains("onStatus") && told[0].1.contains("Publish.Denied"),
        "{told:?}"
    );
}

#[test]
fn another_protocol_is_told_by_its_first_octet_and_nobody_talks_for_ever() {
    let mut session = Session::default();
    let http = session.put(b"GET / HTTP/1.1\r\n").unwrap_err();
    assert!(http.to_string().contains("0x47"), "{http}");
    let mut peer = Peer::new();
    let talk = (0..10_000).find_map(|_| peer.say(99, 0, &[0; 100]).err());
    assert!(matches!(talk, Some(Fault::Talk(_))), "{talk:?}");
    assert_eq!(
        Peer::new().command(&[text("play"), Value::Number(0.0), Value::Nothing, text("x")]),
        Err(Fault::Plays)
    );
}

#[test]
fn pings_are_answered_and_octets_acknowledged() {
    let mut peer = Peer::publishing();
    peer.say(USER, 0, &[0, 6, 1, 2, 3, 4]).unwrap();
    peer.answers();
    assert_eq!(peer.heard.last().unwrap().payload[..], [0, 7, 1, 2, 3, 4]);
    peer.say(WINDOW, 0, &5000_u32.to_be_bytes()).unwrap();
    for _ in 0..60 {
        peer.say(VIDEO, 1, &[0x27; 100]).unwrap();
    }
    let acknowledged = peer
        .answers()
        .iter()
        .filter(|(kind, _)| *kind == ACKNOWLEDGEMENT)
        .count();
    assert!((1..=3).contains(&acknowledged), "{acknowledged}");
}

#[test]
fn whatever_is_said_is_an_event_or_a_fault() {
    // Every octet of a good beginning, wrong in every bit.
    let mut good = BytesMut::new();
    let mut payload = BytesMut::new();
    connect("live")
        .iter()
        .for_each(|value| value.write(&mut payload));
    let payload = payload.freeze();
    let message = Message {
        kind: COMMAND,
        stream: 0,
        timestamp: 0,
        payload,
    };
    chunk::write(&message, 3, 128, &mut good);
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut wrong = good.clone();
            wrong[place] ^= 1 << bit;
            let mut peer = Peer::new();
            if peer.session.put(&wrong).is_ok() {
                while let Ok(Some(_)) = peer.session.event() {
                    peer.session.connect();
                }
            }
        }
    }
}
