//! One caller: its handshake, what it may publish, and then its stream, handed on as it comes.

use std::{
    io::{self, Cursor},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use srt_protocol::{
    connection::{Action, Connection, DuplexConnection, Input},
    options::{KeySize, Passphrase},
    packet::{
        ControlTypes, CoreRejectReason, HandshakeControlInfo, HandshakeVsInfo, HsV5Info, Packet,
        RejectReason, ServerRejectReason, ShakeType, SrtControlPacket,
    },
    protocol::pending_connection::{
        AccessControlRequest, AccessControlResponse, ConnectionReject, ConnectionResult,
        listen::Listen,
    },
    settings::{ConnInitSettings, KeySettings},
};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    stream_id::{StreamId, StreamIdError},
    ts::{NotTs, Scanner},
};
use crate::ingest::{
    desk::{Channel, Denied, Desk, Seat},
    feed::{Feed, FeedError, Piece},
    keys::Claim,
};

pub(super) struct Caller {
    socket: Arc<UdpSocket>,
    from: SocketAddr,
    inbox: mpsc::Receiver<Bytes>,
    output: BytesMut,
}

/// Why a caller is done with.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    StreamId(#[from] StreamIdError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("wrong passphrase for stream {0}")]
    Passphrase(String),
    #[error("stream {0} has to be encrypted with its passphrase, or its key said in the streamid")]
    Plain(String),
    #[error("its handshake is of no use: {0}")]
    Handshake(String),
    #[error("it does not finish its handshake within {ADMISSION:?}")]
    Slow,
    #[error(transparent)]
    NotTs(#[from] NotTs),
    #[error("there is no picture in it, and every stream needs a picture")]
    NoPicture,
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("it has closed the connection, or says nothing any more")]
    Left,
    #[error("it is cut off: another publisher takes over, or its media is of no use")]
    Cut,
    #[error("this node stops")]
    Stopping,
}

impl Closed {
    fn reason(&self) -> RejectReason {
        match self {
            Self::StreamId(_) => ServerRejectReason::BadRequest.into(),
            Self::Denied(Denied::Busy { .. } | Denied::Stays { .. }) => {
                ServerRejectReason::Conflict.into()
            }
            Self::Passphrase(_) => CoreRejectReason::BadSecret.into(),
            Self::Plain(_) => CoreRejectReason::Unsecure.into(),
            _ => ServerRejectReason::Forbidden.into(),
        }
    }
}

impl Caller {
    pub(super) fn new(
        socket: Arc<UdpSocket>,
        from: SocketAddr,
        inbox: mpsc::Receiver<Bytes>,
    ) -> Self {
        Self {
            socket,
            from,
            inbox,
            output: BytesMut::new(),
        }
    }

    /// From the first datagram to the last.
    pub(super) async fn attend(mut self, desk: &Desk, stop: &CancellationToken) {
        let from = self.from;
        let admitted = tokio::select! {
            admitted = timeout(ADMISSION, self.admitted(desk)) => admitted.unwrap_or(Err(Closed::Slow)),
            () = stop.cancelled() => return,
        };
        match admitted {
            Ok((seat, connection)) => {
                let (stream, began) = (seat.channel.name.clone(), Instant::now());
                let why = self.on_air(seat, connection, stop).await;
                let seconds = began.elapsed().as_secs();
                tracing::info!(%stream, %from, seconds, %why, "publisher has gone");
            }
            // Datagrams come from anywhere, so one that begins nothing is nothing to report.
            Err(why @ (Closed::Slow | Closed::Handshake(_))) => {
                tracing::debug!(%from, protocol = "srt", %why, "caller left out");
            }
            Err(why) => {
                tracing::warn!(%from, protocol = "srt", %why, "publisher refused");
                // Its handshake comes again, and would be another attempt; and guessing takes time.
                sleep(DENIED).await;
            }
        }
    }

    /// Until it may publish. What has come is the second half of its handshake; the first was answered before it
    /// was known, and the state machine is told of it here.
    async fn admitted(&mut self, desk: &Desk) -> Result<(Seat, Connection), Closed> {
        let useless = |why: &str| Closed::Handshake(why.to_owned());
        let packet = self.packet().await?.and_then(sized);
        let packet = packet.ok_or_else(|| useless("it cannot be read"))?;
        let mut listen = Listen::new(ConnInitSettings::default(), true);
        let now = Instant::now();
        let asked = now.checked_sub(FIRST_HALF).unwrap_or(now);
        let answered = listen.handle_packet(asked, Ok((induction(&packet), self.from)));
        let ConnectionResult::SendPacket((answer, _)) = answered else {
            return Err(useless("it is not a caller's"));
        };
        match listen.handle_packet(now, Ok((with_cookie_of(packet, &answer), self.from))) {
            ConnectionResult::RequestAccess(request) => {
                self.decide(desk, &mut listen, request).await
            }
            ConnectionResult::NotHandled(why) => Err(useless(&why.to_string())),
            _ => Err(useless("it is not a caller's")),
        }
    }

