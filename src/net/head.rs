//! Heads of HTTP/1.1: a request's, if it is one without a body, and an answer's (RFC 9112).
//! Reading and writing octets is `http1`'s business.

use std::{
    cell::RefCell,
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header,
        response,
    },
};
use bytes::Bytes;
use http_body::Body as _;

use super::shortcut::{self, Short};
use crate::text;

/// A request, and whether its connection may stay open after it.
pub(super) struct Asked {
    pub(super) what: What,
    pub(super) stays: bool,
}

pub(super) enum What {
    /// It has its answer.
    Answered(Short),
    /// It is for the router.
    Request(Box<Request<Body>>),
}

pub(super) enum Parsed {
    /// A request, and the length of its head.
    Whole(Asked, usize),
    Partial,
    /// Something that is not ours to answer, or to refuse.
    Other,
}

/// Reads the head at the beginning of `octets`. What is asked for in the plainest way is offered to
/// `short`: its path, and whether who asks understands gzip.
pub(super) fn parse(octets: &[u8], short: impl FnOnce(&str, bool) -> Option<Short>) -> Parsed {
    let mut headers = [const { std::mem::MaybeUninit::uninit() }; MOST];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(octets, &mut headers) {
        Ok(httparse::Status::Complete(length)) => match asked(&parsed, &octets[..length], short) {
            Some(asked) => Parsed::Whole(asked, length),
            None => Parsed::Other,
        },
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Other,
    }
}

fn asked(
    parsed: &httparse::Request<'_, '_>,
    octets: &[u8],
    short: impl FnOnce(&str, bool) -> Option<Short>,
) -> Option<Asked> {
    let method = match parsed.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "OPTIONS" => Method::OPTIONS,
        _ => return None,
    };
    if parsed.version != Some(1) {
        return None;
    }
    let path = parsed.path?;
    let (mut stays, mut plain) = (true, method == Method::GET && !path.contains(['?', '%']));
    for line in &*parsed.headers {
        if is(line, &header::CONNECTION) {
            stays &= stays_open(line.value)?;
        } else if OTHERS.iter().any(|other| is(line, other)) {
            return None;
        }
        plain &= shortcut::is_plain(line.name);
    }
    if plain {
        let lines = parsed.headers.iter();
        let codings = lines.filter(|line| is(line, &header::ACCEPT_ENCODING));
        let gzip = text::takes_gzip(codings.map(|line| line.value));
        if let Some(short) = short(path, gzip) {
            let what = What::Answered(short);
            return Some(Asked { what, stays });
        }
    }
    let what = What::Request(Box::new(request(method, path, parsed.headers, octets)?));
    Some(Asked { what, stays })
}

fn is(line: &httparse::Header<'_>, name: &HeaderName) -> bool {
    line.name.eq_ignore_ascii_case(name.as_str())
}

/// Of slices of `octets`, the request as the router knows it.
fn request(
    method: Method,
    path: &str,
    lines: &[httparse::Header<'_>],
    octets: &[u8],
) -> Option<Request<Body>> {
    // Names and values are slices of one copy.
    let head = Bytes::copy_from_slice(octets);
    let own = |part: &[u8]| {
        let start = part.as_ptr() as usize - octets.as_ptr() as usize;
        head.slice(start..start + part.len())
    };
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(own(line.value)).ok()?);
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_maybe_shared(own(path.as_bytes())).ok()?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Some(request)
}

/// What `Connection` says (RFC 9110 section 7.6.1); `None` if that concerns more than staying open.
fn stays_open(value: &[u8]) -> Option<bool> {
    let mut stays = true;
    for option in value.split(|&octet| octet == b',') {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"close") {
            stays = false;
        } else if !option.eq_ignore_ascii_case(b"keep-alive") && !option.is_empty() {
            return None;
        }
    }
    Some(stays)
}

/// How the end of an answer is told (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// It has no body.
    None,
    Known(u64),
    Chunked,
}

pub(super) fn length(parts: &response::Parts, body: &Body, bodiless: bool) -> Length {
    let none = bodiless || has_none(parts.status);
    let said = parts.headers.get(header::CONTENT_LENGTH);
    let said = said.and_then(|said| said.to_str().ok()?.parse().ok());
    match said.or_else(|| body.size_hint().exact()) {
        _ if none => Length::None,
        Some(octets) => Length::Known(octets),
        None => Length::Chunked,
    }
}

/// Answers with this status have no body, nor the length of one: that of 304 would be read as the
/// length of what it stands for (RFC 9110 section 8.6).
fn has_none(status: StatusCode) -> bool {
    let bare = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    bare || status.is_informational()
}

pub(super) fn write(parts: &response::Parts, length: Length, stays: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(USUAL);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(parts.status.as_str().as_bytes());
    head.push(b' ');
    let reason = parts.status.canonical_reason().unwrap_or_default();
    head.extend_from_slice(reason.as_bytes());
    head.extend_from_slice(b"\r\n");
    let mut line = |name: &HeaderName, value: &[u8]| {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    let none = has_none(parts.status);
    for (name, value) in &parts.headers {
        let ours = [header::CONNECTION, header::TRANSFER_ENCODING].contains(name);
        let nobodys = none && name == header::CONTENT_LENGTH;
        if !ours && !nobodys {
            line(name, value.as_bytes());
        }
    }
    match length {
        Length::Known(octets) if !parts.headers.contains_key(header::CONTENT_LENGTH) => {
            line(&header::CONTENT_LENGTH, octets.to_string().as_bytes());
        }
        Length::Chunked => line(&header::TRANSFER_ENCODING, b"chunked"),
        _ => {}
    }
    if parts.headers.contains_key(header::DATE) {
        end(&mut head, stays);
    } else {
        end_now(&mut head, stays);
    }
    head
}

/// Ends a head that says no time yet.
pub(super) fn end_now(head: &mut Vec<u8>, stays: bool) {
    head.extend_from_slice(b"date: ");
    with_date(|date| head.extend_from_slice(date.as_bytes()));
    head.extend_from_slice(b"\r\n");
    end(head, stays);
}

fn end(head: &mut Vec<u8>, stays: bool) {
    if !stays {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

/// The time as answers say it, written once a second.
fn with_date(take: impl FnOnce(&str)) {
    thread_local! {
        static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let second = now.unwrap_or_default().as_secs();
    WRITTEN.with_borrow_mut(|(written, date)| {
        if *written != second || date.is_empty() {
            let now = UNIX_EPOCH + Duration::from_secs(second);
            date.clear();
            // Writing to a string cannot fail.
            let _ = write!(date, "{}", httpdate::HttpDate::from(now));
            *written = second;
        }
        take(date);
    });
}

/// Headers of requests that are not ours: they have a body, or want another protocol.
const OTHERS: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Lines of a request. With more it is hyper's.
const MOST: usize = 64;

/// Octets that the head of an answer has room for at once.
const USUAL: usize = 512;
