//! A camera that speaks RTSP over one connection: pictures and sender's reports (RFC 3550 section 6.4.1) that `ffmpeg` makes,
//! by a clock that is set as a test wants it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

pub(crate) struct Camera {
    pub(crate) url: String,
    encoder: Child,
}

impl Camera {
    /// One whose clock is so many seconds ahead of ours. It plays to whoever comes first.
    pub(crate) fn ahead_by(seconds: i32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("rtsp://{}/eye", listener.local_addr().expect("bound"));
        let sockets = [(); 2].map(|()| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
            let patience = Some(Duration::from_millis(10));
            socket.set_read_timeout(patience).expect("it can be set");
            socket
        });
        let [rtp, rtcp] = [0, 1].map(|at: usize| {
            let address = sockets[at].local_addr().expect("bound");
            address.port()
        });
        let encoder = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "quiet", "-re", "-f", "lavfi", "-i"])
            .arg("testsrc2=size=320x180:rate=25")
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"])
            .args(["-g", "25", "-payload_type", "96", "-f", "rtp"])
            .arg(format!(
                "rtp://127.0.0.1:{rtp}?rtcpport={rtcp}&pkt_size=1200"
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ffmpeg is installed");
        thread::spawn(move || {
            if let Ok((viewer, _)) = listener.accept() {
                // Whoever hangs up has had enough.
                let _ = play(viewer, &sockets, seconds);
            }
        });
        Self { url, encoder }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.encoder.kill();
        let _ = self.encoder.wait();
    }
}

fn play(mut viewer: TcpStream, sockets: &[UdpSocket; 2], ahead: i32) -> std::io::Result<()> {
    let mut requests = BufReader::new(viewer.try_clone()?);
    loop {
        let (mut method, mut number) = (String::new(), String::new());
        requests.read_line(&mut method)?;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some(value) = line.strip_prefix("CSeq:") {
                number = value.trim().to_owned();
            }
        }
        let method = method.split(' ').next().unwrap_or_default();
        let (headers, body) = match method {
            "DESCRIBE" => ("Content-Type: application/sdp\r\n", SDP),
            "SETUP" => (
                "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                "",
            ),
            "PLAY" => ("Session: 1\r\n", ""),
            _ => ("Public: DESCRIBE, SETUP, PLAY\r\n", ""),
        };
        let length = body.len();
        write!(
            viewer,
            "RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )?;
        if method == "PLAY" {
            break;
        }
    }
    let mut packet = [0; 2048];
    loop {
        for (channel, socket) in sockets.iter().enumerate() {
            let Ok(length) = socket.recv(&mut packet) else {
                continue;
            };
            if packet[1] == 200 {
                let seconds = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
                let set = seconds.wrapping_add_signed(ahead);
                packet[8..12].copy_from_slice(&set.to_be_bytes());
            }
            let [high, low] = (length as u16).to_be_bytes();
            viewer.write_all(&[b'$', channel as u8, high, low])?;
            viewer.write_all(&packet[..length])?;
        }
    }
}

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=eye\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:streamid=0\r\n";