    /// Lets a caller in that may publish, and has a free seat; else tells it why not.
    async fn decide(
        &mut self,
        desk: &Desk,
        listen: &mut Listen,
        request: AccessControlRequest,
    ) -> Result<(Seat, Connection), Closed> {
        let (channel, response) = match terms(desk, &request) {
            Ok((channel, keys)) => (Some(channel), Ok(keys)),
            Err(closed) => (None, Err(closed)),
        };
        let answer = match &response {
            Ok(keys) => AccessControlResponse::Accepted(keys.clone()),
            Err(closed) => AccessControlResponse::Rejected(closed.reason()),
        };
        match (
            listen.handle_access_control_response(Instant::now(), answer),
            channel,
        ) {
            (ConnectionResult::Connected(packet, connection), Some(channel)) => {
                // Not before its passphrase was found to be right: it may take somebody's seat.
                match channel.sit(self.from).await {
                    Ok(seat) => {
                        if let Some((packet, _)) = packet {
                            self.send(&packet).await?;
                        }
                        Ok((seat, connection))
                    }
                    Err(denied) => {
                        let closed = Closed::from(denied);
                        if let Some((packet, _)) = packet {
                            self.send(&rejection(packet, closed.reason())).await?;
                        }
                        Err(closed)
                    }
                }
            }
            (ConnectionResult::Reject(packet, why), channel) => {
                if let Some((packet, _)) = packet {
                    self.send(&packet).await?;
                }
                let name = channel.map_or_else(String::new, |channel| channel.name.to_string());
                Err(match (response, why) {
                    (Err(closed), _) => closed,
                    (_, ConnectionReject::Rejecting(reason))
                        if reason == CoreRejectReason::Unsecure.into() =>
                    {
                        Closed::Plain(name)
                    }
                    _ => Closed::Passphrase(name),
                })
            }
            (other, _) => Err(Closed::Handshake(
                format!("{other:?}").chars().take(80).collect(),
            )),
        }
    }

    /// Hands its stream on, until it ends.
    async fn on_air(
        mut self,
        seat: Seat,
        connection: Connection,
        stop: &CancellationToken,
    ) -> Closed {
        let (channel, cut) = (seat.channel.clone(), seat.cut.clone());
        let encrypted = connection.settings.cipher.is_some();
        let latency = connection.settings.recv_tsbpd_latency;
        let mut air = Air::new(seat, self.from, encrypted, latency);
        let mut duplex = DuplexConnection::new(connection);
        let (mut input, mut why) = (Input::Timer, None);
        loop {
            input = match duplex.handle_input(Instant::now(), input) {
                Action::SendPacket((packet, _)) => {
                    if let Err(error) = self.send(&packet).await {
                        return error.into();
                    }
                    Input::PacketSent
                }
                Action::ReleaseData((_, media)) => {
                    channel.heard();
                    if why.is_none() {
                        why = air.take(media).err();
                    }
                    Input::DataReleased
                }
                Action::UpdateStatistics(_) => Input::StatisticsUpdated,
                Action::Close => return why.unwrap_or(Closed::Left),
                // It is told that this is the end, once.
                Action::WaitForData(_) if why.is_some() => {
                    drop(air);
                    let _ = timeout(FAREWELL, self.farewell(&mut duplex)).await;
                    return why.unwrap_or(Closed::Left);
                }
                Action::WaitForData(wait) => tokio::select! {
                    packet = self.packet() => match packet {
                        Ok(Some(packet)) => Input::Packet(Ok((packet, self.from))),
                        Ok(None) => Input::Timer,
                        Err(closed) => return closed,
                    },
                    () = sleep(wait) => Input::Timer,
                    error = air.ended() => {
                        why = Some(error.into());
                        Input::Timer
                    }
                    () = cut.cancelled() => {
                        why = Some(Closed::Cut);
                        Input::Timer
                    }
                    () = stop.cancelled() => {
                        why = Some(Closed::Stopping);
                        Input::Timer
                    }
                },
            };
        }
    }

