//! A request and its answer in HTTP/1.1: what the servers under test do (lengths, chunks, connections that stay open); all
//! else is an error.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

use super::{Broken, Kept, Said, Stream, Taken};

/// The answer, and whether the connection stays.
pub(super) async fn exchange(
    stream: &mut Stream,
    place: &str,
    url: &Url,
    agent: &str,
    kept: Kept,
) -> Result<(Said, bool), Broken> {
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {place}\r\nuser-agent: {agent}\r\naccept: */*\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut come = Come {
        stream,
        read: BytesMut::with_capacity(AT_ONCE),
    };
    let head = loop {
        come.more().await?;
        if let Some(head) = Head::read(&come.read)? {
            break head;
        }
        if come.read.len() > HEAD {
            return Err("a head without end".into());
        }
    };
    come.read.advance(head.octets);
    let mut taken = kept.of(head.status);
    match head.body {
        Length::Known(length) => come.take(length, &mut taken).await?,
        Length::Chunked => come.chunks(&mut taken).await?,
        Length::Unknown => return Err(Broken::Endless),
    }
    let said = Said {
        status: head.status,
        headers: head.headers,
        body: taken.done(),
    };
    Ok((said, head.stays))
}

/// A connection, and what was read of it beyond what was wanted.
struct Come<'a> {
    stream: &'a mut Stream,
    read: BytesMut,
}

impl Come<'_> {
    async fn more(&mut self) -> Result<(), Broken> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(CLOSED.into()),
            _ => Ok(()),
        }
    }

    /// `length` octets of the body.
    async fn take(&mut self, length: usize, taken: &mut Taken) -> Result<(), Broken> {
        taken.room_for(length)?;
        let here = length.min(self.read.len());
        taken.add(&self.read.split_to(here));
        let mut left = length - here;
        while left > 0 {
            let stream = &mut *self.stream;
            // One buffer for all viewers: it is lent for the time of one look only.
            let got = poll_fn(|context| {
                SCRATCH.with_borrow_mut(|scratch| {
                    let room = left.min(scratch.len());
                    let mut room = ReadBuf::new(&mut scratch[..room]);
                    ready!(Pin::new(&mut *stream).poll_read(context, &mut room))?;
                    taken.add(room.filled());
                    Poll::Ready(std::io::Result::Ok(room.filled().len()))
                })
            });
            match got.await? {
                0 => return Err(CLOSED.into()),
                got => left -= got,
            }
        }
        Ok(())
    }

    async fn chunks(&mut self, taken: &mut Taken) -> Result<(), Broken> {
        loop {
            let (head, length) = loop {
                match httparse::parse_chunk_size(&self.read) {
                    Ok(httparse::Status::Complete(found)) => break found,
                    Ok(httparse::Status::Partial) => self.more().await?,
                    Err(_) => return Err("no chunk".into()),
                }
            };
            self.read.advance(head);
            let length = usize::try_from(length).map_err(|_| Broken::TooLong)?;
            self.take(length, taken).await?;
            while self.read.len() < END.len() {
                self.more().await?;
            }
            if self.read.split_to(END.len())[..] != *END {
                return Err("a chunk that does not end".into());
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
}

struct Head {
    octets: usize,
    status: StatusCode,
    headers: HeaderMap,
    body: Length,
    stays: bool,
}

enum Length {
    Known(usize),
    Chunked,
    Unknown,
}

impl Head {
    /// `None` while there is not all of it.
    fn read(octets: &[u8]) -> Result<Option<Self>, &'static str> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let octets = match response.parse(octets) {
            Ok(httparse::Status::Complete(octets)) => octets,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("no HTTP"),
        };
        let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|_| "no status")?;
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        for field in response.headers.iter() {
            if let (Ok(name), Ok(value)) = (
                HeaderName::try_from(field.name),
                HeaderValue::from_bytes(field.value),
            ) {
                headers.append(name, value);
            }
        }
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let chunked = said("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked"));
        let length = said("content-length").and_then(|length| length.parse().ok());
        let body = match length {
            _ if chunked => Length::Chunked,
            Some(length) => Length::Known(length),
            None if matches!(status.as_u16(), 204 | 304) => Length::Known(0),
            None => Length::Unknown,
        };
        let stays = response.version == Some(1)
            && !said("connection").is_some_and(|word| word.eq_ignore_ascii_case("close"));
        Ok(Some(Self {
            octets,
            status,
            headers,
            body,
            stays,
        }))
    }
}

const CLOSED: &str = "it was closed in the middle";
/// Behind each chunk. There is nothing behind the last one but this: nobody here sends trailers.
const END: &[u8] = b"\r\n";
const HEAD: usize = 64 << 10;
/// Octets that are read at a time before it is known what they are, and once it is.
const AT_ONCE: usize = 4 << 10;
const SKIMMED: usize = 256 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SKIMMED]);
}

#[cfg(test)]
mod tests {
    use spillway::player::session::Body;
    use tokio::io::duplex;

    use super::*;

    #[test]
    fn a_head_is_read_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSpillway-Node: a\r\n\r\nhello";
        for end in 0..whole.len() - 5 {
            assert!(Head::read(&whole[..end]).expect("HTTP").is_none());
        }
        let head = Head::read(whole).expect("HTTP").expect("all of it");
        assert!(matches!(head.body, Length::Known(5)) && head.stays);
        assert_eq!(head.headers["spillway-node"], "a");
        assert!(Head::read(b"SSH-2.0\r\n\r\n").is_err());
    }

    /// What a viewer has of an answer that comes `step` octets at a time.
    async fn answered(answer: &'static [u8], step: usize, kept: Kept) -> Result<Body, Broken> {
        let (ours, mut theirs) = duplex(1 << 16);
        let sends = async move {
            for some in answer.chunks(step) {
                let _ = theirs.write_all(some).await;
                tokio::task::yield_now().await;
            }
        };
        let mut stream: Stream = Box::new(ours);
        let url = "http://node.test/x".parse().expect("a URL");
        let gets = exchange(&mut stream, "node.test:80", &url, "a test", kept);
        let (got, ()) = tokio::join!(gets, sends);
        Ok(got?.0.body)
    }

    #[tokio::test]
    async fn a_body_is_the_same_however_it_comes() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde";
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for step in [1, 2, 3, 7, 1000] {
            for answer in [&plain[..], &chunked[..]] {
                let whole = answered(answer, step, Kept::Whole).await;
                assert!(matches!(whole, Ok(Body::Whole(body)) if &body[..] == b"abcde"));
                let counted = answered(answer, step, Kept::Counted).await;
                assert!(matches!(counted, Ok(Body::Counted(5))));
            }
        }
    }

    #[tokio::test]
    async fn what_went_wrong_is_kept_and_what_breaks_off_is_an_error() {
        let refused = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone";
        let refused = answered(refused, 100, Kept::Counted).await;
        assert!(matches!(refused, Ok(Body::Whole(body)) if &body[..] == b"none"));
        for cut in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        ] {
            assert!(answered(cut, 100, Kept::Counted).await.is_err());
        }
    }
}
