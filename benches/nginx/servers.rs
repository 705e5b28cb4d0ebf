//! The two servers, each a process on the same core: this program as a node with synthetic media, and nginx with
//! files of the same octets. And what the kernel says of their CPU time and memory.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use spillway::{
    net::{self, FrontConfig, Limits},
    origin::{self, Origin, Terms},
    store::Store,
};
use tokio_util::sync::CancellationToken;

use super::node::Feed;

/// The core that both servers are bound to, and that of the load.
pub(crate) const SERVERS: &str = "0";
pub(crate) const LOAD: &str = "1";

pub(crate) struct Server {
    child: Child,
    /// The process that serves.
    pid: u32,
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS.
    pub(crate) secure: SocketAddr,
}

impl Server {
    /// This program again, as a node, with the certificate that is in `root`.
    pub(crate) fn ours(root: &Path) -> Self {
        let mut child = pinned(std::env::current_exe().unwrap().to_str().unwrap())
            .arg(SERVE)
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = child.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        let (address, secure) = line
            .trim()
            .split_once(' ')
            .expect("a node says its addresses first");
        let (address, secure) = (address.parse().unwrap(), secure.parse().unwrap());
        let pid = child.id();
        Self {
            child,
            pid,
            address,
            secure,
        }
    }

    /// nginx, tuned, with the files in `root`; `None` if it is not installed.
    pub(crate) fn nginx(root: &Path) -> Option<Self> {
        Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status()
            .ok()?;
        let listeners = [0; 2].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [free, secure] = listeners.map(|listener| listener.local_addr().unwrap());
        let config = root.join("nginx.conf");
        fs::write(&config, configuration(free, secure, root)).unwrap();
        let child = pinned("nginx")
            .arg("-p")
            .arg(root)
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(free).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen on {free}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let worker = fs::read_to_string(children).unwrap();
        let pid = worker.trim().parse().expect("nginx has one worker");
        Some(Self {
            child,
            pid,
            address: free,
            secure,
        })
    }

    /// CPU time of all threads so far, kernel included.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let spent = tasks.map(|task| {
            let line = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            line.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Waits until the connections of a round are closed on its side too.
    pub(crate) fn rest(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::read_dir(format!("/proc/{}/fd", self.pid))
            .unwrap()
            .count()
            > 200
        {
            assert!(Instant::now() < deadline, "connections are left open");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory, octets.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The body at `path`.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{path}: {}",
            String::from_utf8_lossy(&answer)
        );
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        answer.split_off(end + 4)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A node ends with its stdin; nginx' master takes its worker with it when it is told to.
        drop(self.child.stdin.take());
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// A directory of its own, gone when dropped.
pub(crate) struct Root(pub(crate) PathBuf);

impl Root {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("spillway-bench-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a child of this program is told, so that it serves.
pub(crate) const SERVE: &str = "serve";

/// Serves until stdin ends, on a runtime like that of the programs.
pub(crate) fn serve() {
    let runtime = spillway::runtime::build(Some(1)).unwrap();
    runtime.block_on(async {
        let terms = Terms {
            max_viewers: usize::MAX,
            ..Terms::default()
        };
        let origin = Origin::new("bench".into(), Store::default(), terms);
        let feed = |name: &str| {
            let producer = origin.store.create(&name.parse().unwrap()).unwrap();
            let mut feed = Feed::new(producer, super::media());
            feed.segments(super::SEGMENTS as usize);
            feed
        };
        let (_still, moving) = (feed("demo"), feed("live").live());
        let root = std::env::args().next_back().map(PathBuf::from).unwrap();
        let front = FrontConfig {
            tls_cert: Some(root.join(CERTIFICATE)),
            tls_key: Some(root.join(KEY)),
            ..FrontConfig::default()
        };
        let limits = Limits {
            connections: 30_000,
            // As long as nginx is told to keep one that waits.
            head: Duration::from_secs(600),
            ..Limits::default()
        };
        let (stop, mut serving) = (CancellationToken::new(), tokio::task::JoinSet::new());
        let mut addresses = Vec::new();
        for mut server in [net::Server::default(), front.open().await.unwrap().server] {
            server.limits = limits;
            let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            serving.spawn(server.serve(listener, origin::public(origin.clone()), stop.clone()));
        }
        serving.spawn(origin.clone().run(stop.clone()));
        println!("{}", addresses.join(" "));
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
        moving.abort();
        stop.cancel();
        while serving.join_next().await.is_some() {}
    });
}

/// In the root of nginx.
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// A certificate of our own for both, as files and as whoever connects trusts it.
pub(crate) fn certificate(root: &Path) -> rustls::pki_types::CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(root.join(CERTIFICATE), made.cert.pem()).unwrap();
    fs::write(root.join(KEY), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVERS, program]);
    command
}

fn configuration(address: SocketAddr, secure: SocketAddr, root: &Path) -> String {
    let root = root.display();
    format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 65536; pid {root}/pid; error_log {root}/error.log;
         events {{ worker_connections 20000; }}
         http {{
            access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
            keepalive_requests 1000000000; keepalive_timeout 600s;
            open_file_cache max=1000; open_file_cache_valid 1s;
            types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }}
            client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root};
            uwsgi_temp_path {root}; scgi_temp_path {root};
            server {{ listen {address} backlog=4096; root {root}; }}
            server {{
                listen {secure} ssl backlog=4096; root {root};
                ssl_certificate {root}/{CERTIFICATE}; ssl_certificate_key {root}/{KEY}; ssl_protocols TLSv1.3;
            }}
         }}"
    )
}