    /// Closes the connection from this side.
    async fn farewell(&mut self, duplex: &mut DuplexConnection) -> Result<(), Closed> {
        let mut input = Input::Data(None);
        loop {
            input = match duplex.handle_input(Instant::now(), input) {
                Action::SendPacket((packet, _)) => {
                    self.send(&packet).await?;
                    Input::PacketSent
                }
                Action::ReleaseData(_) => Input::DataReleased,
                Action::UpdateStatistics(_) => Input::StatisticsUpdated,
                Action::Close => return Ok(()),
                Action::WaitForData(wait) => tokio::select! {
                    packet = self.packet() => match packet? {
                        Some(packet) => Input::Packet(Ok((packet, self.from))),
                        None => Input::Timer,
                    },
                    () = sleep(wait) => Input::Timer,
                },
            };
        }
    }

    /// The next packet; `None` if what came is none.
    async fn packet(&mut self) -> Result<Option<Packet>, Closed> {
        let datagram = self.inbox.recv().await.ok_or(Closed::Stopping)?;
        let is_ipv6 = self.from.is_ipv6();
        Ok(Packet::parse(&mut Cursor::new(&datagram[..]), is_ipv6).ok())
    }

    async fn send(&mut self, packet: &Packet) -> io::Result<()> {
        self.output.clear();
        packet.serialize(&mut self.output);
        self.socket
            .send_to(&self.output, self.from)
            .await
            .map(|_| ())
    }
}

/// A handshake whose length of key is that of the keys in it: callers that leave it to the listener say none, and
/// the state machine wants both to be the same. `None` if it cannot be.
fn sized(mut packet: Packet) -> Option<Packet> {
    let Packet::Control(control) = &mut packet else {
        return Some(packet);
    };
    if let ControlTypes::Handshake(shake) = &mut control.control_type
        && let HandshakeVsInfo::V5(info) = &mut shake.info
    {
        info.key_size = match &info.ext_km {
            None => KeySize::Unspecified,
            Some(SrtControlPacket::KeyRefreshRequest(material)) => {
                let keys = material.key_flags.bits().count_ones() as usize;
                match material
                    .wrapped_keys
                    .len()
                    .checked_sub(8)?
                    .checked_div(keys)?
                {
                    16 => KeySize::AES128,
                    24 => KeySize::AES192,
                    32 => KeySize::AES256,
                    _ => return None,
                }
            }
            Some(_) => return None,
        };
    }
    Some(packet)
}

/// The stream that a caller may publish, and what it has to be encrypted with.
fn terms(
    desk: &Desk,
    request: &AccessControlRequest,
) -> Result<(Arc<Channel>, Option<KeySettings>), Closed> {
    let said = request.stream_id.as_ref().map_or("", |said| said.as_str());
    let encrypted = request.key_size != KeySize::Unspecified;
    let (channel, keyed) = match StreamId::read(said)? {
        StreamId::Keyed(claim) => (desk.channel(None, &claim)?, true),
        StreamId::Word(word) => match desk.named(&word) {
            Some(channel) => (channel, false),
            None => {
                let (name, key) = (None, word);
                (desk.channel(None, &Claim { name, key })?, true)
            }
        },
    };
    // Who has said the key, and is not asked for more, may send in the clear.
    if keyed && !encrypted && channel.passphrase.is_none() {
        return Ok((channel, None));
    }
    let plain = || Closed::Plain(channel.name.to_string());
    let secret = channel.passphrase.as_ref().unwrap_or(&channel.key).reveal();
    let passphrase = Passphrase::try_from(secret.to_owned()).map_err(|_| plain())?;
    if !encrypted {
        return Err(plain());
    }
    let key_size = request.key_size;
    Ok((
        channel,
        Some(KeySettings {
            key_size,
            passphrase,
        }),
    ))
}

fn handshake(packet: &Packet) -> Option<&HandshakeControlInfo> {
    match packet.control().map(|control| &control.control_type) {
        Some(ControlTypes::Handshake(shake)) => Some(shake),
        _ => None,
    }
}

/// The same packet with another handshake in it.
fn reshaken(
    mut packet: Packet,
    change: impl FnOnce(HandshakeControlInfo) -> HandshakeControlInfo,
) -> Packet {
    if let Packet::Control(control) = &mut packet
        && let ControlTypes::Handshake(shake) = control.control_type.clone()
    {
        control.control_type = ControlTypes::Handshake(change(shake));
    }
    packet
}

