//! A publisher in this process that speaks RTMP by another's understanding of it (rml_rtmp), and says what it is
//! told to, sense or not.

use std::{io, net::SocketAddr, time::Duration};

use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{
        ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult,
        PublishRequestType, StreamMetadata,
    },
    time::RtmpTimestamp,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub(crate) struct Publisher {
    pub(crate) socket: TcpStream,
    session: ClientSession,
    seen: Vec<ClientSessionEvent>,
    clock: u32,
}

impl Publisher {
    /// Connects and shakes hands.
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(server).await.unwrap();
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().unwrap();
        socket.write_all(&hello).await.unwrap();
        let mut input = [0; 4096];
        let rest = loop {
            let read = socket.read(&mut input).await.unwrap();
            assert_ne!(read, 0, "closed in the handshake");
            match handshake.process_bytes(&input[..read]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    socket.write_all(&response_bytes).await.unwrap();
                }
                HandshakeProcessResult::Completed {
                    response_bytes,
                    remaining_bytes,
                } => {
                    socket.write_all(&response_bytes).await.unwrap();
                    break remaining_bytes;
                }
            }
        };
        let (session, greeting) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut publisher = Self {
            socket,
            session,
            seen: Vec::new(),
            clock: 0,
        };
        publisher.send(greeting).await.unwrap();
        let results = publisher.session.handle_input(&rest).unwrap();
        publisher.send(results).await.unwrap();
        publisher
    }

    /// The same, and publishes `key` in `app`; an error is what it was told instead.
    pub(crate) async fn publish(server: SocketAddr, app: &str, key: &str) -> Result<Self, String> {
        let mut publisher = Self::new(server).await;
        let asked = publisher.session.request_connection(app.into()).unwrap();
        publisher.send(vec![asked]).await.unwrap();
        publisher
            .told(|event| matches!(event, ClientSessionEvent::ConnectionRequestAccepted))
            .await?;
        let asked = publisher
            .session
            .request_publishing(key.into(), PublishRequestType::Live);
        publisher.send(vec![asked.unwrap()]).await.unwrap();
        publisher
            .told(|event| matches!(event, ClientSessionEvent::PublishRequestAccepted))
            .await?;
        Ok(publisher)
    }

    /// Waits for what is `wanted`; an error is everything that was said until the connection was closed.
    async fn told(&mut self, wanted: impl Fn(&ClientSessionEvent) -> bool) -> Result<(), String> {
        while !self.seen.iter().any(&wanted) {
            let mut input = [0; 4096];
            let read = timeout(PATIENCE, self.socket.read(&mut input))
                .await
                .expect("an answer");
            match read {
                Ok(read @ 1..) => {
                    let results = self.session.handle_input(&input[..read]).unwrap();
                    self.send(results)
                        .await
                        .map_err(|error| error.to_string())?;
                }
                _ => return Err(format!("{:?}", self.seen)),
            }
        }
        Ok(())
    }

    async fn send(&mut self, results: Vec<ClientSessionResult>) -> io::Result<()> {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    self.socket.write_all(&packet.bytes).await?;
                }
                ClientSessionResult::RaisedEvent(event) => self.seen.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn metadata(&mut self) {
        let mut metadata = StreamMetadata::new();
        (metadata.video_width, metadata.video_height) = (Some(320), Some(180));
        metadata.encoder = Some("a test".into());
        let packet = self.session.publish_metadata(&metadata).unwrap();
        self.send(vec![packet]).await.unwrap();
    }

    /// What is sent from now on is of this time, in milliseconds.
    #[allow(dead_code, reason = "it is for a bench")]
    pub(crate) fn at(&mut self, millis: u32) {
        self.clock = millis.wrapping_sub(40);
    }

    /// Sends a message of video, 40 ms after the one before.
    pub(crate) async fn video(&mut self, octets: &[u8]) -> io::Result<()> {
        self.clock = self.clock.wrapping_add(40);
        let time = RtmpTimestamp::new(self.clock);
        let packet = self
            .session
            .publish_video_data(octets.to_vec().into(), time, false);
        self.send(vec![packet.unwrap()]).await
    }

    pub(crate) async fn audio(&mut self, octets: &[u8]) {
        let time = RtmpTimestamp::new(self.clock);
        let packet = self
            .session
            .publish_audio_data(octets.to_vec().into(), time, false);
        self.send(vec![packet.unwrap()]).await.unwrap();
    }

    pub(crate) async fn finish(&mut self) {
        let results = self.session.stop_publishing().unwrap();
        self.send(results).await.unwrap();
    }

    /// Waits until the server closes, and gives what it said before.
    pub(crate) async fn closed(&mut self) -> String {
        match self.told(|_| false).await {
            Ok(()) => String::new(),
            Err(said) => said,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