/// The first half of the handshake that `conclusion` is the second half of.
fn induction(conclusion: &Packet) -> Packet {
    reshaken(conclusion.clone(), |shake| HandshakeControlInfo {
        shake_type: ShakeType::Induction,
        syn_cookie: 0,
        info: HandshakeVsInfo::V5(HsV5Info::default()),
        ..shake
    })
}

/// Our own cookie was found to be right; the state machine has another.
fn with_cookie_of(conclusion: Packet, answer: &Packet) -> Packet {
    let cookie = handshake(answer).map_or(0, |shake| shake.syn_cookie);
    reshaken(conclusion, |shake| HandshakeControlInfo {
        syn_cookie: cookie,
        ..shake
    })
}

/// The same handshake with another outcome.
fn rejection(packet: Packet, reason: RejectReason) -> Packet {
    reshaken(packet, |shake| HandshakeControlInfo {
        shake_type: ShakeType::Rejection(reason),
        ..shake
    })
}

/// A caller that may publish. Its stream goes to the segmenter by a queue and a task, since SRT has to answer in time
/// whatever the segmenter does.
struct Air {
    scanner: Scanner,
    from: SocketAddr,
    encrypted: bool,
    latency: Duration,
    since: Instant,
    seat: Option<Seat>,
    pieces: Option<mpsc::Sender<(Piece, Bytes)>>,
    feeding: Option<tokio::task::JoinHandle<FeedError>>,
    lost: u64,
}

impl Air {
    fn new(seat: Seat, from: SocketAddr, encrypted: bool, latency: Duration) -> Self {
        Self {
            scanner: Scanner::default(),
            from,
            encrypted,
            latency,
            since: Instant::now(),
            seat: Some(seat),
            pieces: None,
            feeding: None,
            lost: 0,
        }
    }

    fn take(&mut self, media: Bytes) -> Result<(), Closed> {
        let mut piece = self.scanner.scan(media)?;
        if self.seat.is_some() {
            let waited = self.since.elapsed();
            if waited > FIRST_PICTURE / 2 && self.scanner.has_video() == Some(true) {
                // Its muxer does not mark where one can begin.
                piece.begins = true;
            } else if waited > FIRST_PICTURE {
                return Err(Closed::NoPicture);
            }
        }
        if piece.begins
            && let Some(seat) = self.seat.take()
        {
            tracing::info!(
                stream = %seat.channel.name, from = %self.from, protocol = "srt", encrypted = self.encrypted,
                latency = ?self.latency, video = self.scanner.video(), audio = self.scanner.audio(),
                "publisher is on the air",
            );
            let feed = Feed::open(seat)?;
            let (sender, pieces) = mpsc::channel(QUEUE);
            self.pieces = Some(sender);
            self.feeding = Some(tokio::spawn(hand_on(feed, pieces)));
        }
        let Some(pieces) = &self.pieces else {
            return Ok(());
        };
        if pieces.try_send((piece, self.scanner.prologue())).is_err() {
            self.lost += 1;
            if self.lost.is_power_of_two() {
                tracing::warn!(from = %self.from, lost = self.lost, "the segmenter is too slow; what came over SRT was left out");
            }
        }
        Ok(())
    }

    /// Waits until nothing can be handed on any more.
    async fn ended(&mut self) -> FeedError {
        match &mut self.feeding {
            Some(feeding) => match feeding.await {
                Ok(error) => error,
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// Hands on what comes, until nothing does.
async fn hand_on(mut feed: Feed, mut pieces: mpsc::Receiver<(Piece, Bytes)>) -> FeedError {
    loop {
        tokio::select! {
            piece = pieces.recv() => {
                let Some((piece, prologue)) = piece else {
                    // Nobody asks any more.
                    return FeedError::Held;
                };
                if let Err(error) = feed.push(piece, || prologue).await {
                    return error;
                }
            }
            () = feed.joined() => {
                if let Err(error) = feed.begin().await {
                    return error;
                }
            }
        }
    }
}

const ADMISSION: Duration = Duration::from_secs(5);
/// How long ago its first half may have been: a guess, until the two have measured it.
const FIRST_HALF: Duration = Duration::from_millis(20);
/// What a wrong guess costs.
const DENIED: Duration = Duration::from_secs(3);
const FAREWELL: Duration = Duration::from_millis(500);
const FIRST_PICTURE: Duration = Duration::from_secs(15);

/// Pieces that may wait for the segmenter: 1.3 MB, a second of 10 Mbit/s. What does not fit is left out, as SRT
/// leaves out what is too late.
const QUEUE: usize = 1024;
